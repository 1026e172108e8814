"""The field's networks under the names that papers give them; timm builds them."""

from __future__ import annotations

from functools import partial

from cytowell.models.backbone import Backbone, Stages
from cytowell.models.build import from_timm

NAMES = {
    "efficientnet-b0": "efficientnet_b0",
    "efficientnetv2-s": "tf_efficientnetv2_s",
    "resnet-50": "resnet50",
    "mobilenet-v2": "mobilenetv2_100",
    "mobilenet-v3": "mobilenetv3_large_100",
    "vgg-16": "vgg16",
    "densenet-201": "densenet201",
    "inception-v3": "inception_v3",
    "xception": "legacy_xception",
}
"""Cytowell's name to timm's."""


def named(name: str, weights: str = "", stages: Stages | None = None) -> Backbone:
    """Build the timm network behind one of `NAMES`."""
    return from_timm(NAMES[name], weights, stages)


efficientnet_b0 = partial(named, "efficientnet-b0")
efficientnetv2_s = partial(named, "efficientnetv2-s")
resnet_50 = partial(named, "resnet-50")
mobilenet_v2 = partial(named, "mobilenet-v2")
mobilenet_v3 = partial(named, "mobilenet-v3")
vgg_16 = partial(named, "vgg-16")
densenet_201 = partial(named, "densenet-201")
inception_v3 = partial(named, "inception-v3")
xception = partial(named, "xception")
