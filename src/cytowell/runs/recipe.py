"""Everything that a run decides, written down so that it can be run again."""

from __future__ import annotations

import dataclasses
import importlib.util
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tomli_w

from cytowell import registry
from cytowell import settings as declared
from cytowell.errors import RecipeError, UnknownName
from cytowell.images import READING, CellView, Preprocessing
from cytowell.learners.settings import CHECKPOINTS, CLASSICAL, Classical, Frozen
from cytowell.registry import did_you_mean
from cytowell.runs.settings import RunSettings
from cytowell.settings import is_settings, plain, setting, settings, to_toml
from cytowell.storage import write_text
from cytowell.training.recipe import PRESETS, Finetune, preset

NETWORKS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "contrastive": {"objective": "contrastive"},
}
"""Learners that train a network: their settings are a preset's, and what they change in it."""

SECTIONS: dict[str, type[Any]] = {
    **dict.fromkeys(NETWORKS, Finetune),
    "frozen": Frozen,
    **dict.fromkeys(CLASSICAL, Classical),
}
"""The table of a recipe that each learner's settings stand in, and what may stand there."""

NETWORK_FLAGS = ("epochs", "batch", "side", "rate")
"""Flags of the command line that only networks know."""


@settings
class Recipe(RunSettings):
    """What a run decides: its own fields, the canonical view of cells, the learner's settings."""

    cell: Annotated[
        CellView | None, setting("The canonical view of single stained cells; true for the usual.")
    ] = None
    settings: Annotated[Any, setting("The learner's own.")] = field(default_factory=dict)

    @property
    def reading(self) -> Preprocessing:
        """How images are read, before anything is known of the network."""
        return Preprocessing(**{name: getattr(self, name) for name in READING})

    def to_toml(self) -> str:
        """Give the recipe as text, what each field does as a remark above it."""
        top = to_toml(self, without=("settings",))
        if is_settings(self.settings):
            return f"{top}\n\n{to_toml(self.settings, self.learner)}\n"
        return f"{top}\n\n{tomli_w.dumps({self.learner: plain(self.settings)})}"

    def save(self, path: Path) -> None:
        """Write ``recipe.toml``."""
        write_text(path, self.to_toml())

    def essence(self) -> dict[str, Any]:
        """Give all that decides what a run learns, as plain values."""
        own = self.settings
        table = declared.essence(own) if is_settings(own) else own
        return {**declared.essence(dataclasses.replace(self, settings={})), "settings": table}


@dataclass(frozen=True)
class Flags:
    """What a command line says of a recipe; what is None or empty was not said.

    Attributes
    ----------
    top
        Fields of the recipe itself.
    network
        Of `NETWORK_FLAGS`.
    """

    recipe: Path | None = None
    learner: str = ""
    preset: str = ""
    backbone: str = ""
    weights: str = ""
    top: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


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
    own = {k: v for k, v in changes.items() if v is not None}
    top = {f.name for f in dataclasses.fields(Recipe)}
    table = {k: own.pop(k) for k in [*own] if k not in top}
    start = defaults(learner, preset_name)
    return Recipe(
        learner=learner,
        preset=preset_name,
        settings=filled(start, table, learner) if table else start,
        **own,
    ), said


def defaults(learner: str, preset_name: str = "standard") -> Any:
    """Give a learner's settings before anything is changed.

    A laboratory's own learner names its class of settings as `settings`; without one it takes any
    table.
    """
    if learner in NETWORKS:
        return dataclasses.replace(preset(preset_name), **NETWORKS[learner])
    if learner in SECTIONS:
        return SECTIONS[learner]()
    if learner in registry.names("learners"):
        own = getattr(registry.load("learners", learner), "settings", None)
        return own() if callable(own) and is_settings(own) else {}
    return {}


def from_flags(flags: Flags) -> tuple[Recipe, tuple[str, ...]]:
    """Give the recipe that a command line asks for, and what is to be said of it.

    A flag wins over the recipe file, or is refused; none is left out without a word.
    """
    said: list[str] = []
    if flags.recipe is not None:
        made = _from_file(flags, flags.recipe)
    else:
        made, sentence = make(flags.learner or None, flags.preset or "standard")
        said += [sentence] if sentence else []
        if flags.preset and made.learner not in NETWORKS:
            said.append(f"--preset says nothing of {made.learner}: presets are for networks.")
    made = dataclasses.replace(made, **flags.top)
    table = _table(made.learner, flags)
    if made.learner == "logistic-regression" and flags.recipe is None and not table:
        table = {"input": "features"}
        said.append(f"It looks at features of {made.settings.backbones[0]}: a bundle needs them.")
    if table:
        made = dataclasses.replace(made, settings=filled(made.settings, table, made.learner))
    if flags.network.get("side") is not None:
        made = dataclasses.replace(made, settings=_at_side(made.settings, flags.network["side"]))
    return made, tuple(said)


def _from_file(flags: Flags, file: Path) -> Recipe:
    """Read the recipe file, and refuse flags that say otherwise of whose settings it holds."""
    made = read(file, flags.learner)
    for name in ("learner", "preset"):
        wanted, has = getattr(flags, name), getattr(made, name)
        if wanted and wanted != has:
            raise RecipeError(
                f'--{name} {wanted}, and {file} is for {name} = "{has}", whose settings it holds.',
                f"Leave --{name} out, or change it in the file.",
            )
    return made


def _table(learner: str, flags: Flags) -> dict[str, Any]:
    """Give what flags say of the learner's own settings, under the names that it has for them."""
    network = learner in NETWORKS
    table = {k: v for k, v in flags.network.items() if v is not None}
    if table and not network:
        name = next(iter(table))
        raise RecipeError(
            f"--{_flag(name)} is for networks, and {learner} trains none.",
            f"Use --learner finetune, or leave --{_flag(name)} out.",
        )
    named = learner == "frozen" and flags.backbone.startswith(CHECKPOINTS)
    if flags.weights and not network and not named:
        raise RecipeError(
            f"--weights is for networks that are trained, and {learner} trains none.",
            "Give the network as --backbone FILE, or use --learner finetune.",
        )
    table.pop("side", None)
    if "batch" in table:
        table["small_batch"] = table["batch"]
    if flags.weights and network:
        table["weights"] = flags.weights
    if flags.backbone and network:
        table["backbone"] = flags.backbone
    elif flags.backbone:
        table["backbones"] = (
            f"{flags.backbone}@{flags.weights}" if flags.weights else flags.backbone,
        )
        if learner in CLASSICAL:
            table["input"] = "features"
    return table


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _at_side(own: Finetune, side: int) -> Finetune:
    try:
        return own.at_side(side)
    except RecipeError as error:
        raise RecipeError(f"--side {side} is no side of images.", "Use 32 to 4096.") from error


def read(path: Path, learner: str = "") -> Recipe:
    """Read a recipe file; what it leaves out is the preset's.

    Parameters
    ----------
    learner
        Whose settings it holds, where the file does not say.

    Raises
    ------
    RecipeError
        Naming the field that does not exist or cannot hold.
    """
    record = read_toml(path)
    chosen = record.pop("learner", None) or learner or default_learner()[0]
    table = record.pop(chosen, {}) if isinstance(chosen, str) else {}
    known = [f.name for f in dataclasses.fields(Recipe) if f.name != "settings"]
    for name, value in record.items():
        if name not in known:
            raise _unknown(path, name, value, chosen, known)
    if not isinstance(table, dict):
        raise RecipeError(
            f"{path}: {chosen} = {table!r} is no table.", f"Write settings under [{chosen}]."
        )
    if "cell" in record:
        record["cell"] = _cell_view(path, record["cell"])
    try:
        name = record.pop("preset", "standard")
        if not isinstance(name, str):
            raise RecipeError(f"preset = {name!r} is no name.", did_you_mean("", [*PRESETS]))
        base, _ = make(chosen, name)
        own = filled(base.settings, table, chosen) if table else base.settings
        return declared.changed(base, {**record, "settings": own})
    except (RecipeError, UnknownName) as error:
        raise type(error)(f"{path}: {error.problem}", error.remedy) from error


def _unknown(path: Path, name: str, value: Any, learner: str, known: Sequence[str]) -> RecipeError:
    """Give the error for a field or a table that the recipe of this learner does not have."""
    if not isinstance(value, dict):
        return RecipeError(f"{path} has a field {name!r}.", did_you_mean(name, [*known]))
    if name in registry.names("learners"):
        return RecipeError(
            f"{path} has a table [{name}], and its learner is {learner}.",
            f'Write learner = "{name}" above it, or leave the table out.',
        )
    return RecipeError(f"{path} has a table [{name}].", did_you_mean(name, [learner, "cell"]))


def _cell_view(path: Path, table: Any) -> CellView | None:
    """Read ``cell = true`` or the table ``[cell]``."""
    if isinstance(table, bool):
        return CellView() if table else None
    if not isinstance(table, dict):
        raise RecipeError(f"{path}: cell = {table!r} is no view.", "Use true, or a table [cell].")
    try:
        return declared.changed(CellView(), table, "cell.")
    except RecipeError as error:
        raise RecipeError(f"{path}: {error.problem}", error.remedy) from error


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


def filled(own: Any, table: dict[str, Any], learner: str) -> Any:
    """Lay a table of values on a learner's settings; unknown names and values are errors."""
    if isinstance(own, dict):
        return own | table
    values = dict(table)
    known = {f.name for f in dataclasses.fields(own)}
    if values.get("smote") == "pixels":
        raise RecipeError(
            "SMOTE on pixels is refused: halfway between two cells lies a picture of neither.",
            "Use smote = true, which works on the finished features.",
        )
    if "phases" in table and "small_phases" in known:
        # Phases that somebody gives are meant, however few the images.
        values.setdefault("small_phases", ())
    if {"backbone", "weights"} & table.keys() and "frozen_depth" in known:
        # How deep a preset freezes belongs to the network and the weights that it starts from.
        values.setdefault("frozen_depth", 0.0)
    return declared.changed(own, values, f"{learner}.")
