"""Linear probe, then fine-tuning (LP-FT): the head is right before the body may move.

Kumar et al. 2022 (arXiv 2202.10054): starting from a fitted head keeps pretrained features from
being distorted, and gains most on images of another origin.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric

from cytowell.errors import NotEnoughMemory
from cytowell.images import Preprocessing
from cytowell.images.cell import WHITE
from cytowell.learners.contract import Curve, Task
from cytowell.learners.linear import fit_head, folds, out_of_fold
from cytowell.models.build import build
from cytowell.models.classifier import Classifier
from cytowell.settings import essence
from cytowell.sources.names import kinds
from cytowell.training import rate_finder
from cytowell.training.loop import Job, Material, train
from cytowell.training.memory import FEWEST, halved, is_memory, too_little
from cytowell.training.mixstyle import attach
from cytowell.training.packs import around, pack
from cytowell.training.processes import keep_memory
from cytowell.training.recipe import Finetune
from cytowell.training.sides import fitting_phases
from cytowell.training.teachers import opened, taught
from cytowell.types import Dataset, Pixels

CENTRES = (0.83, 0.7, 0.6, 0.5)
"""The centres that `crop = "auto"` weighs against the whole picture: a cell in the middle of its
picture is larger in them, and it is worth most where few images are learnt from."""

CROP_SIDE = 128
"""Side at which the crop is weighed, if the network takes it: vision transformers take one only."""

STILL = 1e-3
"""Features that vary by less than this share of their mean say nothing; those of networks that
have learnt, and of most that have not, vary by a hundredth and more."""

UNHELD = 128
"""Training images that stand for a validation part where none is held back: they end a training
that has come apart, and choose nothing else."""

NONE_HELD = (
    "No image was held back from the training: the last average of its weights stands, and there "
    "is no curve of a validation part."
)

PROBED = 1500
"""Images that a linear probe looks at: enough to start from, seconds to read."""


@dataclass(frozen=True)
class Trained:
    """A network that has learnt, and how it wants its images."""

    network: Classifier
    record: Preprocessing
    classes: tuple[str, ...]
    curve: tuple[Curve, ...]
    remarks: tuple[str, ...]
    settings: Finetune
    subclasses: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Materials:
    """Packs of each phase, made when the phase begins; picklable for other processes."""

    learn: Dataset
    judge: Dataset
    record: Preprocessing

    def __call__(self, size: int) -> Material:
        record = replace(self.record, size=size)
        few = self.learn.take(range(min(len(self.learn), max(64, len(self.judge)))))
        return Material(
            learn=pack(self.learn, around(self.record, size)),
            same=pack(few, record),
            judge=pack(self.judge, record),
            empty=WHITE if record.cell is not None and record.cell.light else None,
        )


class FinetuneLearner:
    """Fine-tunes a pretrained network; needs the train extra."""

    name = "finetune"
    exports = True
    needs = "train"

    def fit(self, task: Task) -> Trained:
        """Probe, then train through the phases; resumes from the task's folder if asked to."""
        given: Finetune = task.settings
        s = given.for_images(len(task.train))
        task = replace(task, settings=s)
        keep_memory()
        torch.manual_seed(task.seed)
        order = np.random.default_rng(task.seed).permutation(task.train)
        learn, judge = task.dataset.take(order), task.dataset.take(task.validation)
        if not len(judge):
            judge = learn.take(range(min(len(learn), UNHELD)))
        backbone = build(s.backbone, s.weights).eval()
        s = fitting_phases(backbone, s, task.said)
        task = replace(task, settings=s)
        record, remarks, features = self._probed(task, learn, backbone)
        subclasses, second = _subclasses(task.dataset, order, s, remarks)
        projection = s.projection if s.objective == "contrastive" else 0
        network = Classifier(
            backbone, features.shape[1], len(learn.classes), len(subclasses), s.dropout, projection
        )
        if _differ(features):
            head = fit_head(features, learn.labels[: len(features)], len(learn.classes), 0.01)
            network.set_head(head.weight, head.bias)
        else:
            task.said("Features do not differ between images yet: the head starts from nothing.")
        if s.mixstyle:
            attach(backbone.body, s.mixstyle)
        task.folder.mkdir(parents=True, exist_ok=True)
        job = _job(task, learn, judge, second, record)
        if s.teachers:
            remarks.append(f"Distilled from {', '.join(s.teachers)}.")
        if s.find_rate:
            rate, said = rate_finder.found(job, network, task.folder)
            task.said(said)
            remarks.append(said)
            s = replace(s, rate=rate or s.rate)
            job = replace(job, settings=s, fingerprint=f"{job.fingerprint}/{s.rate:g}")
        network, curve = _trained(job, network, task)
        network.backbone.views = s.mirrored
        parents = _parents(learn, subclasses, second)
        if not len(task.validation):
            remarks.append(NONE_HELD)
            curve = []
        return Trained(network, record, learn.classes, tuple(curve), tuple(remarks), s, parents)

    def _probed(
        self, task: Task, learn: Dataset, backbone: Any
    ) -> tuple[Preprocessing, list[str], npt.NDArray[np.float32]]:
        """Choose the crop and give the features of the first images; the backbone comes back.

        It is done where the training will be done, if that is one device with memory to spare.
        """
        s: Finetune = task.settings
        place: Any = Fabric(accelerator=s.accelerator if s.devices == 1 else "cpu", devices=1)
        try:
            return self._seen(task, learn, backbone.to(place.device))
        except (RuntimeError, NotEnoughMemory) as error:
            short = isinstance(error, NotEnoughMemory) or is_memory(error)
            if place.device.type == "cpu" or not short:
                raise
            return self._seen(task, learn, backbone.cpu())
        finally:
            backbone.cpu()

    def _seen(
        self, task: Task, learn: Dataset, backbone: Any
    ) -> tuple[Preprocessing, list[str], npt.NDArray[np.float32]]:
        record, remarks = self._record(task, learn, backbone)
        if read := backbone.provenance.preprocessing:
            remarks.append(f"Preprocessing of {task.settings.backbone}: {read}.")
            task.said(remarks[-1])
        first = replace(record, size=task.settings.phases[0][0])
        return record, remarks, probe_features(backbone, learn, first, PROBED)

    def _record(self, task: Task, learn: Dataset, backbone: Any) -> tuple[Preprocessing, list[str]]:
        s: Finetune = task.settings
        whole = replace(task.reading, size=s.size, crop=1.0, interpolation=backbone.interpolation)
        if whole.cell is not None:
            return whole, []
        if s.crop != "auto":
            return replace(whole, crop=float(s.crop)), []
        side = s.size if backbone.refusal(CROP_SIDE) else CROP_SIDE
        crops = (1.0, *CENTRES)
        labels = learn.labels[:PROBED]
        groups = learn.groups[:PROBED]
        right = {}
        for crop in crops:
            record = replace(whole, size=side, crop=crop)
            features = probe_features(backbone, learn, record, PROBED)
            cuts = folds(labels, groups, 4, task.seed)
            logits = out_of_fold(
                features, labels, cuts, len(learn.classes), 0.01, "none", task.seed
            )
            known = np.isfinite(logits).all(axis=1)
            right[crop] = known & (np.nan_to_num(logits).argmax(axis=1) == labels)
        chosen = widest(right)
        shares = ", ".join(f"{100 * right[c].mean():.1f} % at {c:.0%}" for c in crops[1:])
        said = (
            f"A linear probe on {len(labels)} images was right on {100 * right[1.0].mean():.1f} % "
            f"of the whole pictures; of their centres by share of the shorter side: {shares}. "
            + (f"The centre of {chosen:.0%} is used." if chosen < 1 else "The whole is used.")
        )
        task.said(said)
        return replace(whole, crop=chosen), [said]


def widest(right: Mapping[float, npt.NDArray[np.bool_]]) -> float:
    """Give the widest crop that is not worse than the best by more than the standard error.

    Parameters
    ----------
    right
        By crop, which of the same N images were called rightly.
    """
    best = right[max(right, key=lambda crop: (right[crop].mean(), crop))].astype(float)
    for crop in sorted(right, reverse=True):
        loss = best - right[crop]
        if loss.mean() <= loss.std() / max(1.0, len(loss)) ** 0.5:
            break
    return crop


LEARNER = FinetuneLearner()


def _job(
    task: Task,
    learn: Dataset,
    judge: Dataset,
    second: npt.NDArray[np.int64],
    record: Preprocessing,
) -> Job:
    """Give the loop's job; teachers are heard here, once."""
    s: Finetune = task.settings
    mark, soft = _fingerprint(task, learn, judge, record), None
    if s.teachers:
        bundles = opened(s.teachers, learn.classes)
        task.said(f"asking {len(bundles)} teachers about {len(learn)} training images")
        soft = taught(bundles, learn, task.ticked)
        mark = "/".join([mark, *(b.digest[:16] for b in bundles)])
    return Job(
        settings=s,
        seed=task.seed,
        classes=learn.classes,
        labels=learn.labels,
        second_labels=second,
        judge_labels=judge.labels,
        folder=task.folder / "checkpoints",
        fingerprint=mark,
        material=Materials(learn, judge, record),
        said=task.said,
        ticked=task.ticked,
        pointed=task.pointed,
        soft=soft,
        loggers=task.loggers,
    )


def _subclasses(
    dataset: Dataset, order: npt.NDArray[np.int64], s: Finetune, remarks: list[str]
) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Give the sub-classes for a second head to learn, and that of each sample, -1 for none."""
    told = kinds(dataset) if s.subclass_weight else (None,) * len(dataset)
    found = [told[int(i)] for i in order]
    names = tuple(sorted({kind for kind in found if kind}))
    index = {name: i for i, name in enumerate(names)}
    if names and not dataset.subclasses:
        remarks.append(
            f"File names tell {len(names)} kinds in {len(dataset.classes)} classes "
            f"({', '.join(names[:12])}): a second head learnt them beside the classes. "
            "Images are called by what they show alone."
        )
    return names, np.array([index.get(kind or "", -1) for kind in found], dtype=np.int64)


def _parents(
    learn: Dataset, subclasses: tuple[str, ...], second: npt.NDArray[np.int64]
) -> tuple[tuple[str, str], ...]:
    """Give each sub-class with its class; none where two classes share one."""
    found: dict[str, set[str]] = {}
    for label, index in zip(learn.labels, second, strict=True):
        if index >= 0:
            found.setdefault(subclasses[index], set()).add(learn.classes[label])
    if any(len(classes) > 1 for classes in found.values()):
        return ()
    return tuple((name, next(iter(found[name]))) for name in subclasses)


def _trained(job: Job, network: Classifier, task: Task) -> tuple[Classifier, list[Curve]]:
    """Train; where memory does not reach, halve the images a step and say so."""
    resume = task.resume
    while True:
        try:
            return train(job, copy.deepcopy(network), resume)
        except (MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            if job.batch < 2 * FEWEST:
                side = max(side for side, _ in job.settings.phases)
                raise too_little(f"{job.batch} images of {side} px a step") from error
            half = job.batch // 2
            job.said(f"Out of memory with {job.batch} images a step: beginning again with {half}.")
            fewer = replace(job.settings, batch=half, small_batch=half)
            job = replace(job, settings=fewer, fingerprint=f"{job.fingerprint}/{half}")
            resume = False


def _differ(features: npt.NDArray[np.float32]) -> bool:
    """Say whether features (N, D) differ between images by more than their rounding.

    Those of DINOv2 from nothing do not: its blocks begin by adding a hundred-thousandth. A head
    fitted on them would make rounding large, and the first steps fly apart.
    """
    spread, mean = features.std(axis=0), np.abs(features.mean(axis=0))
    return bool(spread.mean() > STILL * mean.mean())


@torch.no_grad()
def probe_features(
    backbone: Any, dataset: Dataset, record: Preprocessing, most: int
) -> npt.NDArray[np.float32]:
    """Give features of the first images (a shuffled set's) with batch norm fitted to them.

    The running statistics of a network from another world are replaced by those of these images;
    the probe then sees features that the fine-tuning will see too.
    """
    pixels = pack(dataset.take(range(min(most, len(dataset)))), record)
    halved(lambda block: _adapt_norms(backbone, pixels, block), "fitting the norms")
    backbone.eval()

    def seen(block: int) -> list[npt.NDArray[np.float32]]:
        rows = []
        for i in range(0, len(pixels), block):
            images = _block(pixels, i, block).to(backbone.mean.device)
            rows.append(backbone.pooled(backbone.normalise(images)).cpu().numpy())
        return rows

    return np.concatenate(halved(seen, "the linear probe")).astype(np.float32)


@torch.no_grad()
def _adapt_norms(backbone: Any, pixels: Pixels, block: int) -> None:
    norms = [m for m in backbone.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    kept = [m.momentum for m in norms]
    backbone.train()
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # a plain mean over the batches
        for i in range(0, min(len(pixels), 640), block):
            if len(pixels) - i >= min(8, block) or i == 0:
                images = _block(pixels, i, block).to(backbone.mean.device)
                backbone.pooled(backbone.normalise(images))
    finally:
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum


def _block(pixels: Pixels, start: int, count: int) -> torch.Tensor:
    block = torch.from_numpy(np.array(pixels[start : start + count]))
    return block.permute(0, 3, 1, 2)


def _fingerprint(task: Task, learn: Dataset, judge: Dataset, record: Preprocessing) -> str:
    """Name what is learnt, and through what window: a probe may choose another on a second day."""
    said = [essence(task.settings), task.seed, list(learn.classes), learn.digest(), judge.digest()]
    window = record.to_json()
    return hashlib.sha256(json.dumps([*said, window], sort_keys=True).encode()).hexdigest()
