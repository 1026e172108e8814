"""Which part each sample of a data set is in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell.errors import SplitError
from cytowell.types import notebook
from cytowell.types.data import Dataset, IntArray, digest_of

PARTS = ("train", "validation", "test", "excluded")


@dataclass(frozen=True)
class Split:
    """Who learns, who calibrates, who judges.

    Attributes
    ----------
    parts
        One of `PARTS` for each sample of the data set, in its order; shape (N,).
    paths
        The samples' paths, so that a saved split can be laid on the same data again.
    how
        A sentence that says how it was made.

    Examples
    --------
    >>> import numpy as np
    >>> from cytowell import Split
    >>> made = Split(np.array(["train", "test", "train"]), ("a.jpg", "b.jpg", "c.jpg"))
    >>> made.train.tolist(), made.test.tolist()
    ([0, 2], [1])
    """

    parts: npt.NDArray[np.str_]
    paths: tuple[str, ...]
    how: str = ""
    seed: int = 0

    def __repr__(self) -> str:
        sizes = Counter(str(p) for p in self.parts)
        told = notebook.listed({name: sizes[name] for name in PARTS if sizes[name]})
        return f"Split({told or 'no samples'}{'; ' + self.how if self.how else ''})"

    def where(self, *parts: str) -> IntArray:
        """Give the positions of the samples in these parts."""
        return np.flatnonzero(np.isin(self.parts, parts)).astype(np.int64)

    @property
    def train(self) -> IntArray:
        """Positions of those that the network learns from."""
        return self.where("train")

    @property
    def validation(self) -> IntArray:
        """Positions of those that stop it, and set temperature and thresholds."""
        return self.where("validation")

    @property
    def test(self) -> IntArray:
        """Positions of those that judge and do nothing else."""
        return self.where("test")

    def digest(self) -> str:
        """Hash of who is where, independent of the folder's place."""
        places = _from_common_folder(self.paths)
        return digest_of(f"{p}|{q}" for p, q in zip(places, self.parts, strict=True))

    def frame(self) -> pd.DataFrame:
        """Give the split as a table: path, split."""
        return pd.DataFrame({"path": list(self.paths), "split": self.parts})

    def to_frame(self) -> pd.DataFrame:
        """Give the split as a table; see `frame`."""
        return self.frame()

    @staticmethod
    def from_frame(frame: pd.DataFrame, dataset: Dataset) -> Split:
        """Lay a saved split on a data set.

        Raises
        ------
        SplitError
            If a sample of the data set has no row, or a part has an unknown name.
        """
        if not {"path", "split"} <= set(frame.columns):
            raise SplitError(
                "A split file needs the columns path and split.",
                "Feed back the split.csv of a run, or write those two columns.",
            )
        known: dict[str, list[str]] = {}
        for path, part in zip(frame["path"].astype(str), frame["split"].astype(str), strict=True):
            known.setdefault(path, []).append(part)
        wanted, taken = Counter(dataset.paths), Counter[str]()
        names, own = ({Path(p).name: p for p in paths} for paths in (known, wanted))
        unique = len(names) == len(known) and len(own) == len(wanted)
        parts = []
        for path in dataset.paths:
            elsewhere = names.get(Path(path).name, "") if unique else ""
            rows = known.get(path, known.get(elsewhere, []))
            if not rows:
                raise SplitError(
                    f"{path} has no row in the split file.",
                    "Use the split of this data set, or leave --split away to have one made.",
                )
            if len(set(rows)) > 1 and len(rows) != wanted[path]:
                raise SplitError(
                    f"{path} has {len(rows)} rows in the split file that disagree.",
                    "Leave one of them, or one for each of its boxes, in their order.",
                )
            part = rows[taken[path]] if len(rows) == wanted[path] else rows[0]
            taken[path] += 1
            if part not in PARTS:
                raise SplitError(
                    f"{path} has the part {part!r} in the split file.",
                    f"Parts are {', '.join(PARTS)}.",
                )
            parts.append(part)
        return Split(np.array(parts), dataset.paths, how="as given in a split file")


def _from_common_folder(paths: Sequence[str]) -> list[str]:
    """Give paths as from the deepest folder that holds all of them."""
    try:
        common = os.path.commonpath([str(Path(p).parent) for p in paths])
    except ValueError:
        return [Path(p).name for p in paths]
    return [os.path.relpath(p, common or ".") for p in paths]
