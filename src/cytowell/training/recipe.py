"""Every setting of a fine-tuning, with its why. Frozen: what was run is what is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from cytowell.errors import RecipeError, UnknownName
from cytowell.registry import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed while its label stays true.

    Strong enough that the result travels to another microscope: orientation means nothing under
    one, and light, colour and stain differ between laboratories.

    Attributes
    ----------
    rotation
        Largest angle in degrees, either way.
    flip
        Whether mirror images are the same thing; true for cells, not for anything with letters.
    scale
        Zoom between 1 / (1 + scale) and 1 + scale.
    shift
        Largest shift as a share of the side.
    brightness, contrast, saturation
        Factors between 1 - x and 1 + x.
    stain
        Factors between 1 - x and 1 + x on haematoxylin, eosin and residual, in optical density
        (Tellez et al. 2019, doi 10.1016/j.media.2019.101544; vectors of Ruifrok & Johnston 2001).
    erase
        Probability that a rectangle is painted over (Zhong et al. 2020, arXiv 1708.04896).
    aspect
        Stretch along one direction between 1 / (1 + aspect) and 1 + aspect.
    laboratory
        How far light, stain, camera and sharpness may be those of another laboratory: 0 not at
        all, 1 as between hospitals (`augment.of_another_laboratory`). It takes the place of
        brightness, contrast, saturation and stain.
    """

    rotation: float = 180.0
    flip: bool = True
    scale: float = 0.2
    shift: float = 0.05
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    stain: float = 0.1
    erase: float = 0.25
    aspect: float = 0.0
    laboratory: float = 0.0


def require_ranges(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse a setting that lies outside of its range.

    Raises
    ------
    RecipeError
        Naming it, and the range.
    """
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise RecipeError(f"{name} = {value} cannot hold.", f"Use {low:g} to {high:g}.")


_RANGES = {
    "batch": (2, 4096),
    "small_batch": (2, 4096),
    "rate": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "warmup": (0.0, 0.9),
    "stem_rate": (0.0, 1.0),
    "label_smoothing": (0.0, 0.9),
    "ema": (0.0, 0.99999),
    "dropout": (0.0, 0.9),
    "subclass_weight": (0.0, 10.0),
    "momentum": (0.0, 0.9999),
    "frozen_depth": (0.0, 1.0),
    "focal_gamma": (0.0, 10.0),
    "reconstruction": (0.0, 100.0),
    "temperature": (0.001, 10.0),
    "mixstyle": (0.0, 1.0),
    "projection": (2, 4096),
    "memory": (0, 1_000_000),
    "evaluations": (1, 10_000),
    "patience": (1, 10_000),
    "devices": (1, 1024),
}


_CHOICES = {
    "class_weights": ("none", "balanced"),
    "optimizer": ("adamw", "adam", "rmsprop", "sgd"),
    "schedule": ("one-cycle", "cosine", "plateau"),
    "loss": ("cross-entropy", "focal"),
    "sampling": ("shuffled", "balanced"),
    "objective": ("classes", "contrastive"),
}


@dataclass(frozen=True)
class Finetune:
    """One fine-tuning.

    Attributes
    ----------
    backbone, weights
        A registered name, a timm name or ``hf-hub:``; a file or bundle to start from.
    phases
        (side in pixels, steps) one after another. Small pictures first: most is learnt at a third
        of the cost, and the last phase is at the size that service will use, because accuracy
        falls when the two differ. Steps, not epochs, so that one preset serves a hundred images
        and a hundred thousand.
    small_phases
        Phases where fewer than `small_below` images are learnt from; none for the same ones.
    batch
        Images a step; `small_batch` where fewer than `small_below` images are learnt from, so
        that a step still is a fraction of an epoch.
    optimizer, momentum
        `adamw`, `adam`, `rmsprop` or `sgd`; momentum is for the last two.
    schedule
        `one-cycle` (up over the warm-up, then down to nothing), `cosine` (down from the start) or
        `plateau` (lowered whenever the validation part sees no progress).
    rate, weight_decay, warmup
        The highest rate, reached after `warmup` of the steps of a one-cycle schedule.
    stem_rate
        The stem's rate as a share of the head's, layers between in between: early filters are
        general already.
    frozen_depth
        Layers below this share of the depth keep their weights; 0 lets all of them move.
    loss, focal_gamma
        `cross-entropy`, or `focal`, which dwells on what is called wrongly or unsurely.
    sampling
        `shuffled` shows every image once an epoch; `balanced` every class equally often.
    label_smoothing
        Keeps the network from being certain of labels that two experts would dispute.
    class_weights
        `none`, or `balanced` for weights inverse to class frequency.
    ema
        Decay of the moving average of all weights, which is what is kept; it starts anew with
        every phase, because what was right at one size is not at another.
    dropout
        Before the head.
    subclass_weight
        Weight of a second head on sub-classes, where the data names them; dropped after training.
    mixstyle
        Probability that the early maps of a batch's images exchange their styles (Zhou et al.
        2021): for a network that meets other laboratories.
    crop
        Share of the picture's shorter side; `auto` takes the widest centre on which a linear probe
        is not worse than on the best one by more than its standard error (`finetune.CENTRES`).
    evaluations, patience
        How often the validation part is asked, and after how many answers without progress a
        phase ends early.
    views
        Mirror images (1, 2 or 4) that the delivered network looks at and averages inside its
        graph: a call costs as many times more, and fewer of them are wrong. One where the
        augmentation may not `flip`; learning itself looks at one.
    smote
        Refit the linear head on SMOTE-balanced final features of the unaugmented training part.
        Never on pixels: a picture between two cells shows neither.
    reconstruction
        Weight of painting the image again, for networks with a decoder (`unet`).
    objective
        `classes`, or `contrastive`: the body learns from contrasts alone and a linear head is
        fitted on its finished features.
    temperature, projection, memory
        Of the contrastive objective: temperature, width of the embedding, and how many earlier
        embeddings a batch is compared with.
    half
        Store the backbone in half precision: half the size, rounded before figures are taken.
    """

    backbone: str = "efficientnet-lite0"
    weights: str = ""
    phases: tuple[tuple[int, int], ...] = ((96, 300), (160, 260))
    small_phases: tuple[tuple[int, int], ...] = ()
    batch: int = 64
    small_batch: int = 32
    small_below: int = 400
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "one-cycle"
    rate: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.2
    stem_rate: float = 0.5
    frozen_depth: float = 0.0
    loss: str = "cross-entropy"
    focal_gamma: float = 2.0
    sampling: str = "shuffled"
    label_smoothing: float = 0.1
    class_weights: str = "none"
    ema: float = 0.995
    dropout: float = 0.2
    subclass_weight: float = 0.5
    mixstyle: float = 0.0
    crop: float | str = "auto"
    evaluations: int = 10
    patience: int = 6
    views: int = 4
    smote: bool = False
    reconstruction: float = 0.1
    objective: str = "classes"
    temperature: float = 0.1
    projection: int = 128
    memory: int = 2048
    half: bool = True
    devices: int = 1
    accelerator: str = "auto"
    precision: str = "32-true"
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        every = (*self.phases, *self.small_phases)
        if not self.phases or any(size < 32 or steps < 1 for size, steps in every):
            raise RecipeError(
                f"phases = {self.phases} cannot be run.", "Give [[side >= 32, steps >= 1], ...]."
            )
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise RecipeError(
                    f"{name} = {getattr(self, name)!r} is not known.", f"Use {' or '.join(known)}."
                )
        if self.crop != "auto" and (isinstance(self.crop, str) or not 0.1 <= self.crop <= 1):
            raise RecipeError(f"crop = {self.crop!r} is not known.", "Use auto or 0.1 to 1.0.")
        if self.views not in (1, 2, 4):
            raise RecipeError(f"views = {self.views} is not known.", "Use 1, 2 or 4.")
        require_ranges(self, _RANGES)

    def for_images(self, count: int) -> Finetune:
        """Give the settings with the phases that so many images are learnt in."""
        if not self.small_phases or count >= self.small_below:
            return self
        return replace(self, phases=self.small_phases, small_phases=())

    @property
    def size(self) -> int:
        """The side at which the network ends up and serves."""
        return self.phases[-1][0]

    @property
    def mirrored(self) -> int:
        """Views that the delivered network takes: one where a mirror image is something else."""
        return self.views if self.augmentation.flip else 1

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return sum(steps for _, steps in self.phases)


PRESETS: dict[str, Finetune] = {
    # Within ten minutes on two cores, whatever the data's size. It ends at the size that it learns
    # most at: forty last steps at 160 px took PBC's validation part from 98.2 % to 96.2 %.
    "quick": Finetune(phases=((96, 300), (128, 320)), evaluations=6),
    # Within ten minutes too; few images are few in a step, so larger ones fit in.
    "standard": Finetune(phases=((96, 300), (160, 260)), small_phases=((96, 250), (192, 300))),
    # Three quarters of an hour on two cores.
    "best": Finetune(phases=((96, 350), (160, 1150), (192, 220)), evaluations=10, ema=0.998),
}


def preset(name: str) -> Finetune:
    """Give the settings of a preset.

    Raises
    ------
    UnknownName
        With the nearest name.
    """
    return named(name, PRESETS)


def named(name: str, presets: Mapping[str, T]) -> T:
    """Give the preset of this name, or `UnknownName` with the nearest."""
    if name not in presets:
        raise UnknownName(f"There is no preset {name!r}.", did_you_mean(name, [*presets]))
    return presets[name]
