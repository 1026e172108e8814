"""Tables of sittings, and the values that come out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from cytowell.serving.store import Base


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


class CallRow(Base):
    """A call, as the command line writes it."""

    __tablename__ = "calls"
    sitting: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    file: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    row: Mapped[str] = mapped_column(Text)


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


@dataclass(frozen=True)
class Said:
    """What a person said of a call."""

    number: int
    label: str
    who: str
    when: str
    why: str


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
