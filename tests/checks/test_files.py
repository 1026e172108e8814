from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from cytowell.checks import files
from cytowell.checks.scan import content_type, look
from cytowell.types import Dataset, Findings, Sample

Read = Callable[[Path], Dataset]
Cell = Callable[[int], Image.Image]


def flagged(found: Findings, issue: str) -> set[str]:
    return {Path(p).name for p in found.table.loc[found.table[f"is_{issue}"], "path"]}


def test_clean_pictures_are_clean(folder: Path, read: Read) -> None:
    found = files.check(read(folder))
    assert not any(found.counts().values())
    assert not found.excluded.any()
    assert found.remarks == ()
    scores = found.table[[f"{i}_score" for i in found.issues]].to_numpy(dtype=float)
    assert scores.min() >= 0
    assert scores.max() <= 1


def test_what_cannot_be_read_is_excluded_and_said(folder: Path, read: Read) -> None:
    (folder / "a" / "empty.jpg").write_bytes(b"")
    (folder / "a" / "letter.jpg").write_text("Dear colleague, the photographs follow.")
    whole = (folder / "a" / "a00.jpg").read_bytes()
    (folder / "a" / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "still.gif").write_bytes(b"GIF89a" + bytes(40))
    found = files.check(read(folder))
    assert flagged(found, "unreadable") == {"empty.jpg", "letter.jpg", "still.gif"}
    assert flagged(found, "truncated") == {"half.jpg"}
    assert flagged(found, "wrong_extension") == {"letter.jpg"}
    assert found.excluded.sum() == 4
    assert "4 of 28 images cannot be read" in found.remarks[0]
    reasons = dict(zip(found.table["path"], found.table["why"], strict=True))
    assert "0 bytes" in reasons[str(folder / "a" / "empty.jpg")]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_truncation_is_found_wherever_the_file_ends(
    tmp_path: Path, cell: Cell, suffix: str, share: float
) -> None:
    path = tmp_path / f"x.{suffix}"
    cell(1).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found = files.check(Dataset((Sample(str(path)),), ()))
    assert found.excluded[0]
    assert found.counts()["truncated"] + found.counts()["unreadable"] == 1


def test_a_lost_end_mark_is_said(folder: Path, read: Read) -> None:
    path = folder / "a" / "a00.jpg"
    path.write_bytes(path.read_bytes()[:-2])
    found = files.check(read(folder))
    assert flagged(found, "truncated") == {"a00.jpg"}


def test_a_huge_header_is_refused_without_decoding(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )
    found = files.check(Dataset((Sample(str(path)),), ()))
    assert flagged(found, "unreadable") == {"bomb.png"}
    assert "pixels" in found.table["why"][0]


@contextmanager
def as_nobody() -> Iterator[None]:
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs Unix users")
def test_no_permission_is_unreadable(
    tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell(1).save(tmp_path / "mine.jpg")
    (tmp_path / "mine.jpg").chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with as_nobody():
        found = files.check(Dataset((Sample("mine.jpg"),), ()))
    assert found.counts()["unreadable"] == 1
    assert found.excluded[0]


def test_content_and_name_disagree(folder: Path, read: Read, cell: Cell) -> None:
    cell(5).save(folder / "a" / "really.png", format="JPEG")
    cell(6).save(folder / "a" / "LOUD.JPEG")
    found = files.check(read(folder))
    assert flagged(found, "wrong_extension") == {"really.png"}
    assert not found.excluded.any()
    assert "JPEG by its content" in "".join(found.table["why"])


def test_pictures_that_look_unlike_the_others(folder: Path, read: Read, cell: Cell) -> None:
    Image.new("RGB", (120, 120), (200, 180, 190)).save(folder / "a" / "blank.png")
    cell(7).filter(ImageFilter.GaussianBlur(2)).save(folder / "a" / "soft.jpg", quality=92)
    cell(8).point(lambda v: v // 5).save(folder / "a" / "night.jpg")
    cell(9).resize((12, 12)).save(folder / "a" / "speck.png")
    cell(10).resize((400, 400)).save(folder / "b" / "poster.jpg")
    cell(11).resize((120, 40)).save(folder / "b" / "strip.jpg")
    green = np.asarray(cell(12)) * np.array([0.3, 1.0, 0.3])
    Image.fromarray(green.astype(np.uint8)).save(folder / "b" / "green.jpg")
    found = files.check(read(folder))
    assert flagged(found, "blank") == {"blank.png"}
    assert "soft.jpg" in flagged(found, "blurred")
    assert flagged(found, "dark") == {"night.jpg"}
    assert flagged(found, "tiny") == {"speck.png"}
    assert {"poster.jpg", "strip.jpg"} <= flagged(found, "odd_size")
    assert "green.jpg" in flagged(found, "odd_colour")


def test_what_a_whole_class_shows_is_its_nature(folder: Path, read: Read, cell: Cell) -> None:
    for path in sorted((folder / "b").iterdir()):
        Image.open(path).point(lambda v: v // 5).save(path)
    found = files.check(read(folder))
    assert found.counts()["dark"] == 0
    assert any("Most images of b are dark" in r for r in found.remarks)


def test_animations_are_named(folder: Path, read: Read, cell: Cell) -> None:
    cell(1).save(folder / "a" / "film.webp", save_all=True, append_images=[cell(2), cell(3)])
    found = files.check(read(folder))
    assert flagged(found, "several_frames") == {"film.webp"}


def test_members_of_an_array_have_no_file_of_their_own(
    tmp_path: Path, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path / "cache"))
    images = np.stack([np.asarray(cell(i).resize((28, 28))) for i in range(10)])
    images[3] = 128
    np.savez(tmp_path / "set.npz", train_images=images)
    samples = tuple(Sample(f"{tmp_path}/set.npz::train_images/{i}", "a") for i in range(11))
    found = files.check(Dataset(samples, ("a",)))
    assert list(np.flatnonzero(found.table["is_blank"])) == [3]
    assert list(np.flatnonzero(found.excluded)) == [10]
    assert found.counts()["wrong_extension"] == 0


def test_photographs_are_looked_at_once_however_many_boxes(folder: Path, read: Read) -> None:
    data = read(folder).take([0, 0, 1])
    ticks: list[tuple[str, int, int]] = []
    seen = look(data, progress=lambda *tick: ticks.append(tick))
    assert len(seen.paths) == len(seen.facts) == 2
    assert list(seen.photograph) == [0, 0, 1]
    assert ticks[-1] == ("looking at the photographs", 2, 2)


def test_content_is_told_from_the_first_bytes() -> None:
    assert content_type(b"%PDF-1.7") == "PDF"
    assert content_type(b"plain words") == "text"
    assert content_type(b"RIFF\0\0\0\0WEBPVP8 ") == "WEBP"
    assert content_type(bytes(range(200, 256))) == ""
    assert content_type(b"") == ""
