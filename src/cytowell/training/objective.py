"""What a step is punished for: the classes, and what the recipe asks beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pytorch_metric_learning.losses import CrossBatchMemory, SupConLoss
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cytowell.models.classifier import Answers
from cytowell.training.recipe import Finetune
from cytowell.types import FloatArray, IntArray


class Objective:
    """Gives the loss of a step's answers.

    Parameters
    ----------
    labels, second_labels
        Class and sub-class of every sample that is learnt from, -1 for an unknown sub-class.
    classes
        C.
    soft
        What teachers say of every sample that is learnt from, (N, C) of sums 1; None without.
    """

    def __init__(
        self,
        settings: Finetune,
        labels: IntArray,
        second_labels: IntArray,
        classes: int,
        device: Any,
        soft: FloatArray | None = None,
    ) -> None:
        self.settings = settings
        self.labels, self.second_labels = labels, second_labels
        self.device = device
        self.weights = None
        if settings.class_weights == "balanced":
            self.weights = class_weights(labels, classes).to(device)
        self.soft = None if soft is None else torch.from_numpy(soft).float()
        self.contrast = Contrast(settings) if settings.objective == "contrastive" else None

    def __call__(self, answers: Answers, rows: IntArray, step: int) -> Tensor:
        """Give the loss, a number; `rows` are the samples, as often as they were shown."""
        s = self.settings
        truth = torch.from_numpy(self.labels[rows]).to(self.device)
        loss = self._classes(answers.logits.float(), truth)
        if self.soft is not None:
            told = distillation(
                answers.logits.float(), self.soft[rows].to(self.device), s.teacher_temperature
            )
            loss = (1 - s.teacher_weight) * loss + s.teacher_weight * told
        if answers.second is not None:
            loss = loss + self._subclasses(answers.second.float(), rows)
        if answers.repainted is not None:
            loss = loss + s.reconstruction * answers.repainted
        if self.contrast is not None and answers.embedding is not None:
            loss = loss + self.contrast(answers.embedding.float(), truth, step)
        return loss

    def _classes(self, logits: Tensor, truth: Tensor) -> Tensor:
        s = self.settings
        if s.loss == "focal":
            return focal(logits, truth, s.focal_gamma, self.weights)
        return F.cross_entropy(logits, truth, self.weights, label_smoothing=s.label_smoothing)

    def _subclasses(self, second: Tensor, rows: IntArray) -> Tensor:
        finer = torch.from_numpy(self.second_labels[rows]).to(self.device)
        if not bool((finer >= 0).any()):
            return 0.0 * second.sum()
        smoothing = self.settings.label_smoothing
        found = F.cross_entropy(second, finer, ignore_index=-1, label_smoothing=smoothing)
        return self.settings.subclass_weight * found


class Contrast:
    """Supervised contrastive loss with a memory of earlier embeddings.

    Khosla et al. 2020 (arXiv 2004.11362), equation 2; the memory (Wang et al. 2020, arXiv
    1912.06798) stands in for the thousands of images a batch that a small machine cannot hold. It
    is used once the warm-up is over, when embeddings have stopped moving fast.
    """

    def __init__(self, s: Finetune) -> None:
        self.plain: Any = SupConLoss(temperature=s.temperature)
        self.remembering: Any = self.plain
        if s.memory:
            self.remembering = CrossBatchMemory(
                SupConLoss(temperature=s.temperature), s.projection, memory_size=s.memory
            )
        self.begins = s.warmup * s.steps

    def __call__(self, embedding: Tensor, truth: Tensor, step: int) -> Tensor:
        """Give the loss of embeddings (N, P) of length 1 with class indices (N,)."""
        chosen = self.plain if step < self.begins else self.remembering
        loss: Tensor = chosen(embedding, truth)
        return loss


def distillation(logits: Tensor, told: Tensor, temperature: float) -> Tensor:
    """Give how far logits (N, C) are from probabilities (N, C), both evened out by a temperature.

    Hinton et al. 2015 (arXiv 1503.02531), section 2: the divergence of Kullback and Leibler times
    the squared temperature, so that gradients keep their size.
    """
    wanted = torch.log_softmax(torch.log(told.clamp_min(1e-6)) / temperature, dim=1)
    own = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * F.kl_div(own, wanted, reduction="batchmean", log_target=True)


def focal(logits: Tensor, truth: Tensor, gamma: float, weights: Tensor | None) -> Tensor:
    """Give the focal loss: what is called rightly and surely counts little.

    Lin et al. 2017 (arXiv 1708.02002), equation 4, for many classes.
    """
    log = F.log_softmax(logits, dim=1).gather(1, truth[:, None])[:, 0]
    lost = -((1 - log.exp()) ** gamma) * log
    if weights is None:
        return lost.mean()
    mine = weights[truth]
    return (lost * mine).sum() / mine.sum()


def class_weights(labels: IntArray, classes: int) -> Tensor:
    """Give weights inverse to class frequency, 1 on average over the samples; (C,)."""
    counts = np.bincount(labels, minlength=classes)
    return torch.from_numpy(len(labels) / (classes * np.maximum(counts, 1))).float()
