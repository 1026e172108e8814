"""What users hand in by mistake, met where they would meet it: on the command line."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pytest
from PIL import Image


class Said(Protocol):
    status: int
    out: str
    err: str


class Runner(Protocol):
    def __call__(self, *arguments: object) -> Said: ...


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def refused(said: Said, *words: str) -> None:
    """One message that names what is at fault and a remedy, no traceback, exit status 2."""
    text = " ".join(said.err.split())
    assert said.status == 2, said
    assert text.count("Error:") == 1
    assert "Traceback" not in text
    for word in words:
        assert word in text
    lines = said.err[said.err.index("Error:") :].strip().splitlines()
    assert len(lines) == 2, "what is wrong, and what to do"


def cell(seed: int, size: int = 64) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def photographs(folder: Path, **counts: int) -> Path:
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for k in range(count):
            cell(1000 * ord(label[0]) + k).save(folder / label / f"{label}{k}.jpg")
    return folder


def bomb() -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


ROTATED = Image.Exif()
ROTATED[0x0112] = 6

GOOD = {
    "cmyk.jpg": encoded(cell(1).convert("CMYK"), "JPEG"),
    "alpha.png": encoded(cell(2).convert("RGBA"), "PNG"),
    "turned.jpg": encoded(cell(3), "JPEG", exif=ROTATED),
    "deep.png": encoded(Image.fromarray(np.full((64, 64), 999, np.uint16)), "PNG"),
    "größe 細胞 🔬.png": encoded(cell(4), "PNG"),
    "n" * 251 + ".png": encoded(cell(5), "PNG"),
}
BAD = {
    "empty.jpg": (b"", "0 bytes"),
    "cut.jpg": (encoded(cell(6), "JPEG")[:700], "damaged or incomplete"),
    "cut.png": (encoded(cell(7), "PNG")[:700], "damaged or incomplete"),
    "cut.tif": (encoded(cell(8), "TIFF")[:700], "cut.tif"),
    "text.jpg": (b"milk\nbread\neggs\n" * 9, "not an image"),
    "bomb.png": (bomb(), "pixels"),
    "moving.gif": (
        encoded(cell(9), "GIF", save_all=True, append_images=[cell(10), cell(11)]),
        "animation",
    ),
    "phone.heic": (struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic", ".[heic]"),
}


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Give a folder with everything that cameras, phones and accidents produce."""
    folder = tmp_path / "zoo"
    folder.mkdir()
    for name, data in (GOOD | {name: data for name, (data, _) in BAD.items()}).items():
        (folder / name).write_bytes(data)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    return folder


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_bad_file_is_a_row_with_its_error_and_never_the_end(
    cli: Runner, bundle: Path, zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    order = [name for pair in zip(sorted(BAD), sorted(GOOD), strict=False) for name in pair]
    order += [*sorted(BAD)[len(GOOD) :], "loop.jpg", "missing.jpg", "m" * 300 + ".jpg"]
    paths = [zoo / name for name in order]
    said = cli("predict", *paths, "--bundle", bundle, "--out", tmp_path / "calls.csv")
    assert said.status == 0
    assert "Traceback" not in said.err
    rows = rows_of((tmp_path / "calls.csv").read_text(encoding="utf-8"))
    assert [row["path"] for row in rows] == [str(p) for p in paths]
    for row, path in zip(rows, paths, strict=True):
        if path.name in GOOD:
            assert row["error"] == ""
            assert row["label"]
        else:
            assert str(path) in row["error"]
            assert row["error"].endswith(".")
            assert row["label"] == row["probability"] == row["reason"] == ""
            assert row["decided"] == "false"
        if path.name in BAD:
            assert BAD[path.name][1] in row["error"]
    assert f"{len(BAD) + 3} could not be read" in said.err


def test_check_lists_what_cannot_be_read(cli: Runner, zoo: Path, tmp_path: Path) -> None:
    photographs(tmp_path / "set", a=6, b=6)
    shutil.copytree(zoo, tmp_path / "set" / "a", symlinks=True, dirs_exist_ok=True)
    out = tmp_path / "findings.csv"
    said = cli("check", tmp_path / "set", "--no-labels", "--out", out)
    assert "Traceback" not in said.err
    found = pd.read_csv(out)
    unusable = found[found["is_unreadable"] | found["is_truncated"]]
    bad = {name for name in BAD if name != "moving.gif"} | {"loop.jpg"}
    assert {Path(str(p)).name for p in unusable["path"]} == bad
    assert "moving.gif" in said.err


def test_training_goes_on_without_the_files_that_cannot_be_read(
    cli: Runner, cells: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(cells, folder, ignore=shutil.ignore_patterns("samples.csv"))
    (label,) = [p.name for p in folder.iterdir() if p.name.startswith("mono")]
    for name, (data, _) in BAD.items():
        (folder / label / name).write_bytes(data)
    (tmp_path / "recipe.toml").write_text(
        'learner = "frozen"\n'
        '[frozen]\nbackbones = ["imagenet"]\ncrops = [1.0]\nstrengths = [0.01]\n'
    )
    run = tmp_path / "run"
    said = cli("train", folder, "--out", run, "--recipe", tmp_path / "recipe.toml")
    assert said.status == 0, said.err
    split = pd.read_csv(run / "split.csv")
    out = {Path(str(p)).name for p in split.loc[split["split"] == "excluded", "path"]}
    assert out == {name for name in BAD if name != "moving.gif"}


@pytest.mark.parametrize("verb", ["check", "train", "predict", "evaluate"])
def test_an_empty_folder(cli: Runner, bundle: Path, tmp_path: Path, verb: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments: dict[str, list[object]] = {
        "check": [empty, "--out", tmp_path / "out.csv"],
        "train": [empty, "--learner", "frozen", "--out", tmp_path / "run"],
        "predict": [empty, "--bundle", bundle, "--out", tmp_path / "out.csv"],
        "evaluate": [bundle, empty, "--out", tmp_path / "out"],
    }
    refused(cli(verb, *arguments[verb]), str(empty), "holds no images", "JPEG")
    assert names(tmp_path) == ["empty"]


@pytest.mark.parametrize(
    ("counts", "words"),
    [({"a": 6}, "one class only"), ({"a": 6, "b": 1}, "'b' has one usable image")],
)
def test_too_few_classes_or_images(
    cli: Runner, tmp_path: Path, counts: dict[str, int], words: str
) -> None:
    folder = photographs(tmp_path / "set", **counts)
    checked = cli("check", folder)
    assert checked.status == 1
    assert words in " ".join(checked.out.split())
    refused(cli("train", folder, "--learner", "frozen", "--out", tmp_path / "run"), words)
    assert not (tmp_path / "run" / "bundle").exists()
    assert not (tmp_path / "run" / "report.html").exists()


def test_labels_that_differ_by_case(cli: Runner, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "set", Monocyte=3, monocyte=3)
    if len(names(folder)) < 2:
        pytest.skip("this disk does not tell the case of names")
    for arguments in (["check", folder], ["train", folder, "--out", tmp_path / "run"]):
        refused(cli(*arguments), "'Monocyte' and 'monocyte'", "spelling")
    assert not (tmp_path / "run").exists()


def test_links_in_a_loop(cli: Runner, bundle: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "set", a=2, b=2)
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "self").symlink_to(folder / "b" / "self")
    assert cli("check", folder, "--no-labels").status == 0
    said = cli("predict", folder, "--bundle", bundle)
    assert said.status == 0
    assert len(rows_of(said.out)) == 4


def test_a_name_that_is_not_utf8(cli: Runner, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    try:
        cell(1).save(os.fsencode(folder) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this disk holds no such names")
    for ending in ("csv", "parquet", "jsonl"):
        said = cli("predict", folder, "--bundle", bundle, "--out", tmp_path / f"calls.{ending}")
        assert said.status == 0, said.err
    (row,) = rows_of((tmp_path / "calls.csv").read_text(encoding="utf-8"))
    assert row["path"].endswith(r"caf\udce9.png")
    assert row["label"]
    refused(cli("check", folder), r"caf\udce9.png", "Rename it")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--window", "5"], "window"),
        (["--window", "9,3"], "window"),
        (["--window", "low,high"], "--window low,high"),
        (["--channels", "0,1,2,3"], "channels"),
        (["--channels", "0,-1"], "channels"),
        (["--channels", "1.5"], "--channels 1.5"),
        (["--preset", "fast"], "fast"),
        (["--learner", "frosen"], "'frozen'"),
        (["--positive", "c"], "'c'"),
        (["--group-pattern", "(["], "(["),
        (["--source", "folder"], "'folders'"),
        (["--recipe", "nowhere.toml"], "nowhere.toml"),
        (["--split", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_flag_that_cannot_hold_leaves_nothing_behind(
    cli: Runner, tmp_path: Path, arguments: list[str], words: str
) -> None:
    folder = photographs(tmp_path / "set", a=3, b=3)
    learner = [] if "--learner" in arguments else ["--learner", "frozen"]
    said = cli("train", folder, "--out", tmp_path / "run", *learner, *arguments)
    assert said.status == 2
    assert "Traceback" not in said.err
    assert said.err.count("Error:") == 1
    assert words in said.err
    assert names(tmp_path) == ["set"]


def test_a_table_of_calls_is_not_learnt_from(cli: Runner, bundle: Path, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "set", a=3, b=3)
    cli("predict", folder, "--bundle", bundle, "--out", tmp_path / "calls.csv")
    said = cli("train", tmp_path / "calls.csv", "--learner", "frozen", "--out", tmp_path / "run")
    refused(said, "calls.csv", "labels are predictions", "truth")


# Bundles


def test_a_bundle_with_one_byte_changed(cli: Runner, bundle: Path, tmp_path: Path) -> None:
    for name in ("backbone.onnx", "head.npz", "bundle.json", "MODEL_CARD.md", "SHA256SUMS"):
        spoilt = tmp_path / f"with-{name}"
        shutil.copytree(bundle, spoilt)
        data = bytearray((spoilt / name).read_bytes())
        data[len(data) // 2] ^= 1
        (spoilt / name).write_bytes(data)
        refused(cli("inspect", spoilt), spoilt.name, "Copy the bundle again")


@pytest.mark.parametrize("name", ["model.pt", "model.pkl", "model.joblib", "model.h5"])
def test_a_file_that_can_run_code_is_never_opened(cli: Runner, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    refused(cli("inspect", tmp_path / name), name, "can run code")
    refused(cli("predict", "x.jpg", "--bundle", tmp_path / name), name)


# Where output goes


@pytest.mark.parametrize("verb", ["predict", "check", "samples", "train"])
def test_an_output_that_cannot_be(cli: Runner, bundle: Path, tmp_path: Path, verb: str) -> None:
    folder = photographs(tmp_path / "set", a=2, b=2)
    (tmp_path / "file").write_text("mine")
    inside = tmp_path / "file" / "out.csv"
    arguments: dict[str, list[object]] = {
        "predict": [folder, "--bundle", bundle, "--out", inside],
        "check": [folder, "--no-labels", "--out", inside],
        "samples": [inside, "--per-class", "1"],
        "train": [folder, "--learner", "frozen", "--out", inside],
    }
    refused(cli(verb, *arguments[verb]), "cannot be written", "file stands where a folder")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "set"]


def test_a_folder_stands_where_the_calls_should_go(
    cli: Runner, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").mkdir()
    said = cli("predict", "x.jpg", "--bundle", bundle, "--out", tmp_path / "calls.csv")
    refused(said, "calls.csv", "folder stands where a file")
    assert names(tmp_path) == ["calls.csv"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of its own without a free byte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if not shutil.which("mount") or subprocess.run(mounting, capture_output=True).returncode:
        pytest.skip("a disk may not be mounted here")
    try:
        with contextlib.suppress(OSError), (place / "old.bin").open("wb") as handle:
            while handle.write(bytes(4096)):
                handle.flush()
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(cli: Runner, bundle: Path, cells: Path, full_disk: Path) -> None:
    for ending in ("csv", "parquet", "jsonl"):
        said = cli("predict", cells, "--bundle", bundle, "--out", full_disk / f"calls.{ending}")
        refused(said, f"calls.{ending}", "disk is full")
    refused(cli("samples", full_disk / "sets", "--kind", "cells"), "cells", "disk is full")
    said = cli("check", cells, "--no-labels", "--out", full_disk / "findings.csv")
    refused(said, "findings.csv", "disk is full")
    said = cli("train", cells, "--learner", "frozen", "--out", full_disk / "run")
    refused(said, str(full_disk / "run"), "disk is full")
    left = [p.name for p in full_disk.rglob("*") if p.is_file() and p.stat().st_size]
    assert left == ["old.bin"]


def test_a_disk_that_fills_while_writing(
    cli: Runner, bundle: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same without a disk of one's own: the system refuses in the second batch."""
    (tmp_path / "calls.csv").write_text("before")
    write, count = pd.DataFrame.to_csv, [0]

    def filling(self: pd.DataFrame, *given: Any, **named: Any) -> Any:
        count[0] += 1
        if count[0] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, *given, **named)

    monkeypatch.setattr(pd.DataFrame, "to_csv", filling)
    said = cli("predict", cells, "--bundle", bundle, "--out", tmp_path / "calls.csv")
    refused(said, "calls.csv", "disk is full")
    assert names(tmp_path) == ["calls.csv"]
    assert (tmp_path / "calls.csv").read_text() == "before"


COMMAND = [sys.executable, "-m", "cytowell.cli"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_standard_output_that_is_full(bundle: Path, cells: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "predict", str(cells), "--bundle", str(bundle), "--quiet"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == "Error: What is printed cannot be written."
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_ctrl_c_while_calling_leaves_nothing_half_written(
    bundle: Path, cells: Path, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text("before")
    arguments = ["predict", "-", "--bundle", str(bundle), "--out", str(tmp_path / "calls.csv")]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        image = next(cells.rglob("*.jpg"))
        running.stdin.write(f"{image}\n" * 20)
        running.stdin.flush()
        until = time.monotonic() + 120
        while not list(tmp_path.glob(".writing-*")) and time.monotonic() < until:
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(120) == 130
        told = running.stderr.read()
    assert "Interrupted." in told
    assert "Traceback" not in told
    assert names(tmp_path) == ["calls.csv"]
    assert (tmp_path / "calls.csv").read_text() == "before"


# Rights


AS_ANOTHER = """
import contextlib, io, json, os, sys
from cytowell.cli import main

def run(arguments):
    sys.argv = ["cytowell", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(
        io.StringIO()
    ) as err:
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}

first, *commands = json.load(sys.stdin)
for arguments in first:  # what is imported when it is needed is loaded while it may be read
    run(arguments)
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([run(arguments) for arguments in commands]))
"""


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Give a folder that every user may look into, which pytest's own is not."""
    place = Path(tempfile.mkdtemp(prefix="cytowell-rights-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="rights work otherwise on this system")
def test_what_may_not_be_read_or_written(bundle: Path, open_place: Path) -> None:
    """As another user where the tests run as root, whom no rights hold back."""
    shutil.copytree(bundle, open_place / "bundle")
    folder = photographs(open_place / "set", a=3, b=2)
    closed = photographs(open_place / "closed", a=2, b=2)
    (folder / "a" / "a0.jpg").chmod(0)
    (open_place / "locked").mkdir(mode=0o555)
    (closed / "b").chmod(0)
    calling = ["predict", "--bundle", str(open_place / "bundle")]
    checking = ["check", "--no-labels"]
    commands = [
        [*calling, str(folder)],
        [*calling, str(closed)],
        [*calling, str(closed / "b")],
        [*checking, str(closed)],
        [*checking, str(folder)],
        [*calling, str(folder), "--out", str(open_place / "locked" / "calls.csv")],
    ]
    warm = [[*calling, str(folder / "b")], [*checking, str(folder)]]
    ended = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER], input=json.dumps([warm, *commands]), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    (closed / "b").chmod(0o755)
    assert ended.returncode == 0, ended.stderr
    file, inner, outer, check_closed, check_file, out = json.loads(ended.stdout)
    for said in (file, inner, outer, check_closed, check_file, out):
        assert "Traceback" not in said["err"]
    rows = rows_of(file["out"])
    assert [bool(row["error"]) for row in rows] == [True, False, False, False, False]
    assert "a0.jpg cannot be read (Permission denied)" in rows[0]["error"]
    rows = rows_of(inner["out"])
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    assert str(closed / "b") in rows[2]["error"]
    for said in (outer, check_closed):
        assert said["status"] == 2
        assert f"{closed / 'b'} may not be looked into" in said["err"]
    assert check_file["status"] == 0
    assert "a0.jpg" in check_file["out"]
    assert out["status"] == 2
    assert "You may not write there" in out["err"]
    assert not names(open_place / "locked")
