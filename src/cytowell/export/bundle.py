"""A fine-tuned network as the makings of a bundle."""

from __future__ import annotations

import numpy as np

from cytowell.evaluation.calibration import UNKNOWN, Expected
from cytowell.export.onnx import round_to_half, to_onnx
from cytowell.export.parity import prove
from cytowell.learners.contract import Makings
from cytowell.models.classifier import Classifier
from cytowell.runtime.bundle import MapSlice
from cytowell.runtime.head import Head, SubclassHead
from cytowell.runtime.session import Session
from cytowell.training.finetune import Trained
from cytowell.training.recipe import Finetune
from cytowell.types import FloatArray, Pixels

SMOOTHED, SMOOTHED_DOUBT = 0.6, 0.3
"""Temperature at a label smoothing of 0.1. PBC's 597 validation images gave 0.44 to 0.50 for
networks that are right on 98 to 99 %; 0.74 would have been best for one that is right on 91 %."""


def export(trained: Trained, pixels: Pixels) -> Makings:
    """Export a network and prove it on real images.

    Parameters
    ----------
    pixels
        Real images as the network takes them, uint8 (N, size, size, 3).

    Raises
    ------
    ParityError
        If ONNX Runtime computes something else than PyTorch.
    """
    network = trained.network
    backbone = network.backbone
    backbone.fit_to(trained.record.size)
    if trained.settings.half:
        round_to_half(backbone)
    exported = to_onnx(backbone, trained.record.size, trained.settings.half)
    head = _head(network, exported.maps)
    session = Session(exported.model, "the exported backbone")
    parity = prove(network, session, head, pixels)
    origin = backbone.provenance
    return Makings(
        model=exported.model,
        maps=exported.maps,
        record=trained.record,
        head=head,
        classes=trained.classes,
        architecture=origin.architecture,
        weights=origin.weights,
        licence=origin.licence,
        curve=trained.curve,
        remarks=(*trained.remarks, f"PyTorch against ONNX Runtime: {parity}."),
        balance=_refit(trained.settings),
        expected=_expected(trained.settings),
        subclasses=_subclass_head(trained, exported.maps),
        evened=_evened(trained.settings),
    )


def _expected(settings: Finetune) -> Expected:
    """Give the temperature that smoothed labels need: they teach a network to be less sure.

    With a smoothing of 0.1, bundles whose validation part was large needed about `SMOOTHED`. What
    teachers need beside it is not known.
    """
    if _refit(settings) or not settings.label_smoothing or settings.teachers:
        return UNKNOWN
    return Expected(SMOOTHED ** (settings.label_smoothing / 0.1), SMOOTHED_DOUBT)


def _evened(settings: Finetune) -> int:
    """Count how often classes were weighted by the inverse of their share."""
    if _refit(settings):
        return int(settings.smote)
    balanced = (settings.class_weights == "balanced", settings.sampling == "balanced")
    return sum(balanced)


def _refit(settings: Finetune) -> str:
    """Say how the head is fitted anew on finished features, "" where it stands."""
    if settings.smote:
        return "smote"
    return "none" if settings.objective == "contrastive" else ""


def _head(network: Classifier, maps: tuple[MapSlice, ...]) -> Head:
    """Give the head on all features: it was trained on the last ones, the others weigh nothing."""
    weight = network.head.weight.detach().numpy().astype(np.float64)
    bias = network.head.bias.detach().numpy().astype(np.float64)
    return Head(_on_all_maps(weight, maps), bias)


def _subclass_head(trained: Trained, maps: tuple[MapSlice, ...]) -> SubclassHead | None:
    """Give the head of sub-classes, None where no class has two."""
    second = trained.network.second
    parents = [parent for _, parent in trained.subclasses]
    if second is None or len(set(parents)) == len(parents):
        return None
    weight = second.weight.detach().numpy().astype(np.float64)
    bias = second.bias.detach().numpy().astype(np.float64)
    return SubclassHead(trained.subclasses, Head(_on_all_maps(weight, maps), bias))


def _on_all_maps(weight: FloatArray, maps: tuple[MapSlice, ...]) -> FloatArray:
    if not maps:
        return weight
    full = np.zeros((len(weight), maps[-1].stop))
    full[:, full.shape[1] - weight.shape[1] :] = weight
    return full
