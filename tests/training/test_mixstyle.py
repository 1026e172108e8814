"""Styles are exchanged while a network trains, and never else."""

from __future__ import annotations

import copy

import pytest
import timm
import torch

from cytowell.training.mixstyle import attach, mixed

pytestmark = pytest.mark.torch


def test_each_map_keeps_its_shape_and_takes_a_style_between_two() -> None:
    torch.manual_seed(0)
    maps = torch.randn(6, 4, 8, 8) * torch.arange(1, 7).view(6, 1, 1, 1) + torch.arange(6).view(
        6, 1, 1, 1
    )
    out = mixed(maps)
    means, before = out.mean(dim=(2, 3)), maps.mean(dim=(2, 3))
    assert (means >= before.min(dim=0).values - 1e-4).all()
    assert (means <= before.max(dim=0).values + 1e-4).all()
    normed = (out - out.mean(dim=(2, 3), keepdim=True)) / out.std(dim=(2, 3), keepdim=True)
    own = (maps - maps.mean(dim=(2, 3), keepdim=True)) / maps.std(dim=(2, 3), keepdim=True)
    assert torch.allclose(normed, own, atol=1e-3)


def test_nothing_is_exchanged_where_nothing_is_learned() -> None:
    body = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    image = torch.randn(4, 3, 64, 64)
    plain = body.eval()(image)
    attach(body, 1.0)
    assert torch.equal(body.eval()(image), plain)
    again = copy.deepcopy(body).train()
    torch.manual_seed(1)
    assert not torch.allclose(again(image), copy.deepcopy(again)(image))
