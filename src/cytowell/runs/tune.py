"""A search for settings inside a division: Optuna asks, its validation part answers.

The division's test part has no say; the next division searches anew (nested cross-validation,
Varma & Simon 2006, doi 10.1186/1471-2105-7-91). Trials are kept in ``tune.db``, so that a search
that was interrupted goes on and one that grew adds to what is known.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from cytowell.errors import StorageError
from cytowell.learners.classical import KNOBS
from cytowell.learners.contract import Curve
from cytowell.runs.candidates import Candidate, Fit
from cytowell.runs.cells import Cell, compute
from cytowell.runs.protocols import Division
from cytowell.runs.run import Voice
from cytowell.types import Dataset

STRETCH = ("scale", "brightness", "contrast", "saturation", "stain")
"""Augmentations that are strengthened or weakened together."""

SIDES = (0.75, 1.0, 1.25)
"""Sides that are tried, as shares of the one given; multiples of 16 pixels."""

DEPTHS = (0.0, 0.3, 0.6)
"""Depths below which layers are frozen that are tried, beside the recipe's own."""


def tuned(
    dataset: Dataset,
    candidate: Candidate,
    division: Division,
    fit: Fit,
    trials: int,
    folder: Path,
    voice: Voice,
) -> Candidate:
    """Give the candidate with the settings that did best on the division's validation part.

    Networks are tried over learning rate, side, strength of augmentation and frozen depth, and
    given up early where they fall behind; classical learners over their knob. Others choose for
    themselves and come back as they are.
    """
    if not candidate.network and candidate.recipe.learner not in KNOBS:
        return candidate
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Kept by what the images are: a search of one fold says nothing of another's.
    whole = Cell(
        candidate, "tune", 0, division.seed, division.train, division.validation,
        division.validation, fit,
    )  # fmt: skip
    study = _study(f"{candidate.name}, {whole.key(dataset)}", folder / "tune.db", fit.seed)
    if not study.trials:
        study.enqueue_trial(_as_it_is(candidate))

    def ask(trial: Any) -> float:
        made = _turned(candidate, trial)
        cell = replace(whole, candidate=made, fold=trial.number)
        answer = compute(dataset, cell, pointed=_reporter(trial))
        if answer.error:
            raise optuna.TrialPruned(answer.error)
        return answer.validation_accuracy

    known = [t for t in study.trials if t.state.is_finished()]
    for number in range(len(known), trials):
        voice.ticked(number, trials, f"tuning {candidate.name}")
        study.optimize(ask, n_trials=1)
    if not any(t.state == optuna.trial.TrialState.COMPLETE for t in study.trials):
        voice.said(f"{candidate.name}: no trial came to an end, so its settings stay as they are")
        return candidate
    best = study.best_trial
    voice.said(
        f"{candidate.name}: the best of {trials} trials was right on {best.value:.1%} of the "
        f"validation images with {best.params}"
    )
    return _turned(candidate, optuna.trial.FixedTrial(best.params))


def _study(name: str, file: Path, seed: int) -> Any:
    """Open a search, or begin it."""
    try:
        return optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{file}",
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
        )
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise StorageError(
            f"{file} does not hold a search ({str(error).splitlines()[0]}).",
            "Remove it: the trials are then run again.",
        ) from error


def _reporter(trial: Any) -> Any:
    """Report each answer of the validation part; give the trial up where it falls behind."""
    asked = iter(range(10_000))

    def point(answer: Curve) -> None:
        trial.report(answer.validation_accuracy, next(asked))
        if trial.should_prune():
            raise optuna.TrialPruned()

    return point


def _as_it_is(candidate: Candidate) -> dict[str, Any]:
    """Give the candidate's own settings as the first trial."""
    settings = candidate.recipe.settings
    if not candidate.network:
        return {"strength": settings.strength or KNOBS[candidate.recipe.learner].usual}
    usual = {"rate": settings.rate, "side": 1.0, "augmentation": 1.0}
    return usual | {"frozen_depth": settings.frozen_depth}


def _turned(candidate: Candidate, trial: Any) -> Candidate:
    """Lay a trial's values on a candidate."""
    settings = candidate.recipe.settings
    if not candidate.network:
        along = KNOBS[candidate.recipe.learner].along
        value = trial.suggest_float("strength", along[0], along[-1], log=True)
        settings = replace(settings, strength=value)
    else:
        strength = trial.suggest_categorical("augmentation", [0.5, 1.0, 1.5])
        how = settings.augmentation
        how = replace(how, **{name: min(0.9, strength * getattr(how, name)) for name in STRETCH})
        share = trial.suggest_categorical("side", list(SIDES))
        depths = sorted({*DEPTHS, settings.frozen_depth})
        settings = replace(
            settings,
            rate=trial.suggest_float("rate", settings.rate / 8, settings.rate * 4, log=True),
            frozen_depth=trial.suggest_categorical("frozen_depth", depths),
            augmentation=how,
            phases=tuple((_side(s, share), n) for s, n in settings.phases),
            small_phases=tuple((_side(s, share), n) for s, n in settings.small_phases),
        )
    return replace(candidate, recipe=replace(candidate.recipe, settings=settings))


def _side(side: int, share: float) -> int:
    return max(32, 16 * round(side * share / 16))
