"""What a run leaves to be read: bundle with card, report.json, and the page drawn from them."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytowell import splits
from cytowell.errors import BadTable, RunError
from cytowell.evaluation.metrics import evaluate
from cytowell.evaluation.report import Story, write_report
from cytowell.evaluation.verdict import percent_range
from cytowell.learners.contract import Makings
from cytowell.learners.linear import spanning
from cytowell.runs.by_kind import said_of
from cytowell.runs.parts import FOLDS, few_groups
from cytowell.runs.recipe import Recipe
from cytowell.runtime.bundle import Bundle, Facts
from cytowell.storage import write_text
from cytowell.types import Dataset, Findings, Predictions, Split

SHOWN = ("ece", "brier", "log_loss", "accuracy")
TRIALS = 200
"""Bootstrap draws for figures that stand beside the main ones."""

PACKAGES = ("cytowell", "numpy", "onnxruntime", "scikit-learn", "pillow", "torch", "timm")


@dataclass(frozen=True, kw_only=True)
class Final:
    """What a bundle was made from."""

    dataset: Dataset
    split: Split
    recipe: Recipe
    makings: Makings

    def origin(self) -> dict[str, Any]:
        """Give where a bundle came from, as names and values."""
        m = self.makings
        return {
            "data": self.dataset.digest(),
            "split": self.split.digest(),
            "images": {p: len(self.split.where(p)) for p in ("train", "validation", "test")},
            "learner": self.recipe.learner,
            "preset": self.recipe.preset,
            "seed": self.recipe.seed,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            "made": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions(),
            "architecture": m.architecture,
            "weights": m.weights,
            "licence": m.licence,
            "remarks": list(m.remarks),
        }


@dataclass(frozen=True, kw_only=True)
class Told(Final):
    """A run that has judged itself."""

    findings: Findings
    calls: Predictions
    before: Predictions
    learnt: Predictions | None
    out_of_fold: bool
    no_test: str = ""
    kinds: Mapping[str, Any] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Give the versions of what computed the run."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def save_bundle(
    folder: Path, bundle: Bundle, origin: Mapping[str, Any], metrics: Mapping[str, Any], part: str
) -> None:
    """Write the bundle with its confusion matrix, its origin and its model card."""
    facts = replace(
        bundle.facts,
        confusion=_matrix(metrics["confusion"]["counts"]),
        confusion_decided=_matrix(metrics.get("confusion_decided", ())),
        confusion_of=part,
        origin={**bundle.facts.origin, **origin},
        positive=metrics.get("positive"),
    )
    made = Bundle(facts, bundle.head, bundle.statistics, bundle.model, subclasses=bundle.subclasses)
    made.with_reference(bundle.reference).save(folder, card(facts, metrics))


def _matrix(counts: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(v) for v in row) for row in counts)


def decided_counts(calls: Predictions) -> list[list[int]]:
    """Count decided calls (C, C), truth down, calls across: what counts of a slide are made of."""
    counts = np.zeros((len(calls.classes), len(calls.classes)), dtype=np.int64)
    inside = calls.readable & calls.decided & (calls.truth >= 0)
    np.add.at(counts, (calls.truth[inside], calls.called[inside]), 1)
    return [[int(v) for v in row] for row in counts]


def card(facts: Facts, metrics: Mapping[str, Any]) -> str:
    """Write the model card."""
    origin = facts.origin
    images = origin.get("images", {})
    synthetic = "\n**Learnt from synthetic images. Good for trying the tool, for nothing else.**\n"
    rows = [
        " | ".join(
            ["", str(c["class"]), str(c["n"])]
            + [percent_range(c[k]) for k in ("recall", "precision")]
            + [""]
        ).strip()
        for c in metrics["per_class"]
    ]
    return "\n".join(
        [
            "# Model card",
            "",
            "Research use only, not an in vitro diagnostic.",
            synthetic if facts.synthetic else "",
            f"Tells apart: {', '.join(facts.classes)}.",
            "",
            f"- Architecture: {origin.get('architecture')}, input {facts.preprocessing.size} px",
            f"- Started from: {origin.get('weights')} ({origin.get('licence')})",
            f"- Learnt from {images.get('train')} images, calibrated on "
            f"{images.get('validation')}; data {str(origin.get('data'))[:16]}",
            f"- Learner {origin.get('learner')}, preset {origin.get('preset')}, seed "
            f"{origin.get('seed')}; {origin.get('made')}",
            f"- Calls below a probability of {facts.threshold:.3f} are left undecided",
            "",
            f"## Figures ({facts.confusion_of}, n = {metrics['n']})",
            "",
            f"Accuracy {percent_range(metrics['accuracy'])}, macro-F1 "
            f"{percent_range(metrics['macro_f1'])}. 95 % intervals: {metrics['intervals']}",
            "",
            "| class | n | recall | precision |",
            "|---|---|---|---|",
            *rows,
            "",
            "They hold for images taken and stained as these were. On another laboratory's images "
            "measure anew (cytowell evaluate) before you rely on them.",
            "",
        ]
    )


def tell(folder: Path, told: Told, bundle: Bundle, metrics: Mapping[str, Any]) -> None:
    """Write ``report.json``, and the page drawn from it."""
    record: dict[str, Any] = {
        "title": f"Classifier of {Path(told.dataset.origin).name or 'photographs'}",
        "metrics": metrics,
        "train_metrics": None,
        "before": _few(told.before),
        "after": {k: metrics[k] for k in SHOWN},
        "temperature": bundle.facts.temperature,
        "threshold": bundle.facts.threshold,
        "promise": bundle.facts.origin.get("promise"),
        "synthetic": told.dataset.synthetic,
        "lead": lead(told),
        "by_kind": dict(told.kinds),
        "notes": _notes(told),
        "no_test": told.no_test,
        "caveats": _caveats(told.dataset, told.split),
        "balance": _balance(told.dataset, told.split),
        "split_how": told.split.how,
        "leakage": _leakage(told),
        "curve": [asdict(point) for point in told.makings.curve],
        "made": bundle_rows(bundle),
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
        "findings": None,
        "reading": bundle.facts.preprocessing.to_json(),
    }
    if told.learnt is not None:
        record["train_metrics"] = evaluate(told.learnt, resamples=TRIALS)
    record["findings"] = {
        "blocking": list(told.findings.blocking),
        "remarks": list(told.findings.remarks),
    }
    write_text(folder / "report.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    render(folder)


def retell(twin: Path, folder: Path, bundle: Bundle) -> None:
    """Draw a final run's page: the twin's figures, the final bundle's origin, and that it is so."""
    record = json.loads((twin / "report.json").read_text(encoding="utf-8"))
    images = bundle.facts.origin["images"]
    record["notes"] = [
        "The figures on this page belong to the twin, a bundle made by the same recipe that never "
        f"saw the test part. The bundle that is delivered learnt from {images['train']} images, "
        "test part included, so nothing is left here to measure it on; it is not expected to be "
        "worse.",
        *record["notes"],
    ]
    record["temperature"] = bundle.facts.temperature
    record["threshold"] = bundle.facts.threshold
    record["made"] = bundle_rows(bundle)
    write_text(folder / "report.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    render(folder)


def render(folder: Path) -> Path:
    """Draw ``report.html`` from what lies in a run's or an evaluation's folder.

    Raises
    ------
    RunError
        If ``report.json`` or ``predictions.csv`` is missing or cannot be read.
    """
    try:
        record = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        frame = pd.read_csv(
            folder / "predictions.csv",
            dtype=dict.fromkeys(("path", "label", "truth", "group", "split", "subclass"), "str"),
            keep_default_na=False,
            na_values=[""],
        )
        calls = Predictions.from_frame(frame)
    except (OSError, ValueError, KeyError, BadTable) as error:
        raise RunError(f"{folder} holds no whole run ({error}).", "Run it again.") from error
    found = record.pop("findings")
    findings = None
    if found is not None and (folder / "findings.csv").exists():
        saved = pd.read_csv(folder / "findings.csv")
        findings = Findings.from_frame(saved, found["blocking"], found["remarks"])
    record["when"] = datetime.fromisoformat(record["when"])
    record["made"] = [(name, value) for name, value in record["made"]]
    story = Story(predictions=calls, findings=findings, **record)
    write_report(folder / "report.html", story)
    return folder / "report.html"


def _few(calls: Predictions) -> dict[str, Any]:
    metrics = evaluate(calls, resamples=TRIALS)
    return {k: metrics[k] for k in SHOWN}


def lead(told: Told) -> list[str]:
    """Say between what the figures were measured, where groups are few, and for what none exist."""
    units = splits.units_of(told.dataset, told.findings, told.recipe.by_image)
    judged = told.split.train if told.out_of_fold else told.split.test
    said = [*(said_of(told.kinds) if told.kinds else ()), *told.findings.cautions]
    groups = few_groups(told.dataset, units, told.split.parts != "excluded", told.recipe)
    if told.out_of_fold and groups:
        folds = "each group was left out in turn (leave-one-group-out)"
        if told.recipe.learner != "frozen":
            folds = f"{min(FOLDS, groups)} folds of whole groups were left out in turn"
        said.append(
            f"The images come from {groups} groups, so none was held back for good: {folds}, and "
            "figures, temperature, threshold and all intervals come from calls of groups that were "
            "not learnt from. The bundle that is delivered was trained on all of them."
        )
    if not told.dataset.has_groups:
        return said
    named, labels = told.dataset.groups[judged], told.dataset.labels[judged]
    if len(np.unique(named)) == 1 < len(named):
        return [*said, "All images that were judged belong to one group: no figure across groups "
                "exists, and no interval is given."]  # fmt: skip
    own = units[judged].astype(np.str_) if told.out_of_fold else named
    alone = set(labels.tolist()) - set(spanning(labels, own).tolist())
    names = [told.dataset.classes[c] for c in sorted(alone) if (labels == c).sum() > 1]
    if names:
        what = "no figure across groups exists" if told.out_of_fold else "no interval is given"
        said.append(
            f"All images of {', '.join(names)} belong to one group{' each' if names[1:] else ''}: "
            f"{what} for {'these classes' if names[1:] else 'this class'}."
            + (" Other images of such a group were called by a head that did not know the class."
               if told.out_of_fold else "")
        )  # fmt: skip
    return said


def _notes(told: Told) -> list[str]:
    notes = []
    units = splits.units_of(told.dataset, told.findings, told.recipe.by_image)
    inside = told.split.parts != "excluded"
    if told.out_of_fold and not few_groups(told.dataset, units, inside, told.recipe):
        notes.append(
            "A class has few images, so none was held back for good: each figure is of calls by a "
            "head that had not seen the image's group (grouped cross-validation), and whose "
            "settings, calibration and threshold were chosen without it (nested); the head that is "
            "delivered is fitted on all images."
        )
    return notes


def _caveats(dataset: Dataset, made: Split) -> list[str]:
    caveats = list(dataset.notes)
    calibrating = dataset.groups[made.validation]
    if len(np.unique(calibrating)) == 1 < len(calibrating):
        caveats.append(
            "One group alone calibrated: temperature, threshold and distance limit are what fits "
            "its images, and other groups may need others."
        )
    if not dataset.has_groups:
        caveats.append(
            "Nothing says which slide, plate or donor an image comes from, so the split is by "
            "image: the figures are optimistic for slides and donors not seen before."
        )
    return caveats


def _balance(dataset: Dataset, made: Split) -> dict[str, dict[str, int]]:
    counts = {}
    for part in ("train", "validation", "test", "excluded"):
        labels = dataset.labels[made.where(part)]
        if len(labels):
            found = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
            counts[part] = dict(zip(dataset.classes, (int(n) for n in found), strict=True))
    return counts


def _leakage(told: Told) -> str:
    units = splits.units_of(told.dataset, told.findings, told.recipe.by_image)
    inside = told.split.parts != "excluded"
    if told.out_of_fold:
        return "Folds keep groups and copies together."
    count = len(np.unique(units[inside]))
    splits.refuse_torn(told.split.parts, units, told.dataset)
    images = int(inside.sum())
    if told.recipe.by_image:
        return (
            "Split by single image, as asked for: what images of one group share may leak from "
            "training to test, and the figures are too good by that."
        )
    return (
        f"Checked: none of the {count} groups and sets of copies ({images} images) lies on two "
        "sides."
    )


def bundle_rows(bundle: Bundle) -> list[tuple[str, str]]:
    """Give where a bundle came from, as a report shows it."""
    origin = bundle.facts.origin
    rows: Sequence[tuple[str, Any]] = (
        ("Bundle", bundle.digest),
        ("Data", origin.get("data")),
        ("Split", origin.get("split")),
        ("Learner", f"{origin.get('learner')}, preset {origin.get('preset')}"),
        ("Seed", origin.get("seed")),
        ("Network", f"{origin.get('architecture')}, {bundle.facts.preprocessing.size} px"),
        ("How it was chosen", " ".join(origin.get("remarks", []))),
        ("Started from", origin.get("weights")),
        ("Licence of the start", origin.get("licence")),
        ("Command", origin.get("command")),
        ("Versions", ", ".join(f"{k} {v}" for k, v in origin.get("versions", {}).items())),
        ("Made", origin.get("made")),
    )
    return [(name, str(value)) for name, value in rows]
