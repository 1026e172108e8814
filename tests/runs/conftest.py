"""Synthetic sets and the runs on them, made once; a test that changes a run copies it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import cytowell
from cytowell.runs.recipe import Recipe, make
from cytowell.runs.run import Run
from cytowell.sources.samples import write_samples
from cytowell.types import Dataset

QUICK: dict[str, Any] = {
    "backbones": ("imagenet",),
    "crops": (1.0,),
    "strengths": (0.003, 0.03),
}


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


def three_classes(folder: Path) -> Dataset:
    dataset = cytowell.read(folder)
    classes = dataset.classes[-3:]
    return replace(dataset.take([s.label in classes for s in dataset.samples]), classes=classes)


@pytest.fixture(scope="session")
def plenty(kept: Path) -> Dataset:
    """Give 36 pictures of each of three classes, twelve slides: enough to hold some back."""
    six = three_classes(write_samples(kept / "plenty", "cells", 36)["cells"])
    halves = [replace(s, group=f"{s.group}{'ab'[i % 2]}") for i, s in enumerate(six.samples)]
    return replace(six, samples=tuple(halves))


@pytest.fixture(scope="session")
def few(kept: Path) -> Dataset:
    """Give 12 pictures of each of three classes, two slides a class."""
    return three_classes(write_samples(kept / "few", "cells", 12)["cells"])


@pytest.fixture(scope="session")
def frozen() -> Recipe:
    return make("frozen", **QUICK)[0]


@pytest.fixture(scope="session")
def plain(plenty: Dataset, frozen: Recipe, kept: Path) -> Run:
    return cytowell.train(plenty, kept / "plain", frozen)


@pytest.fixture(scope="session")
def scarce(few: Dataset, frozen: Recipe, kept: Path) -> Run:
    return cytowell.train(few, kept / "scarce", frozen)
