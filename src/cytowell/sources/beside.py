"""Where the photograph lies that a file of annotations names, whoever wrote the file."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cytowell.errors import BadAnnotation
from cytowell.sources.annotations import images_below
from cytowell.sources.boundary import require_inside

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a picture that was uploaded."""


class Beside:
    """Finds photographs below a folder by what others call them.

    A name may be a path of another machine, or an address of the annotation tool: the longest end
    of it that is there counts, then the only file of that name. Nothing outside of the folder is
    ever taken.
    """

    def __init__(self, root: Path, within: Path | None = None) -> None:
        self.root = root
        self.within = within
        self.images = images_below(root)
        self._by_name: dict[str, list[Path]] = {}
        for file in self.images:
            self._by_name.setdefault(file.name, []).append(file)

    def find(self, named: str, near: Path | None = None) -> str:
        """Give the path of a photograph; where it would lie, if it is not there.

        Raises
        ------
        BadAnnotation
            If several files have that name.
        """
        parts = _parts(named)
        name = parts[-1] if parts else ""
        for folder in dict.fromkeys((near or self.root, self.root, self.root / "images")):
            for i in range(len(parts)):
                place = folder.joinpath(*parts[i:])
                if place in self._by_name.get(place.name, ()):
                    return str(place)
        for other in (name, _UPLOAD.sub("", name)):
            found = self._by_name.get(other, [])
            if len(found) == 1:
                return str(found[0])
            if found:
                raise BadAnnotation(
                    f"{named} may be any of {len(found)} files called {other}.",
                    "Give photographs of one export different names.",
                )
        missing = (near or self.root) / (name or "unnamed")
        require_inside([missing], self.within, named)
        return str(missing)


def _parts(named: str) -> list[str]:
    """Give the folders and the name of a path or an address, without what climbs."""
    if "?d=" in named:
        named = parse_qs(urlsplit(named).query).get("d", [""])[0]
    elif "://" in named:
        named = unquote(urlsplit(named).path)
    return [p for p in re.split(r"[\\/]+", named) if p not in ("", ".", "..") and ":" not in p]
