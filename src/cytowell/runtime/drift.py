"""Is this still what a bundle knows? Light, stain, sharpness, size, distance against its training.

Each measure is compared within the called classes (`evaluation.shift`), with p-values after Holm
(1979); what chance cannot explain and is large enough to matter is a difference.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats
from statsmodels.stats.multitest import multipletests

from cytowell.evaluation.shift import Measured, Shift, shift
from cytowell.images.appearance import MEASURES
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.pipeline import Batch
from cytowell.types import FloatArray

ALPHA = 0.01
"""Probability that anything at all is taken for a difference in photographs that do not differ."""

DISTANCE = "distance"

SHOWN = 12
"""Photographs that are named as those that differ most."""

ODD = 3.0
"""Standard deviations from which on a single photograph is named."""

BEYOND = 0.05
"""Share of photographs beyond the bundle's limit of distance that matters, where nothing more is
known; 1 % is expected."""

SAME = 0.005
"""Relative distance in feature space below which two pictures are the same one."""


class Measure(NamedTuple):
    """What is compared: its least difference that matters, and words for more and for less.

    `least` is of a logarithm (.04 is 4 %), or of a share of the stain.
    """

    least: float
    more: str
    less: str
    remedy: str


_LIGHT = "Set exposure and white balance as they were for the training images."
_STAIN = "Check the stain; label some with cytowell suggest, and adapt the bundle to them."
MEASURED: dict[str, Measure] = {
    "light": Measure(0.04, "light {percent} brighter", "light {percent} darker", _LIGHT),
    "light_red": Measure(0.04, "light {percent} redder", "light {percent} less red", _LIGHT),
    "light_blue": Measure(0.04, "light {percent} bluer", "light {percent} less blue", _LIGHT),
    "stain": Measure(0.15, "stain {percent} stronger", "stain {percent} weaker", _STAIN),
    "stain_red": Measure(0.02, "stain more blue", "stain less blue", _STAIN),
    "stain_blue": Measure(0.02, "stain more yellow", "stain less yellow", _STAIN),
    "sharpness": Measure(
        0.5,
        "{times} times the fine detail",
        "blurred ({percent} less fine detail)",
        "Focus, and compress no more than for the training images.",
    ),
    "size": Measure(
        0.08,
        "{times} times as large in the picture",
        "{times} times as large in the picture",
        "Check objective and scaling: bring the photographs to the training images' pixel size.",
    ),
    DISTANCE: Measure(
        0.1,
        "{times} times as far from the training images",
        "",
        "Label some with cytowell suggest and adapt the bundle; read its calls yourself till then.",
    ),
}
"""Words for a colour of stain: what takes more red light away looks bluer, blue light yellower."""

NAMES = {
    "light": "light",
    "light_red": "red in the light",
    "light_blue": "blue in the light",
    "stain": "strength of stain",
    "stain_red": "blue of the stain",
    "stain_blue": "yellow of the stain",
    "sharpness": "sharpness",
    "size": "size",
    DISTANCE: "distance in features",
}


@dataclass(frozen=True)
class Comparison:
    """One measure of new photographs against the training images.

    Attributes
    ----------
    effect
        Mean difference within classes: of a logarithm, or of a share of the stain.
    p
        Corrected for the number of measures (Holm).
    differs
        Whether chance does not explain it and it is large enough to matter.
    words
        The effect in words.
    """

    measure: str
    effect: float
    p: float
    differs: bool
    words: str
    remedy: str
    images: int
    groups: int


@dataclass(frozen=True)
class Unusual:
    """A photograph that differs from the training images, and in what most."""

    path: str
    measure: str
    deviations: float
    words: str


@dataclass(frozen=True)
class Drift:
    """What a comparison with the training images found.

    Attributes
    ----------
    images, photographs
        What was compared: cells or pictures, and groups of them.
    missing
        What could not be compared, and why, a sentence each.
    unusual
        Photographs that differ most, the most unlike first.
    copies
        Images that the bundle was trained on, as far as it can tell.
    mix
        How often each class was called; information, never a difference.
    history
        The mix against the laboratory's own history, in words; "" without one.
    """

    images: int
    photographs: int
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    unusual: tuple[Unusual, ...]
    copies: int
    mix: dict[str, int]
    history: str = ""

    @property
    def differs(self) -> bool:
        """Whether anything differs that chance does not explain."""
        return any(c.differs for c in self.comparisons)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What to do, each once."""
        return tuple(dict.fromkeys(c.remedy for c in self.comparisons if c.differs))

    @property
    def sentence(self) -> str:
        """Say it in one sentence."""
        if not self.images:
            return "Nothing could be compared with the training images."
        counted = _many(self.photographs, "photograph")
        if self.copies > self.images / 2:
            return f"{self.copies} of {self.images} images are ones that the bundle was trained on."
        if self.differs:
            words = ", ".join(c.words for c in self.comparisons if c.differs)
            return (
                f"Differs from the training images by more than chance ({counted}): {words}; "
                "the figures of the bundle do not hold here."
            )
        if not self.comparisons:
            return f"Nothing could be compared with the training images. {self.missing[0]}"
        but = "" if not self.missing else ", as far as it could be compared"
        return f"No difference from the training images beyond chance in {counted}{but}."

    def to_json(self) -> dict[str, Any]:
        """Give names and values; what is no number is None."""
        told = asdict(self) | {"differs": self.differs, "sentence": self.sentence}
        told["remedies"] = list(self.remedies)
        for row in told["comparisons"]:
            row["p"] = None if math.isnan(row["p"]) else row["p"]
        return told


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


class DriftMonitor:
    """Collects what a bundle was shown, and compares it with what it was trained on.

    Parameters
    ----------
    bundle
        With its reference, where it has one.
    most
        Images that are remembered, the latest; all without.
    """

    def __init__(self, bundle: Bundle, most: int | None = None) -> None:
        self.bundle = bundle
        self.most = most
        self._paths: list[str] = []
        self._groups: list[str] = []
        self._called: list[int] = []
        self._appearances: list[npt.NDArray[np.float32]] = []
        self._distances: list[float] = []
        self._copies: list[bool] = []

    def __len__(self) -> int:
        return len(self._called)

    def add(self, batch: Batch) -> None:
        """Take the images of a batch that could be read."""
        rows = batch.called
        if not len(rows) or len(batch.appearances) != len(rows):
            return
        known = self.bundle.statistics
        n = len(rows)
        self._called += [int(i) for i in self.bundle.head.logits(batch.features).argmax(axis=1)]
        self._appearances += list(batch.appearances)
        samples = [batch.samples[int(i)] for i in rows]
        self._paths += [s.path for s in samples]
        # Pictures that came without a name are photographs of their own.
        self._groups += [s.group or s.path or f"#{id(s)}" for s in samples]
        self._distances += list(known.distance(batch.features)) if known else [math.nan] * n
        self._copies += list(_copies(known, batch.features)) if known else [False] * n
        if self.most is not None and len(self) > self.most:
            for kept in (
                self._paths, self._groups, self._called, self._appearances, self._distances,
                self._copies,
            ):  # fmt: skip
                del kept[: len(kept) - self.most]

    def result(self) -> Drift:
        """Compare what was collected."""
        called = np.array(self._called, dtype=np.int64)
        groups = np.array(self._groups, dtype=object).astype(str)
        names = self.bundle.classes
        mix = Counter(names[i] for i in self._called)
        if not len(called):
            return Drift(0, 0, (), (), (), 0, {})
        found, missing = _shifts(self.bundle, self._values(), called, groups)
        return Drift(
            len(called),
            len(np.unique(groups)),
            _compared(found),
            tuple(missing),
            _unusual(self._paths, found),
            int(sum(self._copies)),
            {name: mix.get(name, 0) for name in names},
        )

    def _values(self) -> dict[str, FloatArray]:
        table = np.stack(self._appearances).astype(np.float64)
        values = {name: table[:, i] for i, name in enumerate(MEASURES)}
        with np.errstate(divide="ignore"):
            values[DISTANCE] = np.log(np.array(self._distances, dtype=np.float64))
        return values


def _copies(known: Any, features: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Say which features are those of a stored training image, to half precision."""
    points = known.project(features)
    stored = known.stored.astype(np.float32)
    if not len(stored):
        return np.zeros(len(points), dtype=np.bool_)
    squares = (points**2).sum(axis=1)[:, None] + (stored**2).sum(axis=1) - 2 * points @ stored.T
    nearest = np.sqrt(np.maximum(squares.min(axis=1), 0))
    same: npt.NDArray[np.bool_] = nearest < SAME * np.linalg.norm(points, axis=1)
    return same


def _shifts(
    bundle: Bundle, values: dict[str, FloatArray], called: Any, groups: Any
) -> tuple[dict[str, Shift], list[str]]:
    """Give the shift of every measure, and why others have none."""
    known = bundle.reference
    if known is None:
        found = _beyond(bundle, values[DISTANCE], groups)
        missing = ["Light, stain, sharpness and size: the bundle holds none of its training."]
        if not found:
            missing.append("Distance in features: the bundle holds no limit.")
        return found, missing
    columns = dict(zip(MEASURES, known.appearances.T.astype(np.float64), strict=True))
    with np.errstate(divide="ignore"):
        columns[DISTANCE] = np.log(known.distances.astype(np.float64))
    found, missing = {}, []
    strata = known.called.astype(np.int64)
    for name, how in MEASURED.items():
        there = np.isfinite(columns[name])
        made = shift(
            Measured(values[name], called, groups),
            Measured(columns[name][there], strata[there], known.groups[there]),
            how.least,
            upwards=name == DISTANCE,
        )
        label = NAMES[name][0].upper() + NAMES[name][1:]
        if not there.any():
            missing.append(f"{label}: it is not known of the training images.")
        elif not made.images:
            missing.append(f"{label}: it could not be measured, or no class can be compared.")
        elif math.isnan(made.p):
            count = len(np.unique(known.groups[there]))
            missing.append(
                f"{label}: the training images are of {_many(count, 'group')}; that is too few to "
                "say what chance does."
            )
        else:
            found[name] = made
    if DISTANCE not in found:
        found |= _beyond(bundle, values[DISTANCE], groups)
    return found, missing


def _beyond(bundle: Bundle, logs: FloatArray, groups: Any) -> dict[str, Shift]:
    """Test how many photographs lie beyond the bundle's limit of distance; 1 % is expected."""
    limit = bundle.facts.farthest
    fine = np.isfinite(logs)
    if limit is None or limit <= 0 or not fine.any():
        return {}
    over = np.where(fine, logs - math.log(limit), np.nan)
    names, index = np.unique(groups[fine], return_inverse=True)
    share = np.bincount(index, over[fine] > 0) / np.bincount(index)
    count = int((share > 0.5).sum())
    p = float(stats.binom.sf(count - 1, len(names), 0.01))
    enough = count >= BEYOND * len(names) and count > 0
    effect = float(over[fine][over[fine] > 0].mean()) if enough else 0.0
    # The least difference that matters is counted in photographs here, not in distance.
    effect = max(effect, MEASURED[DISTANCE].least) if enough else 0.0
    return {DISTANCE: Shift(effect, p, int(fine.sum()), len(names), np.full(len(logs), np.nan))}


def _compared(found: dict[str, Shift]) -> tuple[Comparison, ...]:
    if not found:
        return ()
    corrected = multipletests([s.p for s in found.values()], method="holm")[1]
    out = []
    for (name, made), p in zip(found.items(), corrected, strict=True):
        how = MEASURED[name]
        enough = made.effect >= how.least if name == DISTANCE else abs(made.effect) >= how.least
        words = in_words(name, made.effect)
        differs = bool(p < ALPHA and enough)
        row = (name, made.effect, float(p), differs, words, how.remedy, made.images, made.groups)
        out.append(Comparison(*row))
    return tuple(out)


def in_words(measure: str, effect: float) -> str:
    """Say a difference in words."""
    how = MEASURED[measure]
    words = how.more if effect >= 0 or not how.less else how.less
    factor = math.exp(min(max(effect, -20.0), 20.0))
    return words.format(percent=f"{100 * abs(factor - 1):.0f} %", times=f"{factor:.2f}")


def _unusual(paths: list[str], found: dict[str, Shift]) -> tuple[Unusual, ...]:
    """Name the photographs that lie farthest from the training images, each once."""
    names = [n for n in found if np.isfinite(found[n].deviations).any()]
    if not names:
        return ()
    table = np.nan_to_num(np.stack([found[n].deviations for n in names]))
    if DISTANCE in names:
        at = names.index(DISTANCE)
        table[at] = np.maximum(table[at], 0)
    worst = np.abs(table).argmax(axis=0)
    far = table[worst, np.arange(len(paths))]
    out: dict[str, Unusual] = {}
    for i in np.argsort(-np.abs(far), kind="stable"):
        if len(out) == SHOWN or abs(far[i]) < ODD:
            break
        name = names[int(worst[i])]
        side = "more" if far[i] > 0 else "less"
        words = f"{NAMES[name]}: {abs(far[i]):.1f} standard deviations {side} than in training"
        out.setdefault(paths[i], Unusual(paths[i], name, round(float(far[i]), 2), words))
    return tuple(out.values())
