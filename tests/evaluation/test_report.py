from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytowell.evaluation.metrics import evaluate, evaluate_by
from cytowell.evaluation.promise import promise
from cytowell.evaluation.report import MOST_ROWS, Story, thumbnail, write_report
from cytowell.types import Box, Findings, Predictions, Sample

Maker = Callable[..., Predictions]

RESEARCH = "Research use only, not an in vitro diagnostic"


def _photograph(path: Path, size: tuple[int, int] = (300, 200)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif[0x013B] = "Dr Patient Name"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, comment=b"SecretComment")
    return path


def _decoded(uri: str) -> bytes:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return base64.b64decode(body)


def _told(tmp_path: Path, story: Story) -> str:
    path = tmp_path / "out" / "report.html"
    write_report(path, story)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture
def story(make: Maker, tmp_path: Path) -> Story:
    calls = make(80, ("lymphocyte", "<script>alert(1)</script>", "größe 白血球"))
    samples = list(calls.samples)
    for i, sample in enumerate(samples):
        path = _photograph(tmp_path / "in" / f"{i}.jpg") if i < 20 else tmp_path / f"gone {i}.jpg"
        samples[i] = replace(sample, path=str(path), extra={"site": "A&B" if i % 2 else "C"})
    samples[0] = replace(samples[0], path=str(tmp_path / "<img src=x onerror=alert(2)>.jpg"))
    calls = replace(calls, samples=tuple(samples))
    metrics = evaluate(calls, resamples=50)
    table = pd.DataFrame({"path": [s.path for s in samples], "blurred_score": 1.0})
    table["is_blurred"] = np.arange(80) < 60
    curve = {"step": 1, "size": 96, "train_loss": 1.0, "train_accuracy": 0.5}
    return Story(
        "Smears & stains",
        metrics,
        calls,
        notes=("These figures are out-of-fold.",),
        caveats=("No donor ids: image-level, optimistic.",),
        findings=Findings(table, ("Mend <this>.",), ("A remark.",), excluded=np.arange(80) < 1),
        balance={"train": {"lymphocyte": 5}, "test": {"lymphocyte": 2, "b": 1}},
        split_how="Stratified, seed 7.",
        leakage="none found.",
        curve=[curve | {"validation_loss": 1.1, "validation_accuracy": 0.4}],
        train_metrics=metrics,
        before={"ece": 0.1, "accuracy": 0.9},
        after={"ece": metrics["ece"], "accuracy": 0.9},
        temperature=1.3,
        threshold=0.7,
        by_column={"site": evaluate_by(calls, "site", resamples=20)},
        made=(("Command", "cytowell train photographs/"), ("Bundle, SHA-256", "ab12")),
        signed={"Laboratory": "Core"},
        when=datetime(2026, 3, 15, 12, 0, tzinfo=UTC),
    )


def test_the_page_fetches_nothing(tmp_path: Path, story: Story) -> None:
    page = _told(tmp_path, story)
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?!data:)[\w./]*//""", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "<link" not in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_the_page_says_what_it_must(tmp_path: Path, story: Story) -> None:
    page = _told(tmp_path, story)
    assert page.count(RESEARCH) >= 3
    for shown in (
        "Smears &amp; stains",
        "These figures are out-of-fold.",
        "image-level, optimistic",
        "A remark.",
        "Stratified, seed 7.",
        "none found.",
        "the first 50 of 60",
        "Temperature 1.300",
        "By site",
        "A&amp;B",
        "cytowell train photographs/",
        "größe 白血球",
        "Signature",
        "Core",
        "March 2026",
    ):
        assert shown in page
    assert re.search(r"UTC[+-]\d\d:\d\d", page)
    assert "Synthetic images" not in page


def test_the_order_of_the_page(tmp_path: Path, story: Story) -> None:
    page = _told(tmp_path, story)
    heads = (
        'class="verdict"',
        "What the data check found",
        "Who learnt and who judged",
        "How it learnt",
        "Train against test",
        "What is taken for what",
        "Whether its probabilities hold",
        "Images to look at",
        "Sign-off",
        "How it was made",
        "Every image",
    )
    places = [page.index(head) for head in heads]
    assert places == sorted(places)


def test_names_are_escaped(tmp_path: Path, story: Story) -> None:
    page = _told(tmp_path, story)
    assert "&lt;img src=x onerror=alert(2)&gt;.jpg" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Mend &lt;this&gt;." in page
    assert "<img src=x" not in page


def test_the_least_story_is_enough(tmp_path: Path, make: Maker) -> None:
    calls = make(10)
    page = _told(tmp_path, Story("Least", evaluate(calls, resamples=10), calls))
    assert RESEARCH in page
    assert "The figures" in page
    nothing = calls.take(range(0))
    page = _told(tmp_path, Story("Nothing", evaluate(nothing), nothing))
    assert "Nothing can be said" in page


def test_synthetic_images_are_announced(tmp_path: Path, make: Maker) -> None:
    calls = make(10)
    metrics = evaluate(calls, resamples=10)
    assert "Synthetic images" in _told(tmp_path, Story("S", metrics, calls, synthetic=True))


def test_unreadable_images_stand_first(tmp_path: Path, make: Maker) -> None:
    calls = make(30)
    probabilities = calls.probabilities.copy()
    probabilities[29] = np.nan
    calls = replace(
        calls, probabilities=probabilities, errors=("",) * 29 + ("is <empty> (0 bytes).",)
    )
    page = _told(tmp_path, Story("S", evaluate(calls, resamples=10), calls))
    table = page[page.index("Every image") :]
    assert "is &lt;empty&gt; (0 bytes)." in table[: table.index("</tr>", table.index("<tbody>"))]


def test_a_long_table_is_cut_and_says_so(tmp_path: Path, make: Maker) -> None:
    calls = make(MOST_ROWS + 10)
    page = _told(tmp_path, Story("S", evaluate(calls, resamples=10), calls))
    assert "The first 2,000 of 2,010 images; predictions.csv holds all of them." in page
    table = page[page.index("Every image") :]
    assert table.count("<tr") == MOST_ROWS + 1


def test_thumbnails_carry_pixels_only(tmp_path: Path) -> None:
    path = _photograph(tmp_path / "smear.jpg")
    assert b"SecretCamera" in path.read_bytes()
    data = _decoded(thumbnail(Sample(str(path))))
    for secret in (b"SecretCamera", b"Dr Patient Name", b"SecretComment", b"Exif"):
        assert secret not in data
    with Image.open(io.BytesIO(data)) as small:
        assert max(small.size) == 96
        assert not small.getexif()
        assert "comment" not in small.info


def test_thumbnails_of_boxes_and_of_nothing(tmp_path: Path) -> None:
    path = str(_photograph(tmp_path / "plate.jpg"))
    cut = _decoded(thumbnail(Sample(path, box=Box(280, 10, 40, 30))))
    with Image.open(io.BytesIO(cut)) as small:
        assert small.size == (20, 30)
    assert thumbnail(Sample(path, box=Box(900, 10, 40, 30))) == ""
    assert thumbnail(Sample(str(tmp_path / "gone.jpg"))) == ""


def test_arrays_and_mixed_paths(
    tmp_path: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path / "cache"))
    array = tmp_path / "set.npz"
    np.savez(array, test_images=np.zeros((3, 28, 28), dtype=np.uint8))
    assert _decoded(thumbnail(Sample(f"{array}::test_images/1")))
    calls = make(3)
    paths = (f"{array}::test_images/1", "relative.png", "")
    samples = tuple(replace(s, path=p) for s, p in zip(calls.samples, paths, strict=True))
    calls = replace(calls, samples=samples)
    assert "relative.png" in _told(tmp_path, Story("S", evaluate(calls, resamples=5), calls))


def test_promise_and_calibration_by_class_are_on_the_page(story: Story, tmp_path: Path) -> None:
    sure, right = np.tile([0.99, 0.01], (400, 1)), np.zeros(400, dtype=np.int64)
    page = _told(tmp_path, replace(story, promise=promise(sure, right).to_json()))
    assert "Promised: of the calls made, at most 1.0 % are wrong" in page
    assert "Kept: " in page
    table = page[page.index("Their mean probability") :]
    assert table.index("lymphocyte") < table.index("größe 白血球") < table.index("</table>")
