"""Sittings: photographs that were called together, and what people said of the calls.

A call is kept as the command line writes it. What a person says is added beside it, with name,
time and reason; nothing is overwritten. Whatever is kept, said or forgotten is a record of the
trail with the hashes of all columns, those of the photographs among them.
"""

from __future__ import annotations

import contextlib
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
from cytowell.serving.conflicts import conflict_of, plain, require_version
from cytowell.serving.kept import (
    CallRow,
    Kept,
    OverrideRow,
    Said,
    Sitting,
    SittingRow,
)
from cytowell.serving.photographs import digest_of_file, require_unchanged
from cytowell.serving.store import Store, last_of
from cytowell.serving.tables import digest_of
from cytowell.serving.trail import now
from cytowell.storage import explaining
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
        row = SittingRow(
            id=name,
            created=at,
            touched=at,
            title=title[:TITLE],
            bundle=bundle,
            digest=digest,
            classes=json.dumps(list(classes)),
        )
        what = {"sitting": name, "row": row.fingerprint}
        with self.store.session() as session:
            session.add(row)
            self.store.append(session, "begun", what, at)
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
                self._forget([name], "failed")
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

    def keep(
        self,
        sitting: str,
        calls: Predictions,
        without: Sequence[int] = (),
        seen: tuple[str, str] | None = None,
    ) -> None:
        """Add calls to a sitting, after those that are there.

        Parameters
        ----------
        without
            Positions of calls that are taken out, with what was said of them: a person has moved
            or taken out their boxes.
        seen
            A photograph and the version of it that the person saw.

        Raises
        ------
        ReviewConflict
            If the photograph has another version by now; nothing is taken out or added then.
        Expired
            If the sitting is not kept any more.
        """
        known = frozenset({"group", "box"} if any(s.box for s in calls.samples) else set())
        rows = named_rows(calls, known)
        hashes = {s.path: digest_of_file(s.path) for s in calls.samples}
        at = now()
        with self.store.session() as session:
            self._require(session, sitting, lock=True).touched = at
            if seen is not None:
                require_version(self._read(session, sitting, file=seen[0]), seen[1])
            last = select(func.max(CallRow.position)).where(CallRow.sitting == sitting)
            first = session.scalar(last)  # of those that go too: no position is used twice
            begin = 0 if first is None else first + 1
            mine = (CallRow.sitting == sitting, CallRow.position.in_(without))
            removed = [
                [c.position, c.fingerprint] for c in session.scalars(select(CallRow).where(*mine))
            ]
            for table in (OverrideRow, CallRow):
                gone = (table.sitting == sitting, table.position.in_(without))
                session.execute(delete(table).where(*gone))
            added = [
                CallRow(
                    sitting=sitting,
                    position=begin + i,
                    file=sample.path,
                    sha256=hashes[sample.path],
                    row=json.dumps(row, ensure_ascii=False),
                )
                for i, (sample, row) in enumerate(zip(calls.samples, rows, strict=True))
            ]
            session.add_all(added)
            what: dict[str, Any] = {"sitting": sitting, "first": begin, "count": len(added)}
            what |= {"rows": digest_of([row.fingerprint for row in added])}
            what |= {"removed": removed} if without else {}
            self.store.append(session, "boxes" if without else "calls", what, at)

    def say(self, sitting: str, position: int, said: Said) -> None:
        """Keep what a person says of a call.

        Parameters
        ----------
        said
            Its number is one more than that of the last word that the person has seen.

        Raises
        ------
        ReviewConflict
            If somebody else has said something since.
        Expired
            If the sitting is not kept any more.
        """
        said = plain(said)
        at = now()
        row = OverrideRow(
            sitting=sitting, position=position, number=said.number, at=said.when or at,
            label=said.label, who=said.who, why=said.why, verified=int(said.verified),
        )  # fmt: skip
        what = {"sitting": sitting, "position": position, "number": said.number}
        what |= {"row": row.fingerprint}
        try:
            with self.store.session() as session:
                self._require(session, sitting, lock=True).touched = at
                before = self._read(session, sitting, positions=[position])
                if not before:
                    raise Expired("This call is not kept any more.", "Reload the sitting.")
                if said.number > len(before[0].said) + 1:
                    raise CytowellError("A word before this one is missing.", "Reload the page.")
                if said.number <= len(before[0].said):
                    raise conflict_of(before[0].said[said.number - 1 :])
                session.add(row)
                session.flush()
                call = str(before[0].row["label"])
                what |= {"as": "confirmed" if said.label == call else "corrected"}
                self.store.append(session, "said", what, at)
        except IntegrityError as error:
            raise conflict_of(self.calls(sitting, [position])[0].said[-1:]) from error

    def latest(self, sitting: str, most: int) -> list[Kept]:
        """Give a sitting's last calls, latest first."""
        last = select(CallRow.position).where(CallRow.sitting == sitting)
        with self.store.reading() as session:
            positions = session.scalars(last.order_by(CallRow.position.desc()).limit(most)).all()
        return self.calls(sitting, positions)[::-1]

    def find(self, title: str, digest: str) -> str:
        """Give the sitting of this title and bundle that was touched last, "" if there is none."""
        wanted = select(SittingRow.id).where(
            SittingRow.title == title[:TITLE], SittingRow.digest == digest
        )
        with self.store.reading() as session:
            found = session.scalar(wanted.order_by(SittingRow.touched.desc()).limit(1))
        return found or ""

    def calls(self, sitting: str, positions: Sequence[int] | None = None) -> list[Kept]:
        """Give a sitting's calls in order, all or those at some positions.

        Raises
        ------
        Expired
            If the sitting is not kept any more.
        """
        with self.store.reading() as session:
            return self._read(session, sitting, positions)

    def calls_at(self, sitting: str) -> tuple[list[Kept], str]:
        """Give a sitting's calls and the trail's last hash, both of one moment."""
        with self.store.reading() as session:
            return self._read(session, sitting), last_of(session)

    def _read(
        self,
        session: Session,
        sitting: str,
        positions: Sequence[int] | None = None,
        file: str = "",
    ) -> list[Kept]:
        """Give calls in order: all, those at some positions, or those of one photograph."""
        wanted = select(CallRow).where(CallRow.sitting == sitting).order_by(CallRow.position)
        words = select(OverrideRow).where(OverrideRow.sitting == sitting)
        if file:
            wanted = wanted.where(CallRow.file == file)
        if positions is not None:
            wanted = wanted.where(CallRow.position.in_(positions))
            words = words.where(OverrideRow.position.in_(positions))
        self._require(session, sitting)
        said: dict[int, list[Said]] = {}
        for w in session.scalars(words.order_by(OverrideRow.number)):
            word = Said(w.number, w.label, w.who, w.at, w.why, bool(w.verified))
            said.setdefault(w.position, []).append(word)
        return [
            Kept(c.position, c.file, c.sha256, json.loads(c.row), tuple(said.get(c.position, ())))
            for c in session.scalars(wanted)
        ]

    def about(self, sitting: str) -> Sitting:
        """Say which sitting it is."""
        with self.store.reading() as session:
            return _told(self._require(session, sitting))

    def listed(self) -> list[Sitting]:
        """Give the latest sittings, latest first."""
        latest = select(SittingRow).order_by(SittingRow.touched.desc()).limit(LISTED)
        with self.store.reading() as session:
            return [_told(row) for row in session.scalars(latest)]

    def frame(self, sitting: str, paths: bool = False) -> pd.DataFrame:
        """Give calls as the command line's table, with `truth, who, when, why` of the last word.

        Parameters
        ----------
        paths
            Where the photographs lie on this machine, in place of their base names.

        Raises
        ------
        PhotographChanged
            If `paths` are asked for and a file is not the photograph that was called.
        """
        return frame_of(self.calls(sitting), paths)

    def verify(self) -> tuple[int, str]:
        """Audit the trail and all that is kept; give as `Store.verify`."""
        return self.store.verify()

    def expire(self, older: timedelta = KEPT) -> None:
        """Forget sittings in which nothing has happened for so long, with their photographs."""
        before = (datetime.now(UTC) - older).isoformat()
        with self.store.reading() as session:
            old = session.scalars(select(SittingRow.id).where(SittingRow.touched < before)).all()
        if old:
            self._forget(old, "expired")

    def _forget(self, names: Sequence[str], why: str) -> None:
        with self.store.session() as session:
            there = [*session.scalars(select(SittingRow.id).where(SittingRow.id.in_(names)))]
            for table in (OverrideRow, CallRow):
                session.execute(delete(table).where(table.sitting.in_(there)))
            session.execute(delete(SittingRow).where(SittingRow.id.in_(there)))
            if there:
                self.store.append(session, "deleted", {"sittings": there, "why": why})
        for name in names:
            shutil.rmtree(self._folder / name, ignore_errors=True)

    @staticmethod
    def _require(session: Session, sitting: str, lock: bool = False) -> SittingRow:
        row = session.get(SittingRow, sitting, with_for_update=lock or None) if sitting else None
        if row is None:
            raise Expired("This sitting is not kept any more.", "Call the photographs again.")
        return row


def frame_of(calls: Sequence[Kept], paths: bool = False) -> pd.DataFrame:
    """Give calls as a table; see `Sittings.frame`."""
    rows = []
    for kept in calls:
        last = kept.said[-1] if kept.said else None
        row = dict(kept.row)
        if paths:
            require_unchanged(kept)
            row["path"] = kept.file
        words = ("", "", "", "") if last is None else (last.label, last.who, last.when, last.why)
        rows.append({**row, **dict(zip(WORDS, words, strict=True))})
    return pd.DataFrame(rows, columns=None if rows else ["path", "label", *WORDS])


def _told(row: SittingRow) -> Sitting:
    classes = tuple(json.loads(row.classes))
    return Sitting(row.id, row.created, row.touched, row.title, row.bundle, row.digest, classes)
