"""What is wrong with a folder of photographs before anything learns from it.

A check is a function `check(dataset) -> Findings`, named in the registry or by a laboratory's entry
point. It may ask for more by the names of its parameters: `scan` (one look at every photograph),
`record` (how images are decoded), `probabilities` (out-of-fold), `found` (what the checks before it
found), `resplit`, `progress`. None of them is imported before it runs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cytowell import registry
from cytowell.checks.issues import Progress, join
from cytowell.types import Dataset, Findings, FloatArray

if TYPE_CHECKING:
    from cytowell.images import Preprocessing

__all__ = ["check_all", "join"]


def check_all(
    dataset: Dataset,
    probabilities: FloatArray | None = None,
    progress: Progress | None = None,
    record: Preprocessing | None = None,
    resplit: bool = False,
    only: Sequence[str] | None = None,
) -> Findings:
    """Run every check, a laboratory's own included, and lay what they found side by side.

    Parameters
    ----------
    probabilities
        Out-of-fold, (N, C); without them labels are not doubted.
    progress
        Called with what is being done, how many are done, and of how many.
    record
        Channels and intensity window of multi-channel and 16-bit images.
    resplit
        Whether a new split is made anyway, so that a given one that leaks does not block.
    only
        Names of the checks to run; all of them without it.

    Returns
    -------
    Findings
        One row per sample: `path`, `<issue>_score` and `is_<issue>` for every issue, `why`.

    Raises
    ------
    UnknownName
        If `only` names a check that is not there.
    DatasetError
        If a check gave a table that does not fit the data set.
    """
    offered: dict[str, Any] = {"record": record, "probabilities": probabilities}
    offered |= {"resplit": resplit, "progress": progress}
    parts: dict[str, Findings] = {}
    for name in registry.names("checks") if only is None else only:
        check: Callable[..., Findings] = registry.load("checks", name)
        wanted = inspect.signature(check).parameters
        if "scan" in wanted and "scan" not in offered:
            look = importlib.import_module("cytowell.checks.scan").look
            offered["scan"] = look(dataset, record, progress)
        offered["found"] = join(dataset, parts)
        parts[name] = check(dataset, **{k: v for k, v in offered.items() if k in wanted})
    return join(dataset, parts)
