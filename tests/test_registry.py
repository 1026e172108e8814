from __future__ import annotations

import functools
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cytowell import registry
from cytowell.errors import MissingExtra, UnknownName
from cytowell.types import Dataset

TORCH_ROOMS = ("cytowell.training", "cytowell.models", "cytowell.export")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, parts in registry.TABLE.items()
        for name, reference in parts.items()
        if not reference.startswith(TORCH_ROOMS)
    ],
)
def test_every_part_of_a_plain_install_can_be_loaded(kind: str, name: str) -> None:
    part = registry.load(kind, name)
    asked = {"learners": "fit", "writers": "write"}
    assert callable(getattr(part, asked[kind]) if kind in asked else part)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, parts in registry.TABLE.items()
        for name, reference in parts.items()
        if reference.startswith(TORCH_ROOMS)
    ],
)
def test_every_part_of_the_train_extra_can_be_loaded(kind: str, name: str) -> None:
    pytest.importorskip("torch")
    assert registry.load(kind, name) is not None


def test_a_wrong_name_gets_the_nearest_right_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'frozen'") as told:
        registry.load("learners", "frosen")
    assert "finetune" in told.value.remedy
    assert "Did you mean" not in registry.did_you_mean("xyz", ["frozen"])


def test_a_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[train\]'") as told:
        registry.part("tensorboard.main:run_main", "cytowell board")
    assert "'cytowell board' needs tensorboard" in told.value.problem


def test_a_module_that_is_nobodys_extra_is_a_fault_and_not_a_remedy() -> None:
    with pytest.raises(ModuleNotFoundError):
        registry.part("no_such_package:read")


def test_a_laboratorys_own_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file with one function and an entry point: listed and used, and shadows nothing."""
    (tmp_path / "our_microscope.py").write_text(
        "from cytowell.types import Dataset, Sample\n"
        "def read(path):\n"
        "    return Dataset((Sample('a.png', 'a'), Sample('b.png', 'b')), ('a', 'b'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    group = "cytowell.sources"
    own = [
        EntryPoint("our-microscope", "our_microscope:read", group),
        EntryPoint("npz", "our_microscope:read", group),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: own if "sources" in group else [])
    looked_up = functools.cache(registry._outside.__wrapped__)
    monkeypatch.setattr(registry, "_outside", looked_up)
    assert registry.names("sources")["our-microscope"] == "our_microscope:read"
    assert registry.names("sources")["npz"] == registry.TABLE["sources"]["npz"]
    assert "our-microscope" not in registry.names("checks")
    from cytowell.sources import read

    found: Dataset = read(tmp_path, "our-microscope")
    assert found.classes == ("a", "b")
