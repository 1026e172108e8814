"""Comparisons on synthetic cells: the grid, its cache, the control, the choice, what fails."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell import registry
from cytowell.errors import RecipeError, RunError, StorageError, TooFewImages, UnknownName
from cytowell.evaluation.comparison_page import MOST_PAIRS, listed, many, rank_plot
from cytowell.images import Preprocessing
from cytowell.learners.classical import KNOBS
from cytowell.learners.linear import smote
from cytowell.runs import cells, engines
from cytowell.runs.candidates import Fit, candidates
from cytowell.runs.choose import choose
from cytowell.runs.compare import Comparison, Question
from cytowell.runs.grid import Done
from cytowell.runs.parts import by_unit
from cytowell.runs.protocols import Protocol, divisions
from cytowell.runs.run import Voice, check
from cytowell.runs.table import CELLS, TABLE
from cytowell.types import Box, Dataset, Sample

FOLDS = (Protocol("folds", 3),)
CHEAP = ("logistic-regression", "knn:features")


@pytest.fixture(scope="session")
def compared(plenty: Dataset, kept: Path) -> Comparison:
    return cytowell.compare(
        plenty,
        kept / "compared",
        Question(CHEAP, FOLDS, diagnose=True, permutation_control=True),
    )


def test_the_table_has_a_row_per_candidate_and_the_cells_one_per_fold(
    compared: Comparison,
) -> None:
    table = pd.read_csv(compared.folder / "table.csv")
    assert tuple(table.columns) == TABLE
    assert table["learner"].tolist() == list(CHEAP)
    assert (table["test_low"] <= table["test_accuracy"]).all()
    assert (table["test_accuracy"] <= table["test_high"]).all()
    assert table["gap"].to_numpy() == pytest.approx(
        (table["train_accuracy"] - table["test_accuracy"]).to_numpy()
    )
    assert (table[["fit_seconds", "images_per_second", "parameters"]] > 0).all(axis=None)
    rows = pd.read_csv(compared.folder / "cells.csv")
    assert tuple(rows.columns) == CELLS
    assert len(rows) == 2 * 2 * 3
    assert rows.groupby(["learner", "permuted"])["fold"].nunique().tolist() == [3] * 4


def test_figures_are_those_of_the_calls(compared: Comparison, plenty: Dataset) -> None:
    rows = compared.cells[~compared.cells["permuted"]]
    for name, part in rows.groupby("learner"):
        pooled = np.average(part["test_accuracy"], weights=part["test_images"])
        assert compared.table.set_index("learner").at[name, "test_accuracy"] == pytest.approx(
            pooled
        )
    assert rows.groupby("learner")["test_images"].sum().tolist() == [len(plenty)] * 2


def test_the_page_says_what_the_table_says(compared: Comparison) -> None:
    page = (compared.folder / "report.html").read_text(encoding="utf-8")
    for word in (*CHEAP, "Synthetic images", "Holm", "Control with shuffled labels", "by heart"):
        assert word in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert compared.words[0] in page.replace("&#39;", "'") or "synthetic" in compared.words[0]
    assert "How far the figures spread" in page
    assert "Shown are the pairs" not in page


def test_of_many_pairs_the_page_lists_those_with_the_best() -> None:
    names = [f"c{i}" for i in range(8)]
    rows = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    pairs = pd.DataFrame(rows, columns=["first", "second"])
    ranks = {name: float(8 - i) for i, name in enumerate(names)}
    right = [0.5, 0.6, 0.9, float("nan"), 0.7, 0.7, 0.7, 0.8]
    table = pd.DataFrame({"learner": names, "test_accuracy": right})
    table["error"] = ["" if accuracy > 0 else "failed" for accuracy in right]
    assert len(pairs) > MOST_PAIRS
    some = listed(pairs, table)
    assert len(some) == 7
    assert ((some["first"] == "c2") | (some["second"] == "c2")).all()
    assert len(listed(pairs[:MOST_PAIRS], table)) == MOST_PAIRS
    picture = base64.b64decode(rank_plot(ranks, [("c7", "c6", "c5")]).partition(",")[2]).decode()
    assert all(f"{name}  {rank:.2f}" in picture for name, rank in ranks.items())


def test_a_page_of_many_candidates_fits_its_paper(plenty: Dataset, tmp_path: Path) -> None:
    classical = [f"{name}{seen}" for name in KNOBS for seen in ("", ":features")]
    done = cytowell.compare(plenty, tmp_path / "run", Question(tuple(classical[:8])))
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "Shown are the pairs with the best; the other 21 are in pairs.csv." in page
    assert "How far the figures spread" not in page
    assert "p over divisions" not in page
    assert len(pd.read_csv(done.folder / "pairs.csv")) == 28
    long = {f"contrastive:hf-hub:laboratory/{'x' * 40}{i}/adamw [whole]": float(i) for i in (1, 2)}
    picture = base64.b64decode(rank_plot(long, []).partition(",")[2]).decode()
    assert "…" in picture


@pytest.mark.parametrize(
    ("count", "written"),
    [(7656, "7.66 k"), (23_585_984, "23.6 M"), (88, "88"), (999_700, "1 M"), (1.2e9, "1.2 G")],
)
def test_many_numbers_are_written_short(count: float, written: str) -> None:
    assert many(count) == written


def test_the_control_falls_to_chance(compared: Comparison) -> None:
    said = next(w for w in compared.words if w.startswith("Control"))
    assert "fell to chance" in said


def test_a_second_comparison_reads_what_is_known(
    compared: Comparison, plenty: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(engines, "compute", never)
    said: list[str] = []
    again = cytowell.compare(
        plenty,
        compared.folder,
        Question(CHEAP, FOLDS, diagnose=True, permutation_control=True),
        Voice(said.append),
    )
    assert "12 of 12 cells are known already" in said
    assert not any("to compute" in sentence for sentence in said)
    pd.testing.assert_frame_equal(again.table, compared.table)


def test_a_table_in_another_order_reads_the_same_answers(
    compared: Comparison, plenty: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(engines, "compute", never)
    order = np.random.default_rng(1).permutation(len(plenty))
    question = Question(CHEAP, FOLDS, permutation_control=True)
    again = cytowell.compare(plenty.take(order), compared.folder, question)
    pd.testing.assert_frame_equal(again.table, compared.table)
    pd.testing.assert_frame_equal(again.cells, compared.cells)
    assert again.words == compared.words


def test_answers_are_kept_by_what_the_images_are_and_not_by_their_places(plenty: Dataset) -> None:
    rows = np.arange(len(plenty))
    cell = cells.Cell(candidates(["knn"], Fit())[0], "holdout", 0, 7, rows[:50], rows[50:60],
                      rows[60:], Fit())  # fmt: skip
    first, second = (60 + np.flatnonzero(plenty.labels[60:] == plenty.labels[60]))[:2]
    swapped = rows.copy()
    swapped[[first, second]] = swapped[[second, first]]
    assert plenty.take(swapped).digest() == plenty.digest()
    assert cell.key(plenty.take(swapped)) != cell.key(plenty)
    assert cell.key(replace(plenty, classes=plenty.classes[::-1])) != cell.key(plenty)
    moved = replace(cell, test=swapped[60:])
    assert moved.key(plenty.take(swapped)) == cell.key(plenty)


def test_each_cell_is_heard_of_when_it_is_done(plenty: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    question = Question(("knn", "logistic-regression"))
    cytowell.compare(plenty, tmp_path / "run", question, Voice(said.append))
    assert "2 cells to compute, knn first" in said
    assert [s.split(":")[0] for s in said[-2:]] == [
        "knn, holdout 0",
        "logistic-regression, holdout 0",
    ]
    assert all("trained on" in s and "images" in s for s in said[-2:])


def test_the_curves_show_training_and_held_out_scores(compared: Comparison) -> None:
    curves = pd.read_csv(compared.folder / "curves.csv")
    assert set(curves["curve"]) == {"learning", "validation"}
    learning = curves[(curves["curve"] == "learning") & (curves["candidate"] == CHEAP[0])]
    assert learning["x"].is_monotonic_increasing
    assert (curves["validation_low"] <= curves["validation"]).all()
    assert (curves["train"] >= curves["validation"] - 0.05).all()
    assert curves[curves["candidate"] == "knn:features"]["knob"].unique().tolist() == [
        "images",
        "neighbours",
    ]


def pairs_of_copies(folder: Path, tmp_path: Path) -> Dataset:
    """Give a table in which every picture stands thrice, turned, under one group."""
    rows = []
    for i, file in enumerate(sorted(folder.glob("*/*.jpg"))):
        for turn in range(3):
            copy = tmp_path / file.parent.name / f"{file.stem}-{turn}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            from PIL import Image

            Image.open(file).rotate(2 * turn).save(copy)
            rows.append((copy, file.parent.name, f"photo {i}"))
    table = tmp_path / "table.csv"
    pd.DataFrame(rows, columns=["path", "label", "group"]).to_csv(table, index=False)
    return cytowell.read(table)


def test_a_leak_is_found_by_the_control(cells: Path, tmp_path: Path) -> None:
    dataset = pairs_of_copies(cells, tmp_path / "data")
    words = ("svm",)
    honest = cytowell.compare(
        dataset, tmp_path / "honest", Question(words, FOLDS, permutation_control=True)
    )
    assert not any("LEAK" in w for w in honest.words)
    torn = Question(words, FOLDS, fit=Fit(by_image=True), permutation_control=True)
    leaking = cytowell.compare(dataset, tmp_path / "leaking", torn)
    assert any("THERE IS A LEAK" in w for w in leaking.words), leaking.words


def test_protocols_are_compared_by_what_they_say(plenty: Dataset, tmp_path: Path) -> None:
    protocols = (Protocol("shuffles", 3), Protocol("folds", 2), Protocol("holdout"))
    done = cytowell.compare(plenty, tmp_path / "run", Question(("knn",), protocols))
    said = " ".join(done.words)
    assert "holdout: one division" in said
    assert "shuffles: mean accuracies" in said
    assert done.cells.groupby("protocol").size().to_dict() == {
        "folds": 2,
        "holdout": 1,
        "shuffles": 3,
    }
    shuffled = done.cells[done.cells["protocol"] == "shuffles"]
    assert shuffled["seed"].nunique() == 3


def done_cells(done: Comparison, question: Question, dataset: Dataset) -> list[Done]:
    """Read the answers of a hold-out comparison back from its folder."""
    assert done.run is not None
    o, found = done.run.split, []
    ordered = dataset.in_order()
    assert ordered.paths == o.paths
    dataset = by_unit(ordered, check(ordered), by_image=False)
    for candidate in candidates(question.words, question.fit):
        cell = cells.Cell(candidate, "holdout", 0, 7, o.train, o.validation, o.test, question.fit)
        answer = cells.kept(done.folder / "cells", cell.key(dataset))
        assert answer is not None
        found.append(Done(cell, answer, dataset.labels[o.test]))
    return found


def test_the_choice_is_the_fastest_within_an_error_and_never_sees_the_test_part(
    plenty: Dataset, tmp_path: Path
) -> None:
    question = Question(("frozen", "random-forest"), choose=True)
    done = cytowell.compare(plenty, tmp_path / "run", question)
    assert done.choice is not None
    assert done.choice.candidate is not None
    assert done.choice.candidate.name == "frozen"
    assert done.run is not None
    assert done.run.bundle.is_dir()
    test = done.run.split.test
    assert done.cells["test_images"].tolist() == [len(test)] * 2
    # Whatever the test part says, the choice is the same: it is made of validation figures alone.
    worse = [
        replace(d, answer=replace(d.answer, probabilities=1 - d.answer.probabilities))
        for d in done_cells(done, question, plenty)
    ]
    assert choose(worse).candidate == done.choice.candidate
    calls = cytowell.load(done.run.bundle).predict([plenty.paths[0]])
    assert calls.labels[0] in plenty.classes


def test_only_what_ships_can_be_chosen(plenty: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="ship"):
        cytowell.compare(plenty, tmp_path / "run", Question(("knn",), choose=True))


def test_a_candidate_that_fails_leaves_the_others_alone(
    plenty: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registry.load

    def broken(kind: str, name: str) -> Any:
        if name == "svm":
            raise MemoryError("no room")
        return real(kind, name)

    monkeypatch.setattr(registry, "load", broken)
    done = cytowell.compare(plenty, tmp_path / "run", Question(("svm", "knn")))
    table: Any = done.table.set_index("learner")
    assert "MemoryError: no room" in table.at["svm", "error"]
    assert table.at["knn", "error"] == ""
    assert table.at["knn", "test_accuracy"] > 0
    assert any("Could not be computed: svm" in w for w in done.words)
    monkeypatch.setattr(registry, "load", real)
    again = cytowell.compare(plenty, tmp_path / "run", Question(("svm", "knn")))
    assert (again.table["error"] == "").all()


def test_another_data_sets_folder_is_refused(
    compared: Comparison, few: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="another data set"):
        cytowell.compare(few, compared.folder, Question(CHEAP))
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no comparison"):
        cytowell.compare(few, tmp_path, Question(CHEAP))


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("random-forrest", "random-forest"),
        ("svm:feature", "features"),
        ("resnet-5", "resnet-50"),
        ("cnn+resnet-5", "resnet-50"),
    ],
)
def test_an_unknown_candidate_gets_the_nearest(word: str, near: str) -> None:
    with pytest.raises(UnknownName, match=near):
        candidates([word], Fit())


@pytest.mark.parametrize("wrong", [{"views": 3}, {"epochs": 0}, {"epochs": math.nan}])
def test_what_no_network_could_do_is_refused_though_none_is_asked(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        Fit(**wrong)


def test_whole_epochs_are_the_same_cell_however_they_are_said() -> None:
    assert repr(Fit(epochs=8)) == repr(Fit(epochs=8.0))


def test_candidates_are_read_from_words() -> None:
    found = candidates(
        ["frozen", "svm:features", "resnet-50", "cnn", "contrastive:cnn", "svm:features"],
        Fit(balance="smote", weights="nothing"),
        ["sgd", "adam"],
    )
    assert [c.name for c in found] == [
        "frozen", "svm:features", "resnet-50/sgd", "resnet-50/adam", "cnn/sgd", "cnn/adam",
        "contrastive:cnn/sgd", "contrastive:cnn/adam",
    ]  # fmt: skip
    assert found[0].recipe.settings.balance == "smote"
    assert found[2].recipe.settings.smote
    assert found[2].recipe.settings.weights == "nothing"
    assert found[2].recipe.settings.rate == pytest.approx(10 * found[3].recipe.settings.rate)
    assert found[6].recipe.settings.objective == "contrastive"
    with pytest.raises(UnknownName, match="sgd"):
        candidates(["cnn"], Fit(), ["sdg"])
    own = candidates(
        ["cnn@nothing", "contrastive:cnn@a.pt", "cnn", "hf-hub:a/b@c"], Fit(weights="x")
    )
    assert [c.recipe.settings.weights for c in own] == ["nothing", "a.pt", "x", "x"]
    assert [c.recipe.settings.backbone for c in own] == ["cnn", "cnn", "cnn", "hf-hub:a/b@c"]
    paths = candidates(["cnn@a/x.pt", "cnn+unet@b/y.pt+nothing", "cnn"], Fit())
    assert [c.name for c in paths] == ["cnn@x.pt", "cnn+unet@y.pt+nothing", "cnn"]
    twice = candidates(["cnn@a/x.pt", "cnn@b/x.pt"], Fit())
    assert [c.name for c in twice] == ["cnn@a/x.pt", "cnn@b/x.pt"]
    seen = candidates(["cnn"], Fit(views=1)) + candidates(["cnn"], Fit())
    assert [c.recipe.settings.views for c in seen] == [1, 4]
    with pytest.raises(RecipeError, match="views = 3"):
        candidates(["cnn"], Fit(views=3))
    with pytest.raises(RecipeError, match="starts from no weights"):
        candidates(["random-forest@nothing"], Fit())
    with pytest.raises(RecipeError):
        candidates([" "], Fit())


@pytest.mark.parametrize(
    "protocol", [Protocol("folds", 3), Protocol("shuffles", 4), Protocol("holdout")]
)
def test_no_unit_is_ever_torn_apart(plenty: Dataset, protocol: Protocol) -> None:
    _, units = np.unique(plenty.groups, return_inverse=True)
    rows = np.arange(len(plenty))
    tested: list[int] = []
    for d in divisions(protocol, plenty, rows, units, 7):
        parts = [set(units[r].tolist()) for r in (d.train, d.validation, d.test)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert len(d.train) + len(d.validation) + len(d.test) == len(plenty)
        tested += d.test.tolist()
    if protocol.name == "folds":
        assert sorted(tested) == rows.tolist()


def test_fewer_groups_than_folds_are_refused(few: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TooFewImages, match="5-fold"):
        cytowell.compare(few, tmp_path / "run", Question(CHEAP, (Protocol("folds", 5),)))
    alone = replace(few, samples=tuple(replace(s, group="one") for s in few.samples))
    with pytest.raises(TooFewImages, match="one group"):
        cytowell.compare(alone, tmp_path / "one", Question(CHEAP))
    for count, name in ((1, "folds"), (0, "shuffles")):
        with pytest.raises(RecipeError):
            Protocol(name, count)
    with pytest.raises(RecipeError):
        Protocol("holdout", test=0.99)


def test_engines_answer_alike(plenty: Dataset, tmp_path: Path) -> None:
    here = cytowell.compare(
        plenty, tmp_path / "a", Question(("knn", "svm"), (Protocol("folds", 2),))
    )
    there = cytowell.compare(
        plenty, tmp_path / "b", Question(("knn", "svm"), (Protocol("folds", 2),), jobs=2)
    )
    same = [c for c in TABLE if c not in ("fit_seconds", "images_per_second")]
    pd.testing.assert_frame_equal(here.table[same], there.table[same])
    with pytest.raises(UnknownName, match="local"):
        engines.engine("locale")


def test_a_damaged_cell_is_computed_again(plenty: Dataset, tmp_path: Path) -> None:
    question = Question(("knn",))
    first = cytowell.compare(plenty, tmp_path / "run", question)
    for file in (tmp_path / "run" / "cells").glob("*.npy"):
        file.write_bytes(b"half")
    again = cytowell.compare(plenty, tmp_path / "run", question)
    assert again.table["test_accuracy"].tolist() == first.table["test_accuracy"].tolist()


def test_synthetic_samples_never_meet_their_parents(plenty: Dataset) -> None:
    """SMOTE sees the training rows of its fold, and nothing that it makes is judged."""
    from cytowell.learners import classical

    seen: list[np.ndarray[Any, Any]] = []
    real = smote

    def watched(X: Any, y: Any, seed: int) -> Any:
        seen.append(np.asarray(X))
        return real(X, y, seed)

    question = Question(("knn",), FOLDS, fit=Fit(balance="smote"))
    rare = plenty.take(
        [i for i, s in enumerate(plenty.samples) if s.label != plenty.classes[0] or i % 3 == 0]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classical, "smote", watched)
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            done = cytowell.compare(rare, Path(folder) / "run", question)
    made = candidates(["knn"], question.fit)[0]
    X = classical.inputs(rare, made.recipe.settings, Preprocessing())
    _, units = np.unique(rare.groups, return_inverse=True)
    divided = list(divisions(FOLDS[0], rare, np.arange(len(rare)), units, 7))
    assert len(seen) == len(divided) == len(done.cells)
    for rows, d in zip(seen, divided, strict=True):
        assert np.array_equal(rows, X[d.train])
        judged = {tuple(r) for r in X[d.test].tolist()}
        grown, labels = real(rows, rare.labels[d.train], 7)
        assert len(grown) > len(rows)
        assert not judged & {tuple(r) for r in grown.tolist()}
        assert len(np.unique(np.bincount(labels))) == 1


@pytest.mark.parametrize("name", KNOBS)
def test_every_classical_learner_takes_an_imbalance_and_keeps_its_seed(name: str) -> None:
    from cytowell.learners.classical import class_scores, fit_model, size_of
    from cytowell.learners.settings import Classical

    rng = np.random.default_rng(1)
    for classes in (2, 8):
        y = np.array([0] * 100 + [c for c in range(1, classes) for _ in range(2)], dtype=np.int64)
        X = rng.normal(size=(len(y), 12)) + y[:, None]
        for balance in ("none", "balanced", "smote"):
            made = [fit_model(name, X, y, Classical(balance=balance), 3) for _ in range(2)]
            scores = [class_scores(m, X, classes) for m in made]
            assert np.array_equal(scores[0], scores[1])
            assert scores[0].shape == (len(y), classes)
            assert np.isfinite(scores[0]).all()
            assert size_of(made[0]) > 0
        assert np.mean(scores[0].argmax(axis=1) == y) > 0.9


@pytest.mark.parametrize("name", KNOBS)
def test_what_is_called_is_the_likeliest_class_for_every_learner(name: str) -> None:
    """A support vector machine's votes name another class on one image in a hundred."""
    from cytowell.learners.classical import class_scores, fit_model
    from cytowell.learners.settings import Classical

    rng = np.random.default_rng(0)
    y = rng.integers(0, 6, 240)
    X = rng.normal(size=(240, 4)) + 0.4 * y[:, None]
    model = fit_model(name, X, y, Classical(), 3)
    seen = rng.normal(size=(600, 4)) + 0.4 * rng.integers(0, 6, 600)[:, None]
    scores = class_scores(model, seen, 6)
    assert np.array_equal(model.predict(seen), scores.argmax(axis=1))


def watching(compute: Any, seen: list[cells.Cell]) -> Any:
    """Give `compute` that notes every cell it is asked for."""

    def watched(dataset: Dataset, cell: cells.Cell, *given: Any, **named: Any) -> Any:
        seen.append(cell)
        return compute(dataset, cell, *given, **named)

    return watched


def test_a_search_is_kept_and_never_asks_the_test_part(
    plenty: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna", reason='needs the extra: pip install "cytowell[tune]"')
    tune = registry.part("cytowell.runs.tune:tuned").__globals__
    asked: list[cells.Cell] = []
    tested: list[cells.Cell] = []
    for seen, where in ((asked, tune), (tested, vars(engines))):
        monkeypatch.setitem(where, "compute", watching(where["compute"], seen))
    question = Question(("knn",), tune=3)
    first = cytowell.compare(plenty, tmp_path / "run", question)
    storage = f"sqlite:///{tmp_path / 'run' / 'tune.db'}"
    (study,) = optuna.get_all_study_summaries(storage)
    assert study.n_trials == 3
    assert study.best_trial.value <= 1
    again = cytowell.compare(plenty, tmp_path / "run", replace(question, tune=4))
    assert optuna.get_all_study_summaries(storage)[0].n_trials == 4
    assert first.table["error"].tolist() == again.table["error"].tolist() == [""]
    trials = optuna.load_study(study_name=study.study_name, storage=storage).trials
    assert trials[0].params == {"strength": 5}
    assert len(asked) == 4
    judging = {int(i) for cell in tested for i in cell.test}
    for cell in asked:
        known = {int(i) for part in (cell.train, cell.validation, cell.test) for i in part}
        assert not known & judging


def test_each_fold_searches_on_its_own_images(
    plenty: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason='needs the extra: pip install "cytowell[tune]"')
    tune = registry.part("cytowell.runs.tune:tuned").__globals__
    asked: list[cells.Cell] = []
    tested: list[cells.Cell] = []
    for seen, where in ((asked, tune), (tested, vars(engines))):
        monkeypatch.setitem(where, "compute", watching(where["compute"], seen))
    done = cytowell.compare(plenty, tmp_path / "run", Question(("knn",), FOLDS, tune=2))
    assert len(asked) == 2 * len(tested) == 6
    for cell in tested:
        learnt = np.concatenate([cell.train, cell.validation]).tolist()
        mine = [a for a in asked if np.concatenate([a.train, a.validation]).tolist() == learnt]
        assert len(mine) == 2, "each fold has a search of its own"
        for trial in mine:
            judged = np.concatenate([trial.train, trial.validation, trial.test])
            assert not set(judged.tolist()) & set(cell.test.tolist())
    assert any("2 trials inside each division" in w for w in done.words)
    assert len(done.table) == 1


def test_a_search_that_fails_changes_nothing_and_a_damaged_one_is_said(
    plenty: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna", reason='needs the extra: pip install "cytowell[tune]"')
    tune = registry.part("cytowell.runs.tune:tuned").__globals__

    def failing(dataset: Dataset, cell: cells.Cell, **given: Any) -> Any:
        return cells.failed(dataset, cell, "no memory")

    monkeypatch.setitem(tune, "compute", failing)
    heard: list[str] = []
    question = Question(("knn",), tune=2)
    done = cytowell.compare(plenty, tmp_path / "run", question, Voice(heard.append))
    assert any("stay as they are" in sentence for sentence in heard)
    assert done.table["error"].tolist() == [""]
    (tmp_path / "run" / "tune.db").write_bytes(
        b"no data base, but long enough to be read as one" * 9
    )
    with pytest.raises(StorageError, match=r"tune\.db"):
        cytowell.compare(plenty, tmp_path / "run", question)


def test_raw_against_cropped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(48):
        pixels = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
        label = ("dark", "light")[number % 2]
        places = rng.permutation([(5, 8), (48, 8), (5, 56), (48, 56), (90, 30)])[:2]
        # The other square is what the box's is not: only the box tells which one counts.
        for (x, y), light in zip(places, (number % 2, 1 - number % 2), strict=True):
            pixels[y : y + 24, x : x + 24] = (60, 190)[light] + rng.integers(0, 20, (24, 24, 3))
        x, y = (int(v) for v in places[0])
        file = tmp_path / "photographs" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file)
        samples.append(Sample(str(file), label, box=Box(x, y, 24, 24)))
    dataset = Dataset(tuple(samples), ("dark", "light"), origin="squares")
    question = Question(words=("random-forest",), fit=Fit(raw_and_cropped=True))
    done = cytowell.compare(dataset, tmp_path / "run", question)
    right = dict(zip(done.table["learner"], done.table["test_accuracy"], strict=True))
    assert set(right) == {"random-forest [whole]", "random-forest [cropped]"}
    assert right["random-forest [cropped]"] == 1.0
    assert right["random-forest [whole]"] < 0.9
    bare = replace(dataset, samples=tuple(replace(s, box=None) for s in samples))
    with pytest.raises(RecipeError, match="no boxes"):
        cytowell.compare(bare, tmp_path / "bare", question)
    two = replace(dataset, samples=(*samples, replace(samples[0], label="light")))
    with pytest.raises(RecipeError, match="neither"):
        cytowell.compare(two, tmp_path / "two", question)


def test_raw_against_the_wells_that_are_found(tmp_path: Path, cli: Callable[..., Any]) -> None:
    photographs = cytowell.write_samples(tmp_path / "samples", "wells", per_class=16)["wells"]
    said = cli(
        "compare", photographs, "--learners", "knn", "--find", "wells", "--raw-and-cropped",
        "--by-image", "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.status == 0, said.err
    assert "knn [whole]" in said.out
    assert "knn [cropped]" in said.out


def test_curves_are_kept_and_not_drawn_again(
    compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second comparison of the same images takes its curves from the folder."""
    from types import SimpleNamespace

    from cytowell.runs import compare as module

    drawn: list[str] = []

    def watched(data: Any, candidates: Any, seed: int, voice: Any) -> pd.DataFrame:
        drawn.append(candidates[0].name)
        return pd.DataFrame(
            {"candidate": [candidates[0].name], "curve": "x", "knob": "k", "x": 1.0}
        )

    monkeypatch.setattr(module, "curves", watched)
    assert list((compared.folder / "curves").glob("*.csv"))
    data = Dataset(tuple(Sample(f"{i}.png", "ab"[i % 2]) for i in range(6)), ("a", "b"))
    candidate = SimpleNamespace(name="knn", recipe="settings")
    cell = SimpleNamespace(
        permuted=False, candidate=candidate, protocol="folds", fold=0,
        train=np.array([0, 1, 2]), validation=np.array([3]),
    )  # fmt: skip
    grid: Any = SimpleNamespace(
        done=[SimpleNamespace(cell=cell)],
        dataset=data,
        question=SimpleNamespace(fit=SimpleNamespace(seed=7)),
    )
    voice: Any = None
    folder = compared.folder / "kept"
    folder.mkdir()
    first = module._curves(grid, folder, voice)
    again = module._curves(grid, folder, voice)
    assert drawn == ["knn"]
    pd.testing.assert_frame_equal(first, again)
    candidate.recipe = "others"
    module._curves(grid, folder, voice)
    assert drawn == ["knn", "knn"]
