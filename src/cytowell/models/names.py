"""Which networks there are by name, told without PyTorch: a wrong one is refused at once."""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from pathlib import Path

from cytowell import registry
from cytowell.errors import UnknownName, WeightsUnavailable

PLACES = ("hf-hub:", "local-dir:")
"""What stands before names that only the hub or a folder can judge."""

NOTHING = "nothing"

_REGISTERED = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)


@functools.cache
def timm_names() -> frozenset[str]:
    """Give the names of timm's networks by reading its files: importing it takes seconds."""
    try:
        found = importlib.util.find_spec("timm")
    except ImportError:
        found = None
    if found is None or found.origin is None:
        return frozenset()
    files = (Path(found.origin).parent / "models").glob("*.py")
    return frozenset(n for f in files for n in _REGISTERED.findall(f.read_text(encoding="utf-8")))


def require_backbone(name: str) -> None:
    """Refuse a name that nobody knows; what only the hub or a folder can judge passes.

    Raises
    ------
    UnknownName
        With the nearest name, those of Cytowell before those of timm.
    MissingExtra
        If the name is not Cytowell's own and timm, whose it may be, is not installed.
    """
    own = registry.names("backbones")
    if name in own or name.startswith(PLACES) or Path(name.removeprefix("timm:")).exists():
        return
    known = timm_names()
    if not known:
        registry.needed("timm", f"The backbone {name!r}")
    for one in name.split("+"):
        bare = one.removeprefix("timm:").removeprefix("timm/").split(".")[0]
        if one not in own and bare not in known:
            raise UnknownName(f"There is no backbone {one!r}.", suggestion(one))


def suggestion(name: str) -> str:
    """Give the remedy for a backbone that is not known."""
    own, bare = [*registry.names("backbones")], name.removeprefix("timm:").split(".")[0]
    close = difflib.get_close_matches(bare, own, n=1, cutoff=0.75)
    close = close or difflib.get_close_matches(bare, timm_names(), n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(sorted(own))}, and timm's by name."


def require_weights(weights: str) -> None:
    """Refuse weights that are not there.

    Raises
    ------
    WeightsUnavailable
        Naming them.
    """
    if weights in ("", NOTHING):
        return
    for one in weights.split("+"):
        if not Path(weights).exists() and not Path(one.removeprefix("local-dir:")).exists():
            raise WeightsUnavailable(
                f"{one} is not there, or holds no network.", "Give a weights file or a bundle."
            )
