"""What a run decides beside its learner's own settings; light to import, so that help has it."""

from __future__ import annotations

from typing import Annotated

from cytowell import registry
from cytowell.errors import UnknownName
from cytowell.registry import did_you_mean
from cytowell.settings import setting, settings


@settings
class RunSettings:
    """The fields at the top of a recipe.

    `wrong` is promised with 95 % confidence where the validation part can show it
    (`evaluation.promise`). How images are read and boxes cut out is `images.Preprocessing`'s.
    """

    learner: Annotated[str, setting("Who learns; its own settings stand in a table of its name.")]
    preset: Annotated[
        str, setting("quick, standard or best: what networks do where nothing else is said.")
    ] = "standard"
    seed: Annotated[int, setting("Of every random choice.", low=0, high=2**32 - 1)] = 7
    test: Annotated[float, setting("Share of the images that judge.", low=0.05, high=0.8)] = 0.3
    validation: Annotated[
        float, setting("Share of the rest that calibrates.", low=0.02, high=0.5)
    ] = 0.1
    by_image: Annotated[bool, setting("Split single images though groups exist (leaks).")] = False
    new_split: Annotated[bool, setting("Ignore the split that DATA brings.")] = False
    group_pattern: Annotated[
        str,
        setting(
            "Regular expression whose bracket, in a file's name, is its slide, plate or donor."
        ),
    ] = ""
    positive: Annotated[str, setting("The class that counts as positive where there are two.")] = ""
    wrong: Annotated[
        float,
        setting(
            "Share of the calls made that may be wrong; sets the threshold.", above=0, high=0.5
        ),
    ] = 0.01
    channels: Annotated[
        tuple[int, ...] | None,
        setting("Channels taken as red, green, blue, counted from 0.", example="[2, 0, 1]"),
    ] = None
    window: Annotated[
        tuple[int | float, int | float] | None,
        setting("Intensities mapped to black and white.", example="[0, 4095]"),
    ] = None
    plane: Annotated[str, setting("Plane of a stack, such as Z=3 or Z=3,T=0, from 0.")] = ""
    margin: Annotated[
        float, setting("Taken in around a box, as a share of its longer side.", low=0, high=2)
    ] = 0.0
    square: Annotated[bool, setting("Widen boxes to squares.")] = False
    round: Annotated[bool, setting("Paint black what lies outside the ellipse in a box.")] = False
    whole: Annotated[bool, setting("Look at whole photographs, whatever boxes there are.")] = False
    crop_boxes: Annotated[
        bool, setting("Keep of a box the share of a picture that is looked at; or all of it.")
    ] = True

    def __post_init__(self) -> None:
        if self.learner not in registry.names("learners"):
            raise UnknownName(
                f"There is no learner {self.learner!r}.",
                did_you_mean(self.learner, [*registry.names("learners")]),
            )
