"""Photographs of two kinds are found where nobody named groups, and labels that miss one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cytowell
from cytowell.checks.kinds import kinds_of, two_kinds
from cytowell.checks.labelled import difference, in_a_row
from cytowell.checks.scan import look
from cytowell.types import Dataset, Findings, Sample


def written(folder: Path, tints: list[tuple[int, int, int]], model: str = "") -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for i, tint in enumerate(tints):
        pixels = np.array(tint) + rng.normal(0, 3, 3) + rng.normal(0, 12, (48, 48, 3))
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        exif = Image.Exif()
        if model:
            exif[272] = model if i % 2 else "another"
        paths.append(str(folder / f"{rng.integers(10**9):09}.png"))
        image.save(paths[-1], exif=exif)
    return paths


PINK, BLUE = (200, 130, 150), (130, 140, 210)


def checked(paths: list[str], labels: Sequence[str | None]) -> Findings:
    samples = tuple(Sample(p, label) for p, label in zip(paths, labels, strict=True))
    classes = tuple(sorted({label for label in labels if label}))
    return cytowell.check(Dataset(samples, classes))


def test_labels_of_one_stain_of_two_are_told(tmp_path: Path) -> None:
    paths = written(tmp_path, [PINK] * 20 + [BLUE] * 20)
    found = checked(paths, ["a", "b"] * 10 + [None] * 20)
    assert any("2 kinds of stain" in s and "all labelled ones are of one" in s
               for s in found.cautions)  # fmt: skip
    assert set(found.kinds[:20]) != set(found.kinds[20:])
    assert found.frame()["kind"].tolist() == list(found.kinds)
    assert Findings.from_frame(found.frame()).kinds == found.kinds


def test_a_stain_that_goes_with_the_class_is_no_kind(tmp_path: Path) -> None:
    paths = written(tmp_path, [PINK] * 20 + [BLUE] * 20)
    assert checked(paths, ["a"] * 20 + ["b"] * 20).kinds == ()
    assert checked(paths, ["a", "b"] * 20).kinds != ()


def test_two_cameras_are_two_kinds(tmp_path: Path) -> None:
    paths = written(tmp_path, [PINK] * 24, model="Scope 9")
    data = Dataset(tuple(Sample(p, "ab"[i // 2 % 2]) for i, p in enumerate(paths)), ("a", "b"))
    what, kinds = kinds_of(data, look(data))
    assert what == "camera"
    assert set(kinds) == {"Scope 9", "another"}
    named = Dataset(tuple(Sample(p, "a", "slide") for p in paths), ("a",))
    assert kinds_of(named, look(named))[0] == "", "groups that are named need no looking for"


@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_photographs_of_one_kind_are_not_parted(draw: str) -> None:
    rng = np.random.default_rng(0)
    parted = [two_kinds(getattr(rng, draw)(size=n)) is not None
              for n in (20, 50, 200) for _ in range(100)]  # fmt: skip
    assert np.mean(parted) < 0.03


def test_labels_at_random_raise_no_alarm_and_others_do() -> None:
    rng = np.random.default_rng(1)
    alarms, rows, found, first = [], [], [], []
    for _ in range(60):
        values = rng.normal(size=(120, 6))
        labelled = rng.permutation(120) < 30
        names = tuple(f"d/{i}.png" for i in range(120))
        alarms.append(difference(values, labelled)[0] <= 0.05)
        rows.append(in_a_row(names, labelled) <= 0.05)
        values[labelled, 2] += 1.2
        p, at, higher = difference(values, labelled)
        found.append(p <= 0.05 and at == 2 and higher)
        first.append(in_a_row(names, np.arange(120) < 30) <= 0.05)
    assert np.mean(alarms) <= 0.12
    assert np.mean(rows) <= 0.12
    assert np.mean(found) > 0.95
    assert all(first)
