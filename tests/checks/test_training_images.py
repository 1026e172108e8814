"""Images that taught a network are found again, and strangers are not taken for them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cytowell.checks.training_images import TrainingImages, find, record

Cell = Callable[[int], Image.Image]
F = Image.Transpose

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved anew": lambda image: _jpeg(image, 50),
    "resized": lambda image: image.resize((70, 70)),
    "mirrored": lambda image: image.transpose(F.FLIP_LEFT_RIGHT),
    "turned": lambda image: _jpeg(image.transpose(F.ROTATE_90), 80),
    "transposed": lambda image: image.transpose(F.TRANSPOSE),
    "shifted": lambda image: _shifted(image, 7, -4),
    "shifted by half a pixel": lambda image: _shifted(image.resize((240, 240)), 5, 3),
    "brighter": lambda image: image.point(lambda v: min(255, v + 12)),
    "cut to its middle": lambda image: image.crop((27, 27, 93, 93)),
    "cut to its middle and small": lambda image: image.crop((27, 27, 93, 93)).resize((28, 28)),
}


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    held = io.BytesIO()
    image.save(held, "JPEG", quality=quality)
    return Image.open(io.BytesIO(held.getvalue()))


def _shifted(image: Image.Image, x: int, y: int) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, y))


def _saved(images: list[Image.Image], folder: Path, suffix: str = "png") -> list[str]:
    folder.mkdir(exist_ok=True)
    paths = [str(folder / f"{i:03d}.{suffix}") for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        image.save(path)
    return paths


@pytest.fixture
def taught(cell: Cell, tmp_path: Path) -> list[str]:
    return _saved([cell(i) for i in range(24)], tmp_path / "taught")


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_of_a_training_image_is_found(name: str, taught: list[str], tmp_path: Path) -> None:
    copies = _saved([COPIES[name](Image.open(p)).convert("RGB") for p in taught], tmp_path / "c")
    found = find(record(taught), copies)
    assert not found.exact.any()
    assert found.near.all(), np.flatnonzero(~found.near)


def test_the_file_itself_is_found_by_its_content_under_any_name(
    taught: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "another name.png"
    other.write_bytes(Path(taught[3]).read_bytes())
    found = find(record(taught), [str(other), str(other)])
    assert found.exact.all()
    assert not found.near.any()


def test_images_of_other_cells_are_not_found(cell: Cell, taught: list[str], tmp_path: Path) -> None:
    others = _saved([cell(1000 + i) for i in range(60)], tmp_path / "others")
    assert not find(record(taught), others).either.any()


def test_a_picture_with_nothing_on_it_is_a_copy_of_nothing_but_itself(tmp_path: Path) -> None:
    plain = [Image.new("RGB", (60, 60), (v, v, v)) for v in (200, 201)]
    one, other = _saved(plain, tmp_path / "plain")
    known = record([one])
    assert find(known, [one]).exact.all()
    assert not find(known, [other]).either.any()


def test_what_cannot_be_read_taught_nothing_and_is_not_found(
    taught: list[str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    known = record([*taught, str(broken)])
    assert len(known) == len(taught)
    assert not find(known, [str(broken), str(tmp_path / "gone.jpg")]).either.any()


def test_a_record_takes_64_bytes_a_photograph_and_is_the_same_read_back(taught: list[str]) -> None:
    known = record([*taught, taught[0]])
    arrays = known.arrays()
    assert sum(a.nbytes for a in arrays.values()) == 64 * len(taught)
    again = TrainingImages.from_arrays(arrays)
    assert again is not None
    assert find(again, taught).exact.all()
    assert TrainingImages.from_arrays({}) is None
    with pytest.raises(ValueError, match="do not fit"):
        TrainingImages.from_arrays(arrays | {"training_low": arrays["training_low"][1:]})


def test_the_record_of_both_holds_the_photographs_of_each_once(taught: list[str]) -> None:
    both = record(taught[:15]).joined(record(taught[10:]))
    assert len(both) == len(taught)
    assert find(both, taught).exact.all()
    assert (np.diff(both.content.astype(object)) > 0).all()
    assert len(both.joined(None)) == len(both)


def test_the_order_of_the_photographs_does_not_matter(taught: list[str]) -> None:
    one, other = record(taught).arrays(), record(taught[::-1]).arrays()
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_bloodmnist_is_found_by_a_record_of_the_photographs_that_it_was_cut_from(
    data: Path, tmp_path: Path
) -> None:
    photographs = sorted((data / "pbc").glob("*/*.jpg"))
    taught, others = photographs[::130][:40], photographs[7::130][:40]
    images = []
    for path in (*taught, *others):
        whole = Image.open(path)
        left, top = (whole.width - 200) // 2, (whole.height - 200) // 2
        images.append(whole.crop((left, top, left + 200, top + 200)).resize((28, 28)))
    array = tmp_path / "bloodmnist.npz"
    np.savez(array, train_images=np.stack([np.asarray(i) for i in images]))
    paths = [f"{array}::train_images/{i}" for i in range(len(images))]
    found = find(record([str(p) for p in taught]), paths)
    assert found.near[: len(taught)].all()
    assert not found.either[len(taught) :].any()
