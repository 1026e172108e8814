"""Every setting of a detector's training, with its why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cytowell.errors import RecipeError, UnknownName
from cytowell.registry import did_you_mean, names
from cytowell.training.recipe import Augmentation, named, require_ranges

_RANGES = {
    "batch": (2, 256),
    "rate": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "warmup": (0.0, 0.9),
    "ema": (0.0, 0.99999),
    "mosaic": (0.0, 1.0),
    "plain": (0.0, 1.0),
    "zoom": (0.0, 3.0),
    "degrade": (0.0, 1.0),
    "empty": (0.0, 0.5),
    "evaluations": (1, 10_000),
    "patience": (1, 10_000),
    "test": (0.01, 0.9),
    "validation": (0.01, 0.9),
}


ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")


def _is_phase(phase: Any) -> bool:
    """Whether it is a side that a detector takes, and a number of steps."""
    if not isinstance(phase, tuple) or len(phase) != 2:
        return False
    side, steps = phase
    return type(side) is int and type(steps) is int and side in range(64, 4097, 32) and steps > 0


@dataclass(frozen=True)
class Detection:
    """One training of a detector.

    Attributes
    ----------
    network
        A registered detector.
    weights
        An official ONNX file of YOLOX, or a detector bundle; without it a network begins at what it
        brings along (`fcos-lite0`: ImageNet), else at random numbers, and says so.
    phases
        (side in pixels, steps) one after another, small ones first; sides are multiples of 32.
    batch
        Photographs a step.
    rate, weight_decay, warmup
        Of AdamW: the highest rate, reached after `warmup` of the steps, then down to nothing.
    ema
        Decay of the moving average of all weights, which is what is kept.
    mosaic
        Share of the scenes that are put together from four photographs (Bochkovskiy et al. 2020,
        arXiv 2004.10934).
    plain
        Last share of the steps without any, and with boxes pulled to the last pixel.
    zoom
        Photographs are shown between 1 / (1 + zoom) and 1 + zoom of their size.
    degrade
        Share of the scenes that are shown as other cameras and lamps would: gamma, tint, grey,
        blur, noise, JPEG.
    empty
        Share of the scenes in which there is nothing: light, its fall-off, noise. Photographs that
        all hold objects never teach that one may hold none.
    evaluations, patience
        How often the validation part is asked, and after how many answers without progress the
        training ends.
    test, validation
        Shares of the photographs that judge, and that choose; a split that the data brings is kept.
    """

    network: str = "yolox-nano"
    weights: str = ""
    phases: tuple[tuple[int, int], ...] = ((320, 700), (416, 700))
    batch: int = 8
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    ema: float = 0.998
    mosaic: float = 0.6
    plain: float = 0.25
    zoom: float = 0.3
    degrade: float = 0.0
    empty: float = 0.0
    evaluations: int = 10
    patience: int = 5
    test: float = 0.2
    validation: float = 0.15
    accelerator: str = "auto"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not self.phases or not all(_is_phase(phase) for phase in self.phases):
            raise RecipeError(
                f"phases = {self.phases} cannot be run.",
                "Give [[side, steps], ...], sides of 64 to 4096, multiples of 32.",
            )
        for name in ("network", "weights", "accelerator"):
            if not isinstance(getattr(self, name), str):
                raise RecipeError(f"{name} = {getattr(self, name)!r} is no name.")
        if self.network not in names("detectors"):
            raise UnknownName(
                f"There is no detector {self.network!r}.",
                did_you_mean(self.network, [*names("detectors")]),
            )
        if self.accelerator not in ACCELERATORS:
            raise RecipeError(
                f"accelerator = {self.accelerator!r} is not known.",
                f"Use {', '.join(ACCELERATORS)}.",
            )
        require_ranges(self, _RANGES)

    @property
    def side(self) -> int:
        """Of the input in service."""
        return self.phases[-1][0]

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(steps for _, steps in self.phases)


PRESETS = {
    # BCCD's 205 photographs took `standard` 22 and `best` 42 minutes on two busy cores.
    "quick": Detection(phases=((320, 500), (416, 250)), evaluations=6),
    "standard": Detection(),
    "best": Detection(phases=((320, 1200), (416, 1600)), evaluations=14),
}


def preset(name: str) -> Detection:
    """Give the settings of a preset.

    Raises
    ------
    UnknownName
        With the nearest name.
    """
    return named(name, PRESETS)
