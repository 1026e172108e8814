"""Everything that a run decides, written down so that it can be run again."""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from cytowell import registry
from cytowell.errors import RecipeError, UnknownName
from cytowell.images import READING, CellView, Preprocessing
from cytowell.learners.classical import KNOBS, Classical
from cytowell.learners.frozen import Frozen
from cytowell.registry import did_you_mean
from cytowell.storage import write_text
from cytowell.training.recipe import PRESETS, Augmentation, preset

_PRESET: dict[str, dict[str, Any]] = {
    "finetune": {},
    "contrastive": {"objective": "contrastive"},
}
"""Learners whose settings are a preset's, and what they change in it."""

_SETTINGS: dict[str, type[Any]] = {"frozen": Frozen, **dict.fromkeys(KNOBS, Classical)}


@dataclass(frozen=True)
class Recipe:
    """What a run decides.

    Attributes
    ----------
    test, validation
        Shares of the images that judge, and of the rest that calibrate.
    by_image, new_split
        Split single images although groups exist; ignore a split that the data brings.
    positive
        The class that counts as positive where there are two.
    wrong
        Share of the calls made that may be wrong, promised with 95 % confidence where the
        validation part can show it (`evaluation.promise`); sets the threshold.
    channels, window, plane, margin, square, round, whole, crop_boxes, cell
        How multi-channel and 16-bit images and stacks are read, boxes cut out and single stained
        cells seen, as `images.Preprocessing` has them.
    settings
        The learner's own.
    """

    learner: str
    preset: str = "standard"
    seed: int = 7
    test: float = 0.3
    validation: float = 0.1
    by_image: bool = False
    new_split: bool = False
    group_pattern: str = ""
    positive: str = ""
    wrong: float = 0.01
    channels: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None
    plane: str = ""
    margin: float = 0.0
    square: bool = False
    round: bool = False
    whole: bool = False
    crop_boxes: bool = True
    cell: CellView | None = None
    settings: Any = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.05 <= self.test <= 0.8:
            raise RecipeError(f"test = {self.test} is no share.", "Use 0.05 to 0.8.")
        if not 0.0 < self.wrong <= 0.5:
            raise RecipeError(f"wrong = {self.wrong} is no share.", "Use 0.001 to 0.5.")
        if not 0.02 <= self.validation <= 0.5:
            raise RecipeError(f"validation = {self.validation} is no share.", "Use 0.02 to 0.5.")
        if self.learner not in registry.names("learners"):
            raise UnknownName(
                f"There is no learner {self.learner!r}.",
                did_you_mean(self.learner, [*registry.names("learners")]),
            )

    @property
    def reading(self) -> Preprocessing:
        """How images are read, before anything is known of the network."""
        return Preprocessing(**{name: getattr(self, name) for name in READING})

    def to_toml(self) -> str:
        """Give the recipe as text."""
        record = {
            f.name: plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.name not in ("settings", "cell") and getattr(self, f.name) is not None
        }
        if self.cell is not None:
            record["cell"] = dataclasses.asdict(self.cell)
        settings = self.settings
        if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
            settings = dataclasses.asdict(settings)
        record[self.learner] = plain(settings)
        return tomli_w.dumps(record)

    def save(self, path: Path) -> None:
        """Write ``recipe.toml``."""
        write_text(path, self.to_toml())


def default_learner() -> tuple[str, str]:
    """Give the learner that is used unasked, and the sentence that announces it."""
    if importlib.util.find_spec("torch") is not None:
        return "finetune", "Learner: finetune, because PyTorch is installed."
    return (
        "frozen",
        "Learner: frozen, because PyTorch is not installed "
        "(in the folder of Cytowell's source: pip install '.[train]' for finetune).",
    )


def make(
    learner: str | None = None, preset_name: str = "standard", **changes: Any
) -> tuple[Recipe, str]:
    """Give the recipe of a preset with changes, and the sentence that announces its learner.

    Changes whose names are the learner's settings go there.
    """
    said = ""
    if learner is None:
        learner, said = default_learner()
    if preset_name not in PRESETS:
        preset(preset_name)
    settings: Any = {}
    if learner in _PRESET:
        settings = dataclasses.replace(preset(preset_name), **_PRESET[learner])
    elif learner in _SETTINGS:
        settings = _SETTINGS[learner]()
    own = {k: v for k, v in changes.items() if v is not None}
    top = {f.name for f in dataclasses.fields(Recipe)}
    table = {k: own.pop(k) for k in [*own] if k not in top}
    if table:
        settings = filled(settings, table, learner)
    return Recipe(learner=learner, preset=preset_name, settings=settings, **own), said


def from_flags(
    file: Path | None,
    learner: str | None,
    preset_name: str,
    backbone: str,
    weights: str,
    changes: dict[str, Any],
) -> tuple[Recipe, str]:
    """Give the recipe that a command line asks for, and the sentence that announces its learner."""
    if file is not None:
        return dataclasses.replace(read(file), **changes), ""
    made, said = make(learner, preset_name, **changes)
    table: dict[str, Any] = {}
    if backbone:
        table = {"backbones": (backbone,)} if made.learner == "frozen" else {"backbone": backbone}
    if weights:
        table["weights"] = weights
    if table:
        made = dataclasses.replace(made, settings=filled(made.settings, table, made.learner))
    return made, said


def read(path: Path) -> Recipe:
    """Read a recipe file; what it leaves out is the preset's.

    Raises
    ------
    RecipeError
        Naming the field that does not exist or cannot hold.
    """
    record = read_toml(path)
    learner = record.pop("learner", None) or default_learner()[0]
    table = record.pop(learner, {})
    known = [f.name for f in dataclasses.fields(Recipe)]
    for name in record:
        if name not in known:
            raise RecipeError(f"{path} has a field {name!r}.", did_you_mean(name, known))
    for name in ("channels", "window"):
        if name in record:
            record[name] = tuple(record[name])
    if "cell" in record:
        record["cell"] = _cell_view(path, record["cell"])
    base, _ = make(learner, record.pop("preset", "standard"))
    settings = filled(base.settings, table, learner) if table else base.settings
    try:
        return dataclasses.replace(base, **record, settings=settings)
    except TypeError as error:
        raise RecipeError(f"{path}: {error}.") from error


def _cell_view(path: Path, table: Any) -> CellView | None:
    """Read ``cell = true`` or the table ``[cell]``."""
    if isinstance(table, bool):
        return CellView() if table else None
    if not isinstance(table, dict):
        raise RecipeError(f"{path}: cell = {table!r} is no view.", "Use true, or a table [cell].")
    try:
        return CellView.from_json(table)
    except (TypeError, ValueError) as error:
        raise RecipeError(
            f"{path}: {error}.", "A cell's view has light, centre, window."
        ) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a recipe file as it stands.

    Raises
    ------
    RecipeError
        If it is none.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe ({error}).") from error


def filled(settings: Any, table: dict[str, Any], learner: str) -> Any:
    """Lay a table of values on a settings value; unknown names are errors."""
    if isinstance(settings, dict):
        return settings | table
    known = {f.name: f for f in dataclasses.fields(settings)}
    values = {}
    for name, value in table.items():
        if name not in known:
            raise RecipeError(f"{learner} has no setting {name!r}.", did_you_mean(name, [*known]))
        old = getattr(settings, name)
        values[name] = _as(old, value, name)
    if "phases" in table and "small_phases" in known:
        # Phases that somebody gives are meant, however few the images.
        values.setdefault("small_phases", ())
    if {"backbone", "weights"} & table.keys() and "frozen_depth" in known:
        # How deep a preset freezes belongs to the network and the weights that it starts from.
        values.setdefault("frozen_depth", 0.0)
    return dataclasses.replace(settings, **values)


def _as(old: Any, value: Any, name: str) -> Any:
    if isinstance(old, Augmentation):
        return filled(old, value, name)
    if isinstance(old, tuple):
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    if name == "smote" and value == "pixels":
        raise RecipeError(
            "SMOTE on pixels is refused: halfway between two cells lies a picture of neither.",
            "Use smote = true, which works on the finished features.",
        )
    if isinstance(old, bool) != isinstance(value, bool):
        raise RecipeError(f"{name} = {value!r} has the wrong type.", f"It is {old!r} by default.")
    if isinstance(old, float) and isinstance(value, int):
        return float(value)
    if isinstance(old, int) and not isinstance(value, int):
        raise RecipeError(f"{name} = {value!r} is no whole number.", f"It is {old} by default.")
    return value


def plain(value: Any) -> Any:
    """Give a value as TOML can hold it."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value
