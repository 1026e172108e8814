"""Boxes in and out: YOLO, COCO, Pascal VOC, archives, and what can be wrong with each."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cytowell
import cytowell.images
from cytowell.errors import (
    BadAnnotation,
    DatasetError,
    EmptyDataset,
    StorageError,
    UnknownName,
)
from cytowell.sources.annotations import turn
from cytowell.types import Box, Dataset, Sample

FORMATS = ("yolo", "coco", "voc")


def picture(path: Path, size: tuple[int, int] = (64, 48), orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, path.name))
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(noise).save(path, exif=exif)
    return path


@pytest.fixture
def annotated(tmp_path: Path) -> Dataset:
    """Give three photographs: one with three boxes of two classes, one without, one turned."""
    first = str(picture(tmp_path / "in" / "first.jpg"))
    empty = str(picture(tmp_path / "in" / "empty.png"))
    turned = str(picture(tmp_path / "in" / "turned.jpg", orientation=6))
    samples = (
        Sample(first, "white cell", split="train", box=Box(1.25, 2.5, 10.0, 7.3)),
        Sample(first, "platelet", split="train", box=Box(-3.0, 40.0, 20.0, 30.0)),
        Sample(first, "platelet", split="train", box=Box(5.0, 5.0, 0.0, 4.0)),
        Sample(empty, split="validation"),
        Sample(turned, "white cell", split="test", box=Box(10.0, 20.0, 30.0, 40.0)),
    )
    return Dataset(samples, ("platelet", "white cell"))


def told(dataset: Dataset) -> list[tuple[object, ...]]:
    """Give what a data set says, by name of photograph, boxes to a millionth of a pixel."""
    rows = []
    for s in dataset.samples:
        b = s.box
        box = None if b is None else tuple(round(v, 6) + 0.0 for v in (b.x, b.y, b.width, b.height))
        rows.append((Path(s.path).stem, s.label, s.split, box))
    return sorted(rows, key=str)


@pytest.mark.parametrize("to", FORMATS)
def test_boxes_come_back_as_they_were_written(annotated: Dataset, tmp_path: Path, to: str) -> None:
    cytowell.convert(annotated, tmp_path / "out", to)
    assert told(cytowell.read(tmp_path / "out")) == told(annotated)


@pytest.mark.parametrize("to", FORMATS)
def test_a_zip_is_read_like_its_folder(annotated: Dataset, tmp_path: Path, to: str) -> None:
    cytowell.convert(annotated, tmp_path / "out", to)
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in sorted((tmp_path / "out").rglob("*")):
            archive.write(file, Path("export") / file.relative_to(tmp_path / "out"))
    assert told(cytowell.read(tmp_path / "export.zip")) == told(annotated)


@pytest.mark.parametrize("to", FORMATS)
def test_data_without_parts_stays_without(annotated: Dataset, tmp_path: Path, to: str) -> None:
    bare = Dataset(
        tuple(Sample(s.path, s.label, box=s.box) for s in annotated.samples), annotated.classes
    )
    cytowell.convert(bare, tmp_path / "out", to)
    assert told(cytowell.read(tmp_path / "out")) == told(bare)


def test_through_a_table_and_back(annotated: Dataset, tmp_path: Path) -> None:
    cytowell.convert(annotated, tmp_path / "boxes.csv")
    assert told(cytowell.read(tmp_path / "boxes.csv")) == told(annotated)


def test_photographs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    pictures = [picture(tmp_path / d / "a.jpg", (60 + i, 50)) for i, d in enumerate("xyz")]
    samples = tuple(Sample(str(p), "cell", box=Box(1, 2, 3, 4)) for p in pictures)
    for to in FORMATS:
        cytowell.convert(Dataset(samples, ("cell",)), tmp_path / to, to)
        assert len(set(cytowell.read(tmp_path / to).paths)) == 3


def test_what_cannot_be_converted_is_said(annotated: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="yolo"):
        cytowell.convert(annotated, tmp_path / "out", "yol")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="holds something"):
        cytowell.convert(annotated, tmp_path / "taken")
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "mine"
    with pytest.raises(DatasetError, match="no boxes"):
        cytowell.convert(Dataset((Sample("a.jpg", "cell"),), ("cell",)), tmp_path / "out")
    gone = Dataset((Sample("gone.jpg", "cell", box=Box(1, 2, 3, 4)),), ("cell",))
    with pytest.raises(DatasetError, match="not there"):
        cytowell.convert(gone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boxes_without_a_class_need_one_for_yolo(tmp_path: Path) -> None:
    bare = Dataset((Sample(str(picture(tmp_path / "a.jpg")), box=Box(1, 2, 3, 4)),), ())
    with pytest.raises(BadAnnotation, match="--label"):
        cytowell.convert(bare, tmp_path / "yolo")
    cytowell.convert(bare, tmp_path / "yolo", label="well")
    assert cytowell.read(tmp_path / "yolo").classes == ("well",)
    cytowell.convert(bare, tmp_path / "voc", "voc")
    assert cytowell.read(tmp_path / "voc").samples[0].label is None


def test_calls_go_out_to_be_corrected(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "calls.csv").write_text(
        "path,object,x,y,width,height,label,probability,decided\n"
        "a.jpg,1,1,2,30,20,RBC,0.9,true\na.jpg,2,11,12,30,20,WBC,0.6,false\n"
    )
    cytowell.convert(tmp_path / "calls.csv", tmp_path / "out", "coco")
    assert [s.label for s in cytowell.read(tmp_path / "out").samples] == ["RBC", "WBC"]


# --- YOLO


def yolo(root: Path, labels: dict[str, str], settings: str = "names: [cell, ghost]") -> Path:
    for name, text in labels.items():
        picture(root / "train" / "images" / f"{name}.jpg")
        (root / "train" / "labels").mkdir(exist_ok=True)
        (root / "train" / "labels" / f"{name}.txt").write_text(text)
    (root / "data.yaml").write_text(settings)
    return root


def test_a_roboflow_folder_is_read_with_its_groups(tmp_path: Path) -> None:
    names = ["p1_jpg.rf.0123456789abcdef", "p1_jpg.rf.fedcba9876543210", "p2_jpg.rf.00112233aabb"]
    root = yolo(
        tmp_path,
        dict.fromkeys(names, "0 0.5 0.5 0.25 0.5\n"),
        "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: ['well']",
    )
    found = cytowell.read(root)
    assert [s.box for s in found.samples] == [Box(24, 12, 16, 24)] * 3
    assert {s.split for s in found.samples} == {"train"}
    assert len(set(found.groups)) == 2
    assert any("valid/images" in note for note in found.notes)


def test_polygons_confidences_and_named_classes(tmp_path: Path) -> None:
    root = yolo(
        tmp_path,
        {"a": "1 0.25 0.25 0.75 0.25 0.5 0.75\n0 0.5 0.5 0.5 0.5 0.93\n", "b": "\n"},
        "names:\n  0: cell\n  1: nucleus",
    )
    found = cytowell.read(root)
    assert [(s.label, s.box) for s in found.samples] == [
        ("nucleus", Box(16, 12, 32, 24)),
        ("cell", Box(16, 12, 32, 24)),
        (None, None),
    ]
    assert any("polygons" in note for note in found.notes)


def test_a_class_without_a_name_is_a_box_without_class(tmp_path: Path) -> None:
    found = cytowell.read(yolo(tmp_path, {"a": "7 0.5 0.5 0.5 0.5\n"}))
    assert found.samples[0].label is None
    assert found.samples[0].box is not None
    assert any("Classes 7" in note for note in found.notes)


def test_without_data_yaml_classes_are_numbers_or_listed(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    assert cytowell.read(tmp_path).classes == ("1",)
    (tmp_path / "classes.txt").write_text("cell\nplatelet\n")
    assert cytowell.read(tmp_path).classes == ("platelet",)


def test_files_without_their_other_half(tmp_path: Path) -> None:
    root = yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"})
    picture(root / "train" / "images" / "bare.jpg")
    (root / "train" / "labels" / "orphan.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    found = cytowell.read(root)
    assert [Path(p).name for p in found.paths] == ["a.jpg", "bare.jpg", "orphan.jpg"]
    assert any("no label file" in note for note in found.notes)
    assert any("no image: orphan.txt" in note for note in found.notes)
    counts = cytowell.check(found).counts()
    assert counts["no_annotation"] == counts["unreadable"] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 320 240 64 48", "pixels"),
        ("0 0.5 0.5 0.5", "class number and four"),
        ("cell 0.5 0.5 0.5 0.5", "number is needed"),
        ("0 0.5 nan 0.5 0.5", "number is needed"),
        ("0.5 0.5 0.5 0.5 0.5", "class number"),
    ],
)
def test_a_line_that_is_no_box_is_named(tmp_path: Path, line: str, words: str) -> None:
    root = yolo(tmp_path, {"a": f"0 0.5 0.5 0.5 0.5\n{line}\n"})
    with pytest.raises(BadAnnotation, match=words) as caught:
        cytowell.read(root)
    assert "a.txt line 2" in str(caught.value)


HOSTILE = (
    "names: 7", "train: images", "- a", "names: [a, [b, c]]", "[1, 2", "names: {one: cell}",
    "names: {²: cell}",
    "names: [a]\ntrain: {b: c}", "names: [a]\ntrain: [[b]]", "names: " + "[" * 5000,
    "a: &a [x, x]\nnames: [*a, *a]", "names: [a]\nwhen: 2020-99-99", "names: [" + "a, " * 600000,
)  # fmt: skip


@pytest.mark.parametrize("settings", HOSTILE)
def test_settings_that_cannot_be_used(tmp_path: Path, settings: str) -> None:
    with pytest.raises(BadAnnotation, match=r"data\.yaml"):
        cytowell.read(yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"}, settings))


def test_a_relative_path_names_the_same_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yolo(tmp_path / "set", {"a": "0 0.5 0.5 0.5 0.5\n"}, "train: train/images\nnames: [cell]")
    monkeypatch.chdir(tmp_path)
    found = cytowell.read("set")
    assert len(found) == 1
    assert not any("no image" in note for note in found.notes)


def test_class_folders_stay_class_folders_beside_stray_files(tmp_path: Path) -> None:
    picture(tmp_path / "one" / "a.jpg")
    picture(tmp_path / "two" / "b.jpg")
    (tmp_path / "info.json").write_text('{"annotations": "by hand", "made": 2026}')
    (tmp_path / "config.xml").write_text("<settings/>")
    (tmp_path / "dataset.yaml").write_text("title: cells of two kinds\n")
    assert cytowell.read(tmp_path).classes == ("one", "two")


# --- COCO


def coco(root: Path, annotations: object, size: tuple[int, int] = (64, 48)) -> Path:
    picture(root / "a.jpg")
    given = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "categories": [{"id": 0, "name": "cells"}, {"id": 1, "name": "WBC"}],
        "annotations": annotations,
    }
    (root / "_annotations.coco.json").write_text(json.dumps(given))
    return root


def test_polygons_become_boxes_and_that_is_said(tmp_path: Path) -> None:
    outline = {"image_id": 5, "category_id": 1, "segmentation": [[4, 5, 14, 5, 9, 25]]}
    found = cytowell.read(coco(tmp_path, [outline]))
    assert found.samples[0].box == Box(4, 5, 10, 20)
    assert found.classes == ("WBC",)
    assert any("polygons" in note for note in found.notes)


def test_annotations_without_image_or_category_are_said(tmp_path: Path) -> None:
    one = {"image_id": 5, "category_id": 9, "bbox": [1, 2, 3, 4]}
    found = cytowell.read(coco(tmp_path, [one, one | {"image_id": 6}]))
    assert len(found) == 1
    assert found.samples[0].label is None
    assert any("belong to no image" in note for note in found.notes)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ({"image_id": 5, "bbox": [1, 2, 3]}, "neither a box"),
        ({"image_id": 5, "bbox": [1, 2, 3, "wide"]}, "number is needed"),
        ({"image_id": 5, "segmentation": {"counts": "abc"}}, "neither a box"),
        ({"image_id": 5, "segmentation": [1, 2, 3, 4, 5, 6]}, "neither a box"),
        ({"image_id": 5, "bbox": [1, 2, 3, [4]]}, "something else"),
        ({"image_id": 5, "bbox": [1, 2, 3, 1e308]}, "number is needed"),
        ({"image_id": 5, "category_id": {"a": 1}, "bbox": [1, 2]}, "neither a box"),
    ],
)
def test_an_annotation_that_cannot_be_read(
    tmp_path: Path, annotation: dict[str, object], words: str
) -> None:
    with pytest.raises(BadAnnotation, match=words):
        cytowell.read(coco(tmp_path, [annotation]))


NO_COCO = (
    "", "[1, 2", '{"images": 3}', '{"images": [{"id": 1}]}', '{"images": [7]}', "[" * 100000,
    '{"images": [{"id": [1], "file_name": "a.jpg"}, {"id": [1], "file_name": "b.jpg"}]}',
    '{"images": [], "annotations": {"a": 1}}', '{"images": [], "categories": [5]}',
)  # fmt: skip


@pytest.mark.parametrize("text", NO_COCO)
def test_json_that_is_no_coco(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "_annotations.coco.json").write_text(text)
    with pytest.raises(BadAnnotation, match="_annotations"):
        cytowell.read(tmp_path)


def test_boxes_of_another_size_are_refused(tmp_path: Path) -> None:
    box = {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]}
    with pytest.raises(BadAnnotation, match="128 x 96"):
        cytowell.read(coco(tmp_path, [box], (128, 96)))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_drawn_on_the_stored_picture_are_turned(tmp_path: Path, orientation: int) -> None:
    """Draw a white rectangle on the stored picture, and look where it is when upright."""
    stored = Image.new("RGB", (64, 48))
    stored.paste((255, 255, 255), (8, 16, 24, 22))
    exif = Image.Exif()
    exif[274] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        opened.load()
        bright = np.asarray(cytowell.images.open_upright(tmp_path / "a.png").convert("L")) > 128
    rows, columns = np.nonzero(bright)
    want = Box(
        float(columns.min()),
        float(rows.min()),
        float(np.ptp(columns) + 1),
        float(np.ptp(rows) + 1),
    )
    assert turn(Box(8, 16, 16, 6), (64, 48), orientation) == want


def test_a_photograph_that_was_annotated_as_stored(tmp_path: Path) -> None:
    box = {"image_id": 5, "category_id": 1, "bbox": [8, 16, 16, 6]}
    root = coco(tmp_path, [box])
    picture(root / "a.jpg", orientation=6)
    found = cytowell.read(root)
    assert found.samples[0].box == turn(Box(8, 16, 16, 6), (64, 48), 6)
    assert any("EXIF" in note for note in found.notes)


# --- Pascal VOC


def voc(root: Path, inside: str, name: str = "a.jpg") -> Path:
    picture(root / "a.jpg")
    (root / "a.xml").write_text(f"<annotation><filename>{name}</filename>{inside}</annotation>")
    return root


def test_the_real_smears_are_read_with_their_split(data: Path) -> None:
    found = cytowell.read(data / "bccd")
    assert len(found) == 4888
    assert found.classes == ("Platelets", "RBC", "WBC")
    split = {p: s.split for p, s in zip(found.paths, found.samples, strict=True)}
    sizes = [list(split.values()).count(p) for p in ("train", "validation", "test")]
    assert sizes == [205, 87, 72]


@pytest.mark.parametrize("to", FORMATS)
def test_real_smears_come_back_as_they_were_written(data: Path, tmp_path: Path, to: str) -> None:
    smears = cytowell.read(data / "bccd")
    chosen = sorted(set(smears.paths))[::30]
    some = smears.take([i for i, p in enumerate(smears.paths) if p in chosen])
    cytowell.convert(some, tmp_path / "out", to)
    assert told(cytowell.read(tmp_path / "out")) == told(some)


def test_the_degenerate_boxes_of_the_real_smears_are_found(data: Path) -> None:
    found = cytowell.read(data / "bccd")
    names = ("BloodImage_00338", "BloodImage_00343", "BloodImage_00344")
    few = found.take([i for i, p in enumerate(found.paths) if Path(p).stem in names])
    findings = cytowell.check(few)
    assert findings.counts()["box_empty"] == 2
    flagged = findings.table.loc[findings.table["is_box_empty"], "path"]
    assert {Path(p).stem for p in flagged} == set(names[:2])
    assert int(findings.excluded.sum()) == 2


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<object><name>x</name></object>", "neither a bndbox"),
        ("<object><bndbox><xmin>1</xmin></bndbox></object>", "number is needed"),
        ("<object>", "no XML"),
    ],
)
def test_xml_that_cannot_be_read(tmp_path: Path, inside: str, words: str) -> None:
    with pytest.raises(BadAnnotation, match=words):
        cytowell.read(voc(tmp_path, inside))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    picture(tmp_path / "a.jpg")
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>'
    (tmp_path / "a.xml").write_text(bomb, encoding=encoding)
    with pytest.raises(BadAnnotation, match="entities"):
        cytowell.read(tmp_path, "voc")


def test_class_names_that_differ_by_case_are_refused(tmp_path: Path) -> None:
    thing = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
    thing += "<ymax>9</ymax></bndbox></object>"
    with pytest.raises(DatasetError, match="wbc"):
        cytowell.read(voc(tmp_path, thing.format("WBC") + thing.format("wbc")))


# --- archives


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg", "C:\\a.jpg", "..\\a"])
def test_a_path_that_climbs_out_refuses_the_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="outside"):
        cytowell.read(archive(tmp_path / "a.zip", {name: b"x"}))
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "a.zip", {f"{i}.jpg": bytes(40 << 20) for i in range(8)})
    with pytest.raises(DatasetError, match="would grow"):
        cytowell.read(bomb)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no zip at all"])
def test_bytes_that_are_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        cytowell.read(tmp_path / "a.zip")


def test_an_archive_names_nothing_outside_of_itself(tmp_path: Path) -> None:
    secret = picture(tmp_path / "secret" / "images" / "private.jpg")
    table = f"path,label\n{secret},cell\n".encode()
    listed = json.dumps({"images": [{"id": 1, "file_name": str(secret)}], "annotations": []})
    for number, members in enumerate(
        (
            {"samples.csv": table},
            {"_annotations.coco.json": listed.encode()},
            {"data.yaml": f"names: [a]\npath: {secret.parent}\ntrain: .".encode()},
            {"data.yaml": b"names: [a]\ntrain: /"},
            {"data.yaml": b"names: [a]\ntrain: list.txt", "list.txt": str(secret).encode()},
        )
    ):
        with pytest.raises(DatasetError, match="outside of") as caught:
            cytowell.read(archive(tmp_path / f"{number}.zip", members))
        assert "private" not in str(caught.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_damage_is_said_whatever_the_compression(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as made:
        made.writestr("cells/x.jpg", bytes(range(256)) * 64)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60:64] = bytes(255 - b for b in data[60:64])
    (tmp_path / "a.zip").write_bytes(bytes(data))
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        cytowell.read(tmp_path / "a.zip")


def test_an_empty_archive(tmp_path: Path) -> None:
    with pytest.raises(EmptyDataset, match="nothing in it"):
        cytowell.read(archive(tmp_path / "a.zip", {}))


def test_what_was_unpacked_longest_ago_makes_room(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytowell.sources.archive import unpack

    monkeypatch.setattr("cytowell.sources.archive.KEPT_BYTES", 5000)
    made = [archive(tmp_path / f"{n}.zip", {"x.bin": bytes([n]) * 2000}) for n in range(3)]
    places = []
    for number, file in enumerate(made[:2]):
        places.append(unpack(file))
        os.utime(places[-1], (number, number))
    assert unpack(made[0]) == places[0]
    assert unpack(made[2]).is_dir()
    assert places[0].is_dir()
    assert not places[1].exists()
    monkeypatch.setattr("cytowell.sources.archive.KEPT_BYTES", 0)
    unpack(archive(tmp_path / "4.zip", {"x.bin": b"4" * 2000}))
    assert places[0].is_dir(), "it was asked for a moment ago"


def test_a_damaged_member_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    made = archive(tmp_path / "a.zip", {"cells/x.jpg": bytes(range(256)) * 64})
    data = bytearray(made.read_bytes())
    data[60] ^= 0xFF
    made.write_bytes(bytes(data))
    before = sorted((cache / "unpacked").rglob("*"))
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        cytowell.read(made)
    assert sorted((cache / "unpacked").rglob("*")) == before


def test_class_folders_in_an_archive(tmp_path: Path) -> None:
    files = {}
    for name in ("one/a.jpg", "two/b.jpg"):
        files[f"mine/{name}"] = picture(tmp_path / name).read_bytes()
    found = cytowell.read(archive(tmp_path / "a.zip", files))
    assert found.classes == ("one", "two")


# --- checks of boxes


def test_every_fault_of_boxes_is_found(tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.jpg"))
    boxes = [
        ("cell", Box(5, 5, 10, 10)),
        ("cell", Box(5, 5, 10.1, 10)),
        ("cell", Box(30, 5, 10, 10)),
        ("platelet", Box(30, 5, 10, 10)),
        ("cell", Box(60, 40, 10, 10)),
        ("cell", Box(200, 40, 10, 10)),
        ("cell", Box(20, 20, 0.2, 10)),
        (None, Box(20, 30, 10, 10)),
    ]
    samples = tuple(Sample(path, label, box=box) for label, box in boxes)
    findings = cytowell.check(Dataset(samples, ("cell", "platelet")))
    table = findings.table
    flagged = {
        i: list(np.flatnonzero(table[f"is_{i}"])) for i in findings.issues if i.startswith("box_")
    }
    assert flagged == {
        "box_outside": [4, 5],
        "box_empty": [6],
        "box_twice": [1, 3],
        "box_without_class": [7],
    }
    assert list(np.flatnonzero(findings.excluded)) == [1, 2, 3, 5, 6]
    assert "'cell' and 'platelet'" in table["why"][3]


def test_boxes_that_are_all_one_or_endless_take_no_longer(tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.jpg"))
    places = [Box(5.0, 5.0, 10.0, 10.0)] * 3000 + [Box(0, 0, 1e300, 1e300), Box(1e300, 0, 9, 9)]
    samples = tuple(Sample(path, "cell", box=b) for b in places)
    counts = cytowell.check(Dataset(samples, ("cell",))).counts()
    assert counts["box_outside"] == 2
    assert counts["box_twice"] > 2900


def test_twenty_thousand_boxes_in_one_photograph(tmp_path: Path) -> None:
    path = str(picture(tmp_path / "a.jpg", (2000, 1000)))
    places = [Box(10.0 * c, 10.0 * r, 10, 10) for r in range(100) for c in range(200)]
    samples = tuple(Sample(path, "cell", box=b) for b in places)
    dataset = Dataset(samples, ("cell",))
    assert not cytowell.check(dataset).excluded.any()
    record = cytowell.images.Preprocessing(size=32)
    assert len(list(cytowell.images.load_many(dataset.samples, record))) == 20_000


def test_data_without_boxes_has_no_findings_of_boxes(cells: Path) -> None:
    findings = cytowell.check(cytowell.read(cells))
    assert not [i for i in findings.issues if i.startswith("box_")]
