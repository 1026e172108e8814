"""Every setting of a detector's training, with its why."""

from __future__ import annotations

from typing import Annotated

from cytowell.errors import RecipeError, UnknownName
from cytowell.registry import did_you_mean, names
from cytowell.settings import setting, settings
from cytowell.training.recipe import Accelerator, Augmentation, Phases, named


def _is_phase(phase: tuple[int, int]) -> bool:
    """Whether it is a side that a detector takes, and a number of steps."""
    side, steps = phase
    return side in range(64, 4097, 32) and steps > 0


@settings
class Detection:
    """One training of a detector.

    Without weights a network begins at what it brings along (`fcos-lite0`: ImageNet), else at
    random numbers, and says so. `mosaic` is Bochkovskiy et al. 2020 (arXiv 2004.10934); photographs
    that all hold objects never teach that one may hold none, which is what `empty` is for. A split
    that the data brings is kept.
    """

    network: Annotated[str, setting("A registered detector.")] = "yolox-nano"
    weights: Annotated[
        str, setting("An official ONNX file of YOLOX, or a detector bundle, to begin with.")
    ] = ""
    phases: Annotated[
        Phases,
        setting(
            "Side in pixels (64 to 4096, multiples of 32) and steps, small sides first.",
            example="[[320, 700], [416, 700]]",
        ),
    ] = ((320, 700), (416, 700))
    batch: Annotated[int, setting("Photographs a step.", low=2, high=256, unit="photographs")] = 8
    rate: Annotated[
        float, setting("Highest learning rate of AdamW, after the warm-up.", low=1e-7, high=1)
    ] = 2e-3
    weight_decay: Annotated[
        float, setting("Pull of all weights towards nothing.", low=0, high=10)
    ] = 0.05
    warmup: Annotated[
        float, setting("Share of the steps over which the rate rises.", low=0, high=0.9)
    ] = 0.1
    ema: Annotated[
        float,
        setting(
            "Decay of the moving average of all weights, which is what is kept.",
            low=0,
            high=0.99999,
        ),
    ] = 0.998
    mosaic: Annotated[
        float,
        setting("Share of the scenes that are put together from four photographs.", low=0, high=1),
    ] = 0.6
    plain: Annotated[
        float,
        setting(
            "Last share of the steps without mosaics, with boxes pulled to the last pixel.",
            low=0,
            high=1,
        ),
    ] = 0.25
    zoom: Annotated[
        float,
        setting(
            "Photographs are shown between 1 / (1 + zoom) and 1 + zoom of their size.",
            low=0,
            high=3,
        ),
    ] = 0.3
    degrade: Annotated[
        float,
        setting(
            "Share of the scenes that are shown as other cameras and lamps would: gamma, tint, "
            "grey, blur, noise, JPEG.",
            low=0,
            high=1,
        ),
    ] = 0.0
    empty: Annotated[
        float,
        setting(
            "Share of the scenes in which there is nothing: light, its fall-off, noise.",
            low=0,
            high=0.5,
        ),
    ] = 0.0
    evaluations: Annotated[
        int, setting("How often the validation part is asked.", low=1, high=10_000)
    ] = 10
    patience: Annotated[
        int,
        setting("After how many answers without progress the training ends.", low=1, high=10_000),
    ] = 5
    test: Annotated[float, setting("Share of the photographs that judge.", low=0.01, high=0.9)] = (
        0.2
    )
    validation: Annotated[
        float, setting("Share of the photographs that choose.", low=0.01, high=0.9)
    ] = 0.15
    accelerator: Annotated[Accelerator, setting("Where it is computed.")] = "auto"
    augmentation: Annotated[Augmentation, setting("How far a photograph may be changed.")] = (
        Augmentation()
    )

    def __post_init__(self) -> None:
        if not self.phases or not all(_is_phase(phase) for phase in self.phases):
            raise RecipeError(
                f"phases = {[list(phase) for phase in self.phases]} cannot be run.",
                "Give [[side, steps], ...], sides of 64 to 4096, multiples of 32.",
            )
        if self.network not in names("detectors"):
            raise UnknownName(
                f"There is no detector {self.network!r}.",
                did_you_mean(self.network, [*names("detectors")]),
            )

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
