"""Options that several verbs share, each said once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cytowell.errors import RecipeError

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of class folders, CSV or Parquet table, or .npz in MedMNIST layout.",
        show_default=False,
    ),
]
PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO...",
        help="Photographs, folders, globs, a table, or - for a list on standard input.",
        show_default=False,
    ),
]
BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Bundle, run folder or name.", show_default=False)
]
SourceOption = Annotated[
    str, typer.Option(help="How DATA is laid out; found out without it.", show_default=False)
]
GroupOption = Annotated[
    str,
    typer.Option(
        help="Regular expression whose bracket, in a file's name or else in its path below DATA, "
        "is its slide, plate or donor.",
        show_default=False,
    ),
]
ChannelsOption = Annotated[
    str,
    typer.Option(help="Channels taken as red, green, blue, such as 2,0,1.", show_default=False),
]
WindowOption = Annotated[
    str,
    typer.Option(help="Intensities mapped to black and white, such as 0,4095.", show_default=False),
]
PlaneOption = Annotated[
    str,
    typer.Option(
        help="Plane of a stack, such as Z=3 or Z=3,T=0, counted from 0 (Z focus, T time, "
        "P position).",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")]
SeedOption = Annotated[int, typer.Option(help="Of every random choice.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OverlayOption = Annotated[
    str,
    typer.Option(
        help="Folder for copies of the photographs with what was found drawn on.",
        show_default=False,
    ),
]
FindOption = Annotated[
    str, typer.Option(help="What is looked for in each photograph: none, wells or cells.")
]
RotateOption = Annotated[
    int | None,
    typer.Option(
        help="Degrees by which plates are turned clockwise: A1 is upper left at 0, upper right at "
        "90, lower right at 180, lower left at 270. Without, 0 is assumed, and that is said.",
        show_default=False,
    ),
]
MarginOption = Annotated[
    float | None,
    typer.Option(
        help="Adds a margin around each box, as a share of its longer side; default: the "
        "bundle's setting.",
        show_default=False,
    ),
]
SquareOption = Annotated[bool, typer.Option("--square", help="Widen boxes to squares.")]
RoundOption = Annotated[
    bool, typer.Option("--round", help="Paint black what lies outside the ellipse in a box.")
]
CropBoxesOption = Annotated[
    bool | None,
    typer.Option(
        "--crop-boxes/--whole-boxes",
        help="Keep of a box the share of a picture that the bundle looks at, or all of it; "
        "default: the bundle's setting.",
        show_default=False,
    ),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        help="Detector bundle, for --find cells; without it the one that comes along finds white "
        "cells, red cells and platelets.",
        show_default=False,
    ),
]

OnlyOption = Annotated[
    str,
    typer.Option(
        help="Classes of the detector that are looked at, such as WBC,Platelets. Without it all "
        "are found, and those that the bundle is not for are counted and not called.",
        show_default=False,
    ),
]


def names(text: str) -> tuple[str, ...]:
    """Read names with commas between them."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def reading(channels: str, window: str, plane: str) -> dict[str, Any]:
    """Give what was said of how photographs are to be read, and no more.

    Raises
    ------
    RecipeError
        If a list is none of numbers.
    """
    said = {
        "channels": _numbers(channels, "--channels"),
        "window": _numbers(window, "--window", float),
        "plane": plane or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _numbers(text: str, flag: str, kind: type[float] = int) -> tuple[Any, ...] | None:
    """Read numbers of a kind with commas between them."""
    if not text:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise RecipeError(
            f"{flag} {text} is no list of numbers.", "Write it like 0,4095."
        ) from error
