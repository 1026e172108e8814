"""Tables of sittings, and the values that come out of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cytowell.serving.tables import Base, digest_of


class SittingRow(Base):
    """Photographs that were called together."""

    __tablename__ = "sittings"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(40))
    touched: Mapped[str] = mapped_column(String(40))
    title: Mapped[str] = mapped_column(String(255))
    bundle: Mapped[str] = mapped_column(String(255))
    digest: Mapped[str] = mapped_column(String(64))
    classes: Mapped[str] = mapped_column(Text)

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of what does not change."""
        return digest_of(
            [self.id, self.created, self.title, self.bundle, self.digest, self.classes]
        )


class CallRow(Base):
    """A call, as the command line writes it."""

    __tablename__ = "calls"
    sitting: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    file: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    row: Mapped[str] = mapped_column(Text)

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of all columns."""
        return digest_of([self.sitting, self.position, self.file, self.sha256, self.row])


class OverrideRow(Base):
    """What a person said of a call; the last one stands."""

    __tablename__ = "overrides"
    sitting: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(String(40))
    label: Mapped[str] = mapped_column(String(255))
    who: Mapped[str] = mapped_column(String(255))
    why: Mapped[str] = mapped_column(Text)
    verified: Mapped[int] = mapped_column(Integer, default=0)

    @property
    def fingerprint(self) -> str:
        """One SHA-256 of all columns."""
        said = [self.at, self.label, self.who, self.why, self.verified]
        return digest_of([self.sitting, self.position, self.number, *said])


@dataclass(frozen=True)
class Said:
    """What a person said of a call.

    Attributes
    ----------
    number
        1 for the first word said of this call, and so on.
    verified
        Whether `who` is the owner of the key that was used; a name that was typed is not.
    """

    number: int
    label: str
    who: str
    when: str
    why: str
    verified: bool = False

    @property
    def person(self) -> str:
        """Who said it, marked where only a name was typed."""
        return self.who if self.verified else f"{self.who} (name typed, not verified)"


@dataclass(frozen=True)
class Kept:
    """A call that is kept.

    Attributes
    ----------
    position
        Its place in the sitting.
    file
        The photograph on this machine.
    row
        The command line's columns.
    said
        What people said of it, oldest first.
    """

    position: int
    file: str
    sha256: str
    row: Mapping[str, Any]
    said: tuple[Said, ...] = ()

    @property
    def name(self) -> str:
        """The photograph's base name."""
        return str(self.row["path"])

    @property
    def label(self) -> str:
        """What stands: the last word of a person, else the call."""
        return self.said[-1].label if self.said else str(self.row["label"])


def version_of(kept: Sequence[Kept]) -> str:
    """Give the version of a photograph: it changes with each word and each box of it."""
    return " ".join(f"{k.position}.{len(k.said)}" for k in kept)


def news_since(version: str, kept: Sequence[Kept]) -> list[Said]:
    """Give what was said of a photograph since a version of it was seen."""
    pairs = (part.partition(".") for part in version.split())
    seen = {position: int(n) if n.isdecimal() else 0 for position, _, n in pairs}
    return [w for k in kept for w in k.said[seen.get(str(k.position), 0) :]]


@dataclass(frozen=True)
class Sitting:
    """A sitting, as it is listed; `touched` is when anything was last said or called in it."""

    id: str
    created: str
    touched: str
    title: str
    bundle: str
    digest: str
    classes: tuple[str, ...]
