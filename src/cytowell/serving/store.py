"""What the server remembers: jobs, their images and answers, and a trail that cannot be rewritten.

SQLite beside the uploads, or PostgreSQL by URL. The trail is a chain of hashes: each record holds
that of the one before, so a record that is changed or taken out breaks every later one. It keeps
hashes and names of classes, never images, so uploads can expire.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import (
    ForeignKey,
    Integer,
    String,
    Text,
    create_engine,
    delete,
    event,
    func,
    select,
    update,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cytowell.errors import CytowellError, StorageError

FIRST = "0" * 64
"""What the first record of the trail follows."""

TAIL = 1
"""The one row that holds the trail's last hash; locked while a record is added."""


class Gone(CytowellError):
    """The database does not answer; it is asked again with the next request."""


class Base(DeclarativeBase):
    """Tables; `migrations/` makes them."""


class JobRow(Base):
    """A job: images that were sent together, to be called in the background."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(40))
    bundle: Mapped[str] = mapped_column(String(255))
    total: Mapped[int] = mapped_column(Integer)


class ImageRow(Base):
    """An image of a job; `answer` is empty until it is called."""

    __tablename__ = "images"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(Text, default=None, index=False)


class RecordRow(Base):
    """A record of the trail."""

    __tablename__ = "trail"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(40))
    what: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))


class TailRow(Base):
    """Number and hash of the trail's last record."""

    __tablename__ = "trail_end"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(String(64))


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


class Store:
    """Jobs and the trail, in one database.

    Parameters
    ----------
    url
        SQLAlchemy's; see `url_of`.

    Raises
    ------
    StorageError
        If it cannot be opened or is of a later version.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._engine = _engine(url)
            if self._engine.dialect.name == "sqlite" and self._engine.url.database:
                # What SQLite makes beside it has its rights.
                Path(self._engine.url.database).touch(mode=0o600)
            migrate(self._engine)
        except (DBAPIError, OSError, ImportError, CommandError) as error:
            said = str(error).splitlines()[0]
            raise StorageError(
                f"The database {self._engine_name(url)} cannot be opened ({said}).",
                "Check --data, or the address of PostgreSQL.",
            ) from error

    @staticmethod
    def _engine_name(url: str) -> str:
        return url.rsplit("@", maxsplit=1)[-1]

    @contextlib.contextmanager
    def session(self, snapshot: bool = False) -> Iterator[Session]:
        """Give a transaction: all of it is kept, or nothing.

        Parameters
        ----------
        snapshot
            Everything that is read is as it was at one moment.

        Raises
        ------
        Gone
            If the database does not answer.
        """
        try:
            with Session(self._engine) as session, session.begin():
                if snapshot and self._engine.dialect.name != "sqlite":  # there each one is
                    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
                yield session
        except OperationalError as error:
            raise Gone(
                "The database does not answer.", "It is asked again with the next request."
            ) from error

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()

    def add_job(self, job: str, bundle: str, images: Sequence[tuple[str, str]]) -> None:
        """Keep a job; once this returns, it survives whatever happens to the process.

        Parameters
        ----------
        images
            Name and SHA-256 of each, in order.
        """
        with self.session() as session:
            session.add(JobRow(id=job, created=now(), bundle=bundle, total=len(images)))
            session.flush()
            session.add_all(
                ImageRow(job=job, position=i, name=name, sha256=digest)
                for i, (name, digest) in enumerate(images)
            )
            digest = hashlib.sha256("".join(d for _, d in images).encode()).hexdigest()
            appended(session, "job", {"job": job, "bundle": bundle, "images": digest})

    def waiting(self, most: int) -> list[Waiting]:
        """Give images without an answer, oldest job first."""
        with self.session() as session:
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
        with self.session() as session:
            for slip, answer in answers:
                session.execute(
                    update(ImageRow)
                    .where(
                        ImageRow.job == slip.job,
                        ImageRow.position == slip.position,
                        ImageRow.answer.is_(None),
                    )
                    .values(answer=json.dumps(answer))
                )

    def job(self, job: str) -> JobState | None:
        """Give how far a job is; None if there is none of this name."""
        with self.session() as session:
            row = session.get(JobRow, job)
            if row is None:
                return None
            answers = session.scalars(
                select(ImageRow.answer).where(ImageRow.job == job).order_by(ImageRow.position)
            ).all()
            told = tuple(None if a is None else json.loads(a) for a in answers)
            done = sum(a is not None for a in told)
            return JobState(row.id, row.bundle, row.created, row.total, done, told)

    def expire(self, older: timedelta) -> list[str]:
        """Forget jobs that are older and done; give their names, whose uploads may go too."""
        before = (datetime.now(UTC) - older).isoformat()
        with self.session() as session:
            open_jobs = select(ImageRow.job).where(ImageRow.answer.is_(None))
            old = session.scalars(
                select(JobRow.id).where(JobRow.created < before, JobRow.id.not_in(open_jobs))
            ).all()
            session.execute(delete(ImageRow).where(ImageRow.job.in_(old)))
            session.execute(delete(JobRow).where(JobRow.id.in_(old)))
        return list(old)

    def record(self, kind: str, what: Mapping[str, Any]) -> str:
        """Add a record to the trail; give its hash, which a report prints."""
        with self.session() as session:
            return appended(session, kind, what)

    def last(self) -> str:
        """Give the trail's last hash."""
        with self.session() as session:
            end = session.get(TailRow, TAIL)
            return FIRST if end is None else end.hash

    def verify(self) -> tuple[int, str]:
        """Compute the whole chain anew; give how many records hold, and "" or what is wrong."""
        with self.session(snapshot=True) as session:
            return chain_of(session)


def chain_of(session: Session) -> tuple[int, str]:
    """Compute the chain anew, as `Store.verify` gives it."""
    previous, number = FIRST, 0
    for row in session.scalars(select(RecordRow).order_by(RecordRow.number)):
        if row.number != number + 1:
            return number, f"record {number + 1} is missing"
        if _hash(previous, row.number, row.at, row.kind, row.what) != row.hash:
            return number, f"record {row.number} was changed"
        previous, number = row.hash, row.number
    end = session.get(TailRow, TAIL)
    if end is not None and (end.number, end.hash) != (number, previous):
        return number, f"records after {number} were taken out"
    counted = session.scalar(select(func.count()).select_from(RecordRow)) or 0
    return (number, "") if counted == number else (number, "records were added")


def appended(session: Session, kind: str, what: Mapping[str, Any]) -> str:
    """Add a record; the row of the chain's end is locked, so that two never follow the same."""
    end = session.get(TailRow, TAIL, with_for_update=True)
    if end is None:
        end = TailRow(id=TAIL, number=0, hash=FIRST)
        session.add(end)
        session.flush()
    number, at = end.number + 1, now()
    text = json.dumps(what, sort_keys=True, ensure_ascii=False)
    digest = _hash(end.hash, number, at, kind, text)
    session.add(RecordRow(number=number, at=at, kind=kind, what=text, hash=digest))
    end.number, end.hash = number, digest
    return digest


def _hash(previous: str, number: int, at: str, kind: str, what: str) -> str:
    text = json.dumps([previous, number, at, kind, what], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def now() -> str:
    """Give the time as it is kept: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


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
        def begun(connection: Any) -> None:
            # A transaction that reads before it writes would else fail when two begin at once.
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        @event.listens_for(engine, "connect")
        def plain(connection: Any, _: Any) -> None:
            connection.isolation_level = None

    return engine


def migrate(engine: Engine) -> None:
    """Bring the tables to this version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
