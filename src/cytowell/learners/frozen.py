"""A linear head on frozen features: learns from few images in seconds, without PyTorch.

What is tried is decided by grouped cross-validation on the training part alone: which shipped
network, the whole picture or its centre, which stages of the network, how strong a regularisation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from cytowell import registry
from cytowell.errors import RecipeError
from cytowell.evaluation.cell_kinds import kind_of
from cytowell.images import Preprocessing
from cytowell.learners.contract import Makings, Task, TestFold, Ticked, silent, unticked
from cytowell.learners.features import cached_features
from cytowell.learners.linear import (
    choose_strength,
    fit_head,
    folds,
    judging_folds,
    out_of_fold,
)
from cytowell.learners.settings import CHECKPOINTS, Frozen
from cytowell.learners.variations import with_variations
from cytowell.runtime.backbone import FrozenBackbone, open_backbone
from cytowell.runtime.bundle import MapSlice
from cytowell.runtime.head import Head
from cytowell.types import Dataset, FloatArray, IntArray

FEW = 30
"""Below this many images in a class nothing is held back for good."""

WEIGHED = 800
"""Images on which the candidates are weighed; the winner then sees all."""

VARIED = 300
"""Single cells up to which each teaches in variations too: more show on their own how they vary."""

STAGES = (("last",), ("16", "last"), ("8", "16", "32", "last"), ("8", "16", "32"), ("8", "16"))
"""Sets of stages that are weighed, by name; a network without them offers what it has."""


TRAVELLING = ("8", "16", "32")
"""Stages that few cells of another laboratory were called best by: BCCD's and Raabin's, with
networks that neither had taught."""


@dataclass(frozen=True)
class Candidate:
    """One way to see the images, and how well a head on it did.

    `loss` is the log-loss, lower is better, and `doubt` its standard error.
    """

    backbone: FrozenBackbone
    record: Preprocessing
    stages: tuple[str, ...]
    strength: float = 0.0
    loss: float = float("inf")
    doubt: float = 0.0

    def __str__(self) -> str:
        seen = "whole picture" if self.record.crop >= 1 else f"centre {self.record.crop:.0%}"
        if self.record.cell is not None:
            seen = "view of single cells"
        return f"{self.backbone.name}, {seen}, stages {'+'.join(self.stages)}"


class FrozenLearner:
    """Fits the head; needs nothing beyond a plain install."""

    name = "frozen"
    exports = True
    needs = ""

    def fit(self, task: Task) -> Makings:
        """Weigh the candidates, fit the head on the winner's features of the training part."""
        s: Frozen = task.settings
        learn = task.dataset.take(task.train)
        best, tried = self.chosen(task, learn)
        features = self.varied(best, learn, task.ticked)
        width = features.shape[-1]
        used = columns(best.backbone.maps, best.stages, width)
        X, y, g = features[..., used], learn.labels, learn.groups
        classes = len(learn.classes)
        head = fit_head(X, y, classes, best.strength, s.balance, task.seed)
        logits = None
        tested: tuple[TestFold, ...] = ()
        if not len(task.validation):
            cuts = judging_folds(y, g, s.folds, task.seed)
            logits = out_of_fold(X, y, cuts, classes, best.strength, s.balance, task.seed)
            tested = tuple(self.nested(task, learn))
        weight = np.zeros((classes, width))
        weight[:, used] = head.weight
        origin = best.backbone.origin
        return Makings(
            model=best.backbone.model,
            maps=best.backbone.maps,
            record=best.record,
            head=Head(weight, head.bias),
            classes=learn.classes,
            architecture=origin.get("architecture", best.backbone.name),
            weights=origin.get("weights", f"file {best.backbone.name}"),
            licence=origin.get("licence", "not stated"),
            remarks=(
                f"Frozen features of {best}; C = {best.strength:g}. {_said_of(X)}Weighed by "
                f"cross-validation on {min(len(learn), WEIGHED)} training images: "
                + "; ".join(f"{c} log-loss {c.loss:.3f}" for c in tried[:6])
                + ".",
            ),
            evened=int(s.balance != "none"),
            logits=logits,
            rows=task.train if logits is not None else None,
            folds=tested,
            training_images=best.backbone.training_images,
        )

    def chosen(self, task: Task, learn: Dataset) -> tuple[Candidate, list[Candidate]]:
        """Give the best candidate with its strength for these images, and all that were tried."""
        s: Frozen = task.settings
        best, tried = self.weigh(task, learn)
        if len(learn) <= WEIGHED:
            return best, tried
        order = np.random.default_rng(task.seed).permutation(len(learn))
        part = learn.take(order[: 2 * WEIGHED])
        features = _features(best, part, task.ticked)
        X = features[:, columns(best.backbone.maps, best.stages, features.shape[1])]
        strength, _ = choose_strength(
            X, part.labels, part.groups, len(part.classes), s.balance, task.seed, s.strengths
        )
        return replace(best, strength=strength), tried

    def nested(self, task: Task, learn: Dataset) -> Iterator[TestFold]:
        """Give logits of each fold by a head of which nothing was chosen on that fold.

        Of few groups each is a fold, and what calibrates was called without its group too.
        Network, centre, stages and strength are weighed anew on the other folds alone: figures of
        images that helped to choose are too good (Varma & Simon 2006, doi
        10.1186/1471-2105-7-91).
        """
        s: Frozen = task.settings
        quiet = replace(task, said=silent)
        labels, groups, classes = learn.labels, learn.groups, len(learn.classes)
        cuts = judging_folds(labels, groups, s.folds, task.seed)
        task.said(f"choosing anew without each of {len(cuts)} folds, for figures that hold")
        for number, (train, test) in enumerate(cuts):
            task.ticked(number, len(cuts), "folds")
            best, _ = self.chosen(quiet, learn.take(train))
            features = self.varied(best, learn, task.ticked)
            X = features[..., columns(best.backbone.maps, best.stages, features.shape[-1])]
            how = (classes, best.strength, s.balance, task.seed)
            inner = judging_folds(labels[train], groups[train], s.folds, task.seed)
            inside = out_of_fold(X[train], labels[train], inner, *how)
            head = fit_head(X[train], labels[train], *how)
            yield TestFold(train, test, inside, head.logits(X[test] if X.ndim == 2 else X[test, 0]))

    def varied(
        self, best: Candidate, learn: Dataset, ticked: Ticked = unticked
    ) -> npt.NDArray[np.float32]:
        """Give features (N, D) of the images, or (N, V, D) with variations of few cells."""
        features = _features(best, learn, ticked)
        if best.record.cell is None or len(learn) > VARIED:
            return features
        return with_variations(best.backbone, best.record, learn.samples, features, ticked)

    def weigh(self, task: Task, learn: Dataset) -> tuple[Candidate, list[Candidate]]:
        """Give the best candidate with its strength, and all of them, best first."""
        s: Frozen = task.settings
        few = learn.take(_few(learn, WEIGHED, task.seed))
        tried: list[Candidate] = []
        blood = are_cells_of_blood(learn.classes)
        for backbone in open_backbones(s.backbones):
            known = min(tried, key=lambda c: c.loss).record.crop if tried else None
            crops = s.crops if known is None else (known,)
            view = task.reading.cell or (backbone.record.cell if blood else None)
            for crop in (1.0,) if view is not None else crops:
                record = replace(backbone.record, crop=crop).read_as(task.reading)
                record = replace(record, cell=view)
                seen = "the view of single cells" if view is not None else f"crop {crop:g}"
                task.said(f"looking through {backbone.name}, {seen}")
                features = cached_features(
                    backbone.session, backbone.digest, record, few.samples, task.ticked
                )
                for stages in stage_sets(backbone.maps):
                    X = features[:, columns(backbone.maps, stages, features.shape[1])]
                    tried.append(_try(task, few, X, Candidate(backbone, record, stages)))
        tried.sort(key=lambda c: c.loss)
        best = _best(tried, len(learn) <= VARIED)
        features = _features(best, few)
        X = features[:, columns(best.backbone.maps, best.stages, features.shape[1])]
        strength, losses = choose_strength(
            X, few.labels, few.groups, len(few.classes), s.balance, task.seed, s.strengths
        )
        loss = float(losses.mean())
        task.said(f"chosen: {best} (log-loss {loss:.3f})")
        return replace(best, strength=strength, loss=loss), tried


LEARNER = FrozenLearner()


def _said_of(X: npt.NDArray[np.float32]) -> str:
    if X.ndim == 2:
        return ""
    return f"Each cell taught in {X.shape[1] - 1} variations of window and colour too. "


def doubts(
    dataset: Dataset, seed: int, ticked: Ticked = unticked, backbones: Sequence[str] = ()
) -> FloatArray:
    """Give out-of-fold probabilities (N, C) of each label by the best candidate, to doubt it by.

    Parameters
    ----------
    backbones
        Networks that are weighed; those that come along without.
    """
    task = Task(
        dataset=dataset,
        train=np.arange(len(dataset)),
        validation=np.zeros(0, dtype=np.int64),
        settings=Frozen(backbones=tuple(backbones)) if backbones else Frozen(),
        seed=seed,
        folder=Path(),
        ticked=ticked,
    )
    best, _ = LEARNER.weigh(task, dataset)
    features = _features(best, dataset, ticked)
    X = features[:, columns(best.backbone.maps, best.stages, features.shape[1])]
    labels, groups = dataset.labels, dataset.groups
    cuts = folds(labels, groups, 5, seed)
    logits = out_of_fold(X, labels, cuts, len(dataset.classes), best.strength, "balanced", seed)
    probabilities: FloatArray = softmax(logits, axis=1)
    return probabilities


def _features(
    candidate: Candidate, dataset: Dataset, ticked: Ticked = unticked
) -> npt.NDArray[np.float32]:
    network = candidate.backbone
    return cached_features(
        network.session, network.digest, candidate.record, dataset.samples, ticked
    )


def _try(task: Task, few: Dataset, X: npt.NDArray[np.float32], candidate: Candidate) -> Candidate:
    """Give the candidate with its loss: at the middle strength, of few cells at the best."""
    s: Frozen = task.settings
    strengths = s.strengths[len(s.strengths) // 2 :][:1]
    if candidate.record.cell is not None and len(few) <= VARIED:
        strengths = s.strengths
    strength, losses = choose_strength(
        X, few.labels, few.groups, len(few.classes), s.balance, task.seed, strengths
    )
    doubt = float(losses.std() / np.sqrt(len(losses))) if np.isfinite(losses).all() else 0.0
    return replace(candidate, strength=strength, loss=float(losses.mean()), doubt=doubt)


def _best(tried: Sequence[Candidate], few: bool) -> Candidate:
    """Give the best of candidates, best first; of few cells `TRAVELLING` if it is as good.

    As good is what is worse by no more than the standard error of the best (Breiman et al. 1984,
    section 3.4.3): forty cells do not tell two sets of stages apart.
    """
    best = tried[0]
    if best.record.cell is None or not few:
        return best
    same = (c for c in tried if c.stages == TRAVELLING and c.loss <= best.loss + best.doubt)
    return next(same, best)


def open_backbones(names: Sequence[str]) -> list[FrozenBackbone]:
    """Open registered bundles that are there, bundle folders, ONNX files and named checkpoints.

    A checkpoint of `CHECKPOINTS`, from the weights that follow ``@`` if any do, is exported once;
    for that alone PyTorch is needed.

    Raises
    ------
    RecipeError
        If none of them is there.
    """
    found = []
    for name in names:
        if name in registry.names("bundles"):
            place = Path(registry.load("bundles", name)())
            if not place.exists():
                continue
            found.append(open_backbone(place, name))
        elif name.startswith(CHECKPOINTS):
            checkpoint, _, weights = name.partition("@")
            place = registry.part("cytowell.export.backbone:cached", name)(checkpoint, weights)
            found.append(open_backbone(place, checkpoint))
        else:
            found.append(open_backbone(Path(name), Path(name).name))
    if not found:
        raise RecipeError(
            f"None of the backbones {', '.join(names)} is there.",
            "Give --backbone a bundle's folder or an ONNX file.",
        )
    return found


def are_cells_of_blood(classes: Sequence[str]) -> bool:
    """Whether two classes at least are cells of blood by their names.

    A network of single stained cells then sees them in its canonical view, a window about the
    nucleus; of wells and tissue, which have none, it sees what every other network sees.
    """
    return sum(kind_of(c, {}) not in ("unknown", "other") for c in classes) > 1


def stage_sets(maps: Sequence[MapSlice]) -> list[tuple[str, ...]]:
    """Give the sets of stages that a network can offer, the last alone always among them."""
    if not maps:
        return [("features",)]
    have = {m.name.removeprefix("map_") for m in maps}
    sets = [tuple(n for n in names if n in have) for names in STAGES]
    return list(dict.fromkeys(s for s in sets if s)) or [tuple(have)]


def columns(maps: Sequence[MapSlice], stages: Sequence[str], width: int) -> IntArray:
    """Give the columns of the features (N, D) that belong to these stages."""
    if not maps:
        return np.arange(width)
    parts = [np.arange(m.start, m.stop) for m in maps if m.name.removeprefix("map_") in stages]
    return np.fromiter(itertools.chain.from_iterable(parts), dtype=np.int64)


def _few(learn: Dataset, most: int, seed: int) -> IntArray:
    """Give positions of at most `most` samples, rare classes first in their turn."""
    order = np.random.default_rng(seed).permutation(len(learn))
    labels = learn.labels[order]
    turn = np.zeros(len(order), dtype=np.int64)
    for c in np.unique(labels):
        here = np.flatnonzero(labels == c)
        turn[here] = np.arange(len(here))
    kept: IntArray = np.sort(order[np.argsort(turn, kind="stable")[:most]])
    return kept
