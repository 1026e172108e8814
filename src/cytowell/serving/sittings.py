"""Sittings: photographs that were called together, and what people said of the calls.

A call is kept as the command line writes it. What a person says is added beside it, with name,
time and reason; nothing is overwritten, and each is a record of the trail by its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cytowell.errors import CytowellError, StorageError
from cytowell.runtime.calls import named_rows
from cytowell.serving.kept import CallRow, Kept, OverrideRow, Said, Sitting, SittingRow
from cytowell.serving.store import RecordRow, Store, appended, chain_of, now
from cytowell.storage import explaining, sha256
from cytowell.types import Predictions

KEPT = timedelta(days=30)
"""How long a sitting and its photographs are kept."""

TITLE = 255
"""Letters of a title, at most."""

WORDS = ("truth", "who", "when", "why")

LISTED = 50
"""Sittings that a page offers."""

QUOTA = 20 << 30
"""Bytes of photographs that are kept at once."""


class Taken(CytowellError):
    """Somebody else has decided in the meantime; their word stands beside yours."""


class Expired(CytowellError):
    """The sitting is not kept any more."""


class Sittings:
    """Keeps sittings in the store, their photographs in a private folder.

    Parameters
    ----------
    folder
        Each sitting has a folder in it.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self._folder = folder
        with explaining(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(
        self, title: str, bundle: str = "", digest: str = "", classes: Sequence[str] = ()
    ) -> str:
        """Begin a sitting; give its name, which nobody can guess."""
        self.expire()
        name, at = uuid.uuid4().hex, now()
        (self._folder / name).mkdir(mode=0o700)
        with self.store.session() as session:
            session.add(
                SittingRow(
                    id=name,
                    created=at,
                    touched=at,
                    title=title[:TITLE],
                    bundle=bundle,
                    digest=digest,
                    classes=json.dumps(list(classes)),
                )
            )
        return name

    @contextlib.contextmanager
    def beginning(
        self, title: str, bundle: str = "", digest: str = "", classes: Sequence[str] = ()
    ) -> Iterator[str]:
        """Begin a sitting that is forgotten again if what belongs into it goes wrong."""
        name = self.begin(title, bundle, digest, classes)
        try:
            yield name
        except BaseException:
            with contextlib.suppress(CytowellError):
                self._forget([name])
            raise

    def take_in(self, sitting: str, photographs: Sequence[str | Path]) -> list[str]:
        """Copy photographs into the sitting's folder; give where they lie now, in order.

        Raises
        ------
        StorageError
            If they have no room; none is copied then.
        """
        sources = [Path(p) for p in photographs]
        used = sum(f.stat().st_size for f in self._folder.glob("*/*/*"))
        if used + sum(f.stat().st_size for f in sources) > QUOTA:
            raise StorageError("The photographs that may be kept fill their room.", "Wait.")
        out = []
        for i, source in enumerate(sources):
            into = self._folder / sitting / str(i)
            with explaining(into):
                into.mkdir(mode=0o700)
                target = into / source.name
                shutil.copyfile(source, target)
                target.chmod(0o600)
            out.append(str(target))
        return out

    def keep(self, sitting: str, calls: Predictions, without: Sequence[int] = ()) -> None:
        """Add calls to a sitting, after those that are there.

        Parameters
        ----------
        without
            Positions of calls that are taken out, with what was said of them: a person has moved
            or taken out their boxes.
        """
        known = frozenset({"group", "box"} if any(s.box for s in calls.samples) else set())
        rows = named_rows(calls, known)
        hashes = {s.path: _hash_of(s.path) for s in calls.samples}
        with self.store.session() as session:
            self._require(session, sitting).touched = now()
            last = select(func.max(CallRow.position)).where(CallRow.sitting == sitting)
            first = session.scalar(last)  # of those that go too: no position is used twice
            begin = 0 if first is None else first + 1
            for table in (OverrideRow, CallRow):
                mine = (table.sitting == sitting, table.position.in_(without))
                session.execute(delete(table).where(*mine))
            texts = [json.dumps(row, ensure_ascii=False) for row in rows]
            for i, (sample, text) in enumerate(zip(calls.samples, texts, strict=True)):
                session.add(
                    CallRow(
                        sitting=sitting,
                        position=begin + i,
                        file=sample.path,
                        sha256=hashes[sample.path],
                        row=text,
                    )
                )
            what: dict[str, Any] = {"sitting": sitting, "first": begin, "calls": digest_of(texts)}
            what |= {"count": len(rows)} | ({"without": list(without)} if without else {})
            appended(session, "boxes" if without else "calls", what)

    def say(self, sitting: str, position: int, said: Said) -> None:
        """Keep what a person says of a call.

        Parameters
        ----------
        said
            Its number is one more than that of the last word that the person has seen.

        Raises
        ------
        Taken
            If somebody else has said something since.
        Expired
            If the sitting is not kept any more.
        """
        if not said.who.strip():
            raise CytowellError("Nobody said who decides.", "Write your name.")
        when = said.when or now()
        words = {"label": said.label, "who": said.who, "why": said.why, "at": when}
        try:
            with self.store.session() as session:
                self._require(session, sitting).touched = now()
                if session.get(CallRow, (sitting, position)) is None:
                    raise Expired("This call is not kept any more.", "Reload the sitting.")
                if session.get(OverrideRow, (sitting, position, said.number)) is not None:
                    raise IntegrityError("taken", None, ValueError("taken"))
                session.add(
                    OverrideRow(sitting=sitting, position=position, number=said.number, **words)
                )
                session.flush()
                what = {"sitting": sitting, "position": position, "number": said.number}
                appended(session, "said", {**what, "digest": digest_of(_spoken(**words))})
        except IntegrityError as error:
            last = self.calls(sitting, [position])[0].said[-1]
            raise Taken(
                f"{last.who} decided {last.label or 'that nobody can'} at {last.when}.",
                "Look again: yours was not kept.",
            ) from error

    def latest(self, sitting: str, most: int) -> list[Kept]:
        """Give a sitting's last calls, latest first."""
        last = select(CallRow.position).where(CallRow.sitting == sitting)
        with self.store.session() as session:
            positions = session.scalars(last.order_by(CallRow.position.desc()).limit(most)).all()
        return self.calls(sitting, positions)[::-1]

    def find(self, title: str, digest: str) -> str:
        """Give the sitting of this title and bundle that was touched last, "" if there is none."""
        wanted = select(SittingRow.id).where(
            SittingRow.title == title[:TITLE], SittingRow.digest == digest
        )
        with self.store.session() as session:
            found = session.scalar(wanted.order_by(SittingRow.touched.desc()).limit(1))
        return found or ""

    def calls(self, sitting: str, positions: Sequence[int] | None = None) -> list[Kept]:
        """Give a sitting's calls in order, all or those at some positions.

        Raises
        ------
        Expired
            If the sitting is not kept any more.
        """
        wanted = select(CallRow).where(CallRow.sitting == sitting).order_by(CallRow.position)
        words = select(OverrideRow).where(OverrideRow.sitting == sitting)
        if positions is not None:
            wanted = wanted.where(CallRow.position.in_(positions))
            words = words.where(OverrideRow.position.in_(positions))
        with self.store.session() as session:
            self._require(session, sitting)
            said: dict[int, list[Said]] = {}
            for w in session.scalars(words.order_by(OverrideRow.number)):
                said.setdefault(w.position, []).append(Said(w.number, w.label, w.who, w.at, w.why))
            return [
                Kept(
                    c.position, c.file, c.sha256, json.loads(c.row), tuple(said.get(c.position, ()))
                )
                for c in session.scalars(wanted)
            ]

    def about(self, sitting: str) -> Sitting:
        """Say which sitting it is."""
        with self.store.session() as session:
            return _told(self._require(session, sitting))

    def listed(self) -> list[Sitting]:
        """Give the latest sittings, latest first."""
        latest = select(SittingRow).order_by(SittingRow.touched.desc()).limit(LISTED)
        with self.store.session() as session:
            return [_told(row) for row in session.scalars(latest)]

    def frame(self, sitting: str, paths: bool = False) -> pd.DataFrame:
        """Give calls as the command line's table, with `truth, who, when, why` of the last word.

        Parameters
        ----------
        paths
            Where the photographs lie on this machine, in place of their base names.
        """
        rows = []
        for kept in self.calls(sitting):
            last = kept.said[-1] if kept.said else None
            row = dict(kept.row)
            if paths:
                row["path"] = kept.file
            words = (
                ("", "", "", "") if last is None else (last.label, last.who, last.when, last.why)
            )
            rows.append({**row, **dict(zip(WORDS, words, strict=True))})
        return pd.DataFrame(rows, columns=None if rows else ["path", "label", *WORDS])

    def verify(self) -> tuple[int, str]:
        """Compute the trail anew, with it calls and people's words; give as `Store.verify`.

        What belongs to sittings that are not kept any more is not looked for.
        """
        with self.store.session(snapshot=True) as session:
            held, wrong = chain_of(session)
            return held, wrong or against_trail(session)

    def expire(self, older: timedelta = KEPT) -> None:
        """Forget sittings in which nothing has happened for so long, with their photographs."""
        before = (datetime.now(UTC) - older).isoformat()
        with self.store.session() as session:
            old = session.scalars(select(SittingRow.id).where(SittingRow.touched < before)).all()
        self._forget(old)

    def _forget(self, names: Sequence[str]) -> None:
        with self.store.session() as session:
            for table in (OverrideRow, CallRow):
                session.execute(delete(table).where(table.sitting.in_(names)))
            session.execute(delete(SittingRow).where(SittingRow.id.in_(names)))
        for name in names:
            shutil.rmtree(self._folder / name, ignore_errors=True)

    @staticmethod
    def _require(session: Session, sitting: str) -> SittingRow:
        row = session.get(SittingRow, sitting) if sitting else None
        if row is None:
            raise Expired("This sitting is not kept any more.", "Call the photographs again.")
        return row


def _told(row: SittingRow) -> Sitting:
    classes = tuple(json.loads(row.classes))
    return Sitting(row.id, row.created, row.touched, row.title, row.bundle, row.digest, classes)


def against_trail(session: Session) -> str:
    """Compare the calls and words that are kept with the trail; give "" or what is wrong."""
    kept = set(session.scalars(select(SittingRow.id)))
    rows = {(c.sitting, c.position): c.row for c in session.scalars(select(CallRow))}
    words = {
        (w.sitting, w.position, w.number): digest_of(_spoken(w.label, w.who, w.why, w.at))
        for w in session.scalars(select(OverrideRow))
    }
    gone: set[tuple[str, int]] = set()
    known: dict[tuple[str, int, int], str] = {}
    batches = []
    for record in session.scalars(select(RecordRow).order_by(RecordRow.number)):
        what = json.loads(record.what)
        if what.get("sitting") not in kept:
            continue
        if record.kind == "said":
            known[(what["sitting"], what["position"], what["number"])] = what["digest"]
        elif record.kind in ("calls", "boxes"):
            gone |= {(what["sitting"], position) for position in what.get("without", ())}
            batches.append(what)
    for what in batches:
        places = [(what["sitting"], what["first"] + i) for i in range(what["count"])]
        if gone.isdisjoint(places) and (
            any(p not in rows for p in places)
            or digest_of([rows[p] for p in places]) != what["calls"]
        ):
            return f"calls of sitting {what['sitting']} were changed or taken out"
    for key, digest in known.items():
        if key in words and words[key] != digest:
            return f"a person's word at {key[1]} of sitting {key[0]} was changed"
        if key not in words and key[:2] not in gone:
            return f"a person's word at {key[1]} of sitting {key[0]} was taken out"
    return "a person's word was added" if words.keys() - known.keys() else ""


def _spoken(label: str, who: str, why: str, at: str) -> list[str]:
    return [label, who, why, at]


def digest_of(texts: Sequence[str]) -> str:
    """Give one SHA-256 of texts in order."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _hash_of(path: str) -> str:
    try:
        return sha256(path)
    except OSError:
        return ""
