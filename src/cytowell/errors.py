"""Everything that can go wrong by a user's hand, each with its remedy.

CytowellError
├── DatasetError          the photographs or their table cannot be used as they are
│   ├── EmptyDataset      nothing to read
│   ├── TooFewImages      one class, or a class with too few images
│   ├── AmbiguousLabels   two labels that differ by case or space
│   ├── BadTable          a table without the columns, or with predictions for labels
│   └── BadAnnotation     boxes that cannot be read, or do not fit their photograph
├── ImageError            one photograph cannot be decoded
│   ├── ImageTooLarge     its header announces more pixels than are decoded
│   ├── PlaneNotChosen    a stack, and nobody said which of its planes is meant
│   └── MissingDecoder    a format that needs an extra
├── SplitError            a split that leaks, does not fit, or cannot be made
├── BundleError           a bundle that is no bundle
│   ├── BundleCorrupt     a file of it was changed or is missing
│   ├── BundleTooNew      written by a later version
│   └── BundleRefused     a file type that can run code when it is opened
├── ParityError           the exported network does not compute what the trained one did
├── BadInput              what an estimator was given is no images with labels
├── UnknownName           no such learner, source, backbone, preset, column
├── MissingExtra          a part that a plain install does not have
├── WeightsUnavailable    no pretrained weights to be found
├── RunError              a run folder that is taken, or belongs to other data
├── RecipeError           a recipe with a field that does not exist or cannot hold
├── TitreError            counts or dilutions from which no titre can be had
│   └── LayoutError       a plate layout that cannot be, or does not fit the plate
├── CountError            calls from which no differential count or agreement can be had
├── FetchError            a download that failed or is not what was asked for
├── NotEnoughMemory       a training or a look at images that memory does not reach for
├── Blocked               the checks found something that must be mended first
└── StorageError          the disk is full or may not be written
"""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Say how an extra is installed: Cytowell is on no index, so from its own folder."""
    return f"In the folder of Cytowell's source, run: pip install '.[{extra}]'"


class CytowellError(Exception):
    """The base of every error that a user can cause.

    Parameters
    ----------
    problem
        What is wrong, naming the file or the field at fault.
    remedy
        What to do about it, as a sentence.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}".strip()


class DatasetError(CytowellError):
    """The photographs or their table cannot be used as they are."""


class EmptyDataset(DatasetError):
    """Nothing to read."""


class TooFewImages(DatasetError):
    """One class only, or a class with too few images."""


class AmbiguousLabels(DatasetError):
    """Two labels that differ only by case or space."""


class BadTable(DatasetError):
    """A table without the columns that are needed, or with predictions in place of labels."""


class BadAnnotation(DatasetError):
    """Boxes that cannot be read, or do not fit the photograph that they are told of."""


class ImageError(CytowellError):
    """One photograph cannot be decoded."""


class ImageTooLarge(ImageError):
    """The header announces more pixels than are ever decoded."""


class PlaneNotChosen(ImageError):
    """A stack, and nobody said which of its planes is meant; a remedy says what there is."""


class MissingDecoder(ImageError):
    """The format needs an extra that is not installed."""


class SplitError(CytowellError):
    """A split that leaks, does not fit its data, or cannot be made."""


class BundleError(CytowellError):
    """A bundle that is no bundle."""


class BundleCorrupt(BundleError):
    """A file of the bundle was changed or is missing."""


class BundleTooNew(BundleError):
    """The bundle was written by a later version."""


class BundleRefused(BundleError):
    """A file type that can run code when it is opened."""


class ParityError(CytowellError):
    """The exported network does not compute what the trained one did."""


class BadInput(CytowellError, ValueError):
    """What an estimator was given is no images with labels; a ValueError, as scikit-learn asks."""


class UnknownName(CytowellError):
    """No such learner, source, backbone, preset or column."""


class MissingExtra(CytowellError):
    """A part that a plain install does not have."""


class WeightsUnavailable(CytowellError):
    """No pretrained weights to be found."""


class RecipeError(CytowellError):
    """A recipe with a field that does not exist or cannot hold."""


class RunError(CytowellError):
    """A run folder that is taken, incomplete, or belongs to other data."""


class TitreError(CytowellError):
    """Counts or dilutions from which no titre can be had."""


class LayoutError(TitreError):
    """A plate layout that cannot be, or does not fit the plate."""


class CountError(CytowellError):
    """Calls from which no differential count or agreement can be had."""


class FetchError(CytowellError):
    """A download that failed or is not what was asked for."""


class NotEnoughMemory(CytowellError):
    """Memory does not reach for what is asked."""


class Blocked(CytowellError):
    """The checks found something that must be mended first."""


class StorageError(CytowellError):
    """The disk is full or may not be written."""
