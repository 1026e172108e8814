"""What `bundle.json` of a classifier says: classes, preprocessing, thresholds, origin."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from cytowell.checks.training_images import TrainingImages
from cytowell.images import Preprocessing
from cytowell.runtime.sealed import FORMAT, classes_of


@dataclass(frozen=True)
class MapSlice:
    """Features start..stop are the spatial means of the map called `name`."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Facts:
    """What `bundle.json` says.

    Attributes
    ----------
    temperature
        Divides the logits (Guo et al. 2017, arXiv 1706.04599).
    threshold
        Lowest probability of the likeliest class that is a call.
    farthest
        Largest distance to the training images at which a call is made; None for no limit.
    maps
        Which features are means of which map; empty says `maps: none`.
    confusion
        Counts on the test part, truth down, calls across; empty if there was none.
    subclasses
        Names of the kinds within classes, each with its class, as the head's arrays have them.
    calls
        Classes of a detector whose objects the bundle is for, such as WBC; other objects are
        counted and not called. Empty for every object.
    confusion_decided
        The same of the calls that were decided; empty where a bundle does not say.
    origin
        Data hash, split hash, versions, seed, command, licences: names and values.
    training_images
        The photographs that taught or calibrated it or what it started from, as the head's file has
        them; None where nobody recorded them.
    """

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float = 1.0
    threshold: float = 0.0
    farthest: float | None = None
    positive: str | None = None
    maps: tuple[MapSlice, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    confusion_decided: tuple[tuple[int, ...], ...] = ()
    confusion_of: str = ""
    calls: tuple[str, ...] = ()
    synthetic: bool = False
    origin: dict[str, Any] = field(default_factory=dict)
    kind: str = "classifier"
    subclasses: tuple[tuple[str, str], ...] = ()
    training_images: TrainingImages | None = field(default=None, compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Give the record as it is written, in the earliest format that can say it."""
        record: dict[str, Any] = {
            "format": FORMAT if self.preprocessing.cell is not None else 1,
            "kind": self.kind,
            "classes": list(self.classes),
            "positive": self.positive,
            "preprocessing": self.preprocessing.to_json(),
            "temperature": self.temperature,
            "thresholds": {"probability": self.threshold, "distance": self.farthest},
            "maps": [[m.name, m.start, m.stop] for m in self.maps] or "none",
            "confusion": {
                "of": self.confusion_of,
                "counts": [list(r) for r in self.confusion],
                "decided": [list(r) for r in self.confusion_decided],
            },
            "synthetic": self.synthetic,
            "origin": self.origin,
        }
        if self.calls:
            record["calls"] = list(self.calls)
        if self.subclasses:
            record["subclasses"] = [list(s) for s in self.subclasses]
        return record

    @staticmethod
    def from_json(record: dict[str, Any]) -> Facts:
        """Read the record."""
        maps = record["maps"]
        temperature = float(record["temperature"])
        if not 0.0 < temperature < math.inf:
            raise ValueError(f"a temperature of {temperature}")
        return Facts(
            classes=classes_of(record),
            preprocessing=Preprocessing.from_json(record["preprocessing"]),
            temperature=temperature,
            threshold=float(record["thresholds"]["probability"]),
            farthest=record["thresholds"]["distance"],
            positive=record["positive"],
            maps=() if maps == "none" else tuple(MapSlice(*m) for m in maps),
            confusion=tuple(tuple(r) for r in record["confusion"]["counts"]),
            confusion_decided=tuple(tuple(r) for r in record["confusion"].get("decided", ())),
            confusion_of=record["confusion"]["of"],
            calls=_class_names(record.get("calls", [])),
            synthetic=record["synthetic"],
            origin=record["origin"],
            kind=record["kind"],
            subclasses=tuple((str(n), str(c)) for n, c in record.get("subclasses", ())),
        )


def _class_names(told: Any) -> tuple[str, ...]:
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told):
        raise TypeError(f"calls = {told!r} is no list of classes")
    return tuple(told)
