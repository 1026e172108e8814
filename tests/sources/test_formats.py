"""Annotations of other tools are read as their makers describe them, and come back as they went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BadAnnotation
from cytowell.types import Box, Dataset, Sample

FORMATS = ["label-studio", "cvat", "labelme", "geojson", "objects", "yolo", "coco", "voc"]


def picture(file: Path, size: tuple[int, int] = (80, 60), value: int = 0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(value).integers(0, 255, (size[1], size[0], 3))
    Image.fromarray(noise.astype(np.uint8)).save(file)
    return file


def boxes_of(data: Dataset) -> list[tuple[str, str | None, tuple[float, ...] | None]]:
    rows = []
    for s in data.samples:
        sides = None
        if s.box is not None:
            sides = tuple(round(v, 3) for v in (s.box.x, s.box.y, s.box.width, s.box.height))
        rows.append((Path(s.path).name, s.label, sides))
    return sorted(rows, key=str)


@pytest.mark.parametrize("to", FORMATS)
def test_what_goes_out_comes_back(tmp_path: Path, to: str) -> None:
    first = str(picture(tmp_path / "in" / "a.png", value=1))
    second = str(picture(tmp_path / "in" / "b c.png", (50, 90), value=2))
    empty = str(picture(tmp_path / "in" / "none.png", value=3))
    given = Dataset(
        (
            Sample(first, "WBC", box=Box(10, 5, 20, 30)),
            Sample(first, "RBC & co", box=Box(40.5, 20.25, 16, 16)),
            Sample(second, "WBC", box=Box(0, 0, 50, 90)),
            Sample(empty),
        ),
        ("RBC & co", "WBC"),
    )
    cytowell.convert(given, tmp_path / "out", to=to)
    read = cytowell.read(tmp_path / "out")
    assert boxes_of(read) == boxes_of(given)
    assert read.classes == given.classes


def test_an_export_of_label_studio(tmp_path: Path) -> None:
    """As its documentation shows an export: per cent, an upload's prefix, a model's predictions."""
    picture(tmp_path / "images" / "smear 1.png", (200, 100))
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["WBC"]}
    outline = {"points": [[0, 0], [50, 0], [50, 50]], "polygonlabels": ["RBC"]}
    task = {
        "id": 7,
        "data": {"image": "/data/upload/3/0a1b2c3d-smear 1.png"},
        "annotations": [
            {"result": [{"type": "rectanglelabels", "value": value},
                        {"type": "polygonlabels", "value": outline},
                        {"type": "choices", "value": {"choices": ["good"]}}]},
            {"was_cancelled": True, "result": [{"value": value}]},
        ],
        "predictions": [{"result": [{"value": value}]}],
    }  # fmt: skip
    (tmp_path / "project-3.json").write_text(json.dumps([task]))
    read = cytowell.read(tmp_path)
    assert boxes_of(read) == [
        ("smear 1.png", "RBC", (0, 0, 100, 50)),
        ("smear 1.png", "WBC", (20, 20, 60, 40)),
    ]
    assert any("polygons" in n for n in read.notes)


def test_an_export_of_cvat(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "sub" / "a.png")
    (tmp_path / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta/>'
        '<image id="0" name="sub/a.png" subset="Validation" width="80" height="60">'
        '<box label="WBC" source="manual" occluded="0" xtl="1.5" ytl="2" xbr="11.5" ybr="22"/>'
        '<polygon label="RBC" points="30,30;40,30;35,45"/><points label="x" points="1,1"/>'
        '<ellipse label="RBC" cx="60" cy="40" rx="5" ry="4"/></image></annotations>'
    )
    read = cytowell.read(tmp_path)
    assert boxes_of(read) == [
        ("a.png", "RBC", (30, 30, 10, 15)),
        ("a.png", "RBC", (55, 36, 10, 8)),
        ("a.png", "WBC", (1.5, 2, 10, 20)),
    ]
    assert {s.split for s in read.samples} == {"validation"}


def test_a_file_of_labelme(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    shapes = [
        {"label": "WBC", "points": [[30, 40], [10, 20]], "shape_type": "rectangle"},
        {"label": "RBC", "points": [[50, 30], [53, 34]], "shape_type": "circle"},
        {"label": "RBC", "points": [[1, 1], [9, 1], [5, 8]], "shape_type": "polygon"},
        {"label": "x", "points": [[1, 1]], "shape_type": "point"},
    ]
    given: dict[str, Any] = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": "..\\raw\\a.png",
        "imageData": None,
        "imageHeight": 60,
        "imageWidth": 80,
    }
    (tmp_path / "a.json").write_text(json.dumps(given))
    assert boxes_of(cytowell.read(tmp_path)) == [
        ("a.png", "RBC", (1, 1, 8, 7)),
        ("a.png", "RBC", (45, 25, 10, 10)),
        ("a.png", "WBC", (10, 20, 20, 20)),
    ]
    given["imageWidth"] = 160
    (tmp_path / "a.json").write_text(json.dumps(given))
    with pytest.raises(BadAnnotation, match="drawn on a picture of 160 x 60"):
        cytowell.read(tmp_path)


def test_geojson_of_qupath(tmp_path: Path) -> None:
    picture(tmp_path / "slide.ome.png")
    ring = [[10, 10], [20, 12], [15, 30], [10, 10]]
    feature = {
        "type": "Feature",
        "id": "9b6c",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": "Tumor", "color": [1]},
        },
    }
    point = {**feature, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    (tmp_path / "slide.ome.geojson").write_text(json.dumps([feature, point]))
    assert boxes_of(cytowell.read(tmp_path)) == [("slide.ome.png", "Tumor", (10, 10, 10, 20))]


@pytest.mark.parametrize(
    "text",
    [
        " ,Label,Area,BX,BY,Width,Height\n1,a.png:0001,9,10,12,5,6\n2,b.png,9,1,2,3,4\n",
        "ImageNumber,ObjectNumber,FileName_DNA,AreaShape_BoundingBoxMinimum_X,"
        "AreaShape_BoundingBoxMinimum_Y,AreaShape_BoundingBoxMaximum_X,"
        "AreaShape_BoundingBoxMaximum_Y\n1,1,a.png,10,12,15,18\n2,1,b.png,1,2,4,6\n",
    ],
)
def test_tables_of_objects(tmp_path: Path, text: str) -> None:
    for name in "ab":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "Results.csv").write_text(text)
    for place in (tmp_path, tmp_path / "Results.csv"):
        assert boxes_of(cytowell.read(place)) == [
            ("a.png", None, (10, 12, 5, 6)),
            ("b.png", None, (1, 2, 3, 4)),
        ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("annotations.xml", "<annotations><image></annotations>"),
        ("a.json", '[{"data": 3, "image": 1}]'),
        ("a.geojson", '{"features": [{"geometry": 7}]}'),
        ("a.json", '{"version": "5", "shapes": [{"points": 3}], "imagePath": "a.png"}'),
        ("Results.csv", "Label,BX,BY,Width,Height\na.png,x,1,2,3\n"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(BadAnnotation, match=name.replace(".", r"\.")):
        cytowell.read(tmp_path)


def test_a_file_never_names_what_lies_outside(tmp_path: Path) -> None:
    picture(tmp_path / "secret.png")
    picture(tmp_path / "data" / "a.png")
    shape = {"label": "x", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
    for named in ("../secret.png", str(tmp_path / "secret.png")):
        given = {"version": "5", "shapes": [shape], "imagePath": named}
        (tmp_path / "data" / "a.json").write_text(json.dumps(given))
        read = cytowell.read(tmp_path / "data", within=tmp_path / "data")
        assert all(Path(p).parent == tmp_path / "data" for p in read.paths)
