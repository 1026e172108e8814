from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cytowell.errors import AmbiguousLabels, BadTable, DatasetError, EmptyDataset, UnknownName
from cytowell.sources import check_labels, read, table
from cytowell.sources.names import kinds, roboflow_stem
from cytowell.sources.paths import named
from cytowell.splits import split
from cytowell.types import Box, Dataset, Sample


def put(folder: Path, names: Iterable[str]) -> Path:
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (k, k, k)).save(folder / name)
    return folder


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def short(dataset: Dataset, root: Path) -> list[tuple[str, str | None, str | None]]:
    return [(str(Path(s.path).relative_to(root)), s.label, s.split) for s in dataset.samples]


# Folders


def test_the_first_level_is_the_class_and_deeper_ones_a_kind_where_that_is_said(
    tmp_path: Path,
) -> None:
    put(tmp_path, ["b/2.png", "a/ig/pmy/1.png", "a/1.JPG", "a/ig/0.tif"])
    found = read(tmp_path, source="kinds")
    assert found.classes == ("a", "b")
    assert [s.subclass for s in found.samples] == [None, "ig", "ig/pmy", None]
    assert found.origin == str(tmp_path)
    assert not found.synthetic
    assert not found.has_groups


def test_folders_in_class_folders_are_slides_that_no_split_divides(tmp_path: Path) -> None:
    names = [f"{c}/slide{s}/{n}.png" for c in "ab" for s in "ABCDEF" for n in range(5)]
    put(tmp_path, names)
    found = read(tmp_path)
    assert found.classes == ("a", "b")
    assert [s.group for s in found.samples] == [name.split("/")[1] for name in names]
    assert not any(s.subclass for s in found.samples)
    assert any("6 folders" in note and "--source kinds" in note for note in found.notes)
    made = split(found)
    for group in set(found.groups):
        assert len(set(made.parts[found.groups == group])) == 1


def test_of_several_levels_the_uppermost_is_the_group(tmp_path: Path) -> None:
    put(tmp_path, ["a/donor1/slide1/1.png", "a/donor1/slide2/2.png", "b/donor2/3.png", "b/4.png"])
    groups = {Path(s.path).name: s.group for s in read(tmp_path).samples}
    assert groups == {"1.png": "donor1", "2.png": "donor1", "3.png": "donor2", "4.png": None}


def test_one_folder_of_the_same_name_in_every_class_is_no_slide(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/images/{n}.png" for c in "ab" for n in range(3)])
    assert not read(tmp_path).has_groups


def test_a_group_pattern_sees_the_path_where_names_do_not_fit(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/run7/slide{s}/{n}.png" for c in "ab" for s in "ABC" for n in range(2)])
    found = read(tmp_path, group_pattern="/(slide[A-Z])/")
    assert sorted(set(found.groups)) == ["slideA", "slideB", "slideC"]
    with pytest.raises(DatasetError, match=r"a/run7/slideA/0\.png"):
        read(tmp_path, group_pattern="/(plate[A-Z])/")


def test_the_order_is_that_of_names_and_not_of_the_disk(tmp_path: Path) -> None:
    names = [f"{c}/{n:02d}.png" for c in "ab" for n in range(9)]
    put(tmp_path, reversed(names))
    assert [path for path, _, _ in short(read(tmp_path), tmp_path)] == names


@pytest.mark.parametrize("word", ["valid", "val", "validation", "Valid"])
def test_a_level_of_parts_is_a_split(tmp_path: Path, word: str) -> None:
    put(tmp_path, ["train/a/1.png", "train/b/2.png", f"{word}/a/3.png", "test/b/deep/4.png"])
    found = read(tmp_path)
    assert found.classes == ("a", "b")
    parts = {Path(s.path).name: s.split for s in found.samples}
    assert parts == {"1.png": "train", "2.png": "train", "3.png": "validation", "4.png": "test"}
    assert next(s.group for s in found.samples if s.split == "test") == "deep"


def test_classes_called_train_and_test_alone_are_classes(tmp_path: Path) -> None:
    put(tmp_path, ["train/1.png", "test/2.png"])
    assert read(tmp_path).classes == ("test", "train")
    put(tmp_path, ["other/a/3.png"])
    assert read(tmp_path).samples[0].split is None


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    put(tmp_path, ["a/1.png", "b/2.png", "loose.png", ".hidden/3.png", "a/.4.png"])
    write(tmp_path / "a" / "notes.txt", "x")
    found = read(tmp_path)
    assert len(found) == 3
    assert any("1 images lie in no class folder" in note for note in found.notes)
    assert any("notes.txt" in note for note in found.notes)
    assert found.labels.tolist().count(-1) == 1


def test_links_in_a_loop_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to(tmp_path / "b")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    (tmp_path / "b" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    names = [path for path, _, _ in short(read(tmp_path), tmp_path)]
    assert names == ["a/1.png", "b/2.png", "b/dangling.png"]


def test_names_of_every_script_and_length(tmp_path: Path) -> None:
    names = [
        "血液/細胞 1.png",
        "größe/ärztin's “cell”.png",
        "emoji🔬/🩸.png",
        "b/" + "n" * 251 + ".png",
    ]
    put(tmp_path, names)
    found = read(tmp_path)
    assert sorted(Path(s.path).relative_to(tmp_path).as_posix() for s in found.samples) == sorted(
        names
    )


@pytest.mark.parametrize("files", [[], ["a/readme.txt"]])
def test_a_folder_without_images(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir()
        write(tmp_path / name, "x")
    with pytest.raises(EmptyDataset, match="holds no images") as told:
        read(tmp_path)
    assert "JPEG" in told.value.remedy


@pytest.mark.parametrize("place", ["missing", "n" * 300, "nul\0"])
def test_a_path_that_is_not_there(tmp_path: Path, place: str) -> None:
    with pytest.raises(EmptyDataset, match="is not there"):
        read(tmp_path / place)


def test_a_path_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither a folder, a table"):
        read(write(tmp_path / "notes.txt", "x"))
    with pytest.raises(UnknownName, match="Did you mean 'folders'"):
        read(tmp_path, "folder")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Monocyte", "monocyte"),
        ("band cell", "band  cell"),
        ("band cell", "band_cell"),
        ("band-cell", "Band cell "),
        (unicodedata.normalize("NFC", "zäh"), unicodedata.normalize("NFD", "zäh")),
        ("STRASSE", "straße"),
    ],
)
def test_labels_that_differ_by_case_or_space_are_refused(one: str, two: str) -> None:
    with pytest.raises(AmbiguousLabels, match="here has the labels") as told:
        check_labels([one, "other", two], "here")
    assert "spelling" in told.value.remedy


def test_labels_that_differ_by_more_are_two() -> None:
    check_labels(["ig", "igg", "CD3+", "CD3-", "class 1", "class 11"], "here")


# Groups


def test_roboflow_copies_of_one_photograph_are_one_group(tmp_path: Path) -> None:
    stems = ["cell1_jpg", "cell2_jpg"]
    names = [f"a/{s}.rf.{k:032x}.jpg" for s in stems for k in range(3)]
    put(tmp_path, [*names, "b/plain.jpg"])
    found = read(tmp_path)
    assert [s.group for s in found.samples] == [*["cell1_jpg"] * 3, *["cell2_jpg"] * 3, None]
    assert any("Roboflow" in note for note in found.notes)
    assert roboflow_stem("x/photo.rf.0123abcd.jpg") == "photo"
    assert roboflow_stem("x/photo.rf.jpg") is None


def test_first_words_that_tell_the_label_are_kinds(tmp_path: Path) -> None:
    counts = {"ig/MMY": 4, "ig/PMY": 3, "ig/IG": 3, "monocyte/MO": 8, "monocyte/ODD": 1}
    put(tmp_path, [f"{word}_{i}.jpg" for word, n in counts.items() for i in range(n)])
    found = read(tmp_path)
    told = {Path(s.path).name: kind for s, kind in zip(found.samples, kinds(found), strict=True)}
    assert (told["MMY_0.jpg"], told["PMY_2.jpg"], told["MO_5.jpg"]) == ("MMY", "PMY", "MO")
    assert told["ODD_0.jpg"] is None, "one image is no kind"
    assert told["IG_1.jpg"] is None, "the name of the class tells no kind of it"
    assert not any(s.subclass for s in found.samples), "reading alone takes nothing from names"


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/{donor}_{i}.jpg" for label in "ab" for donor in ("d1", "d2") for i in range(4)],
        [f"{label}/{label}_{i}.jpg" for label in "ab" for i in range(8)],
        [f"{label}/{label}{i}.jpg" for label in "ab" for i in range(8)],
        [f"a/{word}_{i}.jpg" for word in ("x", "y") for i in range(8)],
        [f"{'ab'[d // 2]}/P{d:02}_{i}.jpg" for d in range(4) for i in range(8)],
        [
            f"{label}/{cam}_{i}.jpg"
            for label, cam in zip("aab", ("IMG", "DSC", "PXL"), strict=True)
            for i in range(8)
        ],
    ],
    ids=["words in both classes", "one word a class", "numbers", "one class", "donors", "cameras"],
)
def test_other_names_tell_no_kinds(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path, names)
    found = read(tmp_path)
    assert set(kinds(found)) == {None}


def test_given_subclasses_are_the_kinds(tmp_path: Path) -> None:
    put(tmp_path, ["a/deep/MMY_1.jpg", *(f"a/PMY_{i}.jpg" for i in range(9)), "b/MO_1.jpg"])
    assert [k for k in kinds(read(tmp_path, source="kinds")) if k] == ["deep"]


def slides(folder: Path) -> Path:
    return put(folder, [f"{c}/s{s}_{n}.png" for c in "ab" for s in range(3) for n in range(4)])


def test_a_pattern_in_names_is_proposed_and_not_taken(tmp_path: Path) -> None:
    found = read(slides(tmp_path))
    assert not found.has_groups
    assert any("--group-pattern" in note and "'s0'" in note for note in found.notes)


def test_a_group_pattern_is_taken_when_it_is_asked_for(tmp_path: Path) -> None:
    found = read(slides(tmp_path), group_pattern="^([^_]+)_")
    assert sorted(set(found.groups)) == ["s0", "s1", "s2"]
    assert not found.notes


def test_a_grouping_that_fixes_the_label_is_neither_taken_nor_proposed(tmp_path: Path) -> None:
    put(tmp_path, [f"{c}/{c.upper()}_{n}.png" for c in "ab" for n in range(8)])
    assert not read(tmp_path).notes
    with pytest.raises(DatasetError, match="tell the label") as told:
        read(tmp_path, group_pattern="^([A-Z]+)_")
    assert "classes" in told.value.remedy


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("([", "no regular expression"), ("s.", "no bracket"), ("^(x)_", "does not match")],
)
def test_a_group_pattern_that_cannot_be_used(tmp_path: Path, pattern: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read(slides(tmp_path), group_pattern=pattern)


@pytest.mark.data
def test_the_prefixes_of_the_real_set_are_labels_and_no_donors(data: Path) -> None:
    found = read(data / "pbc")
    assert len(found.classes) == 8
    assert not found.has_groups
    with pytest.raises(DatasetError, match="tell the label"):
        read(data / "pbc", group_pattern="^([A-Za-z]+)_")


# Tables


def test_a_table_names_everything(tmp_path: Path) -> None:
    put(tmp_path, ["p/1.png", "p/2.png"])
    path = write(
        tmp_path / "set.csv",
        "path,label,group,split,subclass,x,y,width,height,donor,note\n"
        "p/1.png,cat,s1,train,grey,1,2,3,4,7,NA\n"
        "p/2.png,dog,,TEST,,,,,,8,\n",
    )
    one, two = read(path).samples
    assert one.path == str(tmp_path / "p/1.png")
    assert (one.label, one.group, one.split, one.subclass) == ("cat", "s1", "train", "grey")
    assert one.box == Box(1, 2, 3, 4)
    assert one.extra["donor"] == 7
    assert one.extra["note"] == "NA"
    assert (two.group, two.split, two.subclass, two.box) == (None, "test", None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_every_office(tmp_path: Path, encoding: str, separator: str) -> None:
    text = "path,label\nä.png,Zähne\nb.png,NA\n".replace(",", separator)
    found = read(write(tmp_path / "set.csv", text, encoding))
    assert found.classes == ("NA", "Zähne")
    assert found.paths[0].endswith("ä.png")


def test_a_parquet_table(tmp_path: Path) -> None:
    frame = pd.DataFrame({"path": ["1.png", "2.png"], "label": ["a", None], "dose": [1.5, 2.0]})
    frame.to_parquet(tmp_path / "set.parquet")
    found = read(tmp_path / "set.parquet")
    assert [s.label for s in found.samples] == ["a", None]
    assert found.samples[0].extra == {"dose": 1.5}


def test_numbers_as_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    found = read(write(tmp_path / "set.csv", "path,label\n1.png,007\n2.png,1.0\n"))
    assert found.classes == ("007", "1.0")


def test_truth_is_the_label_if_it_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "path,label,truth,decided,p_a,p_b\n1.png,a,b,true,0.9,0.1\n")
    assert read(path).samples[0].label == "b"
    assert read(path).samples[0].extra["label"] == "a"


@pytest.mark.parametrize("column", ["decided", "p_cat"])
def test_a_table_of_calls_is_not_learnt_from(tmp_path: Path, column: str) -> None:
    path = write(tmp_path / "calls.csv", f"path,label,{column}\n1.png,a,1\n")
    with pytest.raises(BadTable, match="labels are predictions") as told:
        read(path)
    assert "truth" in told.value.remedy
    (again,) = table.read_to_call(path).samples
    assert again.label is None
    assert again.extra["label"] == "a"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("picture no,label\n1.png,a\n", "no column 'path'"),
        ("path,label\n,a\n", "no path in line 2"),
        ("path,split\n1.png,judge\n", "line 2 has the split 'judge'"),
        ("path,x,y,width,height\n1.png,a,1,2,3\n", "line 2 has a box"),
        ("path,x,y,width,height\n1.png,1,1,1,1\n1.png,4,,2,3\n", "line 3 has a box"),
        ("path,label\n1.png,a\n2.png,b,c,d\n", "cannot be read as a table"),
        ("path,label\n", "holds no images"),
        ("path,label\n1.png,Cat\n2.png,cat\n", "has the labels"),
    ],
)
def test_a_table_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words) as told:
        read(write(tmp_path / "set.csv", text))
    assert "set.csv" in told.value.problem


def test_bytes_that_are_no_table(tmp_path: Path) -> None:
    for name in ("set.csv", "set.parquet"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 4)
        with pytest.raises(BadTable, match=name):
            read(tmp_path / name)


def test_paths_are_beside_the_table_or_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, ["tables/near.png", "here/far.png"])
    long = "n" * 300 + ".png"
    text = f"path\nnear.png\nfar.png\n/abs/x.png\nnone.png\n{long}\n"
    path = write(tmp_path / "tables" / "set.csv", text)
    monkeypatch.chdir(tmp_path / "here")
    beside = tmp_path / "tables"
    assert read(path).paths == (
        str(beside / "near.png"), "far.png", "/abs/x.png", str(beside / "none.png"),
        str(beside / long),
    )  # fmt: skip


def test_a_folder_with_samples_csv_is_read_through_it(cells: Path) -> None:
    found = read(cells)
    assert found.synthetic
    assert len(found) == 40
    assert len(set(found.groups)) == 2
    assert not read(cells, "folders").has_groups


# Arrays


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


IMAGES = np.zeros((3, 28, 28, 3), np.uint8)


def test_an_archive_in_medmnist_layout(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "set.npz",
        train_images=IMAGES, train_labels=np.array([[0], [1], [10]], np.uint8),
        val_images=IMAGES, val_labels=np.array([0, 1, 1]),
        test_images=IMAGES[:1], test_labels=np.array([1]),
    )  # fmt: skip
    found = read(path)
    assert found.classes == ("class 0", "class 1", "class 10")
    assert [s.split for s in found.samples] == [*["train"] * 3, *["validation"] * 3, "test"]
    assert found.samples[4].path == f"{path}::val_images/1"


def test_the_names_of_bloodmnist_are_known(tmp_path: Path) -> None:
    path = archive(tmp_path / "bloodmnist_64.npz", train_images=IMAGES, train_labels=[7, 0, 6])
    assert [s.label for s in read(path).samples] == ["platelet", "basophil", "neutrophil"]


@pytest.mark.parametrize(
    ("name", "arrays", "words"),
    [
        ("set", {"images": IMAGES}, "holds none of train_images"),
        ("set", {"train_images": IMAGES}, "no train_labels"),
        ("set", {"train_images": IMAGES, "train_labels": [0, 1]}, "shape"),
        ("set", {"train_images": IMAGES, "train_labels": np.eye(3, dtype=int)}, "shape"),
        ("set", {"train_images": IMAGES, "train_labels": [0.5, 1, 2]}, "class numbers"),
        ("bloodmnist", {"train_images": IMAGES, "train_labels": [0, 8, 1]}, "class numbers"),
        ("bloodmnist", {"train_images": IMAGES, "train_labels": [0, -1, 1]}, "class numbers"),
    ],
)
def test_an_archive_that_cannot_be_used(
    tmp_path: Path, name: str, arrays: dict[str, Any], words: str
) -> None:
    with pytest.raises(DatasetError, match=words) as told:
        read(archive(tmp_path / f"{name}.npz", **arrays))
    assert f"{name}.npz" in told.value.problem


def test_bytes_that_are_no_archive(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"PK\3\4 but no zip")
    with pytest.raises(DatasetError, match=r"no \.npz archive"):
        read(tmp_path / "set.npz")


# What is named on a command line


def paths_of(*places: str | Path, listed: list[str] | None = None) -> list[str]:
    return [s.path for s in named([str(p) for p in places], listed)[0]]


def test_everything_that_can_be_named_comes_in_order(tmp_path: Path) -> None:
    put(tmp_path, ["b.png", "a.png", "deep/er/c.png", "deep/[d].png"])
    write(tmp_path / "deep" / "notes.txt", "x")
    write(tmp_path / "t.csv", "path,well\na.png,A1\nb.png,A2\n")
    samples, known, total = named(
        [str(tmp_path / p) for p in ("b.png", "deep", "*.png", "t.csv", "gone.png", "deep/[d].png")]
    )
    found = list(samples)
    assert [os.path.relpath(s.path, tmp_path) for s in found] == [
        "b.png", "deep/[d].png", "deep/er/c.png", "a.png", "b.png", "a.png", "b.png", "gone.png",
        "deep/[d].png",
    ]  # fmt: skip
    assert total == 9
    assert known == frozenset()
    assert found[5].extra == {"well": "A1"}


def test_a_table_says_which_columns_all_rows_have(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "path,label,group\na.png,,\nb.png,cat,s1\n")
    _, known, total = named([str(path)])
    assert known == {"truth", "group"}
    assert total == 2


def test_a_list_on_standard_input_is_read_as_it_comes() -> None:
    lines = iter(["a.png\n", "\n", "wörd 2.png\r\n", "last.png"])
    samples, _, total = named(["first.png", "-"], lines)
    assert total is None
    assert [s.path for s in samples] == ["first.png", "a.png", "wörd 2.png", "last.png"]
    assert next(lines, None) is None


def test_a_glob_gives_files_only(tmp_path: Path) -> None:
    put(tmp_path, ["a/1.png", "a/b/2.png"])
    assert [Path(p).name for p in paths_of(tmp_path / "a" / "*")] == ["1.png"]
    assert [Path(p).name for p in paths_of(tmp_path / "**" / "*.png")] == ["1.png", "2.png"]


@pytest.mark.parametrize(
    ("place", "words"),
    [("empty", "holds no images"), ("*.bmp", "Nothing matches"), ("t.csv", "has no rows")],
)
def test_a_name_that_gives_nothing(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "t.csv", "path\n")
    with pytest.raises(EmptyDataset, match=words):
        named([str(tmp_path / place)])


def test_what_is_missing_or_cannot_be_a_name_is_a_sample_that_will_fail() -> None:
    names = ["missing.png", "n" * 5000, "nul\0.png"]
    assert paths_of(*names) == names
    assert isinstance(next(named(["x.png"])[0]), Sample)
