"""What archives and uploads name lies inside of them, and is judged before anybody looks."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import cytowell
from cytowell.errors import BadAnnotation, CytowellError, DatasetError
from cytowell.images import open_upright
from cytowell.sources.boundary import lies_inside
from cytowell.sources.walk import walk
from cytowell.types import file_of

HOSTILE = Path(__file__).parent.parent / "hostile"
SECRET = "PASSWORD-OF-ELSEWHERE"


def picture(path: Path, size: tuple[int, int] = (37, 23)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)
    return path


def archive(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a folder of secrets: a photograph of 37 x 23 pixels, and labels that are none."""
    secret = picture(tmp_path / "elsewhere" / "images" / "s1.jpg")
    (tmp_path / "elsewhere" / "labels").mkdir()
    (tmp_path / "elsewhere" / "labels" / "s1.txt").write_text(SECRET)
    (tmp_path / "elsewhere" / "images" / "s1.txt").write_text(SECRET)
    return secret


def hostile(outside: Path, tmp_path: Path) -> dict[str, dict[str, bytes | str]]:
    jpeg = picture(tmp_path / "own" / "a.jpg").read_bytes()
    up = "../" * 12 + str(outside).lstrip("/")
    coco = {
        "images": [{"id": 1, "file_name": str(outside), "width": 7, "height": 7}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "cell"}],
    }
    climbing = json.dumps(coco).replace(str(outside), up)
    yaml = "names: [a]\ntrain: list.txt\n"
    return {
        "table": {"samples.csv": f"path,label\n{outside},a\n", "a.jpg": jpeg},
        "table, climbing": {"samples.csv": f"path,label\n{up},a\n", "a.jpg": jpeg},
        "table, two colons": {
            "samples.csv": f"path,label\nd/x::/{up},a\n", "d/x::/a.jpg": jpeg, "a.jpg": jpeg,
        },
        "table, an array": {"samples.csv": f"path,label\n{outside}.npz::a/0,a\n", "a.jpg": jpeg},
        "coco": {"_annotations.coco.json": json.dumps(coco), "a.jpg": jpeg},
        "coco, climbing": {"_annotations.coco.json": climbing, "a.jpg": jpeg},
        "yolo, a list": {"data.yaml": yaml, "list.txt": str(outside), "a.jpg": jpeg},
        "yolo, a list that climbs": {"data.yaml": yaml, "list.txt": up, "a.jpg": jpeg},
        "yolo, a list elsewhere": {
            "data.yaml": f"names: [a]\ntrain: {outside.parent / 's1.txt'}\n", "x.txt": "",
        },
    }  # fmt: skip


_NOTED: list[list[str]] = []


def _note(event: str, given: tuple[object, ...]) -> None:
    if event == "open" and _NOTED and isinstance(given[0], str):
        _NOTED[-1].append(os.path.realpath(given[0]))


sys.addaudithook(_note)


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Give the files that are opened meanwhile, by whomever."""
    _NOTED.append([])
    yield _NOTED[-1]
    _NOTED.pop()


CASES = (
    "table", "table, climbing", "table, two colons", "table, an array", "coco", "coco, climbing",
    "yolo, a list", "yolo, a list that climbs", "yolo, a list elsewhere",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nothing_outside_is_opened_or_quoted(case: str, outside: Path, tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", hostile(outside, tmp_path)[case])
    with noting() as opened, pytest.raises(DatasetError, match="outside of") as caught:
        cytowell.read(made)
    said = str(caught.value)
    assert opened, "what is opened is seen"
    assert SECRET not in said
    assert "37" not in said
    assert "s1" not in said
    assert not [p for p in opened if "elsewhere" in p]


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_whether_the_file_is_there(case: str, outside: Path, tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", hostile(outside, tmp_path)[case])
    words = []
    for _ in range(2):
        with pytest.raises(CytowellError) as caught:
            cytowell.read(made)
        words.append(str(caught.value))
        for file in outside.parent.glob("s1*"):
            file.unlink()
    assert words[0] == words[1]


def test_the_path_that_is_judged_is_the_one_that_is_opened(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DatasetError, match=r"names 1 files outside"):
        cytowell.read(HOSTILE / "double-colon.zip")
    assert file_of("d/x::/../../s.jpg") == "d/x::/../../s.jpg"
    assert file_of("a::b.npz::train/0") == "a::b.npz"
    assert not lies_inside(tmp_path / "d" / "x::" / ".." / ".." / ".." / "s.jpg", tmp_path)
    assert lies_inside(f"{tmp_path}/a.npz::train_images/0", tmp_path)
    assert not lies_inside(f"{tmp_path}/../a.npz::train_images/0", tmp_path)
    assert not lies_inside("a\0b", tmp_path)
    assert lies_inside("/anywhere", None)


def test_names_with_two_colons_are_names(tmp_path: Path) -> None:
    for label in ("a", "b"):
        picture(tmp_path / "x::y" / label / "c::d.jpg")
    dataset = cytowell.read(tmp_path / "x::y")
    assert len(dataset) == 2
    assert open_upright(dataset.paths[0]).size == (37, 23)


def test_a_link_out_of_a_folder_leads_nowhere(outside: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.jpg").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    picture(inside / "a.jpg")
    assert not lies_inside(inside / "link.jpg", inside)
    odd: list[Path] = []
    assert [f.name for f in walk(inside, odd=odd)] == ["a.jpg"]
    assert sorted(f.name for f in odd) == ["folder", "link.jpg"]
    with pytest.raises(DatasetError, match="names 2 files outside"):
        cytowell.read(inside, within=inside)
    assert len(cytowell.read(inside)) == 3, "a user's own links are followed"


def test_links_in_an_archive_are_left_out(outside: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(link, str(outside))
        made.writestr("a/x.jpg", picture(tmp_path / "x.jpg").read_bytes())
        made.writestr("b/y.jpg", picture(tmp_path / "x.jpg").read_bytes())
    dataset = cytowell.read(tmp_path / "a.zip")
    assert sorted(Path(p).name for p in dataset.paths) == ["x.jpg", "y.jpg"]


def test_what_was_sent_names_nothing_outside_of_its_folder(outside: Path, tmp_path: Path) -> None:
    table = tmp_path / "sent" / "t.csv"
    picture(tmp_path / "sent" / "a.jpg")
    table.write_text(f"path,label\na.jpg,a\n{outside},b\n")
    assert len(cytowell.read(table)) == 2, "a user's own table names what it likes"
    with pytest.raises(DatasetError, match="names 1 files outside"):
        cytowell.read(table, within=table.parent)
    table.write_text("path,label\na.jpg,a\na.jpg,b\n")
    assert len(cytowell.read(table, within=table.parent)) == 2


def test_an_export_that_points_one_folder_too_high_is_read(tmp_path: Path) -> None:
    jpeg = picture(tmp_path / "a.jpg").read_bytes()
    made = archive(
        tmp_path / "a.zip",
        {
            "data.yaml": "path: /home/me/export\nnames: [a]\ntrain: ../train/images\nval: valid\n",
            "train/images/a.jpg": jpeg,
            "train/labels/a.txt": "0 .5 .5 .2 .2\n",
        },
    )
    dataset = cytowell.read(made)
    assert dataset.samples[0].label == "a"
    assert dataset.samples[0].split == "train"


def test_settings_of_many_brackets_are_refused_at_once(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "data.yaml").write_text("names: [a, b]" + "[" * 100_000)
    begin = time.monotonic()
    with pytest.raises(BadAnnotation, match="brackets in brackets"):
        cytowell.read(tmp_path)
    assert time.monotonic() - begin < 10
