"""Adapt a bundle to another laboratory: its own labels, its own photographs, no PyTorch.

Every part is kept only if it helps on photographs that were left out; where none helps, nothing is
written, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.metrics import confusion_matrix

from cytowell.errors import RunError, TooFewImages
from cytowell.evaluation.calibration import fit_calibration, fit_farthest
from cytowell.evaluation.intervals import FEW
from cytowell.evaluation.promise import promise
from cytowell.images import worker_count
from cytowell.learners import anchored
from cytowell.learners.linear import folds
from cytowell.runs.adapt_input import alike, distinct, enough, labelled_given
from cytowell.runs.adaptation import Adaptation, Part, card
from cytowell.runs.adapting import (
    Photographs,
    around,
    beyond_chance,
    features,
    gain_of,
    macro_f1,
    read,
    renormed,
    scores,
    statistics_with,
)
from cytowell.runs.run import Voice
from cytowell.runtime.bundle import Bundle, decide, load
from cytowell.runtime.head import Head, Statistics
from cytowell.storage import is_there
from cytowell.types import Dataset, FloatArray, IntArray, Sample

FOLDS = 5
REMEMBERED = 10
"""Stored training images of each class without new labels that the head is fitted on too."""


def adapt(
    bundle: str | Path | Bundle,
    labelled: Dataset | None = None,
    unlabelled: Sequence[Sample] = (),
    out: str | Path | None = None,
    seed: int = 7,
    wrong: float = 0.01,
    voice: Voice | None = None,
) -> Adaptation:
    """Fit a bundle to another laboratory's photographs; keep what helps on left-out ones.

    Parameters
    ----------
    labelled
        The laboratory's own labels: two photographs a class at least; classes that the bundle lacks
        are added.
    unlabelled
        Further photographs of the laboratory.
    out
        A new folder for the bundle; written only if something helped.
    wrong
        Share of the calls made that may be wrong.

    Raises
    ------
    TooFewImages
        If there is nothing to adapt by, or a class has one label.
    RunError
        If the new folder is there already.

    Examples
    --------
    >>> import cytowell
    >>> made = cytowell.write_samples("demo", "wells", per_class=16)["wells"]
    >>> data = cytowell.read(made)
    >>> from cytowell.runs.recipe import make
    >>> quick, _ = make("frozen", backbones=("imagenet",), crops=(1.0,))
    >>> bundle = cytowell.load(cytowell.train(data, "run", quick).bundle)
    >>> result = cytowell.adapt(bundle, labelled=data)
    >>> result.helped == any(part.kept for part in result.parts)
    True
    """
    heard = voice or Voice()
    old = bundle if isinstance(bundle, Bundle) else load(bundle)
    if out is not None and is_there(Path(out)):
        raise RunError(f"{out} is there already.", "Name a new folder for the adapted bundle.")
    own = labelled_given(labelled)
    alike(own, old.classes)
    if not own and not unlabelled:
        raise TooFewImages(
            "There is nothing to adapt by.", "Give --labelled a table or --unlabelled photographs."
        )
    others, notes = distinct(own, unlabelled)
    mine = read(old, own, heard.ticked, "labelled photographs")
    theirs = read(old, others, heard.ticked, "unlabelled photographs")
    unreadable = (*mine.unreadable, *theirs.unreadable)
    notes += [f"Left out: {error}" for error in unreadable[:5]]
    if len(unreadable) > 5:
        notes.append(f"{len(unreadable) - 5} more could not be read.")
    enough(mine.samples)
    heard.said("measuring statistics of normalisation on the new photographs")
    pixels = np.concatenate([mine.pixels, theirs.pixels])
    part, model = renormed(old, pixels, seed, worker_count())
    if not own:
        done = _unlabelled_only(old, part, model, notes)
    else:
        heard.said("refitting the head, chosen without each fold, for figures that hold")
        done = _refitted(old, mine, part, model, notes, seed, wrong)
    if out is not None and done.bundle is not None:
        done.bundle.save(Path(out), card(done, old))
    return done


def _unlabelled_only(old: Bundle, part: Part, model: bytes, notes: list[str]) -> Adaptation:
    made = None
    if part.kept:
        facts = replace(
            old.facts,
            confusion=(),
            confusion_decided=(),
            origin={**old.facts.origin, "adapted": {"from": old.digest, "parts": [asdict(part)]}},
        )
        # Its threshold and its promise were shown on other photographs by another network.
        facts.origin.pop("promise", None)
        made = Bundle(facts, old.head, old.statistics, model, subclasses=old.subclasses)
        notes.append("No label says how good it is: label ten of each class and adapt again.")
    return Adaptation((part,), {}, tuple(notes), made)


@dataclass(frozen=True)
class _Outcome:
    """Of left-out photographs: logits (N, C), which are kept, and distances (N,)."""

    logits: FloatArray
    distances: FloatArray


def _refitted(
    old: Bundle,
    mine: Photographs,
    part: Part,
    model: bytes,
    notes: list[str],
    seed: int,
    wrong: float,
) -> Adaptation:
    labels = [str(s.label) for s in mine.samples]
    classes = (*old.classes, *sorted(set(labels) - set(old.classes)))
    y = np.array([classes.index(name) for name in labels], dtype=np.int64)
    groups = np.array([s.group if s.group is not None else s.path for s in mine.samples])
    models = [old.model] if model == old.model else [old.model, model]
    rows = anchored.Rows(tuple(features(m, mine.pixels) for m in models), y, groups)
    known = _known(old, rows, len(classes), seed)
    networks = range(len(models))
    heads, network = anchored.nested(rows, known, networks, FOLDS, seed)
    before = scores(old.head, rows.features[0], len(classes)) / old.facts.temperature
    gain = gain_of(y, before, heads, groups)
    told = beyond_chance(y, heads)
    kept = gain.shown and told
    why = "left-out photographs are called better" if kept else "no gain on left-out photographs"
    if gain.shown and not told:
        why = "labels of left-out photographs are not met by more than chance"
    refit = Part("head", kept, why, "macro-F1", gain.value, gain.low, gain.high)
    notes += _about(old, rows, classes)
    if not kept:
        return _unchanged(old, part, refit, before, y, notes)
    setting = anchored.choose(rows, known, networks, seed)
    head = anchored.fit_anchored(rows, known, setting)
    used = rows.features[setting.network]
    statistics = statistics_with(old.statistics, used, y, len(classes))
    distances = _left_out_distances(old.statistics, rows, network, len(classes), seed)
    outcome = _Outcome(heads, distances)
    figures = _figures(old, outcome, before, rows, mine.doubts, seed, wrong)
    renorm = part
    if len(models) > 1:
        helps = "helps" if setting.network == 1 else "does not help"
        why = f"with the refitted head it {helps} left-out labelled photographs"
        renorm = replace(part, kept=setting.network == 1, why=why)
    parts = (renorm, refit, *_limits(old, outcome, y, groups, seed))
    made = _made(old, models[setting.network], head, statistics, outcome, rows, classes, wrong)
    made.facts.origin["adapted"] = {
        "from": old.digest,
        "setting": asdict(setting),
        "parts": [asdict(p) for p in parts],
        "labelled": {c: int((y == i).sum()) for i, c in enumerate(classes) if (y == i).any()},
        "without labels": [c for i, c in enumerate(classes) if not (y == i).any()],
        "figures": figures,
    }
    return Adaptation(parts, figures, tuple(notes), made)


def _known(old: Bundle, rows: anchored.Rows, classes: int, seed: int) -> anchored.Known:
    head = anchored.known_of(old.head, old.facts.temperature, classes)
    each = int(min(REMEMBERED, max(2, np.median(np.bincount(rows.labels)[np.unique(rows.labels)]))))
    width = rows.features[0].shape[1]
    stored, labels = anchored.remembered(old.statistics, np.unique(rows.labels), width, each, seed)
    return anchored.Known(head, stored, labels)


def _about(old: Bundle, rows: anchored.Rows, classes: tuple[str, ...]) -> list[str]:
    """Say what the figures do not show: groups, classes without labels, known photographs."""
    notes = []
    groups = len(np.unique(rows.groups))
    if groups == 1:
        notes.append("All labels are of one group: no figure across groups exists.")
    elif groups < FEW:
        notes.append(f"{groups} groups are few: intervals are by photograph, and too narrow.")
    elif groups == len(rows.groups):
        notes.append("No groups are named: figures are by photograph, and may be too good.")
    missing = [c for i, c in enumerate(classes) if not (rows.labels == i).any()]
    if missing:
        notes.append(
            f"No new labels, so not measured here: {', '.join(missing)}. They are called as before."
        )
    added = classes[len(old.classes) :]
    if added:
        notes.append(f"Added: {', '.join(added)}.")
    if old.statistics is not None:
        stored = old.statistics.stored.astype(np.float32)
        own = old.statistics.project(rows.features[0])
        near = ((own[:, None, :] - stored[None]) ** 2).sum(axis=2).min(axis=1)
        same = int((near < 1e-4 * (own**2).sum(axis=1)).sum())
        if same:
            notes.append(
                f"{same} labelled photographs are among those that the bundle was trained on: "
                "figures of them are too good."
            )
    return notes


def _unchanged(
    old: Bundle, part: Part, refit: Part, before: FloatArray, y: IntArray, notes: list[str]
) -> Adaptation:
    """Give the answer where the refitted head does not help: nothing is changed."""
    accuracy = float((before.argmax(axis=1) == y).mean())
    notes.append(
        f"It did not help: the bundle stays as it is. It calls {accuracy:.0%} of the labelled "
        "photographs as they are labelled; if that is little, check the labels first."
    )
    stopped = replace(part, kept=False, why="labels do not show that it helps")
    return Adaptation(
        (stopped if part.kept else part, refit),
        {"n": len(y), "macro_f1_before": macro_f1(y, before)},
        tuple(notes),
        None,
    )


def _left_out_distances(
    old: Statistics | None, rows: anchored.Rows, network: IntArray, classes: int, seed: int
) -> FloatArray:
    distances = np.zeros(len(rows.labels))
    for train, test in folds(rows.labels, rows.groups, FOLDS, seed):
        points = rows.features[int(network[test[0]])]
        found = statistics_with(old, points[train], rows.labels[train], classes)
        if found is not None:
            distances[test] = found.distance(points[test])
    return distances


def _figures(
    old: Bundle,
    outcome: _Outcome,
    before: FloatArray,
    rows: anchored.Rows,
    doubts: Sequence[str],
    seed: int,
    wrong: float,
) -> dict[str, Any]:
    """Give figures of left-out photographs; what decides each was fitted without its fold."""
    y, groups = rows.labels, rows.groups
    decided = np.zeros(len(y), dtype=np.bool_)
    for train, test in folds(y, groups, FOLDS, seed):
        fitted = fit_calibration(outcome.logits[train], y[train])
        sure = fitted.probabilities(outcome.logits[train])
        limits = replace(
            old.facts,
            threshold=promise(sure, y[train], wrong, groups[train]).threshold,
            farthest=fit_farthest(outcome.distances[train]),
        )
        found = fitted.probabilities(outcome.logits[test])
        decided[test], _ = decide(limits, found, outcome.distances[test], [doubts[i] for i in test])
    right = outcome.logits.argmax(axis=1) == y
    return {
        "n": len(y),
        "groups": len(np.unique(groups)),
        "macro_f1_before": macro_f1(y, before),
        "macro_f1": macro_f1(y, outcome.logits),
        "accuracy": float(right.mean()),
        "decided": int(decided.sum()),
        "right_of_decided": int((right & decided).sum()),
    }


def _limits(
    old: Bundle, outcome: _Outcome, y: IntArray, groups: npt.NDArray[np.str_], seed: int
) -> tuple[Part, ...]:
    """Give the parts that follow the head: calibration, with its gain, and the limits."""
    loss = np.zeros(len(y))
    for train, test in folds(y, groups, FOLDS, seed):
        fitted = fit_calibration(outcome.logits[train], y[train])
        found = fitted.probabilities(outcome.logits[test])
        plain = softmax(outcome.logits[test], axis=1)
        place = np.arange(len(test)), y[test]
        loss[test] = np.log(np.maximum(found[place], 1e-9) / np.maximum(plain[place], 1e-9))
    draws = np.random.default_rng(seed).integers(len(y), size=(500, len(y)))
    low, high = around(float(loss.mean()), loss[draws].mean(axis=1))
    why = "fitted on calls of left-out photographs"
    calibration = Part("calibration", True, why, "log-loss", float(loss.mean()), low, high)
    return calibration, Part("threshold and distance limit", True, why)


def _made(
    old: Bundle,
    model: bytes,
    head: Head,
    statistics: Statistics | None,
    outcome: _Outcome,
    rows: anchored.Rows,
    classes: tuple[str, ...],
    wrong: float,
) -> Bundle:
    y, groups = rows.labels, rows.groups
    fitted = fit_calibration(outcome.logits, y)
    sure = fitted.probabilities(outcome.logits)
    shown = promise(sure, y, wrong, groups)
    farthest = None if statistics is None else fit_farthest(outcome.distances)
    counts = confusion_matrix(y, outcome.logits.argmax(axis=1), labels=[*range(len(classes))])
    # Classes that nobody has labelled anew are not measured: no correction may rest on them.
    complete = len(np.unique(y)) == len(classes)
    facts = replace(
        old.facts,
        classes=classes,
        temperature=fitted.temperature,
        threshold=shown.threshold,
        farthest=farthest,
        confusion=tuple(tuple(int(v) for v in r) for r in counts) if complete else (),
        confusion_decided=(),
        confusion_of="left-out labelled photographs" if complete else "",
        origin={**old.facts.origin, "promise": shown.to_json()},
    )
    whole = replace(head, bias=head.bias + fitted.temperature * fitted.bias)
    return Bundle(facts, whole, statistics, model, subclasses=old.subclasses)
