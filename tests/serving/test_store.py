"""Jobs and the trail in SQLite and in PostgreSQL: what is kept, what is noticed."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from cytowell.errors import StorageError
from cytowell.serving.signing import read_or_make
from cytowell.serving.store import Store, Waiting, url_of
from cytowell.serving.trail import FIRST

Runner = Any


def answer(name: str) -> dict[str, Any]:
    return {"path": name, "label": "x"}


def test_a_job_from_beginning_to_end(store: Store) -> None:
    store.add_job("one", "blood", [("a.png", "0" * 64), ("b.png", "1" * 64)])
    store.add_job("two", "blood", [("c.png", "2" * 64)])
    slips = store.waiting(10)
    assert slips == [
        Waiting("one", "blood", 0, "a.png"),
        Waiting("one", "blood", 1, "b.png"),
        Waiting("two", "blood", 0, "c.png"),
    ]
    assert len(store.waiting(2)) == 2
    store.answer([(slips[1], answer("b.png"))])
    state = store.job("one")
    assert state is not None
    assert (state.total, state.done) == (2, 1)
    assert state.answers == (None, answer("b.png"))
    store.answer([(slips[1], answer("other"))])
    again = store.job("one")
    assert again is not None
    assert again.answers[1] == answer("b.png"), "an answer that was given stays"
    assert store.job("three") is None
    store.answer([(slips[0], answer("a.png"))])
    assert store.expire(timedelta(0)) == ["one"], "what is not done is never forgotten"
    assert store.job("one") is None


def test_what_was_kept_is_there_after_a_restart(store: Store) -> None:
    store.add_job("one", "blood", [("a.png", "0" * 64)])
    last = store.last()
    other = Store(store.url, store.key)
    assert other.waiting(5)[0].name == "a.png"
    assert other.last() == last
    other.close()


def test_the_trail_holds(store: Store) -> None:
    assert store.last() == FIRST
    assert store.verify() == (0, "")
    hashes = [
        store.record("override", {"from": "ig", "to": "neutrophil", "n": i}) for i in range(5)
    ]
    assert len(set(hashes)) == 5
    assert store.last() == hashes[-1]
    assert store.verify() == (5, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE trail SET what = '{}' WHERE number = 2", "record 2 was changed"),
        ("UPDATE trail SET at = '2020' WHERE number = 5", "record 5 was changed"),
        ("DELETE FROM trail WHERE number = 3", "record 3 is missing"),
        ("DELETE FROM trail WHERE number = 5", "taken out"),
        ("UPDATE trail_end SET hash = 'x', number = 4", "taken out"),
    ],
)
def test_whoever_rewrites_the_trail_is_noticed(store: Store, change: str, said: str) -> None:
    for i in range(5):
        store.record("call", {"n": i})
    engine = create_engine(store.url)
    with engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    assert said in store.verify()[1]


def test_two_who_write_at_once_make_one_chain(store: Store) -> None:
    def write() -> None:
        for i in range(10):
            store.record("call", {"n": i})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.verify() == (40, "")


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "cytowell.db").write_bytes(b"no database at all, but a text of some length")
    with pytest.raises(StorageError, match="cannot be opened"):
        Store(url_of(tmp_path), read_or_make(tmp_path / "audit.key"))
    with pytest.raises(StorageError, match="cannot be opened"):
        Store("postgresql+pg8000://lab:secret@127.0.0.1:1/none", None)


def test_a_password_is_never_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Store("postgresql+pg8000://lab:secret@127.0.0.1:1/none", None)
    assert "secret" not in str(caught.value)


def test_audit_verify(cli: Runner, tmp_path: Path) -> None:
    store = Store(url_of(tmp_path), read_or_make(tmp_path / "audit.key"))
    store.record("call", {"n": 1})
    last = store.last()
    said = cli("audit", "verify", "--data", tmp_path)
    assert said.status == 0
    assert f"1 records hold; last hash {last}" in said.out
    engine = create_engine(store.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE trail SET kind = 'x'"))
    engine.dispose()
    store.close()
    said = cli("audit", "verify", "--data", tmp_path)
    assert said.status == 1
    assert "BROKEN: record 1 was changed" in said.out
    assert "no trail" in cli("audit", "verify", "--data", tmp_path / "none").err


def test_the_database_is_private(tmp_path: Path) -> None:
    made = Store(url_of(tmp_path), read_or_make(tmp_path / "audit.key"))
    made.record("x", {})
    modes = {f.name: f.stat().st_mode & 0o777 for f in tmp_path.glob("cytowell.db*")}
    made.close()
    assert len(modes) >= 2
    assert set(modes.values()) == {0o600}
