"""Files as people have them: tables of other machines, odd endings, sorted cut-outs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BadTable, EmptyDataset, MissingExtra
from cytowell.runtime.cutting import crop
from cytowell.sources import paths as sources_paths
from cytowell.types import Box, Sample


def picture(file: Path, value: int = 90, side: int = 40) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 90, (side, side, 3)) + value
    Image.fromarray(noise.astype(np.uint8)).save(file)
    return file


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "cp1252"])
def test_a_table_is_read_in_every_encoding_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    picture(tmp_path / "Zähl 1.png")
    text = "path\tlabel\nZähl 1.png\tpositiv\n"
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    sample = cytowell.read(tmp_path / "table.csv").samples[0]
    assert (sample.path, sample.label) == (str(tmp_path / "Zähl 1.png"), "positiv")


@pytest.mark.parametrize(
    "written", [r".\a.png", r"C:\Users\lab\a.png", r"C:\lab\sub\b.png", r"sub\b.png", "/lab/a.png"]
)
def test_paths_of_another_machine_are_found_beside_the_table(tmp_path: Path, written: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "sub" / "b.png")
    (tmp_path / "t.csv").write_text(f"path,label\n{written},x\n")
    read = cytowell.read(tmp_path / "t.csv")
    assert Path(read.samples[0].path).is_file()
    assert Path(read.samples[0].path).name == written.replace("\\", "/").rsplit("/", 1)[1]
    assert sum("another machine" in n for n in read.notes) == 1


def test_a_path_that_may_be_two_files_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.png")
    picture(tmp_path / "two" / "a.png")
    (tmp_path / "t.csv").write_text("path,label\nC:\\lab\\a.png,x\n")
    with pytest.raises(BadTable, match=r"2 files beside it are called a\.png"):
        cytowell.read(tmp_path / "t.csv")


def test_a_file_that_is_missing_stays_missing(tmp_path: Path) -> None:
    picture(tmp_path / "sub" / "a.png")
    (tmp_path / "t.csv").write_text("path,label\na.png,x\n")
    read = cytowell.read(tmp_path / "t.csv")
    assert read.samples[0].path == str(tmp_path / "a.png")
    assert not read.notes


@pytest.mark.parametrize("head", ["filename,class", "File,Category", "Image,Label", "PATH,LABEL"])
def test_columns_are_known_by_the_names_people_give_them(tmp_path: Path, head: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text(f"{head}\na.png,x\n")
    sample = cytowell.read(tmp_path / "t.csv").samples[0]
    assert (Path(sample.path).name, sample.label) == ("a.png", "x")


def test_two_columns_that_may_be_the_path_are_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("file,image,label\na.png,b.png,x\n")
    with pytest.raises(BadTable, match="has no column 'path'"):
        cytowell.read(tmp_path / "t.csv")


def test_pictures_are_known_by_their_bytes_and_the_rest_is_named(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.jpg")
    shutil.copy(image, tmp_path / "b.jfif")
    shutil.copy(image, tmp_path / "c")
    (tmp_path / "video.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 40)
    (tmp_path / "notes.pdf").write_bytes(b"%PDF-1.4 ...")
    skipped: list[str] = []
    found, _, total = sources_paths.named([str(tmp_path)], skipped=skipped)
    assert sorted(Path(s.path).name for s in found) == ["a.jpg", "b.jfif", "c"]
    assert total == 3
    assert sorted(Path(s).name for s in skipped) == ["notes.pdf", "video.mp4"]


def test_groups_of_cut_outs_survive_sorting_by_hand(tmp_path: Path) -> None:
    boxes = []
    for k in range(3):
        photo = picture(tmp_path / "photos" / f"p{k}.png", 20 + 40 * k, 120)
        boxes += [Sample(str(photo), box=Box(40 * i, 10, 36, 36)) for i in range(3)]
    crop(boxes, tmp_path / "cut")
    shutil.copytree(tmp_path / "cut", tmp_path / "place")
    elsewhere = tmp_path / "elsewhere"
    for folder in (tmp_path / "place", elsewhere):
        for i, file in enumerate(sorted((tmp_path / "place" / "unlabelled").glob("*.png"))):
            target = folder / ("positive" if i % 2 else "negative") / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        if folder.name == "place":
            moved = sorted((folder / "unlabelled").glob("*.png"))
            keep = tmp_path / "keep"
            keep.mkdir()
            for file in moved:
                shutil.copy(file, keep / file.name)
        else:
            break
    shutil.rmtree(tmp_path / "place" / "unlabelled")
    for i, file in enumerate(sorted((tmp_path / "keep").glob("*.png"))):
        target = elsewhere / ("positive" if i % 2 else "negative") / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for folder in (tmp_path / "place", elsewhere):
        read = cytowell.read(folder)
        assert len(read) == 9
        assert read.classes == ("negative", "positive")
        assert len(set(read.groups)) == 3
        for group in set(read.groups):
            names = {Path(p).name[:2] for p, g in zip(read.paths, read.groups, strict=True)
                     if g == group}  # fmt: skip
            assert len(names) == 1
        assert not cytowell.check(read).counts()["unreadable"]


def test_an_empty_box_is_named_with_its_file_and_stops_nothing(tmp_path: Path) -> None:
    photo = str(picture(tmp_path / "p.png", side=80))
    done, said = crop(
        [Sample(photo, box=Box(320, 5, 0, 0)), Sample(photo, box=Box(5, 5, 20, 20))],
        tmp_path / "cut",
    )
    assert done == 1
    assert len(said) == 1
    assert said[0].startswith(f"{photo}: The box at 320, 5 of 0 x 0 pixels is empty.")
    with pytest.raises(EmptyDataset, match=r"p\.png"):
        crop([Sample(photo, box=Box(320, 5, 0, 0))], tmp_path / "none")


@pytest.mark.parametrize("named", ["p.png", r".\p.png", r"C:\Users\lab\p.png"])
def test_a_crowd_is_no_cell_and_a_backslash_no_part_of_a_name(tmp_path: Path, named: str) -> None:
    picture(tmp_path / "p.png", side=80)
    one = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 30]}
    given = {
        "images": [{"id": 1, "file_name": named, "width": 80, "height": 80}],
        "annotations": [{"id": 1, **one}, {"id": 2, **one, "iscrowd": 1}],
        "categories": [{"id": 1, "name": "WBC"}],
    }
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(given))
    read = cytowell.read(tmp_path)
    assert len(read) == 1
    assert read.paths == (str(tmp_path / "p.png"),)
    assert any("1 regions are crowds" in n for n in read.notes)


def test_parquet_without_its_extra_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.compute"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtra, match="pyarrow") as told:
        cytowell.read(tmp_path / "t.parquet")
    assert "pip install '.[parquet]'" in told.value.remedy
