"""A folder of a run: whether it may be taken, what it holds, and what a disk that refuses means."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cytowell.errors import RunError, StorageError
from cytowell.runs.lock import LOCK
from cytowell.runs.recipe import Recipe
from cytowell.storage import explaining, write_text
from cytowell.types import Dataset


@contextlib.contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """Say of a disk that refuses, full or read-only, that what was learnt until then is kept."""
    try:
        with explaining(folder):
            yield
    except StorageError as error:
        if not (folder / "checkpoints" / "last.pt").exists():
            raise
        raise StorageError(
            error.problem,
            f"{error.remedy} The same command with --resume then goes on from the last checkpoint.",
        ) from error


def claim(folder: Path, dataset: Dataset, recipe: Recipe, resume: bool, final: bool) -> None:
    """Refuse a folder that holds something else; move a whole run aside as twin for `final`."""
    if all(f.name == LOCK for f in folder.iterdir()):
        return
    if final and is_whole(folder) and not (folder / "twin").exists():
        if not is_same(folder, dataset, recipe):
            raise RunError(
                f"{folder} holds a run of other data or of another recipe.",
                "Choose another --out, or repeat its own command with --final.",
            )
        beside = folder.with_name(f".twin-of-{folder.name}")
        folder.rename(beside)
        folder.mkdir()
        beside.rename(folder / "twin")
        (folder / "twin" / LOCK).rename(folder / LOCK)
        return
    whose = folder / "twin" if (folder / "twin" / "run.json").exists() else folder
    if not (whose / "run.json").exists():
        raise RunError(f"{folder} is not empty and holds no run.", "Choose another --out.")
    places = (whose / "checkpoints", whose / "folds", folder / "bundle")
    begun = is_whole(whose) or any(f.exists() for f in places)
    if not begun:
        return  # it was blocked, or stopped before it learnt: mended data may take its place
    if not is_same(whose, dataset, recipe):
        raise RunError(
            f"{folder} holds a run of other data or of another recipe, or one that another version "
            "began.",
            "Choose another --out.",
        )
    twin_only = final and is_whole(folder / "twin") and not is_whole(folder)
    if not resume and not twin_only:
        raise RunError(
            f"{folder} already holds this run.",
            "Use --resume to go on where it stopped, or choose another --out.",
        )


def sign(folder: Path, dataset: Dataset, recipe: Recipe) -> None:
    """Write which data and recipe the run is of."""
    record = {"data": dataset.digest(), "recipe": _essence(recipe)}
    write_text(folder / "run.json", json.dumps(record, indent=1) + "\n")


def is_same(folder: Path, dataset: Dataset, recipe: Recipe) -> bool:
    """Say whether the run is of these data and this recipe."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(record == {"data": dataset.digest(), "recipe": _essence(recipe)})


def _essence(recipe: Recipe) -> Any:
    return json.loads(json.dumps(recipe.essence()))


def is_whole(folder: Path) -> bool:
    """Say whether the run has ended: its report and its bundle are there."""
    return (folder / "report.json").is_file() and (folder / "bundle" / "SHA256SUMS").is_file()
