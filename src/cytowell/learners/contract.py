"""What a learner is asked and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cytowell.checks.training_images import TrainingImages
from cytowell.evaluation.calibration import UNKNOWN, Expected
from cytowell.images import Preprocessing
from cytowell.runtime.bundle import MapSlice
from cytowell.runtime.head import Head, SubclassHead
from cytowell.types import Dataset, FloatArray, IntArray

Said = Callable[[str], None]
"""Takes a sentence for the person who waits."""

Ticked = Callable[[int, int, str], None]
"""Takes steps done, steps in all, and what they are."""


def silent(sentence: str) -> None:
    """Say nothing."""


def unticked(done: int, total: int, what: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Curve:
    """One answer of the validation part while a learner learnt."""

    step: int
    size: int
    rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float
    seconds: float


Pointed = Callable[[Curve], None]
"""Takes each answer of the validation part; may raise to end the learning."""


def unpointed(point: Curve) -> None:
    """Hear nothing."""


class StopTraining(Exception):
    """Raised by a callback in `on_validation_end` to end the training and keep what is learnt."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt.

    Attributes
    ----------
    dataset
        All samples; `train` and `validation` are positions in it.
    settings
        The learner's own frozen settings.
    folder
        Where checkpoints and TensorBoard files go.
    reading
        Channels and window of the images; size and crop are the learner's to choose.
    resume
        Whether to go on from the folder's checkpoint.
    loggers
        Names of experiment trackers that hear of the training.
    """

    dataset: Dataset
    train: IntArray
    validation: IntArray
    settings: Any
    seed: int
    folder: Path
    reading: Preprocessing = field(default_factory=Preprocessing)
    resume: bool = False
    said: Said = silent
    ticked: Ticked = unticked
    pointed: Pointed = unpointed
    loggers: tuple[str, ...] = ()


class Learner(Protocol):
    """A learner: `fit` gives what its exporter, or the bundle itself, is made of."""

    name: str
    exports: bool
    needs: str

    def fit(self, task: Task) -> Any:
        """Learn from the training part; the validation part may only stop and choose."""
        ...


@dataclass(frozen=True)
class TestFold:
    """What one fold of a cross-validation gives, all choices made without the images it tests.

    Attributes
    ----------
    train, test
        Positions among the rows of `Makings.rows`.
    train_logits
        Out-of-fold logits of the images at `train`, by the settings chosen on them: they calibrate.
    test_logits
        Logits of the images at `test` by the head that was fitted on those at `train`.
    """

    __test__ = False  # its name is no test's

    train: IntArray
    test: IntArray
    train_logits: FloatArray
    test_logits: FloatArray


@dataclass(frozen=True)
class Makings:
    """What a learner that ships leaves for the bundle.

    Attributes
    ----------
    model
        The bytes of the backbone's ONNX file.
    balance
        How the head is to be refitted on the final features (`smote`), "" if it stands.
    training_images
        What is recorded of the images that taught what it started from; None for nothing.
    expected
        What is known of the temperature before any image is held back.
    subclasses
        The head of the kinds within classes, None where there are none.
    evened
        How often the head's training weighted each class by the inverse of its share: 0 if it
        learnt the classes as they come, 1 with balanced weights or sampling, 2 with both.
    logits, rows
        Out-of-fold logits of the samples at `rows`, where nothing was held back for good.
    folds
        Beside them the folds that the figures come from.
    """

    model: bytes
    maps: tuple[MapSlice, ...]
    record: Preprocessing
    head: Head
    classes: tuple[str, ...]
    architecture: str
    weights: str
    licence: str
    curve: tuple[Curve, ...] = ()
    remarks: tuple[str, ...] = ()
    balance: str = ""
    expected: Expected = UNKNOWN
    subclasses: SubclassHead | None = None
    evened: int = 0
    logits: FloatArray | None = None
    rows: IntArray | None = None
    folds: tuple[TestFold, ...] = ()
    training_images: TrainingImages | None = None
