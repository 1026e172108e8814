"""What the server remembers: jobs, their images and answers, and a trail that is signed.

SQLite beside the uploads, or PostgreSQL by URL. Everything that is written has its record in the
trail (`trail`), in the same transaction; `audit` compares the two. The trail keeps hashes, never
images, so uploads can expire.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, delete, event, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from cytowell.errors import CytowellError, StorageError
from cytowell.serving.audit import Verdict, audited
from cytowell.serving.photographs import Known, Photographs, compared, photographs_of
from cytowell.serving.signing import PublicKey, SigningKey
from cytowell.serving.tables import ImageRow, JobRow, TailRow, digest_of
from cytowell.serving.trail import FIRST, TAIL, append, now, seal, signed_end
from cytowell.storage import REMEDIES

FULL = "53100"
"""PostgreSQL's code for a full disk."""


class Gone(CytowellError):
    """The database does not answer; it is asked again with the next request."""


@dataclass(frozen=True)
class Waiting:
    """An image that is to be called."""

    job: str
    bundle: str
    position: int
    name: str


@dataclass(frozen=True)
class JobState:
    """How far a job is; answers in order, None where one is not there yet."""

    job: str
    bundle: str
    created: str
    total: int
    done: int
    answers: tuple[Mapping[str, Any] | None, ...]
    owner: str = ""


class Store:
    """Jobs and the trail, in one database.

    Parameters
    ----------
    url
        SQLAlchemy's; see `url_of`.
    key
        Signs the end of the trail. Without it nothing is migrated, and nothing can be written.

    Raises
    ------
    StorageError
        If it cannot be opened, is of another version, or its trail is not signed by this key.
    """

    def __init__(self, url: str, key: SigningKey | None) -> None:
        self.url = url
        self.key = key
        try:
            self._engine = _engine(url)
            if self._engine.dialect.name == "sqlite" and self._engine.url.database:
                # What SQLite makes beside it has its rights.
                Path(self._engine.url.database).touch(mode=0o600)
            self._readers = self._engine.execution_options(reading=True)
            if self._engine.dialect.name != "sqlite":
                self._readers = self._readers.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            if key is None:
                self._require_version()
            else:
                migrate(self._engine, key)
                with Session(self._engine) as session, session.begin():
                    signed_end(session, key)
        except (DBAPIError, OSError, ImportError, CommandError) as error:
            said = str(error).splitlines()[0]
            raise StorageError(
                f"The database {self._engine_name(url)} cannot be opened ({said}).",
                "Check --data, or the address of PostgreSQL.",
            ) from error

    def _require_version(self) -> None:
        with self._readers.connect() as connection:
            if _version(connection) != _newest():
                raise StorageError(
                    f"The database {self._engine_name(self.url)} is of another version: "
                    "its trail has no signature.",
                    "Start cytowell serve with it once; that brings it to this version.",
                )

    @staticmethod
    def _engine_name(url: str) -> str:
        return url.rsplit("@", maxsplit=1)[-1]

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Give a transaction that writes: all of it is kept, or nothing.

        Raises
        ------
        Gone
            If the database does not answer.
        StorageError
            If its disk is full.
        """
        with _explained(), Session(self._engine) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a transaction that only reads, everything as it is at one moment.

        However long it is open, nobody who writes waits for it.

        Raises
        ------
        Gone
            If the database does not answer.
        """
        with _explained(), Session(self._readers) as session, session.begin():
            yield session

    def append(self, session: Session, kind: str, what: Mapping[str, Any], at: str = "") -> str:
        """Add a record to the trail within a transaction; give its hash.

        Raises
        ------
        StorageError
            If the trail was changed from outside, or the store was opened to read.
        """
        if self.key is None:
            raise StorageError("There is no key to sign the audit trail with.", "Give one.")
        return append(session, self.key, kind, what, at)

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def add_job(
        self, job: str, bundle: str, images: Sequence[tuple[str, str]], owner: str = ""
    ) -> None:
        """Keep a job; once this returns, it survives whatever happens to the process.

        Parameters
        ----------
        images
            Name and SHA-256 of each, in order.
        owner
            SHA-256 of the key that sent it, "" where none are used.
        """
        at = now()
        row = JobRow(id=job, created=at, bundle=bundle, total=len(images), owner=owner)
        rows = [
            ImageRow(job=job, position=i, name=name, sha256=digest)
            for i, (name, digest) in enumerate(images)
        ]
        what = {
            "job": job,
            "row": row.fingerprint,
            "images": digest_of([i.fingerprint for i in rows]),
        }
        with self.session() as session:
            session.add(row)
            session.flush()
            session.add_all(rows)
            self.append(session, "job", what, at)

    def waiting(self, most: int) -> list[Waiting]:
        """Give images without an answer, oldest job first."""
        with self.reading() as session:
            rows = session.execute(
                select(ImageRow.job, JobRow.bundle, ImageRow.position, ImageRow.name)
                .join(JobRow, JobRow.id == ImageRow.job)
                .where(ImageRow.answer.is_(None))
                .order_by(JobRow.created, JobRow.id, ImageRow.position)
                .limit(most)
            ).all()
        return [Waiting(*row) for row in rows]

    def answer(self, answers: Sequence[tuple[Waiting, Mapping[str, Any]]]) -> None:
        """Keep answers, each once: one that is there already stays."""
        jobs: dict[str, list[tuple[int, str]]] = {}
        for slip, answer in answers:
            jobs.setdefault(slip.job, []).append((slip.position, json.dumps(answer)))
        with self.session() as session:
            for job, given in jobs.items():
                taken = [(p, text) for p, text in given if _answered(session, job, p, text)]
                if taken:
                    what = {
                        "job": job,
                        "positions": [p for p, _ in taken],
                        "answers": digest_of([text for _, text in taken]),
                    }
                    self.append(session, "answers", what)

    def job(self, job: str) -> JobState | None:
        """Give how far a job is; None if there is none of this name."""
        with self.reading() as session:
            row = session.get(JobRow, job)
            if row is None:
                return None
            answers = session.scalars(
                select(ImageRow.answer).where(ImageRow.job == job).order_by(ImageRow.position)
            ).all()
            told = tuple(None if a is None else json.loads(a) for a in answers)
            done = sum(a is not None for a in told)
            return JobState(row.id, row.bundle, row.created, row.total, done, told, row.owner)

    def expire(self, older: timedelta) -> list[str]:
        """Forget jobs that are older and done; give their names, whose uploads may go too."""
        before = (datetime.now(UTC) - older).isoformat()
        open_jobs = select(ImageRow.job).where(ImageRow.answer.is_(None))
        wanted = select(JobRow.id).where(JobRow.created < before, JobRow.id.not_in(open_jobs))
        with self.reading() as session:
            if session.scalar(wanted.limit(1)) is None:
                return []
        with self.session() as session:
            old = [*session.scalars(wanted)]
            session.execute(delete(ImageRow).where(ImageRow.job.in_(old)))
            session.execute(delete(JobRow).where(JobRow.id.in_(old)))
            if old:
                self.append(session, "expired", {"jobs": old})
        return old

    def record(self, kind: str, what: Mapping[str, Any]) -> str:
        """Add a record to the trail; give its hash, which a report prints."""
        with self.session() as session:
            return self.append(session, kind, what)

    def last(self) -> str:
        """Give the trail's last hash."""
        with self.reading() as session:
            return last_of(session)

    def verify(self) -> tuple[int, str]:
        """Audit everything with this store's own key; give how many records hold, and what not."""
        assert self.key is not None
        verdict = self.audit(self.key.public)
        return verdict.records, verdict.wrong

    def audit(self, public: PublicKey, expect: str = "") -> Verdict:
        """Compute the trail anew and compare with it all that is kept; see `audit.audited`."""
        with self.reading() as session:
            return audited(session, public, expect)

    def photographs(self, data: Path) -> Photographs:
        """Compare the photographs that are kept with their SHA-256; see `photographs.compared`."""

        def known() -> list[Known]:
            with self.reading() as session:
                return photographs_of(session, data)

        return compared(known(), data, known)


def last_of(session: Session) -> str:
    """Give the trail's last hash as a transaction sees it."""
    end = session.get(TailRow, TAIL)
    return FIRST if end is None else end.hash


def _answered(session: Session, job: str, position: int, text: str) -> bool:
    """Keep an answer where there is none yet; tell whether it was kept."""
    place = (ImageRow.job == job, ImageRow.position == position, ImageRow.answer.is_(None))
    there = session.scalar(select(ImageRow.position).where(*place).with_for_update())
    if there is None:
        return False
    session.execute(update(ImageRow).where(*place).values(answer=text))
    return True


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say that the database does not answer, or that its disk is full."""
    try:
        yield
    except DBAPIError as error:
        if _is_full(error):
            raise StorageError(
                "The database has no room left.", REMEDIES[errno.ENOSPC].replace(" --out", " disk")
            ) from error
        if not isinstance(error, OperationalError | InterfaceError):
            raise
        raise Gone(
            "The database does not answer.", "It is asked again with the next request."
        ) from error


def _is_full(error: DBAPIError) -> bool:
    told = error.orig.args[0] if error.orig is not None and error.orig.args else ""
    if isinstance(told, Mapping):
        return told.get("C") == FULL
    return "disk is full" in str(told)


def url_of(data: Path, address: str = "") -> str:
    """Give the database's URL: SQLite in the data folder, or the address that was given."""
    if not address:
        return f"sqlite:///{data / 'cytowell.db'}"
    return address.replace("postgresql://", "postgresql+pg8000://", 1).replace(
        "postgres://", "postgresql+pg8000://", 1
    )


def _engine(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def tuned(connection: Any, _: Any) -> None:
            # Readers do not wait for the writer; what was committed survives a kill.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA busy_timeout=10000")

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            if connection.get_execution_options().get("reading"):
                # In WAL mode it sees one moment, and neither waits nor is waited for.
                connection.exec_driver_sql("PRAGMA query_only=ON")
                connection.exec_driver_sql("BEGIN")
                return
            connection.exec_driver_sql("PRAGMA query_only=OFF")
            # A transaction that reads before it writes would else fail when two begin at once.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        @event.listens_for(engine, "connect")
        def plain(connection: Any, _: Any) -> None:
            connection.isolation_level = None

    return engine


def migrate(engine: Engine, key: SigningKey) -> None:
    """Bring the tables to this version and sign what they hold, in one transaction."""
    config = _config()
    with engine.begin() as connection:
        before = _version(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if before is None or int(before) < SIGNED:
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                seal(session, key)
                session.commit()


SIGNED = 3
"""The version from which on the end of the trail is signed."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def _newest() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
