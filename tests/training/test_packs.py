"""Images are decoded once, and never skipped."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import cytowell
from cytowell.errors import DatasetError, StorageError
from cytowell.images import Preprocessing, load
from cytowell.storage import cache_folder
from cytowell.training import packs
from cytowell.training.packs import SHORTER_SIDE, around, pack
from cytowell.types import Dataset, Sample

pytestmark = pytest.mark.torch

RECORD = Preprocessing(size=32)


@pytest.fixture
def dataset(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path / "cache"))
    paths = cytowell.read(cells).paths[:6]
    copies = [shutil.copy(p, tmp_path / f"{i}{Path(p).suffix}") for i, p in enumerate(paths)]
    return Dataset(tuple(Sample(str(p), "ab"[i % 2]) for i, p in enumerate(copies)), ("a", "b"))


def test_rows_are_the_samples(dataset: Dataset) -> None:
    pixels = pack(dataset, RECORD)
    assert pixels.shape == (6, 32, 32, 3)
    assert pixels.dtype == np.uint8
    for row, sample in zip(pixels, dataset.samples, strict=True):
        assert np.array_equal(row, load(sample, RECORD))


def test_a_second_time_decodes_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    first = np.array(pack(dataset, RECORD, said.append))
    monkeypatch.setattr(packs, "load_many", lambda *given: pytest.fail("decoded again"))
    assert np.array_equal(pack(dataset, RECORD, said.append), first)
    assert said == ["reading 6 images at 32 px"]


def test_another_order_size_or_picture_is_another_pack(dataset: Dataset) -> None:
    first = np.array(pack(dataset, RECORD))
    assert np.array_equal(pack(dataset.take([5, 0]), RECORD), first[[5, 0]])
    assert pack(dataset, Preprocessing(size=40)).shape == (6, 40, 40, 3)
    shutil.copy(dataset.paths[1], dataset.paths[0])
    os.utime(dataset.paths[0], ns=(1, 1))
    assert np.array_equal(pack(dataset, RECORD)[0], first[1])


@pytest.mark.parametrize("fault", ["gone", "text"])
def test_an_image_that_cannot_be_read_stops_it(dataset: Dataset, fault: str) -> None:
    file = Path(dataset.paths[3])
    file.unlink()
    if fault == "text":
        file.write_text("no picture", encoding="utf-8")
    with pytest.raises(DatasetError, match=file.name):
        pack(dataset, RECORD)
    assert not list((cache_folder() / "packs").glob("*"))


def test_a_full_disk_is_said(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("cytowell.training.packs.shutil.disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(StorageError, match="full"):
        pack(dataset, RECORD)


def test_the_oldest_make_room(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(dataset, RECORD)
    monkeypatch.setattr(packs, "KEPT_BYTES", 3 * 6 * 40 * 40)
    pack(dataset, Preprocessing(size=40))
    kept = list((cache_folder() / "packs").glob("*.npy"))
    assert [np.load(k).shape[1] for k in kept] == [40]


def test_what_lies_around_is_in_the_pack() -> None:
    tight = around(Preprocessing(size=160, crop=0.8), 96)
    assert (tight.size, tight.crop) == (120, SHORTER_SIDE)
    tighter = around(Preprocessing(size=160, crop=0.5), 96)
    assert (tighter.size, tighter.crop) == (144, 0.75)
    whole = around(Preprocessing(size=160), 96)
    assert (whole.size, whole.crop) == (96, 1.0)
