"""A detector on annotated photographs: what it finds, every figure of it, and where it errs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cytowell import splits
from cytowell.errors import BadTable, EmptyDataset, ImageError, SplitError
from cytowell.evaluation.detection import Seen, evaluate_boxes, matched
from cytowell.images import open_upright
from cytowell.images.overlay import COLOURS, Album, Mark, draw
from cytowell.registry import did_you_mean
from cytowell.runs.run import Voice
from cytowell.runtime.detector import FAINTEST, Detector
from cytowell.sources.walk import PARTS
from cytowell.types import Box, Dataset

MISSED = "#7f7f7f"
WORST = 4
"""Photographs on the page: those with most errors."""


@dataclass(frozen=True)
class Looked:
    """What a detector found in annotated photographs.

    Attributes
    ----------
    paths, seen
        Of the photographs that could be read.
    left_out
        Boxes without a class or without area.
    unreadable
        A sentence for each photograph that could not be read.
    """

    paths: tuple[str, ...]
    seen: tuple[Seen, ...]
    left_out: int
    unreadable: tuple[str, ...]

    def metrics(self, detector: Detector) -> dict[str, Any]:
        """Give every figure; see `evaluate_boxes`."""
        found = evaluate_boxes(self.seen, detector.facts.classes, detector.facts.score)
        return found | {"left_out": self.left_out, "unreadable": list(self.unreadable)}


def judge_detector(
    detector: Detector,
    dataset: Dataset,
    part: str = "",
    voice: Voice | None = None,
    run: Path | None = None,
) -> dict[str, Any]:
    """Find objects in every photograph of an annotated data set and compare; see `evaluate_boxes`.

    Boxes without a class or without area are left out and counted as `left_out`; photographs that
    cannot be read as `unreadable`.

    Parameters
    ----------
    part
        Judge on that part of a split (train, validation or test): the one that the detector was
        trained on, as its run's ``split.csv`` has it, else the one that the data brings.
    run
        The detector's run folder; one that holds no ``split.csv`` says nothing.

    Raises
    ------
    EmptyDataset
        If there is no such part.
    SplitError
        If the run's split is of other photographs.
    BadTable
        If a class of the data is none of the detector's, or nothing is annotated.
    """
    if part:
        dataset = _part(dataset, part, run)
    return look(detector, dataset, voice or Voice()).metrics(detector)


def _part(dataset: Dataset, part: str, run: Path | None) -> Dataset:
    """Give the samples of a part of the run's split, or of the data's where there is no run."""
    name = PARTS.get(part.lower(), "")
    parts = np.array([s.split or "" for s in dataset.samples])
    origin = f"{dataset.origin} has no part"
    file = None if run is None else run / "split.csv"
    if file is not None and file.is_file():
        try:
            parts, origin = splits.load(file, dataset).parts, f"{file} has no part"
        except SplitError:
            if not parts.any():  # other photographs may bring a split of their own
                raise
    rows = np.flatnonzero(parts == name) if name else np.zeros(0, dtype=np.int64)
    if not len(rows):
        raise EmptyDataset(
            f"{origin} {part!r}.",
            "Give the detector's run folder, whose split.csv has its parts, or leave --part away "
            "to judge on all of it.",
        )
    return dataset.take(rows)


def look(detector: Detector, dataset: Dataset, heard: Voice) -> Looked:
    """Find objects in every photograph of an annotated data set, down to next to no certainty."""
    names = detector.facts.classes
    strange = sorted(set(dataset.classes) - set(names))
    if strange:
        raise BadTable(
            f"{dataset.origin} has the class {strange[0]!r}, which the detector does not know.",
            did_you_mean(strange[0], [*names]),
        )
    index = {name: i for i, name in enumerate(names)}
    truth: dict[str, list[tuple[Box, int]]] = {path: [] for path in dataset.paths}
    left_out = 0
    for s in dataset.samples:
        if s.box is None:
            continue
        if s.label is None or s.box.width < 1 or s.box.height < 1:
            left_out += 1
        else:
            truth[s.path].append((s.box, index[s.label]))
    paths, seen, unreadable = [], [], []
    everything = detector.find_all(truth, FAINTEST)
    for number, ((path, objects), found) in enumerate(zip(truth.items(), everything, strict=True)):
        heard.ticked(number + 1, len(truth), "finding")
        if isinstance(found, ImageError):
            unreadable.append(str(found))
            continue
        boxes = tuple(b for b, _ in objects)
        labels = np.array([k for _, k in objects], dtype=np.int64)
        paths.append(path)
        seen.append(Seen(boxes, labels, found.boxes, found.labels, found.scores))
    return Looked(tuple(paths), tuple(seen), left_out, tuple(unreadable))


def draw_errors(
    looked: Looked, detector: Detector, folder: Path
) -> list[tuple[str, str, Image.Image]]:
    """Draw every photograph into `folder`; give the worst: name, what is wrong, the picture."""
    names = detector.facts.classes
    album = Album(folder, "found")
    counted: list[tuple[int, str, str, Image.Image]] = []
    for path, p in zip(looked.paths, looked.seen, strict=True):
        marks, missed, invented, other = [], 0, 0, 0
        for there, found in matched(p, detector.facts.score):
            if found < 0:
                missed += 1
                marks.append(Mark(p.truth[there], "missed", MISSED))
                continue
            label = int(p.found_labels[found])
            marks.append(Mark(p.found[found], names[label], COLOURS[label % len(COLOURS)]))
            invented += there < 0
            other += there >= 0 and int(p.truth_labels[there]) != label
        legend = [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)]
        picture = draw(open_upright(path), marks, legend=[*legend, ("missed", MISSED)])
        album.save(picture, path)
        wrong = f"{missed} missed, {invented} invented, {other} of another class"
        counted.append((missed + invented + other, Path(path).name, wrong, picture))
        counted = sorted(counted, key=lambda c: -c[0])[:WORST]
    return [(name, wrong, picture) for errors, name, wrong, picture in counted if errors]
