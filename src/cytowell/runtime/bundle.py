"""The bundle: a backbone, a linear head, and one JSON that says the rest.

bundle.json      kind, format, classes, preprocessing, temperature, thresholds, origin
backbone.onnx    upright RGB uint8 (N, H, W, 3) to `features` (N, D) and the maps behind them
head.npz         weight (C, D) and bias (C,), affine on the features; which images taught it
statistics.npz   what the training images look like in feature space
MODEL_CARD.md    the same for people
SHA256SUMS       of every file above, verified at loading
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from cytowell.checks.training_images import TrainingImages
from cytowell.errors import BundleCorrupt, BundleError
from cytowell.images.inflate import arrays_in
from cytowell.images.limits import IN_MEMORY, Budget
from cytowell.runtime import pipeline
from cytowell.runtime.facts import Facts, MapSlice
from cytowell.runtime.head import Head, Statistics, SubclassHead
from cytowell.runtime.reference import Reference
from cytowell.runtime.sealed import (
    AGAIN,
    RECORD,
    SUMS,
    complete,
    find,
    opened,
    seal,
)
from cytowell.runtime.session import Session
from cytowell.storage import replacing_folder
from cytowell.types import (
    KIND,
    KIND_PROBABILITY,
    BoolArray,
    FloatArray,
    Pixels,
    Predictions,
    Sample,
)

__all__ = ["Bundle", "Facts", "MapSlice", "decide", "find", "load"]


REFERENCE = "reference_"
"""Prefix of the arrays beside the head that tell what the training images looked like."""


class Bundle:
    """A classifier ready to call images; made by `load`.

    Parameters
    ----------
    facts, head, statistics
        What the bundle's files say.
    model
        The bytes of ``backbone.onnx``.
    digest
        Hash of the bundle, which reports print.
    subclasses
        The kinds within classes, None where there are none.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "cells", per_class=2)["cells"]
    >>> calls = cytowell.load("blood").predict(cytowell.read(folder))
    >>> len(calls), calls.probabilities.shape
    (10, (10, 8))
    """

    def __init__(
        self,
        facts: Facts,
        head: Head,
        statistics: Statistics | None,
        model: bytes,
        digest: str = "",
        name: str = "bundle",
        subclasses: SubclassHead | None = None,
    ) -> None:
        self.subclasses = subclasses
        self.facts = facts
        self.head = head
        self.statistics = statistics
        self.model = model
        self.digest = digest
        self.name = name
        self.reference: Reference | None = None
        self.session = Session(model, f"{name}/backbone.onnx")

    def __repr__(self) -> str:
        facts = self.facts
        told = [
            f"{len(self.classes)} classes ({', '.join(self.classes)})",
            f"{facts.origin.get('architecture', 'network')} at {facts.preprocessing.size} px",
            f"decides from {facts.threshold:.3f}",
        ]
        told += [f"positive: {facts.positive}"] if facts.positive else []
        told += ["synthetic"] if facts.synthetic else []
        return f"Bundle({self.name}: {'; '.join(told)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """What the bundle tells apart."""
        return self.facts.classes

    def reading(self, **changed: Any) -> Bundle:
        """Give the same bundle, which reads photographs otherwise than those it learnt from.

        Parameters
        ----------
        changed
            `channels`, `window`, `plane`, `margin`, `square`, `round`, `crop_boxes` of
            `images.Preprocessing`; None leaves one as it was learnt.
        """
        given = {name: value for name, value in changed.items() if value is not None}
        record = replace(self.facts.preprocessing, **given)
        other = copy.copy(self)
        other.facts = replace(self.facts, preprocessing=record)
        return other

    def with_reference(self, reference: Reference | None) -> Bundle:
        """Give the same bundle with what is known of its training images, for `runtime.drift`."""
        other = copy.copy(self)
        other.reference = reference
        return other

    def predict(self, images: Any, workers: int | None = None) -> Predictions:
        """Call images.

        Parameters
        ----------
        images
            Paths, samples, a data set, PIL images or uint8 arrays (H, W, 3), one or many.

        Returns
        -------
        Predictions
            One row per image, in order; an image that cannot be read is a row with its error.
        """
        parts = list(self.stream(pipeline.as_samples(images), workers))
        if parts:
            return Predictions.join(parts)
        none = np.zeros((0, len(self.classes)))
        return Predictions((), self.classes, none, np.zeros(0, dtype=np.bool_), (), ())

    def stream(
        self,
        samples: Iterable[pipeline.Source],
        workers: int | None = None,
        watch: Callable[[pipeline.Batch], None] | None = None,
    ) -> Iterator[Predictions]:
        """Call images batch by batch, in order, in constant memory.

        Parameters
        ----------
        watch
            Is shown every batch before it is called, such as `DriftMonitor.add`.
        """
        # BLAS threads that spin between two small products take the processors from the network.
        with threadpool_limits(1, user_api="blas"):
            for batch in self.features(samples, workers):
                if watch is not None:
                    watch(batch)
                yield self.call(batch)

    def features(
        self, samples: Iterable[pipeline.Source], workers: int | None = None
    ) -> Iterator[pipeline.Batch]:
        """Give features batch by batch, in order."""
        return pipeline.features(self.session, self.facts.preprocessing, samples, workers)

    def probabilities(self, features: npt.NDArray[np.floating]) -> FloatArray:
        """Give calibrated probabilities (N, C) of features (N, D)."""
        logits = self.head.logits(features) / self.facts.temperature
        grown: FloatArray = softmax(logits, axis=1)
        return grown

    def call(self, batch: pipeline.Batch) -> Predictions:
        """Turn features into calls: probabilities, and whether they are sure and near enough."""
        n = len(batch.samples)
        rows = batch.called
        probabilities = np.full((n, len(self.classes)), np.nan)
        decided = np.zeros(n, dtype=np.bool_)
        reasons = [s.nothing for s in batch.samples]
        if len(rows):
            probabilities[rows] = self.probabilities(batch.features)
            distances = None
            if self.facts.farthest is not None and self.statistics is not None:
                distances = self.statistics.distance(batch.features)
            told, why = decide(self.facts, probabilities[rows], distances, batch.doubts)
            decided[rows] = told
            for row, reason in zip(rows, why, strict=True):
                reasons[row] = reason
        samples = self._with_kinds(batch, probabilities) if self.subclasses else batch.samples
        return Predictions(
            samples, self.classes, probabilities, decided, tuple(reasons), batch.errors
        )

    def _with_kinds(self, batch: pipeline.Batch, probabilities: FloatArray) -> tuple[Sample, ...]:
        """Give the samples with the kind within the class that each is called, where it has some.

        The probability is that of the kind: of its class times of the kind within it. It never
        contradicts the class, and no column of it begins with ``p_``.
        """
        assert self.subclasses is not None
        samples = [
            replace(s, extra={**s.extra, KIND: None, KIND_PROBABILITY: None}) for s in batch.samples
        ]
        rows = batch.called
        if len(rows):
            best = probabilities[rows].argmax(axis=1)
            labels = [self.classes[int(i)] for i in best]
            told = self.subclasses.within(batch.features, labels)
            for row, (kind, share) in zip(rows, told, strict=True):
                if kind:
                    own = {KIND: kind, KIND_PROBABILITY: round(share * probabilities[row].max(), 6)}
                    samples[row] = replace(samples[row], extra={**samples[row].extra, **own})
        return tuple(samples)

    def activation(self, pixels: Pixels, label: int) -> FloatArray:
        """Give the class activation map of one input (size, size, 3): what spoke for a class.

        Zhou et al. 2016 (arXiv 1512.04150, eq. 2): head weights times maps, here summed over the
        maps at the size of the largest; shape (h, w), 0..1. Raises BundleError without maps.
        """
        if not self.facts.maps:
            raise BundleError(
                f"{self.name} has no maps: its features are not means of maps.",
                "Class activation needs a convolutional backbone.",
            )
        _, maps = self.session.features_and_maps(pixels[None])
        largest = max((m.shape[2:] for m in maps.values()), key=lambda s: s[0])
        total = np.zeros(largest)
        for part in self.facts.maps:
            weight = self.head.weight[label, part.start : part.stop]
            heat = np.tensordot(weight, maps[part.name][0], axes=1).astype(np.float32)
            sized = Image.fromarray(heat).resize(largest[::-1], Image.Resampling.BILINEAR)
            total += np.asarray(sized)
        total -= total.min()
        scaled: FloatArray = total / max(float(total.max()), 1e-12)
        return scaled

    def save(self, folder: Path, card: str) -> None:
        """Write the bundle, whole or not at all, with its sums."""
        with replacing_folder(folder) as beside:
            (beside / "backbone.onnx").write_bytes(self.model)
            arrays: dict[str, Any] = {"weight": self.head.weight, "bias": self.head.bias}
            if self.subclasses is not None:
                own = self.subclasses.head
                arrays |= {"subclass_weight": own.weight, "subclass_bias": own.bias}
            if self.facts.training_images is not None:
                # Beside the head, whose further arrays every earlier version leaves alone.
                arrays |= self.facts.training_images.arrays()
            if self.reference is not None:
                arrays |= {REFERENCE + k: v for k, v in _fields(self.reference).items()}
            np.savez(beside / "head.npz", **arrays)
            if self.statistics is not None:
                np.savez_compressed(beside / "statistics.npz", **_fields(self.statistics))
            (beside / "MODEL_CARD.md").write_text(card, encoding="utf-8")
            kinds_of = self.subclasses.names if self.subclasses is not None else ()
            said = replace(self.facts, subclasses=kinds_of).to_json()
            record = json.dumps(said, indent=1, ensure_ascii=False)
            (beside / RECORD).write_text(record + "\n", encoding="utf-8")
            seal(beside, "classifier")


def decide(
    facts: Facts,
    probabilities: FloatArray,
    distances: FloatArray | None,
    doubts: Sequence[str] = (),
) -> tuple[BoolArray, list[str]]:
    """Say where a call is made, and why not where it is not.

    Parameters
    ----------
    probabilities, distances
        (N, C), and (N,) to the training images or None where no limit is known.
    doubts
        What was seen in each image that keeps a call from being made, "" for nothing; or none.
    """
    top = probabilities.max(axis=1)
    sure = top >= facts.threshold
    near = np.ones(len(top), dtype=np.bool_)
    if distances is not None and facts.farthest is not None:
        near = distances <= facts.farthest
    reasons = []
    seen = list(doubts) or [""] * len(top)
    for p, s, k, doubt in zip(top, sure, near, seen, strict=True):
        if doubt:
            reasons.append(doubt)
        elif not k:
            reasons.append("unlike the images learnt from")
        else:
            reasons.append("" if s else f"probability {p:.3f} below {facts.threshold:.3f}")
    return sure & near & np.array([not d for d in seen], dtype=np.bool_), reasons


def load(bundle: str | Path) -> Bundle:
    """Read and verify a bundle.

    Parameters
    ----------
    bundle
        A bundle's folder, a run's folder, or the name of a shipped or registered bundle.

    Raises
    ------
    BundleRefused
        For file types that can run code when they are opened.
    BundleCorrupt
        If a file is missing or its hash is not the one in SHA256SUMS.
    BundleTooNew
        If a later version of Cytowell wrote it.

    Examples
    --------
    >>> import cytowell
    >>> bundle = cytowell.load("blood")
    >>> bundle.classes[:2]
    ('basophil', 'eosinophil')
    """
    folder = find(bundle)
    record, contents = opened(folder, "classifier")
    with complete(folder):
        facts = Facts.from_json(record)
        arrays = _arrays(folder / "head.npz", contents)
        head = _head(arrays, "weight", "bias", len(facts.classes))
        facts = replace(facts, training_images=TrainingImages.from_arrays(arrays))
        kinds = None
        if facts.subclasses:
            own = _head(arrays, "subclass_weight", "subclass_bias", len(facts.subclasses))
            kinds = SubclassHead(facts.subclasses, own)
        statistics = None
        if "statistics.npz" in contents:
            statistics = Statistics(**_arrays(folder / "statistics.npz", contents))
        reference = None
        looks = {k.removeprefix(REFERENCE): v for k, v in arrays.items() if k.startswith(REFERENCE)}
        if looks:
            reference = Reference(**looks)
            if len(reference.called) and int(reference.called.max()) >= len(facts.classes):
                raise ValueError("a reference of more classes")
    digest = hashlib.sha256(contents[SUMS]).hexdigest()
    model = contents["backbone.onnx"]
    loaded = Bundle(facts, head, statistics, model, digest, str(folder), kinds)
    return loaded.with_reference(reference)


def _head(arrays: dict[str, npt.NDArray[Any]], weight: str, bias: str, classes: int) -> Head:
    head = Head(arrays[weight].astype(np.float64), arrays[bias].astype(np.float64))
    shape = head.weight.shape
    if len(shape) != 2 or shape[0] != classes or head.bias.shape != shape[:1]:
        raise ValueError(f"a head of shape {shape} on {classes} classes")
    if not (np.isfinite(head.weight).all() and np.isfinite(head.bias).all()):
        raise ValueError("a head with numbers that are none")
    return head


def _fields(arrays: Statistics | Reference) -> dict[str, Any]:
    return {f.name: getattr(arrays, f.name) for f in fields(arrays)}


def _arrays(file: Path, contents: dict[str, bytes]) -> dict[str, npt.NDArray[Any]]:
    """Give the arrays of a file of a bundle, checked before they are unpacked."""
    return arrays_in(contents[file.name], Budget(file, IN_MEMORY, BundleCorrupt, AGAIN))
