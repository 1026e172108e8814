"""From a folder of photographs to a signed bundle: the main job, step by step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cytowell import checks, registry, splits
from cytowell.errors import Blocked, RecipeError, UnknownName
from cytowell.evaluation.metrics import evaluate
from cytowell.evaluation.verdict import percent_range
from cytowell.images import Preprocessing, load_many
from cytowell.learners.classical import Fitted
from cytowell.learners.contract import Makings, Task
from cytowell.learners.frozen import doubts
from cytowell.learners.settings import Frozen
from cytowell.registry import did_you_mean
from cytowell.runs import recipe as recipes
from cytowell.runs import story, training_images
from cytowell.runs.assemble import Assembled, assemble, gather
from cytowell.runs.by_kind import across_kinds, by_kind
from cytowell.runs.fold_training import out_of_fold_logits
from cytowell.runs.lock import held
from cytowell.runs.parts import as_begun, by_unit, divide, with_parts
from cytowell.runs.ready import require_ready
from cytowell.runs.recipe import Recipe
from cytowell.runs.run_folder import claim, is_same, is_whole, resumable, sign
from cytowell.runs.voice import Voice as Voice
from cytowell.runtime.bundle import load
from cytowell.runtime.calls import shape
from cytowell.storage import explaining, replacing_folder, write_with
from cytowell.types import Dataset, Findings, FloatArray, Predictions, Split

HELD = ("validation", "test")
"""Parts that calibrate and evaluate."""

PROVEN = 64
"""Real images on which PyTorch and ONNX Runtime must agree."""


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its bundle's folder and its figures."""

    folder: Path
    bundle: Path
    metrics: dict[str, Any]
    split: Split

    def __repr__(self) -> str:
        figure = percent_range(self.metrics.get("accuracy"))
        return f"Run({self.folder}: accuracy {figure} on {self.metrics.get('n', 0)} images)"

    @property
    def report(self) -> Path:
        """The page to read."""
        return self.folder / "report.html"


def check(
    dataset: Dataset,
    voice: Voice | None = None,
    doubt: bool = False,
    seed: int = 7,
    record: Preprocessing | None = None,
    resplit: bool = False,
) -> Findings:
    """Look for what is wrong with a data set.

    Parameters
    ----------
    doubt
        Doubt labels too, by out-of-fold probabilities of a head on the shipped network's features.
    record
        Channels and window of multi-channel and 16-bit images.
    resplit
        Whether a split is made anew anyway, so that a given one that leaks does not block.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> findings = cytowell.check(cytowell.read(folder))
    >>> findings.blocking, findings.counts()["unreadable"]
    ((), 0)
    """
    heard = voice or Voice()

    def look(probabilities: FloatArray | None, only: tuple[str, ...] | None) -> Findings:
        return checks.check_all(
            dataset,
            probabilities,
            progress=lambda what, done, of: heard.ticked(done, of, what),
            record=record,
            resplit=resplit,
            only=only,
        )

    found = look(None, None)
    usable = (dataset.labels >= 0) & ~found.excluded
    counts = np.bincount(dataset.labels[usable], minlength=max(1, len(dataset.classes)))
    if not doubt or found.blocking or len(counts) < 2 or counts.min() < 2:
        return found
    heard.said("looking through the shipped network for doubtful labels")
    part = dataset.take(usable)
    probabilities = np.full((len(dataset), len(dataset.classes)), np.nan)
    # A network that these images taught knows their labels, and would doubt none of them.
    strange = training_images.strangers(Frozen().backbones, part, record, heard)
    probabilities[usable] = doubts(part, seed, heard.ticked, strange)
    doubted = look(probabilities, ("labels",))
    return checks.join(dataset, {"all": found, "labels": doubted})


def train(
    dataset: Dataset,
    out: str | Path,
    recipe: Recipe | None = None,
    split: Split | None = None,
    final: bool = False,
    resume: bool = False,
    voice: Voice | None = None,
) -> Run:
    """Check, split, learn, export, evaluate and report into one folder.

    Parameters
    ----------
    out
        The run's folder: ``bundle/``, ``report.html``, ``report.json``, ``predictions.csv``,
        ``split.csv``, ``findings.csv``, ``recipe.toml``.
    recipe
        The default learner's standard preset without it.
    final
        Keep this run as ``twin/``, whose figures the report shows, and learn once more from its
        training and test parts together; the validation part goes on calibrating.
    resume
        Go on where an interrupted run of the same data and recipe stopped.

    Raises
    ------
    Blocked
        If a check found something that must be mended first.
    RunError
        If the folder holds another run.
    RecipeError
        If the recipe has boxes seen whole, and the data has boxes.

    Examples
    --------
    >>> import cytowell
    >>> folder = cytowell.write_samples("demo", "wells", per_class=8)["wells"]
    >>> from cytowell.runs.recipe import make
    >>> quick, _ = make("frozen", backbones=("imagenet",), crops=(1.0,))
    >>> run = cytowell.train(cytowell.read(folder), "run", quick)
    >>> run.report.as_posix(), run.metrics["n"]
    ('run/report.html', 16)
    """
    heard = voice or Voice()
    folder = Path(out)
    if recipe is None:
        recipe, sentence = recipes.make()
        heard.said(sentence)
    if recipe.positive and recipe.positive not in dataset.classes:
        raise UnknownName(
            f"There is no class {recipe.positive!r} to be positive.",
            did_you_mean(recipe.positive, [*dataset.classes]),
        )
    if not recipe.crop_boxes and any(s.box is not None for s in dataset.samples):
        raise RecipeError(
            "crop_boxes = false is for data without boxes.",
            "Leave it out of the recipe: boxes are called as they were learnt.",
        )
    require_ready(recipe)
    with explaining(folder), held(folder):
        claim(folder, dataset, recipe, resume, final)
        if not final:
            return _once(dataset, folder, recipe, split, heard, resume)
        twin = folder / "twin"
        if is_whole(twin) and is_same(twin, dataset, recipe):
            heard.said(f"keeping the twin in {twin}")
            first = _read(twin, dataset)
        else:
            heard.said("first the twin, whose figures the report will show")
            first = _once(dataset, twin, recipe, split, heard, resume)
        return _again(dataset, folder, recipe, first, heard, resume)


def _once(
    dataset: Dataset, folder: Path, recipe: Recipe, split: Split | None, heard: Voice, resume: bool
) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    recipe.save(folder / "recipe.toml")
    sign(folder, dataset, recipe)
    heard.said(f"checking {len(dataset)} images")
    findings = check(dataset, heard, resplit=recipe.new_split, record=recipe.reading)
    write_with(folder / "findings.csv", lambda f: findings.frame().to_csv(f, index=False))
    if findings.blocking:
        raise Blocked(
            " ".join(findings.blocking), f"See {folder / 'findings.csv'} for every image."
        )
    known = training_images.overlaps(dataset, recipe, heard)
    findings = training_images.with_overlaps(dataset, findings, known)
    write_with(folder / "findings.csv", lambda f: findings.frame().to_csv(f, index=False))
    made, few = divide(dataset, findings, recipe, split)
    if resume and split is None:
        made, few = as_begun(folder, dataset, made, few)
    splits.save(made, folder / "split.csv")
    heard.said(f"split: {made.how}")
    grouped = by_unit(dataset, findings, recipe.by_image)
    makings, left = _learn(grouped, made, folder, recipe, heard, resume, known)
    if few and makings.logits is None:
        logits = out_of_fold_logits(
            lambda part, place: _learn(grouped, part, place, recipe, heard, resume, known)[0],
            grouped, made, folder, heard.said, heard.ticked,
        )  # fmt: skip
        makings = replace(makings, logits=logits, rows=made.train)
    done = assemble(
        makings, grouped, made.train, made.validation, recipe.wrong, recipe.seed, heard.ticked
    )
    if few:
        assert done.tested is not None
        calls, before = (_named(c, grouped, dataset) for c in done.tested)
    else:
        heard.said("calling the test part")
        batch = gather(done.bundle, dataset, made.test, heard.ticked, "test part")
        calls, before = done.bundle.call(batch), done.unscaled.call(batch)
    across = across_kinds(
        lambda data, every: _learn(data, every, folder / "kinds", recipe, heard, resume, known)[0],
        grouped, findings, made, recipe, heard.ticked,
    )  # fmt: skip
    told = story.Told(
        dataset=dataset,
        findings=findings,
        split=made,
        recipe=recipe,
        makings=makings,
        calls=with_parts(calls, made),
        before=before,
        learnt=done.bundle.call(done.learnt) if not few else None,
        out_of_fold=few,
        no_test=training_images.no_test(left, made.train if few else made.where(*HELD)),
        kinds=by_kind(across, calls, findings) if across is not None else {},
    )
    if told.no_test:
        heard.said(told.no_test)
    run = _finish(folder, told, done, heard)
    if heard.loggers:
        report = registry.part("cytowell.training.loggers:report")
        report(heard.loggers, folder, recipe.settings, run.metrics, heard.said)
    return run


def _named(calls: Predictions, grouped: Dataset, dataset: Dataset) -> Predictions:
    """Give calls with their samples as the data set has them, their own groups among them."""
    own = {id(sample): i for i, sample in enumerate(grouped.samples)}
    return replace(calls, samples=tuple(dataset.samples[own[id(s)]] for s in calls.samples))


def _again(
    dataset: Dataset, folder: Path, recipe: Recipe, twin: Run, heard: Voice, resume: bool
) -> Run:
    """Learn once more, from training and test part together; the twin's figures stand."""
    made = twin.split
    if not len(made.validation) and not len(made.test):
        heard.said("the twin already learnt from every image")
        _copy(twin.folder, folder)
        return replace(twin, folder=folder, bundle=folder / "bundle")
    recipe.save(folder / "recipe.toml")
    for name in ("findings.csv", "predictions.csv"):
        shutil.copy2(twin.folder / name, folder / name)
    joined = replace(
        made,
        parts=np.where(made.parts == "test", "train", made.parts),
        how=f"{made.how}; the final bundle learnt from training and test part",
    )
    splits.save(joined, folder / "split.csv")
    heard.said("now the final bundle, from training and test part together")
    findings = Findings.from_frame(pd.read_csv(folder / "findings.csv"))
    grouped = by_unit(dataset, findings, recipe.by_image)
    as_weighed, remarks = _as_weighed(recipe, twin)
    known = training_images.overlaps(dataset, recipe, heard)
    makings, _ = _learn(grouped, joined, folder, as_weighed, heard, resume, known)
    makings = replace(makings, remarks=(*remarks, *makings.remarks))
    done = assemble(
        makings, grouped, joined.train, made.validation, recipe.wrong, recipe.seed, heard.ticked
    )
    seen = story.Final(dataset=dataset, split=joined, recipe=recipe, makings=makings)
    rows = joined.where("train", *HELD)
    training_images.write_into(done.bundle, makings, dataset, rows, recipe, heard)
    story.save_bundle(folder / "bundle", done.bundle, seen.origin(), twin.metrics, "twin")
    story.retell(twin.folder, folder, load(folder / "bundle"))
    return Run(folder, folder / "bundle", twin.metrics, joined)


def _as_weighed(recipe: Recipe, twin: Run) -> tuple[Recipe, tuple[str, ...]]:
    """Give the recipe with the crop that the twin weighed, whose figures stand; and a remark."""
    if getattr(recipe.settings, "crop", None) != "auto":
        return recipe, ()
    crop = load(twin.bundle).facts.preprocessing.crop
    seen = f"the centre of {crop:.0%}" if crop < 1 else "the whole picture"
    settings = replace(recipe.settings, crop=crop)
    return replace(recipe, settings=settings), (
        f"It looks at {seen}, which a linear probe chose for the twin.",
    )


def _finish(folder: Path, told: story.Told, done: Assembled, heard: Voice) -> Run:
    heard.said("figures and report")
    positive = told.recipe.positive or None
    metrics = evaluate(told.calls, positive=positive, seed=told.recipe.seed)
    metrics["confusion_decided"] = story.decided_counts(told.calls)
    part = "out of fold" if told.out_of_fold else "test"
    if told.no_test:
        part = "training images of what it starts from"
    rows = told.split.where("train", "validation")
    training_images.write_into(done.bundle, told.makings, told.dataset, rows, told.recipe, heard)
    story.save_bundle(folder / "bundle", done.bundle, told.origin(), metrics, part)
    bundle = load(folder / "bundle")
    known = frozenset({"truth", "group", "split"})
    write_with(
        folder / "predictions.csv",
        lambda f: shape(told.calls.frame(known)).to_csv(f, index=False, lineterminator="\n"),
    )
    story.tell(folder, told, bundle, metrics)
    return Run(folder, folder / "bundle", metrics, told.split)


def _learn(
    dataset: Dataset,
    made: Split,
    folder: Path,
    recipe: Recipe,
    heard: Voice,
    resume: bool,
    known: Sequence[training_images.Overlap],
) -> tuple[Makings, tuple[training_images.Overlap, ...]]:
    """Give what was learnt, and what of `known` it starts from all the same."""
    for overlap in known:
        heard.said(str(overlap))
    recipe, left = training_images.without(recipe, known)
    dropped = tuple(f"{k} It is no candidate." for k in known if k not in left)
    learner = registry.load("learners", recipe.learner)
    task = Task(
        dataset=dataset,
        train=made.train,
        validation=made.validation,
        settings=recipe.settings,
        seed=recipe.seed,
        folder=folder,
        reading=recipe.reading,
        resume=resume,
        said=heard.said,
        ticked=heard.ticked,
        loggers=heard.loggers,
    )
    heard.said(f"learning from {len(made.train)} images ({recipe.learner})")
    with resumable(folder):
        learned = learner.fit(task)
    if isinstance(learned, Fitted):
        made_of = learned.makings()
        return replace(made_of, remarks=(*made_of.remarks, *dropped)), left
    if isinstance(learned, Makings):
        return replace(learned, remarks=(*learned.remarks, *dropped)), left
    rows = made.validation if len(made.validation) else made.train
    some = [dataset.samples[int(i)] for i in rows[:PROVEN]]
    pixels = _pixels(some, learned.record)
    export = registry.load("exporters", recipe.learner)
    heard.said("exporting, and comparing PyTorch with ONNX Runtime")
    exported: Makings = export(learned, pixels)
    return replace(exported, remarks=(*exported.remarks, *dropped)), left


def _pixels(samples: list[Any], record: Preprocessing) -> npt.NDArray[np.uint8]:
    read = [p for p in load_many(samples, record) if isinstance(p, np.ndarray)]
    return np.stack(read)


def _copy(twin: Path, folder: Path) -> None:
    """Deliver the twin itself, where nothing was held back that could still be learnt."""
    with replacing_folder(folder / "bundle") as beside:
        shutil.copytree(twin / "bundle", beside, dirs_exist_ok=True)
    for name in ("recipe.toml", "findings.csv", "split.csv", "predictions.csv", "report.json"):
        shutil.copy2(twin / name, folder / name)
    story.render(folder)


def _read(folder: Path, dataset: Dataset) -> Run:
    metrics = json.loads((folder / "report.json").read_text(encoding="utf-8"))["metrics"]
    return Run(folder, folder / "bundle", metrics, splits.load(folder / "split.csv", dataset))
