from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BadTable, EmptyDataset, RecipeError

Runner = Callable[..., Any]


def noise(folder: Path, count: int = 12) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def test_drift_prints_what_differs_and_ends_with_one(
    cli: Runner, bundle: Path, tmp_path: Path
) -> None:
    said = cli("drift", bundle, noise(tmp_path / "noise"), "--json")
    assert said.status == 1, said.err
    found = json.loads(said.out)
    assert found["differs"]
    assert found["remedies"]
    words = cli("drift", bundle, tmp_path / "noise")
    assert words.out.startswith("Differs from the training images by more than chance")


def test_predict_says_at_the_top_that_photographs_differ(
    cli: Runner, bundle: Path, tmp_path: Path
) -> None:
    said = cli(
        "predict", noise(tmp_path / "noise"), "--bundle", bundle, "--out", tmp_path / "c.csv"
    )
    assert said.status == 0
    lines = [line for line in said.err.splitlines() if "images" in line]
    assert lines[0].startswith("Differs from the training images")


def test_a_history_is_begun_and_compared_with(
    cli: Runner, bundle: Path, cells: Path, tmp_path: Path
) -> None:
    file = tmp_path / "history.csv"
    first = cli("drift", bundle, cells, "--history", file)
    assert "first batch" in first.out
    one = next(p for p in sorted(cells.iterdir()) if p.is_dir())
    again = cli("drift", bundle, one, "--history", file)
    assert "another than in the history" in again.out
    assert len(pd.read_csv(file)) == 2


def test_bad_input_of_drift_names_the_file(bundle: Path, cells: Path, tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadTable, match=r"h\.csv"):
        cytowell.drift(bundle, cells, history=tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text() == "a,b\n1,2\n"
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(EmptyDataset, match=r"broken\.jpg"):
        cytowell.drift(bundle, tmp_path / "broken.jpg")


def test_suggest_writes_a_table_and_a_sheet_and_goes_on_round_after_round(
    cli: Runner, cells: Path, tmp_path: Path
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    truth: dict[str, str] = {}
    for file in sorted(cells.rglob("*.jpg")):
        name = f"{len(truth):03}.jpg"
        shutil.copy(file, pool / name)
        truth[name] = file.parent.name
    said = cli("suggest", pool, "--n", 10, "--out", tmp_path / "first")
    assert said.status == 0, said.err
    table = pd.read_csv(tmp_path / "first" / "suggest.csv", keep_default_na=False)
    assert table["path"].nunique() == 10
    assert table["rank"].tolist() == list(range(1, 11))
    assert len({truth[Path(p).name] for p in table["path"]}) >= 4
    with Image.open(tmp_path / "first" / "sheet.jpg") as sheet:
        assert sheet.width > 100
    table["label"] = [truth[Path(p).name] for p in table["path"]]
    table.assign(round=1).to_csv(tmp_path / "labels.csv", index=False)
    again = cytowell.suggest(pool, 10, labelled=tmp_path / "labels.csv")
    second = again.to_frame()
    assert not set(second["path"]) & set(table["path"])
    second["label"] = [truth[Path(p).name] for p in second["path"]]
    both = pd.concat([table.assign(round=1), second.assign(round=2)])
    both.to_csv(tmp_path / "labels.csv", index=False)
    third = cytowell.suggest(pool, 100, labelled=tmp_path / "labels.csv")
    assert [r.labels for r in third.rounds] == [10, 20]
    assert third.rounds[1].measured is not None
    assert third.rounds[1].measured > 0.3
    assert len(third.samples) == len(truth) - 20
    assert any("Only" in r for r in third.remarks)


def test_bad_input_of_suggest_is_an_error_in_words(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="n = 0"):
        cytowell.suggest(cells, 0)
    (tmp_path / "t.csv").write_text("path,name\na.jpg,b\n")
    with pytest.raises(BadTable, match="label"):
        cytowell.suggest(cells, 3, labelled=tmp_path / "t.csv")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(EmptyDataset, match=r"broken\.jpg"):
        cytowell.suggest(tmp_path / "broken.jpg")
    rows = "".join(f"{f},x\n" for f in cells.rglob("*.jpg"))
    (tmp_path / "all.csv").write_text("path,label\n" + rows)
    with pytest.raises(EmptyDataset, match="label already"):
        cytowell.suggest(cells, 3, labelled=tmp_path / "all.csv")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("x")
    made = cytowell.suggest(cells, 2)
    from cytowell.images import Preprocessing

    with pytest.raises(RecipeError, match="something else"):
        made.save(kept, Preprocessing())
    assert (kept / "mine.txt").exists()
