from __future__ import annotations

import base64
import io
import os
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytowell.errors import BadTable
from cytowell.types import (
    CALL_COLUMNS,
    Box,
    Dataset,
    Findings,
    Predictions,
    Sample,
    Split,
    fields_of,
)

SAMPLES = (
    Sample("a.png", "cat", "slide 1", "train", "grey", extra={"donor": 7}),
    Sample("b.png", "dog", box=Box(1, 2, 3, 4)),
    Sample("c.png"),
)
DATA = Dataset(SAMPLES, ("cat", "dog"))


def calls(samples: tuple[Sample, ...] = SAMPLES) -> Predictions:
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [np.nan, np.nan]])
    return Predictions(
        samples,
        ("cat", "dog"),
        probabilities,
        np.array([True, False, False]),
        ("", "probability 0.600 below 0.800", ""),
        ("", "", "c.png is empty."),
    )


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        SAMPLES[0].label = "dog"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        DATA.origin = "elsewhere"  # type: ignore[misc]


def test_a_data_set_knows_labels_and_groups() -> None:
    assert len(DATA) == 3
    assert DATA.labels.tolist() == [0, 1, -1]
    assert DATA.groups.tolist() == ["slide 1", "b.png", "c.png"]
    assert DATA.has_groups
    assert DATA.subclasses == ("grey",)
    assert not Dataset((Sample("a.png"), Sample("b.png")), ()).has_groups
    two_boxes = (Sample("a.png", box=Box(0, 0, 1, 1)), Sample("a.png", box=Box(1, 0, 1, 1)))
    assert Dataset(two_boxes, ()).has_groups


def test_taking_by_position_and_by_mask() -> None:
    assert DATA.take([2, 0]).paths == ("c.png", "a.png")
    assert DATA.take(np.array([False, True, False])).paths == ("b.png",)
    assert DATA.take([1]).classes == ("cat", "dog")


def test_a_data_set_as_a_table() -> None:
    frame = DATA.frame()
    assert list(frame.columns[:5]) == ["path", "label", "group", "split", "subclass"]
    assert [frame[c][1] for c in ("x", "y", "width", "height")] == [1, 2, 3, 4]
    assert frame.loc[0, "donor"] == 7


def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    for place, text in (("one", "x"), ("two", "x"), ("three", "longer")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.png").write_text(text)

    def digest(place: str, label: str = "cat") -> str:
        return Dataset((Sample(str(tmp_path / place / "a.png"), label),), (label,)).digest()

    assert digest("one") == digest("two")
    assert len({digest("one"), digest("three"), digest("one", "dog")}) == 3


def pictures(folder: Path, count: int = 6) -> Dataset:
    samples = []
    for i in range(count):
        file = folder / f"part {i % 2}" / f"{i // 2}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes([i]) * 9)
        samples.append(Sample(str(file), "ab"[i % 2], f"slide {i // 2}", extra={"donor": i}))
    return Dataset(tuple(samples), ("a", "b"))


def test_the_order_of_rows_changes_nothing_that_is_kept(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(len(data))
        other = data.take(order)
        assert other.digest() == data.digest()
        assert other.in_order() == data.in_order()
        assert other.row_keys() == tuple(data.row_keys()[i] for i in order)


@pytest.mark.parametrize(
    "change",
    [{"label": "b"}, {"group": "slide 9"}, {"split": "test"}, {"subclass": "x"},
     {"box": Box(0, 0, 1, 1)}, {"nothing": "empty"}, {"extra": {"donor": 99}}],
)  # fmt: skip
def test_whatever_changes_in_a_row_changes_the_digest(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    data = pictures(tmp_path)
    changed = replace(data, samples=(replace(data.samples[0], **change), *data.samples[1:]))
    assert changed.digest() != data.digest()
    assert changed.row_keys()[1:] == data.row_keys()[1:]


def test_other_pixels_of_the_same_size_and_name_are_another_image(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    before, keys = data.digest(), data.row_keys()
    file = Path(data.paths[2])
    file.write_bytes(b"z" * 9)
    os.utime(file, ns=(1, 1))
    assert data.digest() != before
    assert [a == b for a, b in zip(data.row_keys(), keys, strict=True)].count(False) == 1


def test_images_of_one_name_in_two_folders_are_not_taken_for_one_another(tmp_path: Path) -> None:
    data = pictures(tmp_path)
    parts = np.array(["train", "test"] * 3)
    swapped = parts.copy()
    swapped[:2] = swapped[1::-1]
    assert Split(parts, data.paths).digest() != Split(swapped, data.paths).digest()
    moved = tuple(p.replace(str(tmp_path), "/elsewhere") for p in data.paths)
    assert Split(parts, data.paths).digest() == Split(parts, moved).digest()


def test_a_name_that_is_not_utf8_has_a_digest_too() -> None:
    path = os.fsdecode(b"caf\xe9.png")
    assert len(Dataset((Sample(path, "cat"),), ("cat",)).digest()) == 64
    assert len(Split(np.array(["train"]), (path,)).digest()) == 64


def test_findings_count_their_issues() -> None:
    table = pd.DataFrame({"path": ["a", "b"], "blank_score": [0.1, 1], "is_blank": [True, False]})
    found = Findings(table)
    assert found.issues == ("blank",)
    assert found.counts() == {"blank": 1}


def test_parts_of_a_split() -> None:
    made = Split(np.array(["test", "train", "validation", "excluded", "train"]), tuple("abcde"))
    assert made.train.tolist() == [1, 4]
    assert made.validation.tolist() == [2]
    assert made.test.tolist() == [0]
    assert made.where("test", "excluded").tolist() == [0, 3]
    elsewhere = replace(made, paths=tuple(f"/x/{p}" for p in "abcde"))
    assert elsewhere.digest() == made.digest()


def test_calls_have_the_promised_columns() -> None:
    frame = calls().frame()
    own = ["truth", "group", "split", "subclass", "x", "y", "width", "height", "donor"]
    assert list(frame.columns) == [*CALL_COLUMNS, "p_cat", "p_dog", *own]
    assert frame["label"].tolist() == ["cat", "dog", ""]
    assert frame["probability"].tolist()[:2] == [0.9, 0.6]
    assert np.isnan(frame["probability"][2])
    assert frame["decided"].tolist() == [True, False, False]
    assert frame["truth"].tolist()[:2] == ["cat", "dog"]


def test_calls_know_what_was_called() -> None:
    told = calls()
    assert told.called.tolist() == [0, 1, -1]
    assert told.truth.tolist() == [0, 1, -1]
    assert told.readable.tolist() == [True, True, False]
    assert told.groups.tolist() == ["slide 1", "b.png", "c.png"]
    assert told.take([1]).labels == ("dog",)
    assert told.take(told.readable).labels == ("cat", "dog")


def test_a_column_whose_name_is_taken_is_kept_under_another() -> None:
    extra = {"label": "old", "p_cat": 0.2, "error": "none", "given_label": "older", "well": "A1"}
    frame = calls(tuple(replace(s, extra=extra) for s in SAMPLES)).frame()
    assert frame["label"].tolist() == ["cat", "dog", ""]
    assert frame["given_label"][0] == "older"
    assert frame["given_given_label"][0] == "old"
    assert frame["given_p_cat"][0] == 0.2
    assert frame["given_error"][0] == "none"
    assert frame["well"][0] == "A1"


def test_every_batch_can_have_the_same_columns() -> None:
    plain = (Sample("a.png"), Sample("b.png"), Sample("c.png"))
    assert "truth" not in calls(plain).frame().columns
    known = fields_of(SAMPLES)
    assert known == {"truth", "group", "split", "subclass", "box"}
    assert list(calls(plain).frame(known).columns) == list(calls().frame().columns)[:-1]


def test_calls_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    told = calls()
    told.frame().to_csv(tmp_path / "calls.csv", index=False)
    again = Predictions.from_frame(pd.read_csv(tmp_path / "calls.csv"))
    np.testing.assert_array_equal(again.probabilities, told.probabilities)
    assert again.labels == told.labels
    assert again.errors == told.errors
    assert again.reasons == told.reasons
    assert again.decided.tolist() == told.decided.tolist()
    assert again.truth.tolist() == told.truth.tolist()
    assert [s.group for s in again.samples] == ["slide 1", None, None]
    assert [s.box for s in again.samples] == [s.box for s in told.samples]
    assert list(again.frame().columns) == list(told.frame().columns)


def test_joining_calls() -> None:
    joined = Predictions.join([calls(), calls()])
    assert len(joined) == 6
    assert joined.labels == ("cat", "dog", "") * 2
    with pytest.raises(BadTable):
        Predictions.join([])


def test_a_table_without_probabilities_is_none_of_calls() -> None:
    with pytest.raises(BadTable, match="p_<class>"):
        Predictions.from_frame(pd.DataFrame({"path": ["a.png"], "label": ["cat"]}))


def test_findings_are_saved_with_what_a_split_needs(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a", "b"], "blank_score": [1.0, 0.2], "is_blank": [False, True]})
    found = Findings(table, ("b",), ("r",), ("set 1", ""), np.array([False, True]))
    found.frame().to_csv(tmp_path / "findings.csv", index=False)
    saved = Findings.from_frame(pd.read_csv(tmp_path / "findings.csv"), ("b",), ("r",))
    assert saved.duplicate_sets == ("set 1", "")
    assert saved.excluded.tolist() == [False, True]
    assert saved.issues == found.issues
    assert (saved.blocking, saved.remarks) == (found.blocking, found.remarks)
    bare = replace(found, duplicate_sets=("", ""))
    bare.frame().to_csv(tmp_path / "bare.csv", index=False)
    assert Findings.from_frame(pd.read_csv(tmp_path / "bare.csv")).duplicate_sets == ("", "")


def test_calls_are_a_sequence_of_rows() -> None:
    given = calls()
    first, second, third = given
    assert (first.path, first.label, first.probability) == ("a.png", "cat", 0.9)
    assert first.decided
    assert first.probabilities == {"cat": 0.9, "dog": 0.1}
    assert (second.label, second.reason) == ("dog", "probability 0.600 below 0.800")
    assert (third.label, third.error) == ("", "c.png is empty.")
    assert np.isnan(third.probability)
    assert given[-1].path == "c.png"
    assert [c.path for c in given[1:]] == ["b.png", "c.png"]
    assert isinstance(given[1:], Predictions)
    assert [c.path for c in reversed(given)] == ["c.png", "b.png", "a.png"]
    with pytest.raises(IndexError):
        given[3]
    pd.testing.assert_frame_equal(given.to_frame(), given.frame())
    assert repr(first) == "Call(a.png: cat 0.900)"
    assert repr(second) == "Call(b.png: dog 0.600, not decided: probability 0.600 below 0.800)"
    assert repr(third) == "Call(c.png: c.png is empty.)"


def test_values_say_what_is_in_them() -> None:
    assert repr(calls()) == (
        "Predictions(3 calls: 1 decided, 1 not decided, 1 unreadable; classes cat, dog)"
    )
    assert repr(DATA) == (
        "Dataset(3 samples of 3 photographs; 1 with a box; 1 cat, 1 dog; 3 groups)"
    )
    table = pd.DataFrame({"path": ["a", "b"], "blurred_score": [0.1, 1], "is_blurred": [True, 0]})
    found = Findings(table, blocking=("No.",), remarks=("<Odd>.",))
    assert repr(found) == "Findings(2 samples: 1 blurred; 1 stop a training)"
    assert "&lt;Odd&gt;" in found._repr_html_()
    split = Split(np.array(["train", "test", "train"]), ("a", "b", "c"), "as given")
    assert repr(split) == "Split(2 train, 1 test; as given)"
    assert len(repr(Dataset((), ()))) < 80


def test_a_notebook_shows_calls_with_small_pictures(tmp_path: Path) -> None:
    file = tmp_path / "<b>.png"
    Image.new("RGB", (300, 200), (200, 30, 30)).save(file)
    samples = (Sample(str(file)), Sample(str(file), box=Box(10, 10, 50, 40)), Sample("gone.png"))
    shown = calls(samples)._repr_html_()
    pictures = [base64.b64decode(p) for p in re.findall(r"base64,([^\"]+)\"", shown)]
    sizes = [Image.open(io.BytesIO(p)).size for p in pictures]
    assert sizes == [(64, 43), (50, 40)]
    assert "&lt;b&gt;.png" in shown
    assert "<b>" not in shown
    long = calls()
    for _ in range(4):
        long = Predictions.join([long, long])
    assert "<p>28 more rows.</p>" in long._repr_html_()
    assert "200" not in Dataset(samples, ())._repr_html_()
