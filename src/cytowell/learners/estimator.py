"""The frozen learner as an estimator of scikit-learn: images and labels in, probabilities out.

What scikit-learn clones, searches, cross-validates and pickles is this class; a run folder, a
report and a bundle are what `cytowell.train` makes.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from cytowell.errors import BadInput
from cytowell.evaluation.calibration import fit_calibration
from cytowell.learners.contract import Task
from cytowell.learners.features import cached_features
from cytowell.learners.frozen import LEARNER, columns
from cytowell.learners.linear import fit_head, judging_folds, out_of_fold
from cytowell.learners.settings import Frozen
from cytowell.runtime.session import Session
from cytowell.types import Dataset, FloatArray, Sample

DEFAULTS = Frozen()

ONE_OF = "Give a list of paths, of PIL images or of uint8 arrays (height, width, 3)."


class CellClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # it is untyped
    """Classify images by a linear head on the features of a frozen network, without PyTorch.

    `fit` chooses network, crop, stages and regularisation by grouped cross-validation on what it is
    given, and calibrates on the same folds. Features are kept on disk by an image's content, so
    that folds and grids compute each once.

    Parameters
    ----------
    backbones
        Shipped or registered bundles, bundle folders or ONNX files; the best is kept.
    crops
        Shares of the shorter side, about the centre, that are tried; 1 is the whole image.
    strengths
        Inverse regularisation strengths (scikit-learn's C) that are tried.
    balance
        `balanced` class weights, `smote` in feature space, or `none`.
    random_state
        Seed of folds and of synthetic samples; None draws one, and `seed_` keeps it.

    Attributes
    ----------
    classes_
        Sorted labels, as `y` has them; shape (C,).
    head_
        The linear head, on all features of the network.
    backbone_
        Which network, which part of the image and which stages were chosen, as text.
    preprocessing_
        How an image becomes the network's input.
    calibration_
        Temperature and biases, from out-of-fold logits.
    seed_
        The seed that was used.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=4)["wells"]
    >>> data = cytowell.read(folder)
    >>> labels = [sample.label for sample in data.samples]
    >>> model = cytowell.CellClassifier(backbones=("imagenet",), crops=(1.0,))
    >>> model.fit(data.paths, labels, groups=data.groups).predict_proba(data.paths).shape
    (8, 2)
    >>> model.classes_.tolist()
    ['negative', 'positive']
    """

    def __init__(
        self,
        backbones: Sequence[str] = DEFAULTS.backbones,
        crops: Sequence[float] = DEFAULTS.crops,
        strengths: Sequence[float] = DEFAULTS.strengths,
        balance: Any = DEFAULTS.balance,
        random_state: Any = 7,
    ) -> None:
        self.backbones = backbones
        self.crops = crops
        self.strengths = strengths
        self.balance = balance
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Give what scikit-learn should know: a sample is an image, not a row of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.no_validation = True
        return tags

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit on images and their labels.

        Parameters
        ----------
        X
            N paths, PIL images or uint8 arrays (H, W, 3) or (H, W); a list, a one-dimensional array
            or a series of them, an array (N, H, W, 3), or a `Dataset`.
        y
            Their labels, of two classes at least; shape (N,).
        groups
            What belongs together (slide, plate, donor); shape (N,). Folds never tear one apart.

        Raises
        ------
        BadInput
            If X holds something else, or y one class only. It is a ValueError too.
        DatasetError
            If an image cannot be read.
        """
        with _as_samples(X) as samples:
            names, codes = _classes(y, samples)
            samples = _with_groups(samples, groups)
            labels = tuple(str(name) for name in names)
            dataset = Dataset(
                tuple(replace(s, label=labels[c]) for s, c in zip(samples, codes, strict=True)),
                labels,
            )
            self._fit(dataset)
        self.classes_ = names
        return self

    def _fit(self, dataset: Dataset) -> None:
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        settings = Frozen(
            backbones=tuple(self.backbones),
            crops=tuple(self.crops),
            balance=self.balance,
            strengths=tuple(self.strengths),
        )
        none = np.zeros(0, dtype=np.int64)
        task = Task(dataset, np.arange(len(dataset)), none, settings, int(seed), Path())
        best, _ = LEARNER.chosen(task, dataset)
        network, labels, classes = best.backbone, dataset.labels, len(dataset.classes)
        features = cached_features(network.session, network.digest, best.record, dataset.samples)
        used = columns(network.maps, best.stages, features.shape[1])
        how = (classes, best.strength, self.balance, int(seed))
        cuts = judging_folds(labels, dataset.groups, settings.folds, int(seed))
        out = out_of_fold(features[:, used], labels, cuts, *how)
        head = fit_head(features[:, used], labels, *how)
        weight = np.zeros((classes, features.shape[1]))
        weight[:, used] = head.weight
        shift = np.zeros(classes)
        if self.balance != "none":
            shift = np.log(np.bincount(labels, minlength=classes) / len(labels))
        self.head_ = replace(head, weight=weight)
        self.backbone_ = str(best)
        self.preprocessing_ = best.record
        self.calibration_ = fit_calibration(out, labels, shift=shift)
        self.seed_ = int(seed)
        self._model = network.model

    def predict_proba(self, X: Any) -> FloatArray:
        """Give calibrated probabilities, columns as `classes_`; shape (N, C)."""
        check_is_fitted(self)
        with _as_samples(X) as samples:
            digest = hashlib.sha256(self._model).hexdigest()
            features = cached_features(_session(self._model), digest, self.preprocessing_, samples)
        return self.calibration_.probabilities(self.head_.logits(features))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Give the likeliest label of each image; shape (N,)."""
        probabilities = self.predict_proba(X)
        labels: npt.NDArray[Any] = self.classes_[probabilities.argmax(axis=1)]
        return labels


@functools.lru_cache(maxsize=4)
def _session(model: bytes) -> Session:
    """Open a network; kept outside of the estimator, which has to be pickled."""
    return Session(model, "the network of a CellClassifier")


def _classes(y: Any, samples: Sequence[Sample]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Give the sorted classes, and the index of each label in them."""
    if y is None:
        raise BadInput("fit requires y to be passed, but the target y is None.", "Give labels.")
    y = column_or_1d(y, warn=True)
    check_consistent_length(samples, y)
    check_classification_targets(y)
    names, codes = np.unique(y, return_inverse=True)
    if len(names) < 2:
        raise BadInput(
            f"y has one class only ({', '.join(map(str, names))}).",
            "A classifier needs images of two classes at least.",
        )
    return names, codes


def _with_groups(samples: list[Sample], groups: Any) -> list[Sample]:
    """Give samples with these groups; with their own, if they have any, without."""
    if groups is None:
        return samples
    named = np.asarray(groups)
    check_consistent_length(samples, named)
    return [replace(s, group=str(g)) for s, g in zip(samples, named, strict=True)]


@contextmanager
def _as_samples(X: Any) -> Iterator[list[Sample]]:
    """Give images as samples; those in memory are written for as long as it is open, without loss.

    A file's content is what features are kept by: the same pixels are computed once, whichever
    fold they come in.
    """
    images = _listed(X)
    with tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
        samples = []
        for number, image in enumerate(images):
            if isinstance(image, Sample):
                samples.append(image)
            elif isinstance(image, str | Path):
                samples.append(Sample(str(image)))
            else:
                file = Path(folder) / f"{number}.png"
                _picture(image, number).save(file, compress_level=1)
                samples.append(Sample(str(file)))
        yield samples


def _listed(X: Any) -> list[Any]:
    if isinstance(X, Dataset):
        return [*X.samples]
    if isinstance(X, str | bytes | Path | Image.Image | Sample):
        raise BadInput(f"X is one image ({type(X).__name__}).", ONE_OF)
    rows = isinstance(X, np.ndarray) and X.ndim in (0, 2)
    if rows or (isinstance(X, np.ndarray) and X.ndim == 3 and X.shape[2] == 3):
        raise BadInput(f"X of shape {X.shape} is no list of images.", ONE_OF)
    try:
        images = list(X)
    except TypeError as error:
        raise BadInput(f"X is no list of images ({type(X).__name__}).", ONE_OF) from error
    if not images:
        raise BadInput("X holds no image (0 samples); a minimum of 1 is required.", ONE_OF)
    return images


def _picture(image: Any, number: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    grey, colour = array.ndim == 2, array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (grey or colour) or not array.size:
        raise BadInput(
            f"X[{number}] of shape {array.shape} and type {array.dtype} is no image.", ONE_OF
        )
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
