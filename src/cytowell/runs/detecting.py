"""A detector on annotated photographs: every figure of what it finds."""

from __future__ import annotations

from typing import Any

import numpy as np

from cytowell.errors import BadTable, EmptyDataset, ImageError
from cytowell.evaluation.detection import Seen, evaluate_boxes
from cytowell.images import open_upright
from cytowell.registry import did_you_mean
from cytowell.runs.run import Voice
from cytowell.runtime.detector import Detector
from cytowell.sources.walk import PARTS
from cytowell.types import Box, Dataset

FAINTEST = 0.01
"""Certainty down to which boxes are kept for the average precision."""


def judge_detector(
    detector: Detector, dataset: Dataset, part: str = "", voice: Voice | None = None
) -> dict[str, Any]:
    """Find objects in every photograph of an annotated data set and compare; see `evaluate_boxes`.

    Boxes without a class or without area are left out and counted as `left_out`; photographs that
    cannot be read as `unreadable`.

    Parameters
    ----------
    part
        Judge on that part of the split that the data brings (train, validation or test).

    Raises
    ------
    EmptyDataset
        If the data has no such part.
    BadTable
        If a class of the data is none of the detector's, or nothing is annotated.
    """
    heard = voice or Voice()
    if part:
        rows = [i for i, s in enumerate(dataset.samples) if s.split == PARTS.get(part.lower(), "")]
        if not rows:
            raise EmptyDataset(
                f"{dataset.origin} has no part {part!r}.",
                "Leave --part away to judge on all of it.",
            )
        dataset = dataset.take(rows)
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
    seen, unreadable = [], []
    for number, (path, objects) in enumerate(truth.items(), 1):
        heard.ticked(number, len(truth), "finding")
        try:
            found = detector.find(open_upright(path), FAINTEST)
        except ImageError as error:
            unreadable.append(str(error))
            continue
        boxes = tuple(b for b, _ in objects)
        labels = np.array([k for _, k in objects], dtype=np.int64)
        seen.append(Seen(boxes, labels, found.boxes, found.labels, found.scores))
    metrics = evaluate_boxes(seen, names, detector.facts.score)
    return metrics | {"left_out": left_out, "unreadable": unreadable}
