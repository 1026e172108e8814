from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pandas as pd
import pytest

import cytowell
from cytowell.cli import app
from cytowell.cli.options import reading
from cytowell.errors import CytowellError, RecipeError


class Said(Protocol):
    status: int
    out: str
    err: str


class Runner(Protocol):
    def __call__(self, *arguments: object) -> Said: ...


VERBS = sorted(str(command.name) for command in app.registered_commands)


def fresh(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("module", ["cytowell", "cytowell.cli"])
def test_an_import_loads_nothing_heavy(module: str) -> None:
    loaded = set(fresh(f"import sys, {module}; print(*sys.modules)").split())
    heavy = {"torch", "torchvision", "timm", "pandas", "numpy", "PIL", "onnxruntime", "sklearn"}
    assert not loaded & heavy


def test_calling_loads_no_pytorch(bundle: Path, cells: Path) -> None:
    image = next(cells.rglob("*.jpg"))
    said = fresh(
        f"import sys, cytowell\ncalls = cytowell.load({str(bundle)!r}).predict({str(image)!r})\n"
        "print(calls.labels[0], 'torch' in sys.modules)"
    )
    label, loaded = said.split()
    assert label in cytowell.load(bundle).classes
    assert loaded == "False"


def test_every_public_name_is_there() -> None:
    for name in cytowell.__all__:
        assert getattr(cytowell, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cytowell.nothing


def test_help_names_every_verb(cli: Runner) -> None:
    said = cli("--help")
    assert said.status == 0
    for verb in VERBS:
        assert re.search(rf"\b{verb}\b", said.out)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_flag_says_what_it_is_for(cli: Runner, verb: str) -> None:
    said = cli(verb, "--help")
    assert said.status == 0
    assert f"Usage: cytowell {verb}" in said.out


def test_wrong_use_is_told_with_status_2(cli: Runner) -> None:
    assert cli("prdict").status == 2
    assert cli("predict").status == 2
    assert cli("predict", "x.jpg", "--no-such-flag").status == 2
    assert cli("train", "x", "--seed", "many").status == 2


@pytest.mark.parametrize("kind", ["sources", "checks", "learners", "backbones", "bundles"])
def test_list_names_what_there_is(cli: Runner, kind: str) -> None:
    from cytowell import registry

    said = cli("list", kind)
    assert said.status == 0
    assert [line.split()[0] for line in said.out.splitlines()] == sorted(registry.TABLE[kind])


def test_list_of_nothing_known(cli: Runner) -> None:
    said = cli("list", "learner")
    assert said.status == 2
    assert "Did you mean 'learners'" in said.err


def test_samples_says_that_they_are_synthetic(cli: Runner, tmp_path: Path) -> None:
    said = cli("samples", tmp_path, "--kind", "wells", "--per-class", 1)
    assert said.status == 0
    assert said.out == f"wells: {tmp_path / 'wells'} (synthetic)\n"


def test_check_prints_and_saves(cli: Runner, cells: Path, tmp_path: Path) -> None:
    said = cli("check", cells, "--no-labels", "--out", tmp_path / "findings.csv")
    assert said.status == 0
    assert f"All findings: {tmp_path / 'findings.csv'}" in said.out
    assert len(pd.read_csv(tmp_path / "findings.csv")) == 40


def test_a_long_path_is_printed_whole(cli: Runner, tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-" * 8) / "set"
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for k in range(3):
            (folder / label / f"{k}.jpg").write_bytes(b"")
    said = cli("check", folder, "--no-labels")
    bare = re.sub(r"[\s│┃|]", "", said.out)
    assert str(folder / "a" / "0.jpg") in bare


def test_predict_prints_calls_and_nothing_else(cli: Runner, bundle: Path, cells: Path) -> None:
    images = sorted(cells.rglob("*.jpg"))[:3]
    said = cli("predict", *reversed(images), "--bundle", bundle)
    assert said.status == 0
    head, *rows = said.out.splitlines()
    classes = cytowell.load(bundle).classes
    columns = ["path", "label", "probability", "decided", "reason", "error"]
    assert head.split(",") == [*columns, *(f"p_{c}" for c in classes)]
    assert [row.split(",")[0] for row in rows] == [str(p) for p in reversed(images)]
    assert "3 images:" in said.err
    assert "synthetic" in said.err


def test_quiet_says_nothing(cli: Runner, bundle: Path, cells: Path, tmp_path: Path) -> None:
    image = next(cells.rglob("*.jpg"))
    said = cli("predict", image, "--bundle", bundle, "--quiet", "--out", tmp_path / "c.csv")
    assert (said.status, said.out, said.err) == (0, "", "")


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_table_comes_back_with_its_own_columns(
    cli: Runner, bundle: Path, cells: Path, tmp_path: Path, ending: str
) -> None:
    images = sorted(cells.rglob("*.jpg"))[::4]
    own = {"well": [f"A{k}" for k in range(len(images))], "decided_by": "me", "error": "none"}
    table = pd.DataFrame({"path": [str(p) for p in images], "label": "x"} | own)
    table.loc[0, "label"] = None
    table.to_csv(tmp_path / "slide.csv", index=False)
    out = tmp_path / f"calls.{ending}"
    said = cli("predict", tmp_path / "slide.csv", "--bundle", bundle, "--out", out)
    assert said.status == 0, said.err
    if ending == "csv":
        found = pd.read_csv(out)
    elif ending == "parquet":
        found = pd.read_parquet(out)
    else:
        found = pd.read_json(out, lines=True)
    assert found["path"].tolist() == table["path"].tolist()
    assert found["well"].tolist() == own["well"]
    assert found["truth"].tolist()[1:] == ["x"] * (len(images) - 1)
    assert pd.isna(found["truth"][0])
    assert found["given_error"].tolist() == ["none"] * len(images)
    shares = found[[c for c in found.columns if c.startswith("p_")]]
    assert (shares.sum(axis=1) - 1).abs().max() < 1e-4


def test_a_list_on_standard_input(
    cli: Runner, bundle: Path, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(cells.rglob("*.jpg"))[:2]
    monkeypatch.setattr("sys.stdin", iter([f"{p}\n" for p in images]))
    said = cli("predict", "-", "--bundle", bundle)
    assert [row.split(",")[0] for row in said.out.splitlines()[1:]] == [str(p) for p in images]


def test_an_empty_list_makes_no_table(
    cli: Runner, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", iter([]))
    said = cli("predict", "-", "--bundle", bundle, "--out", tmp_path / "calls.csv")
    assert said.status == 2
    assert "Nothing was named" in said.err
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused_before_any_work(
    cli: Runner, bundle: Path, tmp_path: Path
) -> None:
    said = cli("predict", "x.jpg", "--bundle", bundle, "--out", tmp_path / "calls.xlsx")
    assert said.status == 2
    assert ".parquet" in said.err


def test_inspect_in_words_and_as_json(cli: Runner, bundle: Path) -> None:
    words = cli("inspect", bundle)
    assert words.status == 0
    assert "SYNTHETIC" in words.out
    record = json.loads(cli("inspect", bundle, "--json").out)
    assert record["classes"] == list(cytowell.load(bundle).classes)
    assert record["digest"] in words.out
    assert "boxes         middle 100%, margin 0" in words.out
    assert json.loads(cli("inspect", bundle.parent, "--json").out) == record


def test_evaluate_as_json_has_an_interval_for_each_figure(
    cli: Runner, bundle: Path, cells: Path
) -> None:
    said = cli("evaluate", bundle, cells, "--json")
    assert said.status == 0, said.err
    found = json.loads(said.out)
    assert found["n"] == 40
    accuracy = found["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["value"] <= accuracy["high"] <= 1
    assert len(found["per_class"]) == 5


def test_evaluate_prints_tables_and_writes_a_report(
    cli: Runner, bundle: Path, cells: Path, tmp_path: Path
) -> None:
    said = cli("evaluate", bundle, cells, "--by", "group", "--out", tmp_path / "out")
    assert said.status == 0, said.err
    assert "40 images" in said.out
    assert (tmp_path / "out" / "report.html").is_file()


def test_train_says_where_the_report_is_and_what_comes_next(
    cli: Runner, cells: Path, tmp_path: Path
) -> None:
    (tmp_path / "recipe.toml").write_text(
        'learner = "frozen"\n'
        '[frozen]\nbackbones = ["imagenet"]\ncrops = [1.0]\nstrengths = [0.01]\n'
    )
    run = tmp_path / "run"
    said = cli("train", cells, "--recipe", tmp_path / "recipe.toml", "--out", run)
    assert said.status == 0, said.err
    assert f"Report: {run / 'report.html'}" in said.out
    assert f"--bundle {run}" in said.out
    assert "synthetic" in said.out


def test_small_verbs_refuse_what_they_cannot_do(cli: Runner, bundle: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("board", tmp_path), "nothing for TensorBoard"),
        (("export", bundle, tmp_path / "x.onnx"), "--single-file"),
        (("fetch", "bloodminst", "--out", tmp_path), "bloodmnist"),
        (("inspect", tmp_path), "no bundle.json"),
        (("check", tmp_path / "missing"), "is not there"),
    ):
        said = cli(*arguments)
        assert said.status == 2
        assert words in said.err
    assert not list(tmp_path.iterdir())


def test_an_error_can_be_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cytowell.cli import main

    monkeypatch.setenv("CYTOWELL_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["cytowell", "check", str(tmp_path)])
    with pytest.raises(CytowellError):
        main()


def test_an_unforeseen_error_is_not_hushed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cytowell.cli import main

    def broken(*_: object) -> None:
        raise FileNotFoundError("unforeseen")

    monkeypatch.setattr(cytowell, "read", broken)
    monkeypatch.setattr(sys, "argv", ["cytowell", "check", str(tmp_path)])
    with pytest.raises(FileNotFoundError):
        main()


def test_a_reader_that_has_enough(bundle: Path, cells: Path) -> None:
    """As in ``cytowell list sources | head -0``: no traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "cytowell.cli", "list", "sources"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        told = running.stderr.read()
    assert told == ""


def test_how_photographs_are_read_is_what_was_said_of_it() -> None:
    assert reading("2,0,1", "0,0.5", "Z=3") == {
        "channels": (2, 0, 1), "window": (0, 0.5), "plane": "Z=3"
    }  # fmt: skip
    assert reading("", "", "") == {}
    with pytest.raises(RecipeError, match=r"--channels 1\.5"):
        reading("1.5", "", "")
