"""From annotated photographs to a detector bundle, and every figure of what a detector finds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from PIL import Image

from cytowell import checks, registry, splits
from cytowell.errors import BadTable, EmptyDataset, ImageError, RecipeError, RunError, TooFewImages
from cytowell.evaluation.detection import Seen, choose_score, evaluate_boxes, matched
from cytowell.evaluation.detection_page import write_page
from cytowell.evaluation.verdict import percent_range
from cytowell.images import open_upright
from cytowell.images.boxes import letterbox
from cytowell.images.overlay import COLOURS, Album, Mark, draw
from cytowell.images.sizes import upright_size
from cytowell.registry import did_you_mean
from cytowell.runs.recipe import filled, plain
from cytowell.runs.run import Voice
from cytowell.runtime.detector import FAINTEST, Detector, DetectorFacts, Reading, load_detector
from cytowell.sources.walk import PARTS
from cytowell.storage import explaining, write_text, write_with
from cytowell.types import Box, Dataset, Findings, IntArray, Split

TABLE = "detector"
"""Name of the settings in ``recipe.toml``."""

SEED = 7

CHECKS = ("files", "boxes", "duplicates")
"""What is looked at before boxes are learnt from."""

FEWEST = 2
"""Photographs in each part, at least."""

MISSED = "#7f7f7f"
WORST = 4
"""Photographs on the page: those with most errors."""

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
    TooFewImages
        If nobody is left to learn, to choose or to judge.
    RunError
        If the folder holds something else.
    """
    heard = voice or Voice()
    folder = Path(out)
    if not any(s.box is not None and s.label is not None for s in dataset.samples):
        raise EmptyDataset(
            f"{dataset.origin} has no boxes with a class.",
            "Give annotated photographs: YOLO, COCO or VOC.",
        )
    heard.said(f"checking {len(set(dataset.paths))} photographs")
    # Its extra is missing, or its name is wrong: that is said before anything is looked at.
    registry.load("detectors", settings.network)
    findings = checks.check_all(
        dataset, progress=lambda what, done, of: heard.ticked(done, of, what), only=CHECKS
    )
    for remark in findings.remarks:
        heard.said(remark)
    made, leaks = divide_photographs(dataset, findings, settings, seed, new_split)
    heard.said(f"split: {made.how}")
    if leaks:
        heard.said(leaks)
    said = {"settings": dataclasses.asdict(settings), "seed": seed, "data": dataset.digest()}
    mark = json.dumps(said | {"split": made.digest()}, sort_keys=True)
    fingerprint = hashlib.sha256(mark.encode()).hexdigest()
    with explaining(folder):
        _claim(folder, fingerprint, resume)
        recipe = {"seed": seed, TABLE: plain(dataclasses.asdict(settings))}
        write_text(folder / "recipe.toml", tomli_w.dumps(recipe))
        write_text(folder / "run.json", json.dumps({"fingerprint": fingerprint}) + "\n")
        write_with(folder / "findings.csv", lambda f: findings.frame().to_csv(f, index=False))
        splits.save(made, folder / "split.csv")
    learn, choose = (_annotated(dataset, made.where(p)) for p in ("train", "validation"))
    heard.said(f"learning from {len(learn)} photographs ({settings.network})")
    training = registry.part("cytowell.training.detecting:learn", settings.network)
    job = registry.part("cytowell.training.detecting:Job")(
        settings=settings,
        seed=seed,
        classes=dataset.classes,
        learn=learn,
        judge=choose,
        folder=folder / "checkpoints",
        fingerprint=fingerprint,
        resume=resume,
        said=heard.said,
        ticked=heard.ticked,
    )
    learnt = training(job)
    heard.said("exporting, and comparing PyTorch with ONNX Runtime")
    origin: dict[str, Any] = {
        "network": settings.network,
        "weights": learnt.origin,
        "data": dataset.digest(),
        "split": made.digest(),
        "photographs": {
            p: len({dataset.paths[i] for i in made.where(p)})
            for p in ("train", "validation", "test")
        },
        "seed": seed,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "remarks": [*([leaks] if leaks else []), *findings.remarks],
    }
    longer = int(np.median([max(upright_size(p.path)) for p in learn]))
    facts = DetectorFacts(
        classes=dataset.classes,
        reading=Reading(settings.side, rows_first=True),
        photograph=longer if longer >= SMALLEST else 0,
        synthetic=dataset.synthetic,
        origin=origin,
    )
    boxed = [letterbox(open_upright(p.path), settings.side, False) for p in choose[:PROVEN]]
    export = registry.part("cytowell.export.detector:export_detector")
    detector = export(learnt.network, facts, [b.pixels for b in boxed])
    heard.said("choosing the certainty on the validation part, and finding in the test part")
    chosen = choose_score(
        look(detector, dataset.take(made.validation), heard).seen, len(dataset.classes)
    )
    detector = Detector(dataclasses.replace(facts, score=chosen), detector.model)
    looked = look(detector, dataset.take(made.test), heard)
    metrics = looked.metrics(detector)
    with explaining(folder):
        detector.save(folder / "bundle", _card(detector.facts, metrics))
        told: dict[str, Any] = {
            "classes": list(dataset.classes),
            "side": settings.side,
            "data": dataset.origin,
            "synthetic": dataset.synthetic,
            "split": made.how,
            "leaks": leaks,
            "remarks": list(findings.remarks),
            "origin": origin,
            "bundle": load_detector(folder / "bundle").digest,
            "curve": [dataclasses.asdict(point) for point in learnt.curve],
            "metrics": metrics,
        }
        write_text(folder / "report.json", json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        worst = draw_errors(looked, detector, folder / "overlays")
        write_page(folder / "report.html", told, worst)
    return DetectorRun(folder, folder / "bundle", metrics)


def read_recipe(path: Path, base: Any) -> tuple[Any, int]:
    """Read what a run wrote as ``recipe.toml``: settings and seed; what it leaves out is `base`'s.

    Raises
    ------
    RecipeError
        Naming the field that does not exist or cannot hold.
    """
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as a recipe ({error}).") from error
    strange = sorted(set(record) - {"seed", TABLE})
    if strange:
        raise RecipeError(
            f"{path} has a field {strange[0]!r}.", did_you_mean(strange[0], ["seed", TABLE])
        )
    seed = record.get("seed", SEED)
    if type(seed) is not int or seed < 0:
        raise RecipeError(f"{path}: seed = {seed!r} is no whole number from 0 upwards.")
    table = record.get(TABLE, {})
    if not isinstance(table, dict) or not isinstance(table.get("augmentation", {}), dict):
        raise RecipeError(f"{path}: [{TABLE}] and [{TABLE}.augmentation] are tables.")
    try:
        return filled(base, table, TABLE), seed
    except (TypeError, ValueError) as error:
        raise RecipeError(f"{path}: {error}.") from error


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
    given = np.array(["" if new_split else s.split or "" for s in dataset.samples])
    parts = np.where(usable, np.where(given == "", "train", given), "excluded").astype("<U10")
    leaks, how = "", "as the data gives it"
    if (given[usable] != "").any():
        sides: dict[int, set[str]] = {}
        for unit, part in zip(units[usable], parts[usable], strict=True):
            sides.setdefault(int(unit), set()).add(str(part))
        torn = {u for u, seen in sides.items() if len(seen) > 1}
        if torn:
            here = [i for i in np.flatnonzero(usable) if int(units[i]) in torn]
            leaks = (
                f"The split that the data brings has copies or photographs of one group on two "
                f"sides ({len({dataset.paths[i] for i in here})} photographs): its figures "
                "flatter. --new-split divides them anew."
            )
    else:
        how = f"{1 - settings.test:.0%} / {settings.test:.0%} of the boxes, photographs, groups "
        how += f"and copies kept together, seed {seed}"
    for part, share in (("test", settings.test), ("validation", settings.validation)):
        pool = np.flatnonzero(parts == "train")
        if len(pool) and not (parts == part).any():
            parts[pool] = splits.allocate(labels[pool], units[pool], {part: share}, seed)
            if (given[usable] != "").any():
                how += f"; {part} part cut from the rest"
    for part in ("train", "validation", "test"):
        rows = np.flatnonzero(parts == part)
        count = len({dataset.paths[i] for i in rows})
        if count < FEWEST or not any(dataset.samples[i].box is not None for i in rows):
            raise TooFewImages(
                f"{count} photograph(s) are left for the {part} part"
                f"{', without an object' if count >= FEWEST else ''}.",
                "Annotate more photographs, or bring a split of your own.",
            )
    return Split(parts, dataset.paths, how=how, seed=seed), leaks


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
    if not folder.exists() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
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


@dataclass(frozen=True)
class Looked:
    """What a detector found in annotated photographs.

    Attributes
    ----------
    paths, seen
        Of the photographs that could be read.
    left_out
        Boxes without a class or without area.
    unreadable
        A sentence for each photograph that could not be read.
    """

    paths: tuple[str, ...]
    seen: tuple[Seen, ...]
    left_out: int
    unreadable: tuple[str, ...]

    def metrics(self, detector: Detector) -> dict[str, Any]:
        """Give every figure; see `evaluate_boxes`."""
        found = evaluate_boxes(self.seen, detector.facts.classes, detector.facts.score)
        return found | {"left_out": self.left_out, "unreadable": list(self.unreadable)}


def judge_detector(
    detector: Detector, dataset: Dataset, part: str = "", voice: Voice | None = None
) -> dict[str, Any]:
    """Find objects in every photograph of an annotated data set and compare; see `evaluate_boxes`.

    Boxes without a class or without area are left out and counted as `left_out`; photographs that
    cannot be read as `unreadable`.

    Parameters
    ----------
    part
        Judge on that part of the split that the data brings (train, validation or test).

    Raises
    ------
    EmptyDataset
        If the data has no such part.
    BadTable
        If a class of the data is none of the detector's, or nothing is annotated.
    """
    if part:
        rows = [i for i, s in enumerate(dataset.samples) if s.split == PARTS.get(part.lower(), "")]
        if not rows:
            raise EmptyDataset(
                f"{dataset.origin} has no part {part!r}.",
                "Leave --part away to judge on all of it.",
            )
        dataset = dataset.take(rows)
    return look(detector, dataset, voice or Voice()).metrics(detector)


def look(detector: Detector, dataset: Dataset, heard: Voice) -> Looked:
    """Find objects in every photograph of an annotated data set, down to next to no certainty."""
    names = detector.facts.classes
    strange = sorted(set(dataset.classes) - set(names))
    if strange:
        raise BadTable(
            f"{dataset.origin} has the class {strange[0]!r}, which the detector does not know.",
            did_you_mean(strange[0], [*names]),
        )
    index = {name: i for i, name in enumerate(names)}
    truth: dict[str, list[tuple[Box, int]]] = {path: [] for path in dataset.paths}
    left_out = 0
    for s in dataset.samples:
        if s.box is None:
            continue
        if s.label is None or s.box.width < 1 or s.box.height < 1:
            left_out += 1
        else:
            truth[s.path].append((s.box, index[s.label]))
    paths, seen, unreadable = [], [], []
    everything = detector.find_all(truth, FAINTEST)
    for number, ((path, objects), found) in enumerate(zip(truth.items(), everything, strict=True)):
        heard.ticked(number + 1, len(truth), "finding")
        if isinstance(found, ImageError):
            unreadable.append(str(found))
            continue
        boxes = tuple(b for b, _ in objects)
        labels = np.array([k for _, k in objects], dtype=np.int64)
        paths.append(path)
        seen.append(Seen(boxes, labels, found.boxes, found.labels, found.scores))
    return Looked(tuple(paths), tuple(seen), left_out, tuple(unreadable))


def draw_errors(
    looked: Looked, detector: Detector, folder: Path
) -> list[tuple[str, str, Image.Image]]:
    """Draw every photograph into `folder`; give the worst: name, what is wrong, the picture."""
    names = detector.facts.classes
    album = Album(folder, "found")
    counted: list[tuple[int, str, str, Image.Image]] = []
    for path, p in zip(looked.paths, looked.seen, strict=True):
        marks, missed, invented, other = [], 0, 0, 0
        for there, found in matched(p, detector.facts.score):
            if found < 0:
                missed += 1
                marks.append(Mark(p.truth[there], "missed", MISSED))
                continue
            label = int(p.found_labels[found])
            marks.append(Mark(p.found[found], names[label], COLOURS[label % len(COLOURS)]))
            invented += there < 0
            other += there >= 0 and int(p.truth_labels[there]) != label
        legend = [(name, COLOURS[i % len(COLOURS)]) for i, name in enumerate(names)]
        picture = draw(open_upright(path), marks, legend=[*legend, ("missed", MISSED)])
        album.save(picture, path)
        wrong = f"{missed} missed, {invented} invented, {other} of another class"
        counted.append((missed + invented + other, Path(path).name, wrong, picture))
        counted = sorted(counted, key=lambda c: -c[0])[:WORST]
    return [(name, wrong, picture) for errors, name, wrong, picture in counted if errors]
