"""Calls drawn on the photographs that they are of: boxes in the colour of their call."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

from cytowell.errors import ImageError
from cytowell.images import Preprocessing, open_upright
from cytowell.images.overlay import COLOURS, Album, Mark, draw
from cytowell.types import FOUND, Predictions

UNDECIDED = "#7f7f7f"
CANNOT = "cannot decide"
COUNTED_COLOURS = ("#000000", "#ffffff", "#4b0082")


class Overlays:
    """Draws every photograph whose calls have all come; calls come in the photographs' order.

    Parameters
    ----------
    folder
        Where the pictures go.
    record
        Channels, window and plane that the photographs are read with.
    """

    def __init__(self, folder: Path, record: Preprocessing | None = None) -> None:
        self._reading = record and record.unscaled
        self._album = Album(folder, "calls")
        self._waiting: list[Predictions] = []

    def __call__(self, calls: Predictions) -> None:
        """Take a batch of calls."""
        paths = enumerate(s.path for s in calls.samples)
        for path, run in itertools.groupby(paths, key=lambda pair: pair[1]):
            if self._waiting and self._waiting[-1].samples[0].path != path:
                self.flush()
            rows = [i for i, _ in run if calls.samples[i].box is not None]
            if rows:
                self._waiting.append(calls.take(rows))

    def flush(self) -> None:
        """Write the picture of the last photograph."""
        if not self._waiting:
            return
        calls, self._waiting = Predictions.join(self._waiting), []
        path = calls.samples[0].path
        try:
            photograph = open_upright(path, self._reading)
        except ImageError:
            return  # its rows say so
        marks = [mark for i in range(len(calls)) if (mark := _mark(calls, i)) is not None]
        legend = [
            (f"{name} ({count})", COLOURS[i % len(COLOURS)])
            for i, name in enumerate(calls.classes)
            if (count := _count(calls, i))
        ]
        legend += [
            (f"{name}, counted ({count})", _found_colour(calls, name))
            for name, count in sorted(_found(calls).items())
        ]
        undecided = int((~calls.decided & calls.readable).sum())
        if undecided:
            legend.append((f"{CANNOT} ({undecided})", UNDECIDED))
        self._album.save(draw(photograph, marks, legend=legend), path)


def _count(calls: Predictions, label: int) -> int:
    return int(((calls.called == label) & calls.decided).sum())


def _found(calls: Predictions) -> Counter[str]:
    """Count what was found and not called, by the detector's class."""
    samples = calls.take(calls.counted).samples
    return Counter(str(s.extra.get(FOUND) or "") for s in samples)


def _found_colour(calls: Predictions, name: str) -> str:
    """Give a colour to a class of the detector, none of those of the bundle's classes."""
    return COUNTED_COLOURS[sorted(_found(calls)).index(name) % len(COUNTED_COLOURS)]


def _mark(calls: Predictions, row: int) -> Mark | None:
    sample = calls.samples[row]
    if sample.box is None:
        return None
    if calls.counted[row]:
        # Without a word: there are a hundred for each cell that is called.
        return Mark(sample.box, "", _found_colour(calls, str(sample.extra.get(FOUND) or "")))
    called, decided = int(calls.called[row]), bool(calls.decided[row])
    colour = COLOURS[called % len(COLOURS)] if decided and called >= 0 else UNDECIDED
    well = str(sample.extra.get("well") or "")
    word = well or (calls.labels[row] if decided else "?")
    return Mark(sample.box, word, colour, round=bool(well), strong=bool(well) and decided)
