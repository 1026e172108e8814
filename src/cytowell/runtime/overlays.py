"""Calls drawn on the photographs that they are of: boxes in the colour of their call."""

from __future__ import annotations

from pathlib import Path

from cytowell.errors import ImageError
from cytowell.images import open_upright
from cytowell.images.overlay import COLOURS, Mark, draw
from cytowell.storage import replacing
from cytowell.types import Predictions

UNDECIDED = "#7f7f7f"
CANNOT = "cannot decide"


class Overlays:
    """Writes a picture for every photograph whose calls have all come; calls come in its order.

    Parameters
    ----------
    folder
        Where the pictures go; names are those of the photographs, told apart by a number.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: list[Predictions] = []
        self._written: set[Path] = set()

    def __call__(self, calls: Predictions) -> None:
        """Take a batch of calls."""
        for i in range(len(calls)):
            if calls.samples[i].box is None:
                continue
            if self._waiting and self._waiting[-1].samples[0].path != calls.samples[i].path:
                self.flush()
            self._waiting.append(calls.take([i]))

    def flush(self) -> None:
        """Write the picture of the last photograph."""
        if not self._waiting:
            return
        calls, self._waiting = Predictions.join(self._waiting), []
        path = calls.samples[0].path
        try:
            photograph = open_upright(path)
        except ImageError:
            return  # its rows say so
        marks = [mark for i in range(len(calls)) if (mark := _mark(calls, i)) is not None]
        legend = [
            (f"{name} ({count})", COLOURS[i % len(COLOURS)])
            for i, name in enumerate(calls.classes)
            if (count := _count(calls, i))
        ]
        undecided = int((~calls.decided & calls.readable).sum())
        if undecided:
            legend.append((f"{CANNOT} ({undecided})", UNDECIDED))
        with replacing(self._free(path)) as beside:
            draw(photograph, marks, legend=legend).save(beside, "JPEG", quality=88)

    def _free(self, path: str) -> Path:
        stem = Path(path.split("::")[0]).stem
        number, out = 1, self.folder / f"{stem}.jpg"
        while out in self._written:
            number += 1
            out = self.folder / f"{stem}-{number}.jpg"
        self._written.add(out)
        return out


def _count(calls: Predictions, label: int) -> int:
    return int(((calls.called == label) & calls.decided).sum())


def _mark(calls: Predictions, row: int) -> Mark | None:
    sample = calls.samples[row]
    if sample.box is None:
        return None
    called, decided = int(calls.called[row]), bool(calls.decided[row])
    colour = COLOURS[called % len(COLOURS)] if decided and called >= 0 else UNDECIDED
    well = str(sample.extra.get("well") or "")
    word = well or (calls.labels[row] if decided else "?")
    return Mark(sample.box, word, colour, round=bool(well), strong=bool(well) and decided)
