"""From annotated photographs to a detector bundle: check, split, learn, export, judge, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cytowell import checks, registry, splits
from cytowell.errors import EmptyDataset, RecipeError, RunError, TooFewImages, UnknownName
from cytowell.evaluation.detection import choose_score
from cytowell.evaluation.detection_page import write_page
from cytowell.evaluation.verdict import percent_range
from cytowell.images import open_upright
from cytowell.images.boxes import letterbox
from cytowell.images.sizes import upright_size
from cytowell.registry import did_you_mean
from cytowell.runs.detecting import draw_errors, look
from cytowell.runs.lock import LOCK, held
from cytowell.runs.recipe import filled, read_toml
from cytowell.runs.run import Voice
from cytowell.runtime.detector import Detector, load_detector
from cytowell.runtime.detector_facts import DetectorFacts, Reading
from cytowell.settings import essence, to_toml
from cytowell.storage import explaining, write_text, write_with
from cytowell.types import Box, Dataset, Findings, IntArray, Split

TABLE = "detector"
"""Name of the settings in ``recipe.toml``."""

SEED = 7

CHECKS = ("files", "boxes", "duplicates")
"""What is looked at before boxes are learnt from."""

FEWEST = 2
"""Photographs in each part, at least."""

SMALLEST = 64
"""Longer side in pixels of photographs that can be said to be small or large."""

PROVEN = 8
"""Photographs on which PyTorch and ONNX Runtime must agree."""


@dataclass(frozen=True)
class DetectorRun:
    """A finished run: its folder, its bundle's folder, its figures on the test part."""

    folder: Path
    bundle: Path
    metrics: dict[str, Any]


@dataclass(frozen=True)
class _Plan:
    """All that is decided before anything is learnt."""

    dataset: Dataset
    settings: Any
    seed: int
    findings: Findings
    split: Split
    leaks: str

    @property
    def fingerprint(self) -> str:
        """Hash of all that decides what is learnt."""
        said = {
            "settings": essence(self.settings),
            "seed": self.seed,
            "data": self.dataset.digest(),
            "split": self.split.digest(),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def photographs(self, part: str) -> int:
        """Count the photographs of a part."""
        return len({self.dataset.paths[i] for i in self.split.where(part)})


def train_detector(
    dataset: Dataset,
    out: str | Path,
    settings: Any,
    seed: int = SEED,
    resume: bool = False,
    new_split: bool = False,
    voice: Voice | None = None,
) -> DetectorRun:
    """Check, split, learn, export and judge into one folder.

    Parameters
    ----------
    dataset
        Annotated photographs; those without objects count.
    out
        The run's folder: ``bundle/``, ``report.html``, ``report.json``, ``overlays/``,
        ``split.csv``, ``findings.csv``, ``recipe.toml``, ``tensorboard/``, ``checkpoints/``.
    settings
        `training.detection_recipe.Detection`.
    resume
        Go on where an interrupted run of the same data and settings stopped.
    new_split
        Divide the photographs anew, whatever split the data brings.

    Raises
    ------
    EmptyDataset
        If no box has a class.
    TooFewImages
        If nobody is left to learn, to choose or to judge.
    RunError
        If the folder holds something else.
    """
    heard = voice or Voice()
    folder = Path(out)
    plan = _planned(dataset, settings, seed, new_split, heard)
    with explaining(folder), held(folder):
        _claim(folder, plan.fingerprint, resume)
        _write_plan(folder, plan)
        return _carried_out(folder, plan, resume, heard)


def _carried_out(folder: Path, plan: _Plan, resume: bool, heard: Voice) -> DetectorRun:
    """Learn, export and judge; the folder is this process's."""
    dataset, settings = plan.dataset, plan.settings
    learnt = _learn(folder, plan, resume, heard)
    detector = _exported(plan, learnt, heard)
    heard.said("finding in the test part")
    looked = look(detector, dataset.take(plan.split.test), heard)
    metrics = looked.metrics(detector)
    detector.save(folder / "bundle", _card(detector.facts, metrics))
    told: dict[str, Any] = {
        "classes": list(dataset.classes),
        "side": settings.side,
        "data": dataset.origin,
        "synthetic": dataset.synthetic,
        "split": plan.split.how,
        "leaks": plan.leaks,
        "remarks": list(plan.findings.remarks),
        "origin": detector.facts.origin,
        "bundle": load_detector(folder / "bundle").digest,
        "curve": [dataclasses.asdict(point) for point in learnt.curve],
        "metrics": metrics,
    }
    write_text(folder / "report.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    write_page(folder / "report.html", told, draw_errors(looked, detector, folder / "overlays"))
    return DetectorRun(folder, folder / "bundle", metrics)


def _planned(dataset: Dataset, settings: Any, seed: int, new_split: bool, heard: Voice) -> _Plan:
    """Check and split, and say what was found."""
    if not any(s.box is not None and s.label is not None for s in dataset.samples):
        raise EmptyDataset(
            f"{dataset.origin} has no boxes with a class.",
            "Give annotated photographs: YOLO, COCO or VOC.",
        )
    # Its extra is missing: that is said before anything is looked at.
    registry.load("detectors", settings.network)
    heard.said(f"checking {len(set(dataset.paths))} photographs")
    findings = checks.check_all(
        dataset, progress=lambda what, done, of: heard.ticked(done, of, what), only=CHECKS
    )
    made, leaks = divide_photographs(dataset, findings, settings, seed, new_split)
    for sentence in (*findings.remarks, f"split: {made.how}", leaks):
        if sentence:
            heard.said(sentence)
    return _Plan(dataset, settings, seed, findings, made, leaks)


def _write_plan(folder: Path, plan: _Plan) -> None:
    recipe = f"# Of every random choice.\nseed = {plan.seed}\n\n{to_toml(plan.settings, TABLE)}\n"
    write_text(folder / "recipe.toml", recipe)
    write_text(folder / "run.json", json.dumps({"fingerprint": plan.fingerprint}) + "\n")
    write_with(folder / "findings.csv", lambda f: plan.findings.frame().to_csv(f, index=False))
    splits.save(plan.split, folder / "split.csv")


def _learn(folder: Path, plan: _Plan, resume: bool, heard: Voice) -> Any:
    """Let PyTorch's room learn; give its `Learnt`."""
    heard.said(f"learning from {plan.photographs('train')} photographs ({plan.settings.network})")
    job = registry.part("cytowell.training.detecting:Job")(
        settings=plan.settings,
        seed=plan.seed,
        classes=plan.dataset.classes,
        learn=_annotated(plan.dataset, plan.split.train),
        judge=_annotated(plan.dataset, plan.split.validation),
        folder=folder / "checkpoints",
        fingerprint=plan.fingerprint,
        resume=resume,
        said=heard.said,
        ticked=heard.ticked,
    )
    return registry.part("cytowell.training.detecting:learn")(job)


def _exported(plan: _Plan, learnt: Any, heard: Voice) -> Detector:
    """Export, prove, and choose the certainty from which on a box is one."""
    heard.said("exporting, and comparing PyTorch with ONNX Runtime")
    dataset, made = plan.dataset, plan.split
    leaks = [plan.leaks] if plan.leaks else []
    origin: dict[str, Any] = {
        "network": plan.settings.network,
        "weights": learnt.origin,
        "data": dataset.digest(),
        "split": made.digest(),
        "photographs": {p: plan.photographs(p) for p in ("train", "validation", "test")},
        "seed": plan.seed,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "remarks": [*leaks, *plan.findings.remarks],
    }
    learnt_from = dict.fromkeys(dataset.paths[i] for i in made.train)
    longer = int(np.median([max(upright_size(path)) for path in learnt_from]))
    facts = DetectorFacts(
        classes=dataset.classes,
        reading=Reading(plan.settings.side, rows_first=True),
        photograph=longer if longer >= SMALLEST else 0,
        synthetic=dataset.synthetic,
        origin=origin,
    )
    some = [*dict.fromkeys(dataset.paths[i] for i in made.validation)][:PROVEN]
    boxed = [letterbox(open_upright(path), plan.settings.side, False).pixels for path in some]
    export = registry.part("cytowell.export.detector:export_detector")
    detector = export(learnt.network, facts, boxed)
    seen = look(detector, dataset.take(made.validation), heard).seen
    chosen = choose_score(seen, len(dataset.classes))
    return Detector(dataclasses.replace(facts, score=chosen), detector.model)


def read_recipe(path: Path, base: Any) -> tuple[Any, int]:
    """Read what a run wrote as ``recipe.toml``: settings and seed; what it leaves out is `base`'s.

    Raises
    ------
    RecipeError
        Naming the field that does not exist or cannot hold.
    """
    record = read_toml(path)
    strange = sorted(set(record) - {"seed", TABLE})
    if strange:
        what = f"a table [{strange[0]}]" if isinstance(record[strange[0]], dict) else "a field"
        what += "" if isinstance(record[strange[0]], dict) else f" {strange[0]!r}"
        raise RecipeError(f"{path} has {what}.", did_you_mean(strange[0], ["seed", TABLE]))
    seed = record.get("seed", SEED)
    if type(seed) is not int or seed < 0:
        raise RecipeError(f"{path}: seed = {seed!r} is no whole number from 0 upwards.")
    table = record.get(TABLE, {})
    if not isinstance(table, dict):
        raise RecipeError(f"{path}: [{TABLE}] is a table.")
    try:
        return filled(base, table, TABLE), seed
    except (RecipeError, UnknownName) as error:
        raise type(error)(f"{path}: {error.problem}", error.remedy) from error


def divide_photographs(
    dataset: Dataset, findings: Findings, settings: Any, seed: int, new_split: bool
) -> tuple[Split, str]:
    """Give who learns, who chooses and who judges; and a sentence, if the given split leaks.

    Photographs are never torn, nor groups, nor near copies. A split that the data brings is kept,
    leaks and all: whoever compares with others' figures needs it. The sentence says so.
    """
    usable = ~findings.excluded
    units = splits.units_of(dataset, findings)
    labels = np.where(dataset.labels < 0, len(dataset.classes), dataset.labels)
    given = np.full(len(dataset), "", dtype="<U10")
    if not new_split:
        given = splits.given_parts(dataset)
    parts = np.where(usable, np.where(given == "", "train", given), "excluded").astype("<U10")
    brought = bool((given[usable] != "").any())
    leaks, how = "", "as the data gives it"
    if brought:
        leaks = _leaks(dataset, units, parts)
    else:
        how = f"{1 - settings.test:.0%} / {settings.test:.0%} of the boxes, photographs, groups "
        how += f"and copies kept together, seed {seed}"
    for part, share in (("test", settings.test), ("validation", settings.validation)):
        pool = np.flatnonzero(parts == "train")
        if len(pool) and not (parts == part).any():
            parts[pool] = splits.allocate(labels[pool], units[pool], {part: share}, seed)
            if brought:
                how += f"; {part} part cut from the rest"
    _require_parts(dataset, parts)
    return Split(parts, dataset.paths, how=how, seed=seed), leaks


def _leaks(dataset: Dataset, units: IntArray, parts: npt.NDArray[np.str_]) -> str:
    """Say how many photographs of a given split have a copy, or one of their group, elsewhere."""
    sides: dict[int, set[str]] = {}
    for unit, part in zip(units, parts, strict=True):
        if part != "excluded":
            sides.setdefault(int(unit), set()).add(str(part))
    torn = [i for i, unit in enumerate(units) if len(sides.get(int(unit), ())) > 1]
    if not torn:
        return ""
    return (
        "The split that the data brings has copies or photographs of one group on two sides "
        f"({len({dataset.paths[i] for i in torn})} photographs): its figures flatter. --new-split "
        "divides them anew."
    )


def _require_parts(dataset: Dataset, parts: npt.NDArray[np.str_]) -> None:
    """Refuse a part with too few photographs, or without an object."""
    for part in ("train", "validation", "test"):
        rows = np.flatnonzero(parts == part)
        count = len({dataset.paths[i] for i in rows})
        if count < FEWEST or not any(dataset.samples[i].box is not None for i in rows):
            raise TooFewImages(
                f"{count} photograph(s) are left for the {part} part"
                f"{', without an object' if count >= FEWEST else ''}.",
                "Annotate more photographs, or bring a split of your own.",
            )


def _annotated(dataset: Dataset, rows: IntArray) -> list[Any]:
    """Give the photographs of these samples, each with its boxes."""
    annotated = registry.part("cytowell.training.scenes:Annotated")
    boxes: dict[str, list[Box]] = {}
    labels: dict[str, list[int]] = {}
    for i in rows:
        s = dataset.samples[int(i)]
        boxes.setdefault(s.path, [])
        labels.setdefault(s.path, [])
        if s.box is not None and s.label is not None:
            boxes[s.path].append(s.box)
            labels[s.path].append(int(dataset.labels[i]))
    return [
        annotated(path, tuple(found), np.array(labels[path], dtype=np.int64))
        for path, found in boxes.items()
    ]


def _claim(folder: Path, fingerprint: str, resume: bool) -> None:
    """Refuse a folder that holds something else, or this very run unless it is to go on."""
    if all(f.name == LOCK for f in folder.iterdir()):
        return
    begun = any((folder / name).exists() for name in ("checkpoints", "bundle"))
    try:
        whose = json.loads((folder / "run.json").read_text(encoding="utf-8"))["fingerprint"]
    except (OSError, ValueError, TypeError, KeyError):
        whose = ""
    if whose and not begun:
        return  # it stopped before it learnt: mended data or settings may take its place
    if whose != fingerprint:
        raise RunError(
            f"{folder} holds something else, or a run of other data or settings.",
            "Choose another --out.",
        )
    if not resume:
        raise RunError(
            f"{folder} already holds this run.",
            "Use --resume to go on where it stopped, or choose another --out.",
        )


def _card(facts: DetectorFacts, metrics: dict[str, Any]) -> str:
    """Give the model card."""
    o = facts.origin
    lines = [
        "# Detector",
        "",
        "Research use only, not an in vitro diagnostic.",
        "",
        f"Finds: {', '.join(facts.classes)}.",
        "",
        f"- Network: {o['network']}, input {facts.reading.side} px, from {o['weights']}",
        f"- Learnt from {o['photographs']['train']} photographs, chosen on "
        f"{o['photographs']['validation']}, seed {o['seed']}; {o['made']}",
        f"- A box is one from a certainty of {facts.score:g}",
        f"- {o['parity']}",
        *(f"- {remark}" for remark in o["remarks"]),
        "",
        f"## Figures (test part, n = {metrics['n']} photographs, {metrics['objects']} objects)",
        "",
        f"mAP50 {percent_range(metrics['map50'])}, mAP50-95 {percent_range(metrics['map50_95'])}. "
        "Intervals: 95 %, bootstrap over photographs.",
        "",
        "| class | n | AP50 | precision | recall |",
        "|---|---|---|---|---|",
    ]
    for row in metrics["per_class"]:
        if row["ap50"] is None:
            continue
        shares = ["" if row[k] is None else f"{row[k]:.1%}" for k in ("precision", "recall")]
        cells = [row["class"], str(row["n"]), percent_range(row["ap50"]), *shares]
        lines.append(f"| {' | '.join(cells)} |")
    if facts.synthetic:
        lines += ["", "Learnt from synthetic images: good for trying the tool, for nothing else."]
    return "\n".join(lines) + "\n"
