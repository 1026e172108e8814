"""Every network looks the same from outside: uint8 in, means of maps out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import timm
import torch

from cytowell.errors import RecipeError, UnknownName
from cytowell.models.backbone import UNNORMED, Backbone, Provenance, Stages, taps_of, timm_body
from cytowell.models.build import build
from cytowell.models.classifier import Classifier

pytestmark = pytest.mark.torch

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def backbone(name: str, stages: Stages | None = None, **given: Any) -> Backbone:
    torch.manual_seed(0)
    body = timm.create_model(name, pretrained=False, num_classes=0, **given)
    return Backbone(body, MEAN, STD, Provenance(name, "chance", "none"), stages).eval()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("tf_efficientnet_lite0", ("8", "16", "32", "last")),
        ("resnet18", ("8", "16", "last")),
        ("test_vit", ("last",)),
    ],
)
def test_taps_are_the_stages_that_a_network_has(name: str, names: tuple[str, ...]) -> None:
    assert taps_of(backbone(name).body).names == names


@torch.no_grad()
def test_maps_end_with_the_one_whose_means_are_the_features() -> None:
    network = backbone("tf_efficientnet_lite0")
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    normalised = network.normalise(pixels)
    maps = network.maps(normalised)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (40, 8, 8),
        (112, 4, 4),
        (320, 2, 2),
        (1280, 2, 2),
    ]
    assert torch.allclose(network.pooled(normalised), maps[-1].mean(dim=(2, 3)), atol=1e-5)
    alone = Backbone(network.body, MEAN, STD, network.provenance, Stages())
    assert [m.shape for m in alone.maps(normalised)] == [maps[-1].shape]


def test_normalisation_is_by_channel_and_of_any_type() -> None:
    network = backbone("test_efficientnet")
    pixels = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    normalised = network.normalise(pixels)
    assert normalised[0, :, 0, 0].tolist() == pytest.approx(
        [(128 - m) / s for m, s in zip(MEAN, STD, strict=True)]
    )
    assert torch.equal(normalised, network.normalise(pixels.float()))


@torch.no_grad()
def test_channels_are_put_first_where_a_network_has_them_last() -> None:
    network = backbone("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=24)
    normalised = network.normalise(torch.zeros(1, 3, 224, 224))
    last = network.maps(normalised)[-1]
    assert last.shape == (1, 192, 7, 7)
    assert torch.allclose(network.pooled(normalised), last.mean(dim=(2, 3)), atol=1e-5)


@torch.no_grad()
def test_tokens_are_pooled_as_the_network_itself_does() -> None:
    network = backbone("test_vit")
    normalised = network.normalise(torch.rand(2, 3, 160, 160) * 255)
    assert network.maps(normalised)[0].ndim == 3
    features = network.pooled(normalised)
    assert features.shape == (2, network.body.num_features)
    assert torch.allclose(features, network.body(normalised), atol=1e-5)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "test_vit", "test_convnext"])
def test_depth_runs_from_stem_to_last_over_every_parameter_once(name: str) -> None:
    network = backbone(name)
    groups = list(network.depth_groups())
    depths = [layers.depth for layers in groups]
    assert depths[0] == 0
    assert depths[-1] == 1
    assert depths == sorted(set(depths))
    found = [id(p) for p in itertools.chain.from_iterable(g.parameters for g in groups)]
    assert sorted(found) == sorted(id(p) for p in network.body.parameters())
    stem = next(iter(network.body.parameters()))
    assert any(p is stem for p in groups[0].parameters)
    normed = name in ("tf_efficientnet_lite0", "resnet18")
    assert {layers.pace for layers in groups} == {1.0 if normed else UNNORMED}


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="resnet-50"):
        build("resnet5O")
    with pytest.raises(UnknownName, match="efficientnet"):
        build("efficientnet-lite0x")


def test_what_timm_cannot_build_is_a_recipe_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise TypeError("no such thing")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(RecipeError, match="no such thing"):
        timm_body("resnet18")


@torch.no_grad()
def test_a_classifier_has_a_second_head_where_there_are_subclasses() -> None:
    network = Classifier(backbone("test_efficientnet"), 256, 3, 5).eval()
    image = torch.randint(0, 256, (4, 3, 48, 48), dtype=torch.uint8)
    logits, second = network(image)[:2]
    assert logits.shape == (4, 3)
    assert second is not None
    assert second.shape == (4, 5)
    assert Classifier(backbone("test_efficientnet"), 256, 3)(image)[1] is None
    weight, bias = torch.randn(3, 256).double().numpy(), torch.randn(3).double().numpy()
    network.set_head(weight, bias)
    features = network.backbone.pooled(network.backbone.normalise(image)).double().numpy()
    assert network(image)[0].numpy() == pytest.approx(features @ weight.T + bias, abs=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("views", [2, 4])
def test_views_are_averaged_after_their_maps_are_turned_back(views: int) -> None:
    network = backbone("test_efficientnet")
    image = torch.randn(3, 3, 64, 96)
    one = network.maps(image)[-1]
    network.views = views
    flips = [(), (3,), (2,), (2, 3)][:views]
    alone = Backbone(network.body, MEAN, STD, network.provenance, Stages()).eval()
    apart = [alone.maps(image.flip(f) if f else image)[0] for f in flips]
    wanted = torch.stack([m.flip(f) if f else m for m, f in zip(apart, flips, strict=True)]).mean(0)
    assert torch.allclose(network.maps(image)[-1], wanted, atol=1e-5)
    assert torch.allclose(network.pooled(image), wanted.mean(dim=(2, 3)), atol=1e-5)
    assert not torch.allclose(one, wanted, atol=1e-3)
    mirrored = network.pooled(image.flip(3))
    assert torch.allclose(mirrored, network.pooled(image), atol=1e-4)


@torch.no_grad()
def test_views_of_a_network_without_maps_are_averaged_too() -> None:
    network = backbone("test_vit", Stages())
    image = torch.randn(2, 3, 160, 160)
    both = [network.pooled(image), network.pooled(image.flip(3))]
    network.views = 2
    assert torch.allclose(network.pooled(image), torch.stack(both).mean(0), atol=1e-5)


def test_a_u_net_paints_its_image_again_while_it_learns() -> None:
    torch.manual_seed(0)
    network = Classifier(build("unet", "nothing"), 288, 2).train()
    images = torch.rand(2, 3, 50, 50) * 255  # 50 is halved to 25, 13 and 7: borders are repeated
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    errors = []
    for _ in range(12):
        answer = network(images)
        assert answer.repainted is not None
        optimizer.zero_grad()
        answer.repainted.backward()
        optimizer.step()
        errors.append(float(answer.repainted.detach()))
    assert errors[-1] < 0.5 * errors[0]
    answer = network.eval()(images)
    assert answer.repainted is None
    assert answer.logits.shape == (2, 2)
    maps = network.backbone.last_maps(network.backbone.normalise(images))
    assert [tuple(m.shape) for m in maps] == [(2, 32, 25, 25), (2, 256, 4, 4)]
