"""Experiment trackers through Lightning's loggers: MLflow, Weights & Biases, or one's own.

A logger is named by ``--loggers``; its part is a function of the run's folder and of the tracker's
own name for the run ("" for a new one) that gives a Lightning logger. Where it sends what it is
told is the tracker's own matter, by its usual environment variables. A tracker that fails costs no
training: it is said once, and the training goes on without it.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cytowell import registry
from cytowell.errors import MissingExtra, how_to_install
from cytowell.learners.contract import Curve, Said, silent
from cytowell.storage import write_text

IDS = "loggers.json"
"""In a run's folder: what each tracker calls the run, so that it can be gone on with."""

EVERY = 10
"""Steps between two losses of the training that are logged."""

SENT = ("accuracy", "balanced_accuracy", "macro_f1", "coverage", "accuracy_decided")
"""Figures of the test part that are logged, those of them that a run has."""


def require(names: Sequence[str]) -> None:
    """Refuse trackers that are not known or not installed, before anything is begun.

    Raises
    ------
    UnknownName
        With the nearest name.
    MissingExtra
        With what to install.
    """
    registry.require("loggers", names)
    known = registry.names("loggers")
    for name in names:
        if known[name].startswith(f"{__name__}:") and importlib.util.find_spec(name) is None:
            raise MissingExtra(
                f"--loggers {name} needs {name}, which is not installed.",
                how_to_install(registry.EXTRAS[name]) + ".",
            )


def mlflow(folder: Path, run_id: str) -> Any:
    """Give Lightning's logger of MLflow.

    ``MLFLOW_TRACKING_URI`` names the server or store; without it ``mlruns`` beside the run's
    folder. ``MLFLOW_EXPERIMENT_NAME`` names the experiment, else it is ``cytowell``.
    """
    from lightning.pytorch.loggers import MLFlowLogger  # noqa: PLC0415  (seconds, for those who ask)

    place = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not place:
        # From version 3 on MLflow writes to files only where somebody says that it may.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        place = (folder.resolve().parent / "mlruns").as_uri()
    return MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", "cytowell"),
        run_name=folder.resolve().name,
        tracking_uri=place,
        run_id=run_id or None,
    )


def wandb(folder: Path, run_id: str) -> Any:
    """Give Lightning's logger of Weights & Biases.

    ``WANDB_PROJECT`` and ``WANDB_MODE`` are heeded. Without an API key the run is kept offline,
    in ``wandb`` in the run's folder, for ``wandb sync``: a training never waits for a password.
    """
    import wandb as tracker  # noqa: PLC0415  (seconds, for those who ask)
    from lightning.pytorch.loggers import WandbLogger  # noqa: PLC0415

    mode = os.environ.get("WANDB_MODE", "")
    offline = mode in ("offline", "dryrun") or (not mode and tracker.api.api_key is None)
    os.environ.setdefault("WANDB_SILENT", "true")
    place = folder.resolve()
    place.mkdir(parents=True, exist_ok=True)
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", "cytowell"),
        name=place.name,
        save_dir=str(place),
        id=run_id or None,
        offline=offline,
    )


class Tracker:
    """One tracker as a callback of the training.

    Parameters
    ----------
    name
        Of the kind `loggers`.
    folder
        The run's.
    said
        Hears of a tracker that fails.
    """

    def __init__(self, name: str, folder: Path, said: Said = silent) -> None:
        self.name, self.folder, self.said = name, folder, said
        self._ids = folder / IDS
        self._logger: Any = None
        self._failed = False

    def on_train_start(self, settings: dict[str, Any], classes: tuple[str, ...], step: int) -> None:
        """Log the settings."""
        self._try("log_hyperparams", {**settings, "classes": ", ".join(classes)})

    def on_train_batch_end(self, step: int, loss: float, rate: float) -> None:
        """Log loss and rate of a step in ten."""
        if step % EVERY == 0:
            self._try("log_metrics", {"step/loss": loss, "step/rate": rate}, step)

    def on_validation_end(self, point: Curve) -> None:
        """Log an answer of the validation part."""
        found = {}
        for field in fields(point):
            part, _, figure = field.name.partition("_")
            # No name may be the folder of another: MLflow's store has a file for each.
            name = f"{part}/{figure}" if part in ("train", "validation") else f"at/{field.name}"
            found[name] = float(getattr(point, field.name))
        self._try("log_metrics", found, point.step)

    def figures(self, settings: dict[str, Any], metrics: dict[str, Any]) -> None:
        """Log the figures of the test part; the settings too, where no training logged them."""
        if self.name not in self._kept():
            self._try("log_hyperparams", settings)
        found = {f"test/{n}": _value(metrics[n]) for n in SENT if n in metrics}
        self._try("log_metrics", {n: v for n, v in found.items() if v is not None})

    def close(self) -> None:
        """Write out what is left, and keep what the tracker calls the run."""
        if self._logger is None:
            return
        name = getattr(self._logger, "run_id", None) or getattr(self._logger, "version", None)
        self._try("finalize", "success")
        if finish := getattr(self._logger.experiment, "finish", None):
            finish()  # Weights & Biases has one run a process at a time
        if name:
            write_text(self._ids, json.dumps(self._kept() | {self.name: str(name)}) + "\n")

    def _try(self, method: str, *given: Any) -> None:
        if self._failed:
            return
        try:
            if self._logger is None:
                make = registry.load("loggers", self.name)
                self._logger = make(self.folder, self._kept().get(self.name, ""))
            getattr(self._logger, method)(*given)
        except Exception as error:  # a server away, a full disk, its own version
            self._failed = True
            first = (str(error) or type(error).__name__).splitlines()[0]
            self.said(f"{self.name} failed ({first}): the training goes on without it")

    def _kept(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._ids.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}


def trackers(names: Sequence[str], folder: Path, said: Said) -> tuple[tuple[str, Any], ...]:
    """Give the trackers of these names as callbacks."""
    return tuple((name, Tracker(name, folder, said)) for name in names)


def report(
    names: Sequence[str], folder: Path, settings: Any, metrics: dict[str, Any], said: Said
) -> None:
    """Log a run's figures of the test part."""
    table = asdict(settings) if hasattr(settings, "__dataclass_fields__") else dict(settings)
    for _, tracker in trackers(names, folder, said):
        tracker.figures(table, metrics)
        tracker.close()


def _value(figure: Any) -> float | None:
    """Give a figure's value, with or without its interval."""
    value = figure.get("value") if isinstance(figure, dict) else figure
    return float(value) if isinstance(value, int | float) else None
