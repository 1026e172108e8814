"""Every image of a batch is changed in its own way, and none is changed by nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cytowell.training.augment import augment
from cytowell.training.recipe import Augmentation

pytestmark = pytest.mark.torch

NONE = Augmentation(
    rotation=0, flip=False, scale=0, shift=0, brightness=0, contrast=0, saturation=0, stain=0,
    erase=0,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, side: int = 56) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    rows = [torch.stack([y * 4, x * 4, (x + y) * 2 + i], dim=2) for i in range(n)]
    return torch.stack(rows).clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize(("n", "side", "size"), [(1, 32, 32), (5, 56, 48), (16, 40, 32)])
def test_shape_range_and_layout(n: int, side: int, size: int) -> None:
    out = augment(pictures(n, side), size, Augmentation(), generator())
    assert out.shape == (n, 3, size, size)
    assert out.dtype == torch.float32
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 255
    assert out.amax(dim=(1, 2, 3)).min() > 20


@pytest.mark.parametrize("size", [56, 48, 32])
def test_without_strength_it_is_the_view_of_the_centre(size: int) -> None:
    shown = pictures(4)
    edge = (56 - size) // 2
    centre = shown[:, edge : edge + size, edge : edge + size].permute(0, 3, 1, 2).float()
    assert torch.allclose(augment(shown, size, NONE, generator()), centre, atol=0.01)


def test_the_generator_decides_all() -> None:
    shown = pictures(6)
    first = augment(shown, 48, Augmentation(), generator(1))
    torch.manual_seed(99)
    assert torch.equal(first, augment(shown, 48, Augmentation(), generator(1)))
    assert not torch.allclose(first, augment(shown, 48, Augmentation(), generator(2)))


def test_the_input_is_left_alone() -> None:
    shown = pictures(3)
    before = shown.clone()
    augment(shown, 48, Augmentation(), generator())
    assert torch.equal(shown, before)


@pytest.mark.parametrize(
    "how",
    [
        replace(NONE, rotation=180.0),
        replace(NONE, scale=0.3),
        replace(NONE, shift=0.2),
        replace(NONE, brightness=0.4),
        replace(NONE, contrast=0.4),
        replace(NONE, saturation=0.5),
        replace(NONE, stain=0.3),
        replace(NONE, erase=1.0),
    ],
    ids=["rotation", "scale", "shift", "brightness", "contrast", "saturation", "stain", "erase"],
)
def test_each_strength_changes_each_image_in_its_own_way(how: Augmentation) -> None:
    shown = pictures(1).repeat(6, 1, 1, 1)
    out = augment(shown, 48, how, generator())
    plain = augment(shown, 48, NONE, generator())
    for i in range(6):
        assert not torch.allclose(out[i], plain[i], atol=0.05)
        for j in range(i):
            assert not torch.allclose(out[i], out[j], atol=0.05)


def test_mirrors_are_mirrors() -> None:
    shown = pictures(1).repeat(32, 1, 1, 1)
    out = augment(shown, 48, replace(NONE, flip=True), generator())
    plain = augment(shown[:1], 48, NONE, generator())[0]
    turned = [torch.allclose(image, plain.flip(2), atol=0.01) for image in out]
    left = [torch.allclose(image, plain, atol=0.01) for image in out]
    assert all(a != b for a, b in zip(turned, left, strict=True))
    assert 4 < sum(turned) < 28


def test_rows_stay_where_they_are() -> None:
    levels = torch.tensor([10, 60, 120, 180, 240], dtype=torch.uint8)
    shown = levels.view(5, 1, 1, 1).expand(5, 40, 40, 3).contiguous()
    out = augment(shown, 32, replace(Augmentation(), erase=0.0), generator())
    means = out.mean(dim=(1, 2, 3))
    assert means.argsort().tolist() == [0, 1, 2, 3, 4]
    assert torch.allclose(means, levels.float(), rtol=0.5)


def test_brightness_and_stain_stay_within_what_was_said() -> None:
    grey = torch.full((64, 32, 32, 3), 128, dtype=torch.uint8)
    bright = augment(grey, 32, replace(NONE, brightness=0.2), generator()) / 128
    assert bright.min() >= 0.799
    assert bright.max() <= 1.201
    white = torch.full((8, 32, 32, 3), 255, dtype=torch.uint8)
    stained = augment(white, 32, replace(NONE, stain=0.5), generator())
    assert torch.allclose(stained, torch.full_like(stained, 255.0), atol=1.0)


def test_what_is_erased_is_a_share_of_the_picture() -> None:
    shown = torch.zeros(64, 32, 32, 3, dtype=torch.uint8)
    out = augment(shown, 32, replace(NONE, erase=1.0), generator())
    share = (out > 0).float().mean(dim=(1, 2, 3))
    assert share.max() < 0.3
    assert (share > 0).float().mean() > 0.9
    assert not augment(shown, 32, replace(NONE, erase=0.0), generator()).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_changes_images_as_the_processor_does() -> None:
    shown = pictures(6)
    here = augment(shown, 48, Augmentation(), generator(3))
    there = augment(shown.cuda(), 48, Augmentation(), generator(3))
    assert there.is_cuda
    assert float((there.cpu() - here).abs().mean()) < 0.5


def test_another_laboratory_changes_every_image_and_leaves_white_white() -> None:
    how = replace(NONE, laboratory=1.0)
    shown = pictures(12)
    out = augment(shown, 48, how, generator())
    plain = augment(shown, 48, NONE, generator())
    apart = (out - plain).abs().mean(dim=(1, 2, 3))
    assert (apart > 2).all()
    assert out.min() >= 0
    assert out.max() <= 255
    white = torch.full((64, 56, 56, 3), 245, dtype=torch.uint8)
    kept = augment(white, 48, how, generator(1)).mean(dim=(1, 2, 3))
    assert kept.min() > 170
    assert kept.median() > 215


def test_stretching_keeps_the_middle_and_the_area() -> None:
    how = replace(NONE, aspect=0.3)
    disc = torch.zeros(30, 64, 64, 3, dtype=torch.uint8)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    disc[:, ((y - 31.5) ** 2 + (x - 31.5) ** 2) < 15**2] = 255
    out = augment(disc, 64, how, generator())[:, 0] / 255
    area = out.sum(dim=(1, 2)) / (disc[0, :, :, 0].float() / 255).sum()
    assert ((area - 1).abs() < 0.06).all()
    wide = (out.amax(dim=1) > 0.5).sum(dim=1)
    assert wide.max() - wide.min() >= 4


def test_beyond_the_picture_is_what_is_said_to_be_empty() -> None:
    how = replace(NONE, scale=0.0, shift=0.4)
    black = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
    out = augment(black, 32, how, generator(), empty=245.0)
    assert out.max() > 240
    assert augment(black, 32, how, generator()).max() == 0
