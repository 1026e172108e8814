from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from cytowell.checks import duplicates
from cytowell.checks.scan import look
from cytowell.types import Box, Dataset, Findings, Sample

Read = Callable[[Path], Dataset]
Cell = Callable[[int], Image.Image]


def flagged(found: Findings, issue: str) -> set[str]:
    return {Path(p).name for p in found.table.loc[found.table[f"is_{issue}"], "path"]}


def shifted(image: Image.Image) -> Image.Image:
    padded = np.pad(np.asarray(image), ((3, 3), (3, 3), (0, 0)), mode="edge")
    return Image.fromarray(padded[:120, 1:121])


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved anew": lambda image: image,
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "shifted": shifted,
    "smaller": lambda image: image.resize((80, 80)),
    "larger": lambda image: image.resize((300, 300)),
    "brighter": lambda image: image.point(lambda v: min(255, int(v * 1.08))),
}


def test_different_cells_are_no_copies(folder: Path, read: Read) -> None:
    found = duplicates.check(read(folder))
    assert not any(found.counts().values())
    assert set(found.duplicate_sets) == {""}


def test_byte_copies(folder: Path, read: Read) -> None:
    shutil.copyfile(folder / "a" / "a03.jpg", folder / "a" / "again.jpg")
    data = read(folder)
    found = duplicates.check(data)
    assert flagged(found, "exact_duplicate") == {"a03.jpg", "again.jpg"}
    assert found.counts()["near_duplicate"] == 0
    assert not found.excluded.any()
    sets = [s for s in found.duplicate_sets if s]
    assert len(sets) == 2
    assert len(set(sets)) == 1
    assert any("copy of a03.jpg" in w for w in found.table["why"])


@pytest.mark.parametrize("how", COPIES)
def test_near_copies_are_confirmed_on_pixels(folder: Path, read: Read, how: str) -> None:
    with Image.open(folder / "b" / "b05.jpg") as image:
        COPIES[how](image).save(folder / "b" / "near.jpg", quality=60)
    found = duplicates.check(read(folder))
    assert flagged(found, "near_duplicate") == {"b05.jpg", "near.jpg"}
    assert found.counts()["exact_duplicate"] == 0
    assert len({s for s in found.duplicate_sets if s}) == 1


@pytest.mark.parametrize("how", ["as it is", "saved anew"])
def test_one_image_under_two_labels_is_left_out(folder: Path, read: Read, how: str) -> None:
    if how == "as it is":
        shutil.copyfile(folder / "a" / "a03.jpg", folder / "b" / "other.jpg")
    else:
        Image.open(folder / "a" / "a03.jpg").save(folder / "b" / "other.jpg", quality=70)
    data = read(folder)
    found = duplicates.check(data)
    assert flagged(found, "two_labels") == {"a03.jpg", "other.jpg"}
    assert found.excluded.sum() == 2
    assert any("two labels" in r and "a03.jpg" in r for r in found.remarks)


def test_a_chain_of_near_copies_is_reported_and_not_joined(
    folder: Path, read: Read, cell: Cell
) -> None:
    wide = np.concatenate([np.asarray(cell(50 + i)) for i in range(2)], axis=1)
    for step in range(12):
        part = Image.fromarray(np.ascontiguousarray(wide[:, 6 * step : 6 * step + 120]))
        part.save(folder / "a" / f"film{step:02d}.jpg", quality=92)
    found = duplicates.check(read(folder))
    assert any("chain" in r for r in found.remarks)
    films = [
        s for s, p in zip(found.duplicate_sets, found.table["path"], strict=True) if "film" in p
    ]
    assert set(films) == {""}
    assert len({n for n in flagged(found, "near_duplicate") if "film" in n}) > 8


def test_four_copies_of_one_image_are_no_chain(folder: Path, read: Read) -> None:
    with Image.open(folder / "a" / "a01.jpg") as image:
        for i, quality in enumerate((50, 70, 95)):
            image.rotate(90 * i).save(folder / "a" / f"more{i}.jpg", quality=quality)
    found = duplicates.check(read(folder))
    assert len({s for s in found.duplicate_sets if s}) == 1
    assert sum(map(bool, found.duplicate_sets)) == 4


def test_augmented_copies_share_a_set(folder: Path, read: Read, cell: Cell) -> None:
    for i in range(3):
        cell(200 + i).save(folder / "a" / f"plate7_jpg.rf.{i:032x}.jpg")
    cell(300).save(folder / "a" / f"plate8_jpg.rf.{9:032x}.jpg")
    data = read(folder)
    found = duplicates.check(data)
    assert found.counts()["augmented"] == 3
    sets = {s for s, p in zip(found.duplicate_sets, data.paths, strict=True) if "plate7" in p}
    assert len(sets) == 1
    assert "" not in sets
    assert sum(map(bool, found.duplicate_sets)) == 3


def test_empty_pictures_are_not_near_copies_of_one_another(folder: Path, read: Read) -> None:
    draw = np.random.default_rng(1)
    for i in range(6):
        noise = 20 + draw.normal(0, 1, (120, 120, 3))
        Image.fromarray(noise.astype(np.uint8)).save(folder / "a" / f"dark{i}.png")
    assert duplicates.check(read(folder)).counts()["near_duplicate"] == 0


def test_wells_that_share_their_rim_are_not_copies(tmp_path: Path, read: Read) -> None:
    y, x = np.mgrid[:120, :120] / 120 - 0.5
    rim = 60 * np.exp(-(((np.hypot(x, y) - 0.42) / 0.02) ** 2)) + 20
    draw = np.random.default_rng(2)
    (tmp_path / "negative").mkdir()
    for i in range(40):
        noisy = rim + draw.normal(0, 4, rim.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(
            tmp_path / f"negative/{i:02d}.png"
        )
    assert duplicates.check(read(tmp_path)).counts()["near_duplicate"] == 0


def test_boxes_of_one_photograph_are_no_copies(folder: Path, read: Read) -> None:
    path = read(folder).paths[0]
    boxes = [Box(0, 0, 40, 40), Box(50, 0, 40, 40)]
    data = Dataset(
        tuple(Sample(path, label, box=box) for label, box in zip("ab", boxes, strict=True)),
        ("a", "b"),
    )
    assert not any(duplicates.check(data).counts().values())
    twice = Dataset((*data.samples, data.samples[0]), data.classes)
    assert duplicates.check(twice).counts()["exact_duplicate"] == 2
    contradicted = Dataset((data.samples[0], Sample(path, "b", box=boxes[0])), data.classes)
    assert duplicates.check(contradicted).counts()["two_labels"] == 2


def test_members_of_an_array(tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path / "cache"))
    images = np.stack([np.asarray(cell(i).resize((28, 28))) for i in range(40)])
    images[7] = images[2]
    images[9] = images[4][:, ::-1]
    np.savez(tmp_path / "set.npz", train_images=images)
    samples = tuple(Sample(f"{tmp_path}/set.npz::train_images/{i}", "a") for i in range(40))
    found = duplicates.check(Dataset(samples, ("a",)))
    assert list(np.flatnonzero(found.table["is_exact_duplicate"])) == [2, 7]
    assert list(np.flatnonzero(found.table["is_near_duplicate"])) == [4, 9]


def test_the_descriptor_is_blind_to_mirroring_and_turning(tmp_path: Path, cell: Cell) -> None:
    for o in range(8):
        turned = duplicates.oriented(np.asarray(cell(3)).transpose(2, 0, 1), o)
        Image.fromarray(np.ascontiguousarray(turned.transpose(1, 2, 0)).astype(np.uint8)).save(
            tmp_path / f"{o}.png"
        )
    samples = tuple(Sample(str(tmp_path / f"{o}.png")) for o in range(8))
    seen = look(Dataset(samples, ()))
    assert np.abs(seen.descriptors - seen.descriptors[0]).max() < 0.02


def test_blurred_strangers_are_no_copies(folder: Path, read: Read) -> None:
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            soft = image.filter(ImageFilter.GaussianBlur(4))
        soft.save(path)
    assert duplicates.check(read(folder)).counts()["near_duplicate"] == 0
