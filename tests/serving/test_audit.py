"""The audit trail: whatever is changed behind the server's back is found."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from cytowell.errors import StorageError
from cytowell.serving import signing
from cytowell.serving.audit import audited
from cytowell.serving.house import unnamed
from cytowell.serving.kept import Said
from cytowell.serving.signing import SigningKey, read_or_make
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Gone, Store, url_of
from cytowell.serving.tables import Base, RecordRow, TailRow
from cytowell.serving.trail import hash_of

EARLIER = Path(__file__).with_name("earlier")
TABLES = ("jobs", "images", "sittings", "calls", "overrides", "trail", "trail_end")
CLASSES = ("x", "y")


def photographs(folder: Path, names: Sequence[str]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode() * 20)
    return [folder / name for name in names]


def fill(store: Store, folder: Path) -> tuple[Sittings, str]:
    """Keep a job, and a sitting with calls, corrected boxes and words."""
    sittings = Sittings(store, folder / "sittings")
    store.add_job("a" * 32, "blood", [("a.png", "0" * 64), ("b.png", "1" * 64)])
    slips = store.waiting(5)
    store.answer([(slips[0], {"path": "a.png", "label": "x"})])
    made = sittings.begin("plate 7", "blood", "d" * 64, CLASSES)
    places = sittings.take_in(made, photographs(folder / "given", ["a.jpg", "b.jpg", "c.jpg"]))
    sittings.keep(made, unnamed(places, CLASSES))
    sittings.say(made, 0, Said(1, "x", "Dr A", "", "smudged"))
    sittings.say(made, 2, Said(1, "y", "Dr A", "", ""))
    sittings.keep(made, unnamed(places[2:], CLASSES), [2])
    sittings.say(made, 0, Said(2, "y", "Dr B", "", "", verified=True))
    return sittings, made


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    fill(store, tmp_path / "data")
    assert store.verify()[1] == ""
    return store


MANIPULATIONS = {
    "a sitting erased with its calls": (
        ["DELETE FROM overrides", "DELETE FROM calls", "DELETE FROM sittings"],
        "was taken out",
    ),
    "a title changed": (["UPDATE sittings SET title = 'plate 8'"], "title, bundle or date"),
    "a bundle changed": (["UPDATE sittings SET bundle = 'other'"], "title, bundle or date"),
    "a date changed": (["UPDATE sittings SET created = '2020'"], "title, bundle or date"),
    "a date of last use changed": (["UPDATE sittings SET touched = '2020'"], "date"),
    "an answer of a job changed": (
        ["UPDATE images SET answer = '{}' WHERE position = 0"],
        "answers of job",
    ),
    "an answer of a job added": (
        ["UPDATE images SET answer = '{}' WHERE position = 1"],
        "answers of job",
    ),
    "an image of a job exchanged": (
        ["UPDATE images SET sha256 = '2' WHERE position = 1"],
        "images of job",
    ),
    "a job erased": (["DELETE FROM images", "DELETE FROM jobs"], "was taken out"),
    "a job given to somebody else": (["UPDATE jobs SET owner = 'x'"], "was changed"),
    "a call added": (
        ["INSERT INTO calls SELECT sitting, 9, file, sha256, row FROM calls WHERE position = 0"],
        "were added",
    ),
    "a call taken out": (["DELETE FROM calls WHERE position = 1"], "changed or taken out"),
    "the digest of a photograph changed": (
        ["UPDATE calls SET sha256 = 'x' WHERE position = 1"],
        "changed or taken out",
    ),
    "a call changed in a batch of which a box was corrected": (
        ["UPDATE calls SET file = 'x' WHERE position = 0"],
        "changed or taken out",
    ),
    "who said it changed": (["UPDATE overrides SET who = 'Dr C'"], "was changed"),
    "a typed name made a verified one": (["UPDATE overrides SET verified = 1"], "was changed"),
    "a word added": (
        [
            "INSERT INTO overrides SELECT sitting, 1, 1, at, label, who, why, verified "
            "FROM overrides WHERE number = 2"
        ],
        "was added",
    ),
    "the end without a signature": (["UPDATE trail_end SET signature = ''"], "not signed"),
    "the seam moved": (["UPDATE trail_end SET sealed = 3"], "not signed"),
    "no end": (["DELETE FROM trail_end"], "missing"),
    "everything erased": ([f"DELETE FROM {t}" for t in reversed(TABLES)], "missing"),
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_a_manipulation_is_found(filled: Store, name: str) -> None:
    changes, said = MANIPULATIONS[name]
    with filled.session() as session:
        for change in changes:
            session.execute(text(change))
    assert said in filled.verify()[1]


def rewound(session: Session) -> str:
    """Take the last record and word away and set the end to what is left; give the hash lost."""
    last = session.scalars(select(RecordRow).order_by(RecordRow.number.desc()).limit(2)).all()
    session.execute(text("DELETE FROM overrides WHERE number = 2"))
    session.delete(last[0])
    end = session.get(TailRow, 1)
    assert end is not None
    end.number, end.hash = last[1].number, last[1].hash
    session.execute(text(f"UPDATE sittings SET touched = '{last[1].at}'"))
    return last[0].hash


def test_a_last_word_taken_away_with_its_record_is_found(filled: Store) -> None:
    with filled.session() as session:
        lost = rewound(session)
    assert filled.key is not None
    public = filled.key.public
    assert "not signed by this key" in filled.audit(public).wrong
    assert "not signed" in filled.audit(public, expect=lost).wrong


def test_an_older_copy_put_back_is_found_by_the_hash_that_was_printed(
    store: Store, tmp_path: Path
) -> None:
    sittings, made = fill(store, tmp_path / "data")
    assert store.key is not None
    public = store.key.public
    with store.reading() as session:
        end = session.get(TailRow, 1)
        assert end is not None
        before = (end.number, end.hash, end.signature, sittings.about(made).touched)
    printed = store.last()
    assert store.audit(public, expect=printed).expected == before[0]
    sittings.say(made, 0, Said(3, "x", "Dr A", "", ""))
    later = store.last()
    assert store.audit(public, expect=printed).wrong == "", "what was printed before stays true"
    with store.session() as session:
        session.execute(text("DELETE FROM overrides WHERE number = 3"))
        session.execute(text(f"DELETE FROM trail WHERE number > {before[0]}"))
        for table, column, value in (
            ("trail_end", "number", before[0]),
            ("trail_end", "hash", before[1]),
            ("trail_end", "signature", before[2]),
            ("sittings", "touched", before[3]),
        ):
            session.execute(text(f"UPDATE {table} SET {column} = :value"), {"value": value})
    assert store.audit(public).wrong == "", "it is the trail as it once was"
    assert "expected hash" in store.audit(public, expect=later).wrong


def test_a_trail_forged_without_the_key_is_found(tmp_path: Path) -> None:
    true = read_or_make(tmp_path / "true.key")
    forger = read_or_make(tmp_path / "forged.key")
    forged = Store(url_of(tmp_path), forger)
    fill(forged, tmp_path / "data")
    assert forged.verify()[1] == ""
    assert "not signed by this key" in forged.audit(true.public).wrong
    forged.close()
    with pytest.raises(StorageError, match="not signed by the key"):
        Store(url_of(tmp_path), true)


def test_what_was_changed_is_not_signed_over(filled: Store) -> None:
    with filled.session() as session:
        rewound(session)
    with pytest.raises(StorageError, match="audit verify"):
        filled.record("bundle", {"digest": "x"})


def test_what_was_forgotten_is_a_record(store: Store, tmp_path: Path) -> None:
    sittings, _ = fill(store, tmp_path / "data")
    sittings.expire(timedelta(0))
    store.answer([(s, {}) for s in store.waiting(5)])
    assert store.expire(timedelta(0)) == ["a" * 32]
    with store.reading() as session:
        kinds = session.scalars(select(RecordRow.kind).order_by(RecordRow.number)).all()
    assert kinds[-3:] == ["deleted", "answers", "expired"]
    assert kinds[:4] == ["job", "answers", "begun", "calls"]
    assert store.verify() == (len(kinds), "")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("audited")
    store = Store(url_of(folder), read_or_make(folder / "audit.key"))
    fill(store, folder / "data")
    yield store
    store.close()


def other(value: Any, chance: random.Random) -> Any:
    """Give a value of the same kind that differs."""
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 1000))
    if not value:
        return "x"
    at = chance.randrange(len(value))
    return chance.choice((value + " ", value[:at], value[:at] + "\u00e9" + value[at + 1 :]))


@given(st.sampled_from(TABLES), st.sampled_from(["update", "insert", "delete"]), st.integers())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_single_change_of_an_audited_table_is_found(
    one: Store, table: str, how: str, seed: int
) -> None:
    chance = random.Random(seed)
    assert one.key is not None
    columns = [c.name for c in Base.metadata.tables[table].columns]
    with one.session() as session:
        session.execute(text("PRAGMA defer_foreign_keys = ON"))
        # Cascades would make more than one change.
        rows = session.execute(text(f"SELECT rowid AS place, * FROM {table}")).mappings().all()
        row = dict(chance.choice(rows))
        place = row.pop("place")
        if how == "delete":
            if table in ("jobs", "sittings"):
                return
            session.execute(text(f"DELETE FROM {table} WHERE rowid = {place}"))
        elif how == "update":
            column = chance.choice(columns)
            value = other(row[column], chance)
            change = f"UPDATE OR IGNORE {table} SET {column} = :value WHERE rowid = {place}"
            session.execute(text(change), {"value": value})
            now = session.execute(text(f"SELECT {column} FROM {table} WHERE rowid = {place}"))
            if now.scalar() == row[column]:
                return  # the key of another row
        else:
            keys = [c.name for c in Base.metadata.tables[table].primary_key]
            for key in keys:
                row[key] = other(row[key], chance)
            names = ", ".join(columns)
            marks = ", ".join(f":{c}" for c in columns)
            session.execute(text(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"), row)
            if len(rows) == len(session.execute(text(f"SELECT 1 FROM {table}")).all()):
                return
        session.expire_all()
        found = audited(session, one.key.public).wrong
        session.rollback()
    assert found, f"{how} in {table} was not found"


def test_every_table_is_audited(one: Store) -> None:
    there = set(inspect(one._engine).get_table_names()) - {"alembic_version"}
    assert there == set(TABLES)


# Databases of earlier versions


def earlier(folder: Path, version: str) -> Path:
    """Give a database that an earlier version has written."""
    folder.mkdir(exist_ok=True)
    with sqlite3.connect(folder / "cytowell.db") as connection:
        connection.executescript((EARLIER / f"{version}.sql").read_text())
    connection.close()
    return folder


@pytest.mark.parametrize(("version", "records", "adopted"), [("v1", 2, 1), ("v2", 7, 2)])
def test_a_database_of_an_earlier_version_is_taken_in_behind_a_seam(
    tmp_path: Path, version: str, records: int, adopted: int
) -> None:
    folder = earlier(tmp_path / "data", version)
    store = Store(url_of(folder), read_or_make(folder / "audit.key"))
    assert store.key is not None
    found = store.audit(store.key.public)
    assert (found.wrong, found.sealed, found.records) == ("", records, records + adopted + 1)
    store.answer([(slip, {"path": slip.name}) for slip in store.waiting(5)])
    assert store.verify()[1] == ""
    store.close()
    again = Store(url_of(folder), signing.read(folder / "audit.key"))
    assert again.verify() == (records + adopted + 2, "")
    again.close()


def test_a_sitting_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    folder = earlier(tmp_path / "data", "v2")
    store = Store(url_of(folder), read_or_make(folder / "audit.key"))
    sittings = Sittings(store, folder / "sittings")
    (made,) = [s.id for s in sittings.listed()]
    sittings.say(made, 0, Said(3, "x", "Dr C", "", ""))
    sittings.keep(made, unnamed(["/old/a.png"], CLASSES), [0])
    assert store.verify()[1] == ""
    with store.session() as session:
        session.execute(text("UPDATE calls SET file = '/new/b.png' WHERE position = 1"))
    assert "changed or taken out" in store.verify()[1]
    store.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE overrides SET who = 'Dr Z' WHERE position = 1", "word at 1"),
        ("DELETE FROM overrides WHERE position = 1", "word at 1"),
        ("UPDATE calls SET row = '{}' WHERE position = 3", "calls of sitting"),
        ("UPDATE trail SET kind = 'x' WHERE number = 3", "record 3 was changed"),
        (
            "INSERT INTO overrides SELECT sitting, 3, 1, at, label, who, why FROM overrides "
            "WHERE position = 1",
            "was added",
        ),
    ],
)
def test_what_was_changed_before_the_seam_is_found_by_the_rule_of_then(
    tmp_path: Path, change: str, said: str
) -> None:
    folder = earlier(tmp_path / "data", "v2")
    with sqlite3.connect(folder / "cytowell.db") as connection:
        connection.execute(change)
    connection.close()
    store = Store(url_of(folder), read_or_make(folder / "audit.key"))
    assert said in store.verify()[1]
    store.close()


def test_an_earlier_database_does_not_take_the_place_of_a_signed_one(tmp_path: Path) -> None:
    key = read_or_make(tmp_path / "audit.key")
    Store(url_of(tmp_path), key).close()
    folder = earlier(tmp_path / "other", "v2")
    with pytest.raises(StorageError, match="in use already"):
        Store(url_of(folder), signing.read(tmp_path / "audit.key"))
    with pytest.raises(StorageError, match="of another version"):
        Store(url_of(folder), None)


def test_the_hash_of_a_record_is_what_it_was(tmp_path: Path) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.executescript((EARLIER / "v1.sql").read_text())
        rows = connection.execute("SELECT * FROM trail ORDER BY number").fetchall()
    connection.close()
    previous = "0" * 64
    for number, at, kind, what, digest in rows:
        assert hash_of(previous, number, at, kind, what) == digest
        previous = digest


# Readers and writers


def test_an_open_reader_blocks_no_writer(filled: Store) -> None:
    took = []

    def write() -> None:
        start = time.monotonic()
        filled.record("bundle", {"digest": "x"})
        took.append(time.monotonic() - start)

    with filled.reading() as session:
        before = len(session.scalars(select(RecordRow)).all())
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(timeout=9)
        assert took, "a writer waited for a reader"
        session.expire_all()
        assert len(session.scalars(select(RecordRow)).all()) == before, "one moment is read"
    assert filled.verify()[1] == ""


def test_a_reader_cannot_write(filled: Store) -> None:
    with pytest.raises((Gone, DBAPIError)), filled.reading() as session:
        session.execute(text("UPDATE jobs SET bundle = 'x'"))
    filled.record("bundle", {"digest": "x"})
    assert filled.verify()[1] == ""


def test_a_full_disk_is_said_as_that(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path), read_or_make(tmp_path / "audit.key"))

    def fill_the_disk() -> None:
        with store.session() as session:
            session.execute(text("PRAGMA max_page_count = 1"))
            store.append(session, "bundle", {"digest": "x" * 100_000})

    with pytest.raises(StorageError, match="no room left"):
        fill_the_disk()
    store.close()


# The key


def test_the_key_is_private_and_stays(tmp_path: Path) -> None:
    made = read_or_make(tmp_path / "a" / "audit.key")
    assert made.new
    assert made.file.stat().st_mode & 0o777 == 0o600
    again = read_or_make(made.file)
    assert not again.new
    assert again.public.text == made.public.text
    signature = made.sign(b"x")
    public = signing.public_key(made.public.text)
    assert public.verifies(signature, b"x")
    assert not public.verifies(signature, b"y")
    assert not public.verifies("zz", b"x")
    made.file.chmod(0o644)
    with pytest.raises(StorageError, match="Everybody"):
        read_or_make(made.file)
    made.file.chmod(0o600)
    made.file.write_text("no key")
    with pytest.raises(StorageError, match="no signing key"):
        signing.read(made.file)
    with pytest.raises(StorageError, match="no public key"):
        signing.public_key("12")


def test_where_the_key_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(signing.ENVIRONMENT, raising=False)
    assert signing.key_file(tmp_path) == tmp_path / "audit.key"
    monkeypatch.setenv(signing.ENVIRONMENT, "/elsewhere/audit.key")
    assert signing.key_file(tmp_path) == Path("/elsewhere/audit.key")
    assert signing.key_file(tmp_path, "/given") == Path("/given")


def other_key(folder: Path) -> SigningKey:
    return read_or_make(folder / "other.key")


def test_audit_verify_on_the_command_line(cli: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    store = Store(url_of(data), read_or_make(data / "audit.key"))
    sittings, made = fill(store, data)
    uploads = data / "uploads" / ("a" * 32)
    public = cli("audit", "key", "--data", data).out.strip()
    assert store.key is not None
    assert public == store.key.public.text
    first = store.last()
    said = cli("audit", "verify", "--data", data, "--no-photographs", "--expect", first)
    assert said.status == 0, said
    assert "The expected hash is that of record" in said.out
    said = cli("audit", "verify", "--data", data, "--public-key", other_key(tmp_path).public.text)
    assert said.status == 1
    assert "not signed by this key" in said.out
    said = cli("audit", "verify", "--data", data, "--expect", "f" * 64)
    assert said.status == 1
    assert "expected hash" in said.out
    said = cli("audit", "verify", "--data", data)
    assert said.status == 1
    assert "image 0 of job" in said.out
    store.close()
    assert not uploads.exists()
    assert sittings.calls(made)


def test_a_photograph_that_was_replaced_is_found(store: Store, tmp_path: Path) -> None:
    data = tmp_path / "data"
    sittings, made = fill(store, data)
    store.answer([(s, {}) for s in store.waiting(5)])
    store.expire(timedelta(0))
    assert store.photographs(data).wrong == ""
    assert store.photographs(data).same == 3
    file = Path(sittings.calls(made)[1].file)
    before = file.read_bytes()
    file.write_bytes(b"another")
    assert "b.jpg" in store.photographs(data).wrong
    assert "replaced" in store.photographs(data).wrong
    file.unlink()
    assert "taken out" in store.photographs(data).wrong
    file.write_bytes(before)
    assert store.photographs(data).wrong == ""
