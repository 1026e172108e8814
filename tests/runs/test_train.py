"""One folder that holds everything: what was decided, what was learnt, how good it is."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cytowell
from cytowell import registry, splits
from cytowell.errors import Blocked, RecipeError, RunError, SplitError, TooFewImages, UnknownName
from cytowell.learners.contract import Makings, Task
from cytowell.learners.frozen import LEARNER
from cytowell.learners.settings import Frozen
from cytowell.runs import recipe as recipes
from cytowell.runs import story
from cytowell.runs.recipe import Recipe
from cytowell.runs.run import Run, Voice
from cytowell.runtime.bundle import load
from cytowell.types import CALL_COLUMNS, Box, Dataset, Predictions, Sample

FILES = {
    "bundle", "report.html", "report.json", "predictions.csv", "split.csv", "findings.csv",
    "recipe.toml", "run.json",
}  # fmt: skip


@pytest.fixture
def copy(plain: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain.folder, tmp_path / "run"))


def table(folder: Path, name: str = "predictions.csv") -> pd.DataFrame:
    return pd.read_csv(folder / name, keep_default_na=False, na_values=[""])


def seen_by(bundle: Path) -> dict[str, int]:
    images: dict[str, int] = load(bundle).facts.origin["images"]
    return images


def test_a_run_holds_every_file(plain: Run) -> None:
    assert {p.name for p in plain.folder.iterdir()} == FILES
    assert plain.report.is_file()
    assert load(plain.folder).classes == load(plain.bundle).classes
    assert not list(plain.folder.rglob(".writing-*"))


def test_the_split_is_whole_and_keeps_slides_together(plain: Run, plenty: Dataset) -> None:
    made = plain.split
    assert set(made.parts) == {"train", "validation", "test"}
    for part in ("train", "validation"):
        mine = set(plenty.groups[made.where(part)])
        others = set(plenty.groups[made.parts != part])
        assert not mine & others
    again = splits.load(plain.folder / "split.csv", plenty)
    assert again.parts.tolist() == made.parts.tolist()
    assert 0.2 < len(made.test) / len(plenty) < 0.4


def test_predictions_are_of_the_test_part(plain: Run, plenty: Dataset) -> None:
    frame = table(plain.folder)
    classes = [f"p_{c}" for c in plenty.classes]
    first = [*CALL_COLUMNS, *classes, "truth", "group", "split"]
    assert list(frame.columns)[: len(first)] == first
    assert set(frame["split"]) == {"test"}
    assert frame["path"].tolist() == [plenty.paths[i] for i in plain.split.test]
    assert frame["truth"].tolist() == [plenty.samples[i].label for i in plain.split.test]
    right = np.mean(frame["label"] == frame["truth"])
    assert right == pytest.approx(plain.metrics["accuracy"]["value"])
    assert right > 0.5


def test_the_bundle_calls_as_the_run_said(plain: Run, plenty: Dataset) -> None:
    calls = load(plain.bundle).predict(plenty.take(plain.split.test))
    said = Predictions.from_frame(table(plain.folder))
    assert calls.labels == said.labels
    assert calls.probabilities == pytest.approx(said.probabilities, abs=2e-6)
    assert calls.decided.tolist() == said.decided.tolist()


def test_the_bundle_says_where_it_comes_from(plain: Run, plenty: Dataset) -> None:
    facts = load(plain.bundle).facts
    assert facts.origin["data"] == plenty.digest()
    assert facts.origin["split"] == plain.split.digest()
    assert facts.origin["learner"] == "frozen"
    assert facts.origin["seed"] == 7
    assert "Apache" in facts.origin["licence"]
    assert {"python", "numpy", "onnxruntime"} <= set(facts.origin["versions"])
    assert seen_by(plain.bundle) == {
        p: len(plain.split.where(p)) for p in ("train", "validation", "test")
    }
    assert facts.synthetic
    assert facts.confusion_of == "test"
    assert np.sum(facts.confusion) == len(plain.split.test)
    calls = pd.read_csv(plain.folder / "predictions.csv")
    sure = calls[calls["decided"]]
    names = list(facts.classes)
    for i, truth in enumerate(names):
        here = sure.loc[sure["truth"] == truth, "label"].value_counts()
        assert list(facts.confusion_decided[i]) == [here.get(n, 0) for n in names]
    assert np.trace(facts.confusion) == round(
        plain.metrics["accuracy"]["value"] * len(plain.split.test)
    )
    assert facts.farthest is not None
    assert 0 < facts.temperature < 20
    card = (plain.bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "synthetic" in card
    assert all(c in card for c in facts.classes)


def test_calls_on_the_validation_part_are_hardly_wrong(plain: Run, plenty: Dataset) -> None:
    calls = load(plain.bundle).predict(plenty.take(plain.split.validation))
    made = calls.decided
    wrong = int((calls.called[made] != calls.truth[made]).sum())
    assert wrong <= 0.01 * max(1, int(made.sum()))


def test_the_report_needs_no_network(plain: Run) -> None:
    html = plain.report.read_text(encoding="utf-8")
    assert not re.search(r"""(src|href|url|action|data)\s*[=(]\s*["']?(https?:)?//""", html)
    assert "@import" not in html
    assert "research use only" in html.lower()
    assert "synthetic" in html.lower()
    assert load(plain.bundle).digest in html


def test_a_report_is_drawn_again_from_disk(copy: Path) -> None:
    first = (copy / "report.html").read_text(encoding="utf-8")
    (copy / "report.html").unlink()
    assert story.render(copy) == copy / "report.html"
    assert (copy / "report.html").read_text(encoding="utf-8") == first


@pytest.mark.parametrize("name", ["report.json", "predictions.csv"])
@pytest.mark.parametrize("fault", ["gone", "broken"])
def test_half_a_run_is_no_report(copy: Path, name: str, fault: str) -> None:
    (copy / name).unlink()
    if fault == "broken":
        (copy / name).write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="no whole run"):
        story.render(copy)


def test_the_recipe_can_be_run_again(plain: Run, plenty: Dataset, tmp_path: Path) -> None:
    recipe = recipes.read(plain.folder / "recipe.toml")
    again = cytowell.train(plenty, tmp_path / "again", recipe)
    assert (tmp_path / "again/predictions.csv").read_bytes() == (
        plain.folder / "predictions.csv"
    ).read_bytes()
    assert (tmp_path / "again/recipe.toml").read_text() == (
        plain.folder / "recipe.toml"
    ).read_text()
    assert again.metrics == plain.metrics


def test_a_given_split_is_kept(plain: Run, plenty: Dataset, frozen: Recipe, tmp_path: Path) -> None:
    parts = plain.split.parts.copy()
    swapped = replace(
        plain.split,
        parts=np.where(
            parts == "test", "validation", np.where(parts == "validation", "test", parts)
        ),
    )
    run = cytowell.train(plenty, tmp_path / "run", frozen, split=swapped)
    assert len(table(run.folder)) == int((parts == "validation").sum())
    none = replace(plain.split, parts=np.where(parts == "validation", "train", parts))
    with pytest.raises(TooFewImages, match="validation"):
        cytowell.train(plenty, tmp_path / "none", frozen, split=none)


def test_a_full_folder_is_left_alone(
    copy: Path, plenty: Dataset, few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="--resume"):
        cytowell.train(plenty, copy, frozen)
    with pytest.raises(RunError, match="other data"):
        cytowell.train(few, copy, frozen)
    with pytest.raises(RunError, match="another recipe"):
        cytowell.train(plenty, copy, replace(frozen, seed=8), resume=True)
    with pytest.raises(RunError, match="other data"):
        cytowell.train(few, copy, frozen, final=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    with pytest.raises(RunError, match="holds no run"):
        cytowell.train(plenty, foreign, frozen)
    assert {p.name for p in foreign.iterdir()} == {"thesis.txt"}


def test_resume_of_a_whole_run_gives_the_same(copy: Path, plenty: Dataset, frozen: Recipe) -> None:
    before = (copy / "predictions.csv").read_bytes()
    cytowell.train(plenty, copy, frozen, resume=True)
    assert (copy / "predictions.csv").read_bytes() == before


def test_an_interrupt_leaves_what_can_be_resumed(
    plain: Run, plenty: Dataset, frozen: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(what: str) -> None:
        if what == "calling the test part":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cytowell.train(plenty, tmp_path / "run", frozen, voice=Voice(said=interrupt))
    cytowell.train(plenty, tmp_path / "run", frozen, resume=True)
    assert (tmp_path / "run/predictions.csv").read_bytes() == (
        plain.folder / "predictions.csv"
    ).read_bytes()


def test_final_learns_from_the_test_part_too(copy: Path, plenty: Dataset, frozen: Recipe) -> None:
    before = json.loads((copy / "report.json").read_text(encoding="utf-8"))
    digest = load(copy / "bundle").digest
    run = cytowell.train(plenty, copy, frozen, final=True)
    assert {p.name for p in copy.iterdir()} == FILES - {"run.json"} | {"twin"}
    assert {p.name for p in (copy / "twin").iterdir()} == FILES
    assert load(copy / "twin").digest == digest
    assert load(copy).digest != digest
    assert run.metrics == before["metrics"]
    twin, final = seen_by(copy / "twin/bundle"), seen_by(copy / "bundle")
    assert final == {
        "train": twin["train"] + twin["test"],
        "validation": twin["validation"],
        "test": 0,
    }
    made = splits.load(copy / "split.csv", plenty)
    first = splits.load(copy / "twin/split.csv", plenty)
    assert made.validation.tolist() == first.validation.tolist()
    assert set(made.parts) == {"train", "validation"}
    assert load(copy).facts.confusion_of == "twin"
    assert load(copy).facts.confusion == load(copy / "twin").facts.confusion
    html = (copy / "report.html").read_text(encoding="utf-8")
    assert "belong to the twin" in html
    assert load(copy).digest in html
    assert "belong to the twin" not in (copy / "twin/report.html").read_text(encoding="utf-8")
    with pytest.raises(RunError, match="--resume"):
        cytowell.train(plenty, copy, frozen, final=True)
    digest = load(copy).head.weight.sum()
    cytowell.train(plenty, copy, frozen, final=True, resume=True)
    assert load(copy).head.weight.sum() == pytest.approx(digest)


def test_final_from_nothing_makes_both(few: Dataset, frozen: Recipe, tmp_path: Path) -> None:
    cytowell.train(few, tmp_path / "run", frozen, final=True)
    assert (tmp_path / "run/twin/report.html").is_file()
    assert load(tmp_path / "run").digest == load(tmp_path / "run/twin").digest
    html = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "belong to the twin" not in html
    assert "grouped cross-validation" in html
    assert {p.name for p in (tmp_path / "run").iterdir()} == FILES - {"run.json"} | {"twin"}


def test_of_few_nothing_is_held_back(scarce: Run, few: Dataset) -> None:
    assert set(scarce.split.parts) == {"train"}
    frame = table(scarce.folder)
    assert frame["path"].tolist() == list(few.paths)
    assert set(frame["split"]) == {"train"}
    assert frame["probability"].notna().all()
    facts = load(scarce.bundle).facts
    assert facts.confusion_of == "out of fold"
    assert np.sum(facts.confusion) == len(few)
    assert facts.origin["images"] == {"train": len(few), "validation": 0, "test": 0}
    assert not facts.origin["promise"]["made"]
    html = scarce.report.read_text(encoding="utf-8")
    assert "none was held back for good" in html
    assert "No promise is made that at most 1.0 % of the calls are wrong" in html
    fitted = load(scarce.bundle).predict(few)
    honest = frame["label"].to_numpy() == frame["truth"].to_numpy()
    assert np.mean(np.array(fitted.labels) == frame["truth"].to_numpy()) >= np.mean(honest)


def test_folds_keep_copies_together(few: Dataset, frozen: Recipe, tmp_path: Path) -> None:
    taken: list[Dataset] = []
    alone = tuple(replace(s, group=None) for s in few.samples)
    extra = []
    for i in range(0, len(alone), 3):
        path = shutil.copy(alone[i].path, tmp_path / f"copy {i}.jpg")
        extra.append(replace(alone[i], path=str(path)))
    doubled = replace(few, samples=(*alone, *extra))

    class Spy:
        def fit(self, task: Task) -> Makings:
            taken.append(task.dataset)
            return LEARNER.fit(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load", lambda kind, name, load=registry.load: (
            Spy() if kind == "learners" else load(kind, name)
        ))  # fmt: skip
        cytowell.train(doubled, tmp_path / "run", frozen)
    groups = dict(zip(taken[0].paths, taken[0].groups, strict=True))
    for i, copied in zip(range(0, len(alone), 3), extra, strict=True):
        assert groups[copied.path] == groups[alone[i].path]
    assert len(set(groups.values())) == len(alone)


def test_a_class_on_one_slide_has_to_be_asked_for(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    one = replace(few, samples=tuple(replace(s, group=f"slide of {s.label}") for s in few.samples))
    with pytest.raises(SplitError, match="--by-image"):
        cytowell.train(one, tmp_path / "run", frozen)
    asked = replace(frozen, by_image=True)
    run = cytowell.train(one, tmp_path / "run", asked)
    assert run.metrics["accuracy"]["value"] > 0.3


def test_boxes_are_not_learnt_otherwise_than_they_are_called(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    boxed = replace(few, samples=tuple(replace(s, box=Box(2, 2, 20, 20)) for s in few.samples))
    with pytest.raises(RecipeError, match="without boxes"):
        cytowell.train(boxed, tmp_path / "run", replace(frozen, crop_boxes=False))
    assert not (tmp_path / "run").exists()
    run = cytowell.train(few, tmp_path / "run", replace(frozen, crop_boxes=False))
    assert not load(run.bundle).facts.preprocessing.crop_boxes
    assert not recipes.read(run.folder / "recipe.toml").crop_boxes


def test_too_few_for_parts_is_said(few: Dataset, tmp_path: Path) -> None:
    pair = few.take([int(i) for c in range(3) for i in np.flatnonzero(few.labels == c)[:2]])
    own = Recipe(learner="finetune", settings={})
    with pytest.raises((TooFewImages, SplitError), match="Add images"):
        cytowell.train(pair, tmp_path / "run", own)


def test_what_is_blocked_can_be_mended_in_place(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture", encoding="utf-8")
    torn = tuple(
        replace(s, group="g", split="train" if i % 2 else "test") for i, s in enumerate(few.samples)
    )
    with pytest.raises(Blocked, match=r"findings\.csv"):
        cytowell.train(replace(few, samples=torn), tmp_path / "run", frozen)
    assert (tmp_path / "run/findings.csv").is_file()
    assert not (tmp_path / "run/bundle").exists()
    run = cytowell.train(few, tmp_path / "run", frozen)
    assert run.report.is_file()


def test_an_unreadable_image_is_left_out_and_listed(
    few: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture", encoding="utf-8")
    bad = Sample(str(text), few.classes[0], "elsewhere")
    run = cytowell.train(replace(few, samples=(*few.samples, bad)), tmp_path / "run", frozen)
    assert run.split.parts[-1] == "excluded"
    assert len(table(run.folder)) == len(few)
    findings = table(run.folder, "findings.csv")
    assert bool(findings["is_unreadable"].iloc[-1])


def test_the_positive_class_goes_into_the_bundle(
    plenty: Dataset, frozen: Recipe, tmp_path: Path
) -> None:
    chosen = plenty.classes[:2]
    two = replace(
        plenty.take([i for i, s in enumerate(plenty.samples) if s.label in chosen]), classes=chosen
    )
    run = cytowell.train(two, tmp_path / "run", replace(frozen, positive=chosen[1]))
    assert load(run.bundle).facts.positive == chosen[1]
    assert run.metrics["positive"] == chosen[1]
    assert "sensitivity" in json.dumps(run.metrics)
    with pytest.raises(UnknownName, match="Did you mean"):
        cytowell.train(two, tmp_path / "no", replace(frozen, positive=chosen[1][:-1]))
    assert not (tmp_path / "no").exists()


def test_a_laboratory_s_own_learner_runs(
    plenty: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own:
        name, exports, needs = "own", True, ""

        def fit(self, task: Task) -> Makings:
            settings = Frozen(backbones=("imagenet",), crops=(1.0,), strengths=(0.01,))
            made = LEARNER.fit(replace(task, settings=settings))
            return replace(made, remarks=(f"depth {task.settings['depth']}",))

    module: Any = type("module", (), {"OWN": Own()})
    monkeypatch.setitem(registry.TABLE["learners"], "own", "our_lab:OWN")
    monkeypatch.setitem(__import__("sys").modules, "our_lab", module)
    (tmp_path / "own.toml").write_text('learner = "own"\n[own]\ndepth = 3\n', encoding="utf-8")
    run = cytowell.train(plenty, tmp_path / "run", recipes.read(tmp_path / "own.toml"))
    assert load(run.bundle).facts.origin["learner"] == "own"
    assert "depth 3" in run.report.read_text(encoding="utf-8")
    assert recipes.read(run.folder / "recipe.toml").settings == {"depth": 3}


def test_findings_of_the_check_are_those_of_the_run(plain: Run, plenty: Dataset) -> None:
    found = cytowell.check(plenty)
    frame = table(plain.folder, "findings.csv")
    assert list(frame.columns) == list(found.frame().columns)
    assert len(frame) == len(plenty)


def test_doubt_adds_the_labels(few: Dataset) -> None:
    found = cytowell.check(few, doubt=True)
    assert "label" in " ".join(found.issues)
