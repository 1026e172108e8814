"""A feature is computed once: by what a picture shows, not by where it lies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import cytowell
from cytowell.errors import DatasetError, StorageError
from cytowell.images import Preprocessing
from cytowell.learners.features import cached_features, content_key
from cytowell.runtime.backbone import FrozenBackbone, open_backbone
from cytowell.types import Box, Pixels, Sample
from cytowell.weights import imagenet


@pytest.fixture(scope="module")
def network() -> FrozenBackbone:
    return open_backbone(imagenet(), "imagenet")


@pytest.fixture
def run(
    network: FrozenBackbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[int], FrozenBackbone]:
    """Give how many images the network saw at each call, and the network."""
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path / "cache"))
    seen: list[int] = []
    compute = network.session.features

    def counted(pixels: Pixels, threads: int = 1) -> npt.NDArray[np.float32]:
        seen.append(len(pixels))
        return compute(pixels, threads)

    monkeypatch.setattr(network.session, "features", counted)
    return seen, network


@pytest.fixture
def samples(cells: Path, tmp_path: Path) -> list[Sample]:
    paths = cytowell.read(cells).paths[:10]
    copies = [Path(shutil.copy(p, tmp_path / f"{i}{Path(p).suffix}")) for i, p in enumerate(paths)]
    return [Sample(str(p)) for p in copies]


def ask(
    network: FrozenBackbone, samples: Sequence[Sample], record: Preprocessing | None = None
) -> npt.NDArray[np.float32]:
    return cached_features(network.session, network.digest, record or network.record, list(samples))


def test_a_second_time_costs_nothing(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample]
) -> None:
    seen, network = run
    first = ask(network, samples)
    assert sum(seen) == 10
    again = ask(network, samples)
    assert sum(seen) == 10
    assert np.array_equal(first, again)
    assert np.array_equal(ask(network, samples[::-1]), first[::-1])
    assert sum(seen) == 10


def test_only_what_is_new_is_computed(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample]
) -> None:
    seen, network = run
    ask(network, samples[:4])
    ask(network, samples)
    assert sum(seen) == 10


def test_another_name_is_the_same_picture(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample], tmp_path: Path
) -> None:
    seen, network = run
    first = ask(network, samples)
    moved = Path(shutil.copy(samples[0].path, tmp_path / "elsewhere.jpg"))
    assert np.array_equal(ask(network, [Sample(str(moved))])[0], first[0])
    assert sum(seen) == 10


def test_another_picture_under_the_same_name_is_not(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample]
) -> None:
    seen, network = run
    first = ask(network, samples)
    shutil.copy(samples[1].path, samples[0].path)
    assert np.array_equal(ask(network, samples)[0], first[1])
    assert sum(seen) == 10
    shutil.copy(Path(samples[0].path).with_name("9.jpg"), samples[0].path)
    data = bytearray(Path(samples[0].path).read_bytes())
    Path(samples[0].path).write_bytes(bytes(data) + b"\0")
    ask(network, samples)
    assert sum(seen) == 11


def test_crop_and_box_are_other_pictures(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample]
) -> None:
    seen, network = run
    whole = ask(network, samples[:2])
    tight = ask(network, samples[:2], replace(network.record, crop=0.5))
    boxed = ask(network, [replace(samples[0], box=Box(5, 5, 40, 40)), samples[1]])
    assert sum(seen) == 5
    assert not np.allclose(whole, tight)
    assert not np.allclose(whole[0], boxed[0])
    assert np.array_equal(whole[1], boxed[1])
    assert content_key(samples[0]) != content_key(replace(samples[0], box=Box(0, 0, 9, 9)))


def test_what_cannot_be_read_is_named(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample], tmp_path: Path
) -> None:
    _, network = run
    with pytest.raises(DatasetError, match=r"gone\.jpg"):
        ask(network, [*samples, Sample(str(tmp_path / "gone.jpg"))])
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no more")
    with pytest.raises(DatasetError, match=r"broken\.jpg"):
        ask(network, [*samples, Sample(str(broken))])


def test_another_picture_in_an_archive_is_noticed(tmp_path: Path) -> None:
    """The archives differ in their last image alone, far behind their first page."""
    images = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    changed = images.copy()
    changed[-1] = 0
    keys = []
    for name, array in (("a", images), ("b", changed), ("c", images)):
        np.savez(tmp_path / f"{name}.npz", train_images=array)
        paths = [f"{tmp_path / name}.npz::train_images/{i}" for i in (0, 39)]
        keys.append([content_key(Sample(p)) for p in paths])
    assert keys[0] == keys[2]
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]


def test_a_damaged_cache_says_what_to_do(
    run: tuple[list[int], FrozenBackbone], samples: list[Sample], tmp_path: Path
) -> None:
    _, network = run
    ask(network, samples)
    for store in (tmp_path / "cache" / "features").glob("*.sqlite"):
        store.write_bytes(b"this is no database" * 400)
    with pytest.raises(StorageError, match=r"cannot be used.*CYTOWELL_CACHE"):
        ask(network, samples)
