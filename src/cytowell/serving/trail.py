"""The audit trail: a chain of hashes whose end is signed.

Each record holds the hash of the one before, so a record that is changed or taken out breaks every
later one. Only the end is signed, and the signature of an earlier end is overwritten: whoever
takes the last records away has no signature for the end that is left.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cytowell.errors import StorageError
from cytowell.serving.kept import CallRow, OverrideRow, SittingRow
from cytowell.serving.signing import SigningKey
from cytowell.serving.tables import ImageRow, JobRow, RecordRow, TailRow, digest_of

FIRST = "0" * 64
"""What the first record of the trail follows."""

TAIL = 1
"""The one row that holds the trail's last hash; locked while a record is added."""

READ = 500
"""Rows that are read at a time."""


def now() -> str:
    """Give the time as it is kept: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat()


def hash_of(previous: str, number: int, at: str, kind: str, what: str) -> str:
    """Give the hash of a record that follows `previous`."""
    text = json.dumps([previous, number, at, kind, what], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def append(
    session: Session, key: SigningKey, kind: str, what: Mapping[str, Any], at: str = ""
) -> str:
    """Add a record and sign the new end; give the record's hash.

    The row of the chain's end is locked, so that two records never follow the same.

    Raises
    ------
    StorageError
        If the end is not as it was signed: what was changed is not signed over.
    """
    end = signed_end(session, key)
    digest = _added(session, end, kind, what, at)
    end.signature = key.sign(end.signed)
    return digest


def _added(session: Session, end: TailRow, kind: str, what: Mapping[str, Any], at: str) -> str:
    number, at = end.number + 1, at or now()
    text = json.dumps(what, sort_keys=True, ensure_ascii=False)
    digest = hash_of(end.hash, number, at, kind, text)
    session.add(RecordRow(number=number, at=at, kind=kind, what=text, hash=digest))
    end.number, end.hash = number, digest
    return digest


def signed_end(session: Session, key: SigningKey) -> TailRow:
    """Give the end of the trail, locked.

    Raises
    ------
    StorageError
        If it is missing, or not signed by this key.
    """
    end = session.get(TailRow, TAIL, with_for_update=True)
    if end is None or not key.public.verifies(end.signature, end.signed):
        raise StorageError(
            f"The end of the audit trail is not signed by the key {key.file}: the database was "
            "changed from outside, or this is another key.",
            "Find out with cytowell audit verify; give the right --audit-key or a backup.",
        )
    return end


def seal(session: Session, key: SigningKey) -> None:
    """Begin the signed trail; what an earlier version has written is taken in behind a seam.

    Each sitting and job that is there becomes a record with the hashes of its rows, so that from
    here on the rows of the earlier version are as well guarded as new ones.

    Raises
    ------
    StorageError
        If there is such a part, but the key has signed before: a database could else be put in the
        place of a later one.
    """
    end = session.get(TailRow, TAIL, with_for_update=True)
    if end is None:
        end = TailRow(id=TAIL, number=0, hash=FIRST)
        session.add(end)
    end.database, end.sealed = uuid.uuid4().hex, end.number
    tables = (RecordRow, SittingRow, JobRow)
    if any(session.scalar(select(func.count()).select_from(t)) for t in tables):
        if not key.new:
            raise StorageError(
                f"The database is of an earlier version, but the key {key.file} is in use already: "
                "it may have been put in the place of a later one.",
                "If it is yours, give --audit-key a file that does not exist yet.",
            )
        for sitting in session.scalars(select(SittingRow).order_by(SittingRow.id)):
            _added(session, end, "adopted", _sitting_as_found(session, sitting), "")
        for job in session.scalars(select(JobRow).order_by(JobRow.id)):
            _added(session, end, "adopted", _job_as_found(session, job), "")
        _added(session, end, "seam", {"before": end.sealed}, "")
    session.flush()
    end.signature = key.sign(end.signed)


def _sitting_as_found(session: Session, sitting: SittingRow) -> dict[str, Any]:
    mine = select(CallRow).where(CallRow.sitting == sitting.id).order_by(CallRow.position)
    positions, rows = [], []
    for call in session.scalars(mine.execution_options(yield_per=READ)):
        positions.append(call.position)
        rows.append(call.fingerprint)
    said = select(OverrideRow).where(OverrideRow.sitting == sitting.id)
    return {
        "sitting": sitting.id,
        "row": sitting.fingerprint,
        "touched": sitting.touched,
        "positions": positions,
        "rows": digest_of(rows),
        "words": [[w.position, w.number, w.fingerprint] for w in session.scalars(said)],
    }


def _job_as_found(session: Session, job: JobRow) -> dict[str, Any]:
    mine = select(ImageRow).where(ImageRow.job == job.id).order_by(ImageRow.position)
    images = [*session.scalars(mine)]
    answered = [i for i in images if i.answer is not None]
    return {
        "job": job.id,
        "row": job.fingerprint,
        "images": digest_of([i.fingerprint for i in images]),
        "positions": [i.position for i in answered],
        "answers": digest_of([i.answer for i in answered]),
    }
