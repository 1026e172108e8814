"""From annotated photographs to a detector bundle, interrupted or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from cytowell.checks import check_all
from cytowell.errors import EmptyDataset, RecipeError, RunError, TooFewImages, UnknownName
from cytowell.runs.detector import DetectorRun, divide_photographs, read_recipe, train_detector
from cytowell.runs.run import Voice
from cytowell.runtime.detector import load_detector
from cytowell.training.detection_recipe import Detection, preset
from cytowell.types import Box, Dataset, Sample

SMALL = Detection(
    phases=((64, 30), (96, 120)),
    batch=4,
    rate=6e-3,
    ema=0.95,
    mosaic=0.2,
    zoom=0.1,
    plain=0.4,
    evaluations=3,
    test=0.25,
)


def draw_discs(folder: Path, count: int, seed: int = 0) -> Dataset:
    """Photographs of red discs and blue rings, and one without either."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        noise = rng.normal(225, 6, (96, 120, 3))
        picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        file = folder / f"{number}.png"
        for cell in rng.permutation(6)[: 3 if number else 0]:
            r = float(rng.uniform(11, 16))
            x, y = 20 + 40 * (cell % 3) + rng.uniform(-3, 3), 24 + 46 * (cell // 3)
            edges = (x - r, y - r, x + r, y + r)
            red = bool(rng.random() < 0.5)
            if red:
                pen.ellipse(edges, fill=(200, 40, 60))
            else:
                pen.ellipse(edges, outline=(40, 60, 190), width=4)
            box = Box(x - r, y - r, 2 * r, 2 * r)
            samples.append(Sample(str(file), "disc" if red else "ring", box=box))
        if not number:
            samples.append(Sample(str(file), None))
        picture.save(file)
    return Dataset(tuple(samples), ("disc", "ring"), origin=str(folder))


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return draw_discs(tmp_path_factory.mktemp("discs") / "photographs", 24)


class Stop:
    """Presses Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, done: int, total: int, what: str) -> None:
        if "px" in what and done == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(discs: Dataset, tmp_path_factory: pytest.TempPathFactory) -> DetectorRun:
    pytest.importorskip("libreyolo", reason='needs the extra: pip install "cytowell[detect]"')
    return train_detector(discs, tmp_path_factory.mktemp("run") / "run", SMALL)


def test_it_finds_what_it_learnt(run: DetectorRun, discs: Dataset) -> None:
    assert run.metrics["map50"]["value"] > 0.5
    new = draw_discs(run.folder.parent / "new", 3, seed=9)
    detector = load_detector(run.folder)
    path = new.samples[-1].path
    found = detector.find(Image.open(path).convert("RGB"))
    assert 2 <= len(found) <= 5


def test_the_run_tells_everything(run: DetectorRun, discs: Dataset) -> None:
    for name in ("report.html", "report.json", "split.csv", "findings.csv", "recipe.toml"):
        assert (run.folder / name).is_file()
    told = json.loads((run.folder / "report.json").read_text())
    assert told["origin"]["weights"] == "random numbers"
    assert "PyTorch against ONNX Runtime" in told["origin"]["parity"]
    assert [p["step"] for p in told["curve"]] == [30, 50, 100, 150]
    page = (run.folder / "report.html").read_text()
    assert "mAP50-95" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    judged = set(told["origin"]["photographs"].values())
    assert len(list((run.folder / "overlays").iterdir())) in judged
    assert any((run.folder / "tensorboard").iterdir())
    facts = load_detector(run.bundle).facts
    assert facts.classes == ("disc", "ring")
    assert facts.reading.side == 96
    assert facts.photograph == 120
    assert facts.origin["data"] == discs.digest()
    settings, seed = read_recipe(run.folder / "recipe.toml", preset("quick"))
    assert (settings, seed) == (SMALL, 7)


def test_an_interrupted_run_ends_where_it_would_have(
    run: DetectorRun, discs: Dataset, tmp_path: Path
) -> None:
    for step in (17, 100):
        with pytest.raises(KeyboardInterrupt):
            train_detector(
                discs, tmp_path / "run", SMALL, resume=step > 17, voice=Voice(ticked=Stop(step))
            )
    assert not (tmp_path / "run" / "bundle").exists()
    with pytest.raises(RunError, match="--resume"):
        train_detector(discs, tmp_path / "run", SMALL)
    with pytest.raises(RunError, match="other data or settings"):
        train_detector(discs, tmp_path / "run", replace(SMALL, rate=1e-3), resume=True)
    again = train_detector(discs, tmp_path / "run", SMALL, resume=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    first, second = (load_detector(r.bundle).raw(pixels) for r in (run, again))
    assert np.abs(first[1] - second[1]).max() < 1e-5
    assert again.metrics == run.metrics


def test_a_bundle_is_the_start_of_another(run: DetectorRun, discs: Dataset, tmp_path: Path) -> None:
    short = replace(SMALL, phases=((96, 4),), rate=1e-6, weights=str(run.folder), evaluations=1)
    again = train_detector(discs, tmp_path / "run", short)
    assert "detector.onnx" in load_detector(again.bundle).facts.origin["weights"]
    assert again.metrics["map50"]["value"] > 0.5


def test_photographs_groups_and_given_sides_are_kept(discs: Dataset) -> None:
    none = check_all(discs, only=("boxes",))
    grouped = replace(
        discs,
        samples=tuple(replace(s, group=str(int(Path(s.path).stem) // 3)) for s in discs.samples),
    )
    split, leaks = divide_photographs(grouped, none, SMALL, 7, False)
    sides: dict[str, set[str]] = {}
    for sample, part in zip(grouped.samples, split.parts, strict=True):
        sides.setdefault(str(sample.group), set()).add(str(part))
    assert all(len(s) == 1 for s in sides.values())
    assert set().union(*sides.values()) == {"train", "validation", "test"}
    assert not leaks
    given = replace(
        grouped,
        samples=tuple(
            replace(s, split="test" if int(Path(s.path).stem) % 4 == 0 else "train")
            for s in grouped.samples
        ),
    )
    split, leaks = divide_photographs(given, none, SMALL, 7, False)
    assert all(
        (p == "test") == (s.split == "test")
        for s, p in zip(given.samples, split.parts, strict=True)
    )
    assert "two sides" in leaks
    assert divide_photographs(given, none, SMALL, 7, True)[1] == ""


def test_too_little_is_said(tmp_path: Path, discs: Dataset) -> None:
    bare = replace(discs, samples=tuple(replace(s, box=None) for s in discs.samples))
    with pytest.raises(EmptyDataset, match="no boxes"):
        train_detector(bare, tmp_path / "run", SMALL)
    with pytest.raises(TooFewImages, match="are left for the"):
        train_detector(draw_discs(tmp_path / "few", 4), tmp_path / "run", SMALL)
    assert not (tmp_path / "run").exists()
    none = replace(discs, samples=tuple(replace(s, split="test") for s in discs.samples))
    with pytest.raises(TooFewImages, match="train part"):
        train_detector(none, tmp_path / "run", SMALL)
    judged = [s.path for s in discs.samples if Path(s.path).stem in ("0", "1")]
    empty = (
        *(replace(s, split="train") for s in discs.samples if s.path not in judged),
        *(Sample(path, None, split="test") for path in dict.fromkeys(judged)),
    )
    with pytest.raises(TooFewImages, match="without an object"):
        train_detector(replace(discs, samples=empty), tmp_path / "run", SMALL)


def test_recipes_are_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("[detector]\nmosaik = 0.5\n")
    with pytest.raises(RecipeError, match="mosaik"):
        read_recipe(file, preset("quick"))
    file.write_text("[detector]\nphases = [[100, 5]]\n")
    with pytest.raises(RecipeError, match="multiples of 32"):
        read_recipe(file, preset("quick"))
    for text, said in (
        ("seeds = 3", "seeds"),
        ("seed = -1", "seed = -1"),
        ("seed = true", "seed = True"),
        ("detector = 5", "is a table"),
        ("[detector]\naugmentation = 3", "no table"),
        ("[detector]\nphases = [[320]]", "phases holds"),
        ("[detector]\nphases = [[320.0, 5]]", "phases"),
        ("[detector]\nphases = [[8192, 5]]", "phases"),
        ("[detector]\naccelerator = 'abacus'", "abacus"),
        ("[detector]\nnetwork = 5", "network = 5"),
    ):
        file.write_text(text)
        with pytest.raises(RecipeError, match=said):
            read_recipe(file, preset("quick"))
    file.write_text("[detector]\nnetwork = 'yolox-nan'")
    with pytest.raises(UnknownName, match="yolox-nan"):
        read_recipe(file, preset("quick"))


def test_the_command_line_trains(tmp_path: Path, cli: Callable[..., Any]) -> None:
    pytest.importorskip("libreyolo", reason='needs the extra: pip install "cytowell[detect]"')
    dataset = draw_discs(tmp_path / "photographs", 20)
    from cytowell.sources.convert import convert

    convert(dataset, tmp_path / "annotated", "yolo")
    file = tmp_path / "recipe.toml"
    file.write_text("seed = 3\n[detector]\nphases = [[64, 6]]\nevaluations = 1\ntest = 0.3\n")
    out = tmp_path / "run"
    said = cli("detect", "train", tmp_path / "annotated", "--recipe", file, "--out", out)
    assert said.status == 0, said.err
    assert "mAP50" in said.out
    assert "random numbers" in said.err
    judged = cli("detect", "evaluate", out, tmp_path / "annotated", "--json")
    assert json.loads(judged.out)["n"] == 20
    calls = cli("predict", tmp_path / "photographs", "--find", "cells", "--detector", out)
    assert calls.status == 0, calls.err
