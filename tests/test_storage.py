from __future__ import annotations

import csv
import errno
import os
import re
import stat
import threading
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cytowell import storage
from cytowell.errors import StorageError
from cytowell.sources.table import read_texts
from cytowell.storage import (
    cache_folder,
    explaining,
    for_spreadsheets,
    holds_neutral,
    is_there,
    neutral,
    replacing,
    replacing_folder,
    restored,
    sha256,
    write_text,
    write_with,
)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_whole_with_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "käfer.csv"
    write_text(target, "één\n")
    assert target.read_text(encoding="utf-8") == "één\n"
    assert names(target.parent) == ["käfer.csv"]
    write_with(target, lambda beside: beside.write_bytes(b"two"))
    assert target.read_bytes() == b"two"


def test_rights_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with replacing_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, trouble: type[BaseException]) -> None:
    target = tmp_path / "calls.csv"
    target.write_text("before")

    def half(beside: Path) -> None:
        assert beside.suffix == ".csv"
        beside.write_text("half")
        raise trouble

    with pytest.raises(trouble):
        write_with(target, half)
    assert names(tmp_path) == ["calls.csv"]
    assert target.read_text() == "before"


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_folder_that_was_there(
    tmp_path: Path, trouble: type[BaseException]
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("")

    def half() -> None:
        with replacing_folder(target) as beside:
            (beside / "new").write_text("")
            raise trouble

    with pytest.raises(trouble):
        half()
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["old"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    for word in ("old", "new"):
        with replacing_folder(target) as beside:
            (beside / word).write_text("")
    assert names(target) == ["new"]
    assert names(tmp_path) == ["bundle"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "old").write_text("")
    rename = Path.replace

    def interrupted(self: Path, to: Path) -> Path:
        if self.name.startswith(".writing-"):
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(target) as beside:
        (beside / "new").write_text("")
    assert names(tmp_path) == ["bundle"]
    assert names(target) == ["old"]


def test_a_name_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    longest = "n" * 255
    with replacing_folder(tmp_path / longest):
        pass
    write_text(tmp_path / ("f" * 251 + ".csv"), "")
    assert len(names(tmp_path)) == 2


def test_a_name_that_is_too_long_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="too long"):
        write_text(tmp_path / ("n" * 300), "")


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "through")
    reader.join(10)
    assert heard == ["through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_device_is_said_and_stays_a_device() -> None:
    with pytest.raises(StorageError, match="disk is full"):
        write_text("/dev/full", "words")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_folder_stands_in_the_way(tmp_path: Path) -> None:
    called = False
    with pytest.raises(StorageError, match="folder stands where a file"), replacing(tmp_path):
        called = True
    assert not called


def test_a_file_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(StorageError, match="file stands where a"), replacing_folder(target):
            pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("number", sorted(storage.REMEDIES))
def test_every_refusal_of_the_system_has_a_remedy(number: int) -> None:
    with pytest.raises(StorageError) as told, explaining("out.csv"):
        raise OSError(number, os.strerror(number))
    assert "out.csv" in told.value.problem
    assert told.value.remedy.endswith((".", "again."))


def test_other_troubles_pass_through() -> None:
    with pytest.raises(FileNotFoundError), explaining("out.csv"):
        raise FileNotFoundError(errno.ENOENT, "gone")


def test_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "x") == known


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CYTOWELL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("CYTOWELL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cytowell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "cytowell"


def test_a_name_that_no_disk_can_hold_is_not_there(tmp_path: Path) -> None:
    assert is_there(tmp_path)
    assert not is_there(tmp_path / "no")
    assert not is_there("n" * 300)
    assert not is_there("nul\0inside")


HOSTILE = st.text(st.sampled_from("=+-@\t\r\n';,\"\uff1d\uff0d ax1.e"), max_size=12)


@given(st.one_of(HOSTILE, st.text(max_size=20)))
def test_a_neutral_cell_is_no_formula_and_is_given_back(cell: str) -> None:
    made = neutral(cell)
    assert restored(made) == cell
    if made != cell:
        assert holds_neutral(made)
    try:
        float(cell)
    except ValueError:
        for part in re.split("[;\t\r\n]", made):
            assert part[:1] not in set("=+-@\uff1d\uff0b\uff0d\uff20")


@pytest.mark.parametrize("cell", ["1", "-0.5", "+2e-05", "-inf", "a.jpg", "l'homme", "2026-01-01"])
def test_numbers_and_plain_words_stay_as_they_are(cell: str) -> None:
    assert neutral(cell) == cell


def test_a_negative_number_with_something_after_it_is_none() -> None:
    assert neutral("-1+1") == "'-1+1"
    assert neutral("x;=1+1") == "x;'=1+1", "where semicolons part cells"


@given(st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_table_for_spreadsheets_is_read_back_unchanged(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    place = tmp_path / "calls.csv"
    # A line's end in a name is written by pandas as it is; see the reader's own tests.
    rows = [(f"n{a}".replace("\r", ""), b.replace("\r", "")) for a, b in rows]
    pd.DataFrame(rows, columns=["path", "who"]).to_csv(place, index=False)
    for_spreadsheets(place)
    with place.open(newline="") as handle:
        for row in csv.reader(handle):
            assert all(cell[:1] not in set("=@\t\r\n") for cell in row)
    frame = read_texts(place)
    assert list(frame.itertuples(index=False, name=None)) == rows
