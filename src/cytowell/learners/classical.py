"""Classical learners on plain descriptors or frozen features: to be compared with, not shipped.

Each is scikit-learn's, with the settings its users would take first. They learn in seconds and
without PyTorch; on few images most of them learn those images by heart, which `diagnosis` shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cytowell.images import Preprocessing
from cytowell.learners.contract import Makings, Task, Ticked, unticked
from cytowell.learners.descriptors import SIDE, described
from cytowell.learners.features import cached_descriptors, cached_features
from cytowell.learners.frozen import open_backbones
from cytowell.learners.linear import smote
from cytowell.learners.settings import Classical
from cytowell.runtime.backbone import FrozenBackbone
from cytowell.runtime.head import Head
from cytowell.runtime.pipeline import features
from cytowell.types import Dataset, FloatArray, IntArray

LEAST = 1e-6
"""Probabilities below this are rounding: their logarithm would be no number."""


@dataclass(frozen=True)
class Knob:
    """What one learner is made of: its maker, its usual strength, and values to look along.

    `make` takes strength, class weights, seed and the number of rows that will be learnt from.
    """

    make: Callable[[float, str | None, int, int], Any]
    usual: float
    name: str
    along: tuple[float, ...]


def _forest(strength: float, weights: str | None, seed: int, rows: int) -> Any:
    return RandomForestClassifier(
        n_estimators=int(strength), class_weight=weights, random_state=seed, n_jobs=1
    )


def _svm(strength: float, weights: str | None, seed: int, rows: int) -> Any:
    # Its own `predict` counts votes of pairs of classes and so differs from the largest score on
    # one image in a hundred; what is called is the likeliest class of those that are reported.
    model = SVC(C=strength, class_weight=weights, break_ties=True)
    return make_pipeline(StandardScaler(), model)


def _logistic(strength: float, weights: str | None, seed: int, rows: int) -> Any:
    model = LogisticRegression(C=strength, class_weight=weights, max_iter=1000, tol=1e-3)
    return make_pipeline(StandardScaler(), model)


def _boosting(strength: float, weights: str | None, seed: int, rows: int) -> Any:
    # scikit-learn's twenty rows a leaf let no tree grow from a few dozen images.
    return HistGradientBoostingClassifier(
        max_iter=int(strength),
        class_weight=weights,
        random_state=seed,
        early_stopping=False,
        min_samples_leaf=min(20, max(2, rows // 20)),
    )


def _neighbours(strength: float, weights: str | None, seed: int, rows: int) -> Any:
    return make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=int(strength)))


KNOBS: dict[str, Knob] = {
    "random-forest": Knob(_forest, 300, "trees", (3, 10, 30, 100, 300)),
    "svm": Knob(_svm, 1.0, "C", (0.01, 0.1, 1.0, 10.0, 100.0)),
    "logistic-regression": Knob(_logistic, 1.0, "C", (1e-4, 1e-3, 1e-2, 0.1, 1.0)),
    "gradient-boosting": Knob(_boosting, 60, "rounds", (5, 10, 30, 60, 120)),
    "knn": Knob(_neighbours, 5, "neighbours", (1, 3, 5, 9, 15)),
}


@dataclass(frozen=True)
class Fitted:
    """A classical learner that has learnt; `scores` of any samples, nothing to ship."""

    model: Any
    settings: Classical
    reading: Preprocessing
    classes: tuple[str, ...]
    parameters: int

    def scores(self, dataset: Dataset, ticked: Ticked = unticked) -> FloatArray:
        """Give logits (N, C): logarithms of the learner's own probabilities."""
        X = inputs(dataset, self.settings, self.reading, ticked)
        return class_scores(self.model, X, len(self.classes))

    def makings(self) -> Makings:
        """Give what a bundle is made of: a logistic regression on features is a linear head.

        The scaling of the features goes into the head's weights.
        """
        scaler, model = self.model[0], self.model[-1]
        backbone, record = backbone_of(self.settings, self.reading)
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:  # two classes have one score between them
            weight = np.concatenate([-weight, weight]) / 2
            bias = np.concatenate([-bias, bias]) / 2
        weight = weight / scaler.scale_
        bias = bias - weight @ scaler.mean_
        origin = backbone.origin
        return Makings(
            model=backbone.model,
            maps=backbone.maps,
            record=record,
            head=Head(weight, bias),
            classes=self.classes,
            architecture=origin.get("architecture", backbone.name),
            weights=origin.get("weights", f"file {backbone.name}"),
            licence=origin.get("licence", "not stated"),
            remarks=(f"Logistic regression on features of {backbone.name}, C = {model.C:g}.",),
            evened=int(self.settings.balance != "none"),
        )

    def call(self, dataset: Dataset) -> FloatArray:
        """Give logits (N, C) from the files themselves, past the cache: what a call costs."""
        if self.settings.input == "descriptors":
            batches = described(dataset.samples, replace(self.reading, size=SIDE))
        else:
            backbone, record = backbone_of(self.settings, self.reading)
            batches = features(backbone.session, record, dataset.samples)
        X = np.concatenate([b.features for b in batches if len(b.features)])
        return class_scores(self.model, X, len(self.classes))


class ClassicalLearner:
    """One of scikit-learn's classifiers on descriptors or frozen features."""

    exports = False
    needs = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, task: Task) -> Fitted:
        """Fit on the training part; the validation part calibrates elsewhere."""
        s: Classical = task.settings
        learn = task.dataset.take(task.train)
        X = inputs(learn, s, task.reading, task.ticked)
        model = fit_model(self.name, X, learn.labels, s, task.seed)
        return Fitted(model, s, task.reading, learn.classes, size_of(model))


def fit_model(
    name: str, X: npt.NDArray[np.floating], y: IntArray, settings: Classical, seed: int
) -> Any:
    """Fit the named learner on rows (N, D) with class indices (N,)."""
    knob = KNOBS[name]
    strength = settings.strength or knob.usual
    if settings.balance == "smote":
        X, y = smote(X, y, seed)
    if name == "knn":
        strength = min(strength, len(y))
    weights = "balanced" if settings.balance == "balanced" else None
    return knob.make(strength, weights, seed, len(y)).fit(X, y)


def class_scores(model: Any, X: npt.NDArray[np.floating], classes: int) -> FloatArray:
    """Give logits (N, C) in the data set's class order; a class never learnt is far below.

    A support vector machine gives distances to its boundaries; they serve as logits as they are,
    because the temperature that follows sets their scale (Platt's sigmoid would need folds).
    """
    out = np.full((len(X), classes), np.log(LEAST))
    if hasattr(model, "predict_proba"):
        found = np.log(np.clip(model.predict_proba(X), LEAST, 1.0))
    else:
        found = model.decision_function(X)
        if found.ndim == 1:
            found = np.stack([-found / 2, found / 2], axis=1)
        out[:] = found.min() - 10.0
    out[:, model.classes_] = found
    return out


def inputs(
    dataset: Dataset, settings: Classical, reading: Preprocessing, ticked: Ticked = unticked
) -> npt.NDArray[np.float32]:
    """Give what a classical learner sees of a data set: rows (N, D), from the cache."""
    if settings.input == "descriptors":
        return cached_descriptors(dataset.samples, reading, ticked)
    backbone, record = backbone_of(settings, reading)
    return cached_features(backbone.session, backbone.digest, record, dataset.samples, ticked)


def backbone_of(
    settings: Classical, reading: Preprocessing
) -> tuple[FrozenBackbone, Preprocessing]:
    """Give the network whose features are taken, and how it wants its images."""
    backbone = open_backbones(settings.backbones)[0]
    return backbone, backbone.record.read_as(reading)


def size_of(model: Any) -> int:
    """Count the numbers that a fitted model keeps: coefficients, tree nodes, or rows."""
    last = model[-1] if hasattr(model, "steps") else model
    if isinstance(last, RandomForestClassifier):
        return int(sum(tree.tree_.node_count for tree in last.estimators_))
    if isinstance(last, HistGradientBoostingClassifier):
        return int(sum(len(t.nodes) for stage in last._predictors for t in stage))
    if isinstance(last, SVC):
        return int(last.support_vectors_.size + last.dual_coef_.size)
    if isinstance(last, KNeighborsClassifier):
        return int(last._fit_X.size)
    return int(last.coef_.size + last.intercept_.size)


LEARNERS = {name: ClassicalLearner(name) for name in KNOBS}
RANDOM_FOREST = LEARNERS["random-forest"]
SVM = LEARNERS["svm"]
LOGISTIC_REGRESSION = LEARNERS["logistic-regression"]
GRADIENT_BOOSTING = LEARNERS["gradient-boosting"]
KNN = LEARNERS["knn"]
