"""Every setting of a fine-tuning, with its why. Frozen: what was run is what is written down."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

from cytowell import registry
from cytowell.errors import RecipeError, UnknownName
from cytowell.registry import did_you_mean
from cytowell.settings import setting, settings

T = TypeVar("T")

Accelerator = Literal["auto", "cpu", "gpu", "cuda", "mps"]

Share = Annotated[float, setting("", low=0.1, high=1)]

Phases = tuple[tuple[int, int], ...]
"""(side in pixels, steps) one after another."""


@settings
class Augmentation:
    """How far an image may be changed while its label stays true.

    Strong enough that the result travels to another microscope: orientation means nothing under
    one, and light, colour and stain differ between laboratories. `stain` follows Tellez et al.
    2019 (doi 10.1016/j.media.2019.101544) with the vectors of Ruifrok & Johnston 2001, `erase`
    Zhong et al. 2020 (arXiv 1708.04896), `laboratory` is `augment.of_another_laboratory`.
    """

    rotation: Annotated[
        float, setting("Largest angle, either way.", low=0, high=180, unit="degrees")
    ] = 180.0
    flip: Annotated[
        bool,
        setting("Whether mirror images are the same thing; not for anything with letters."),
    ] = True
    scale: Annotated[
        float, setting("Zoom between 1 / (1 + scale) and 1 + scale.", low=0, high=3)
    ] = 0.2
    shift: Annotated[float, setting("Largest shift as a share of the side.", low=0, high=1)] = 0.05
    brightness: Annotated[float, setting("Factors from 1 - x to 1 + x.", low=0, high=1)] = 0.2
    contrast: Annotated[float, setting("Factors from 1 - x to 1 + x.", low=0, high=1)] = 0.2
    saturation: Annotated[float, setting("Factors from 1 - x to 1 + x.", low=0, high=1)] = 0.2
    stain: Annotated[
        float,
        setting(
            "Factors from 1 - x to 1 + x on haematoxylin, eosin and residual, in optical density.",
            low=0,
            high=1,
        ),
    ] = 0.1
    erase: Annotated[
        float, setting("Probability that a rectangle is painted over.", low=0, high=1)
    ] = 0.25
    aspect: Annotated[
        float,
        setting("Stretch along one direction between 1 / (1 + x) and 1 + x.", low=0, high=3),
    ] = 0.0
    laboratory: Annotated[
        float,
        setting(
            "How far light, stain, camera and sharpness may be those of another laboratory: 0 not "
            "at all, 1 as between hospitals. Takes the place of brightness, contrast, saturation "
            "and stain.",
            low=0,
            high=3,
        ),
    ] = 0.0
    own: Annotated[
        tuple[str, ...],
        setting(
            "A laboratory's own augmentations, by the names of their entry points, after all "
            "others.",
            example='["our-dust"]',
            added=True,
        ),
    ] = ()

    def __post_init__(self) -> None:
        registry.require("augmentations", self.own)


@settings
class Finetune:
    """One fine-tuning.

    Small pictures come first: most is learnt at a third of the cost, and the last phase is at the
    size that service will use, because accuracy falls when the two differ. Steps, not epochs, so
    that one preset serves a hundred images and a hundred thousand. Early filters are general
    already, so the stem learns slower than the head. The moving average starts anew with every
    phase, because what was right at one size is not at another. SMOTE works on final features,
    never on pixels: a picture between two cells shows neither. `mixstyle` is Zhou et al. 2021;
    `crop = "auto"` weighs `finetune.CENTRES`.
    """

    backbone: Annotated[
        str, setting("Network to start from: a registered name, a timm name or hf-hub:owner/model.")
    ] = "efficientnet-lite0"
    weights: Annotated[
        str,
        setting("File or bundle to start from; nothing for random numbers; empty for the usual."),
    ] = ""
    phases: Annotated[
        Phases,
        setting(
            "Side in pixels (32 to 4096) and steps, one phase after another.",
            example="[[96, 300], [160, 260]]",
        ),
    ] = ((96, 300), (160, 260))
    small_phases: Annotated[
        Phases,
        setting(
            "Phases where fewer than small_below images are learnt from; empty for the same ones.",
            example="[[96, 250]]",
        ),
    ] = ()
    batch: Annotated[int, setting("Images a step.", low=2, high=4096, unit="images")] = 64
    small_batch: Annotated[
        int,
        setting(
            "Images a step where fewer than small_below are learnt from, so that a step still is a "
            "fraction of an epoch.",
            low=2,
            high=4096,
            unit="images",
        ),
    ] = 32
    small_below: Annotated[
        int, setting("Fewer images to learn from than this are few.", low=0, unit="images")
    ] = 400
    optimizer: Annotated[
        Literal["adamw", "adam", "rmsprop", "sgd"], setting("How weights are moved.")
    ] = "adamw"
    momentum: Annotated[float, setting("Of rmsprop and sgd.", low=0, high=0.9999)] = 0.9
    schedule: Annotated[
        Literal["one-cycle", "cosine", "plateau"],
        setting(
            "one-cycle goes up over the warm-up and down to nothing, cosine down from the start, "
            "plateau down whenever the validation part sees no progress."
        ),
    ] = "one-cycle"
    rate: Annotated[
        float,
        setting("Highest learning rate, reached after the warm-up.", low=1e-7, high=1),
    ] = 2e-3
    weight_decay: Annotated[
        float, setting("Pull of all weights towards nothing.", low=0, high=10)
    ] = 0.02
    warmup: Annotated[
        float, setting("Share of the steps over which the rate rises.", low=0, high=0.9)
    ] = 0.2
    stem_rate: Annotated[
        float,
        setting(
            "The stem's rate as a share of the head's; layers between lie in between.",
            low=0,
            high=1,
        ),
    ] = 0.5
    frozen_depth: Annotated[
        float,
        setting("Layers below this share of the depth keep their weights.", low=0, high=1),
    ] = 0.0
    loss: Annotated[
        Literal["cross-entropy", "focal"],
        setting("What is made small; focal dwells on what is called wrongly or unsurely."),
    ] = "cross-entropy"
    focal_gamma: Annotated[float, setting("How far focal dwells.", low=0, high=10)] = 2.0
    sampling: Annotated[
        Literal["shuffled", "balanced"],
        setting("shuffled shows every image once an epoch, balanced every class equally often."),
    ] = "shuffled"
    label_smoothing: Annotated[
        float,
        setting(
            "Keeps the network from being certain of labels that two experts would dispute.",
            low=0,
            high=0.9,
        ),
    ] = 0.1
    class_weights: Annotated[
        Literal["none", "balanced"],
        setting("balanced weighs classes inversely to their frequency."),
    ] = "none"
    ema: Annotated[
        float,
        setting(
            "Decay of the moving average of all weights, which is what is kept.",
            low=0,
            high=0.99999,
        ),
    ] = 0.995
    dropout: Annotated[float, setting("Before the head.", low=0, high=0.9)] = 0.2
    subclass_weight: Annotated[
        float,
        setting(
            "Weight of a second head on sub-classes, where the data names them; dropped after "
            "training.",
            low=0,
            high=10,
        ),
    ] = 0.5
    mixstyle: Annotated[
        float,
        setting(
            "Probability that early maps of a batch's images exchange their styles: for a network "
            "that meets other laboratories.",
            low=0,
            high=1,
        ),
    ] = 0.0
    crop: Annotated[
        Share | Literal["auto"],
        setting(
            "Share of the picture's shorter side that is looked at; auto takes the widest centre "
            "that a linear probe finds as good as the best.",
            example='"auto" or 0.7',
        ),
    ] = "auto"
    evaluations: Annotated[
        int, setting("How often the validation part is asked.", low=1, high=10_000)
    ] = 10
    patience: Annotated[
        int,
        setting("After how many answers without progress a phase ends early.", low=1, high=10_000),
    ] = 6
    views: Annotated[
        Literal[1, 2, 4],
        setting(
            "Mirror images that the delivered network looks at and averages: a call costs as many "
            "times more, and fewer are wrong. 1 where the augmentation may not flip.",
            example="4",
        ),
    ] = 4
    smote: Annotated[
        bool,
        setting("Refit the head on SMOTE-balanced final features of the training part."),
    ] = False
    reconstruction: Annotated[
        float,
        setting(
            "Weight of painting the image again, for networks with a decoder (unet).",
            low=0,
            high=100,
        ),
    ] = 0.1
    objective: Annotated[
        Literal["classes", "contrastive"],
        setting(
            "contrastive: the body learns from contrasts alone, and a linear head is fitted on its "
            "features."
        ),
    ] = "classes"
    temperature: Annotated[float, setting("Of the contrastive objective.", low=0.001, high=10)] = (
        0.1
    )
    projection: Annotated[int, setting("Width of the contrastive embedding.", low=2, high=4096)] = (
        128
    )
    memory: Annotated[
        int,
        setting("Earlier embeddings that a batch is compared with.", low=0, high=1_000_000),
    ] = 2048
    half: Annotated[
        bool, setting("Store the backbone in half precision, rounded before figures are taken.")
    ] = True
    devices: Annotated[int, setting("Processors or GPUs at once.", low=1, high=1024)] = 1
    accelerator: Annotated[Accelerator, setting("Where it is computed.")] = "auto"
    precision: Annotated[
        Literal["32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"],
        setting("How numbers are held while it learns; 16-mixed and bf16-mixed are for GPUs."),
    ] = "32-true"
    augmentation: Annotated[
        Augmentation, setting("How far an image may be changed while its label stays true.")
    ] = Augmentation()
    epochs: Annotated[
        float,
        setting(
            "How often each training image is seen, in place of the phases' steps, which then say "
            "how the time is divided between sides; 0 leaves them as they are.",
            low=0,
            high=100_000,
            unit="epochs",
            added=True,
        ),
    ] = 0.0
    find_rate: Annotated[
        bool,
        setting("Find the rate by a range test before the training begins.", added=True),
    ] = False
    callbacks: Annotated[
        tuple[str, ...],
        setting(
            "A laboratory's own callbacks of the training, by the names of their entry points.",
            example='["our-callback"]',
            added=True,
        ),
    ] = ()
    teachers: Annotated[
        tuple[str, ...],
        setting(
            "Bundles whose mean probabilities of the training images are learnt beside the labels "
            "(distillation).",
            example='["first/bundle", "second/bundle"]',
            added=True,
        ),
    ] = ()
    teacher_weight: Annotated[
        float,
        setting("Share of the loss that teachers have.", low=0, high=1, added=True),
    ] = 0.5
    teacher_temperature: Annotated[
        float,
        setting("How far probabilities of teachers are evened out.", low=1, high=20, added=True),
    ] = 2.0

    def __post_init__(self) -> None:
        registry.require("callbacks", self.callbacks)
        for name in ("phases", "small_phases"):
            given: Phases = getattr(self, name)
            if (name == "phases" and not given) or any(
                not 32 <= size <= 4096 or steps < 1 for size, steps in given
            ):
                raise RecipeError(
                    f"{name} = {[list(phase) for phase in given]} cannot be run.",
                    "Give [[side, steps], ...] with sides of 32 to 4096 pixels and 1 step or more.",
                )

    def for_images(self, count: int) -> Finetune:
        """Give the settings with the phases that so many images are learnt in."""
        few = count < self.small_below
        s = self
        if self.small_phases and few:
            s = replace(s, phases=self.small_phases, small_phases=())
        if not self.epochs:
            return s
        steps = max(1, math.ceil(s.epochs * count / (s.small_batch if few else s.batch)))
        phases = tuple((side, max(1, round(n * steps / s.steps))) for side, n in s.phases)
        return replace(s, phases=phases, small_phases=(), epochs=0.0)

    def at_side(self, side: int) -> Finetune:
        """Give the settings with all steps at one side, in pixels."""
        few = ((side, sum(n for _, n in self.small_phases)),) if self.small_phases else ()
        return replace(self, phases=((side, self.steps),), small_phases=few)

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
