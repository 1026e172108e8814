"""The tables of jobs and of the audit trail; `kept` has those of sittings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


def digest_of(values: Sequence[object]) -> str:
    """Give one SHA-256 of values in order."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()


class Base(DeclarativeBase):
    """Tables; `migrations/` makes them."""


class JobRow(Base):
    """A job: images that were sent together, to be called in the background."""

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(40))
    bundle: Mapped[str] = mapped_column(String(255))
    total: Mapped[int] = mapped_column(Integer)
    owner: Mapped[str] = mapped_column(String(64), default="")

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of all columns."""
        return digest_of([self.id, self.created, self.bundle, self.total, self.owner])


class ImageRow(Base):
    """An image of a job; `answer` is empty until it is called."""

    __tablename__ = "images"
    job: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    sha256: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str | None] = mapped_column(Text, default=None, index=False)

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of what was sent."""
        return digest_of([self.job, self.position, self.name, self.sha256])


class RecordRow(Base):
    """A record of the trail."""

    __tablename__ = "trail"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(40))
    what: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))


class TailRow(Base):
    """Number and hash of the trail's last record, signed.

    `database` is a random name, so that a signature holds for this trail alone; `sealed` is the
    number of the last record that an earlier version wrote.
    """

    __tablename__ = "trail_end"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(String(64))
    database: Mapped[str] = mapped_column(String(32), default="")
    sealed: Mapped[int] = mapped_column(Integer, default=0)
    signature: Mapped[str] = mapped_column(String(128), default="")

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is of."""
        return digest_of([self.id, self.number, self.hash, self.database, self.sealed]).encode()
