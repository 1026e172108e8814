"""Whether the audit trail holds, and whether what is kept is what the trail says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cytowell.serving.earlier import against_earlier
from cytowell.serving.kept import CallRow, OverrideRow, SittingRow
from cytowell.serving.signing import PublicKey
from cytowell.serving.tables import ImageRow, JobRow, RecordRow, TailRow, digest_of
from cytowell.serving.trail import FIRST, READ, TAIL, hash_of


@dataclass(frozen=True)
class Verdict:
    """What an audit found.

    Attributes
    ----------
    records
        How many records hold.
    sealed
        How many of them an earlier version wrote: their chain has no signature of its own.
    last
        The hash of the last one.
    wrong
        What does not hold; "" where all does.
    expected
        The number of the record with the hash that was asked for; None if there is none.
    """

    records: int
    sealed: int
    last: str
    wrong: str
    expected: int | None = None


@dataclass
class SittingState:
    """A sitting as the trail says that it is."""

    row: str
    touched: str
    batches: list[tuple[Sequence[int], str]] = field(default_factory=list)
    removed: dict[int, str] = field(default_factory=dict)
    words: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass
class JobState:
    """A job as the trail says that it is."""

    row: str
    images: str
    answers: list[tuple[Sequence[int], str]] = field(default_factory=list)


def audited(session: Session, public: PublicKey, expect: str = "") -> Verdict:
    """Compute the trail anew and compare with it all that is kept.

    Parameters
    ----------
    session
        One moment of the database.
    public
        The key that has signed the end.
    expect
        A hash that was printed or noted: of a record that has to be there.
    """
    number, last, wrong, expected = _chain(session, expect)
    end = session.get(TailRow, TAIL)
    sealed = end.sealed if end is not None else 0

    def verdict(wrong: str) -> Verdict:
        return Verdict(number, sealed, last, wrong, expected)

    if wrong:
        return verdict(wrong)
    ends = session.scalar(select(func.count()).select_from(TailRow))
    if end is None or ends != 1:
        return verdict("the end of the trail is missing, or there are two")
    if (end.number, end.hash) != (number, last):
        return verdict(f"records after {number} were taken out")
    if not public.verifies(end.signature, end.signed):
        return verdict(f"the end of the trail, record {number}, is not signed by this key")
    if expect and expected is None:
        return verdict("no record has the expected hash: what came after it was written anew")
    sittings, jobs = _replayed(session, sealed)
    return verdict(
        against_earlier(session, sealed, {s: set(v.removed) for s, v in sittings.items()})
        or _sittings_wrong(session, sittings)
        or _jobs_wrong(session, jobs)
    )


def _chain(session: Session, expect: str) -> tuple[int, str, str, int | None]:
    """Give how many records hold, the last hash, what is wrong, and where `expect` was found."""
    previous, number = FIRST, 0
    expected = 0 if expect == FIRST else None
    for row in _all(session, RecordRow, RecordRow.number):
        if row.number != number + 1:
            return number, previous, f"record {number + 1} is missing", expected
        if hash_of(previous, row.number, row.at, row.kind, row.what) != row.hash:
            return number, previous, f"record {row.number} was changed", expected
        previous, number = row.hash, row.number
        if row.hash == expect:
            expected = number
    return number, previous, "", expected


def _replayed(session: Session, sealed: int) -> tuple[dict[str, SittingState], dict[str, JobState]]:
    """Give sittings and jobs as the records after the seam leave them."""
    sittings: dict[str, SittingState] = {}
    jobs: dict[str, JobState] = {}
    records = select(RecordRow).where(RecordRow.number > sealed).order_by(RecordRow.number)
    for record in session.scalars(records.execution_options(yield_per=READ)):
        what = json.loads(record.what)
        if record.kind == "deleted":
            for name in what["sittings"]:
                sittings.pop(name, None)
        elif record.kind == "expired":
            for name in what["jobs"]:
                jobs.pop(name, None)
        elif record.kind in _JOB and "job" in what:
            _replay_job(jobs, record.kind, what)
        elif record.kind in _SITTING and "sitting" in what:
            _replay_sitting(sittings, record, what)
    return sittings, jobs


_JOB = ("adopted", "job", "answers")
_SITTING = ("adopted", "begun", "calls", "boxes", "said")


def _replay_job(jobs: dict[str, JobState], kind: str, what: Mapping[str, Any]) -> None:
    if kind in ("job", "adopted"):
        jobs[what["job"]] = JobState(what["row"], what["images"])
    if kind in ("answers", "adopted"):
        jobs[what["job"]].answers.append((what["positions"], what["answers"]))


def _replay_sitting(
    sittings: dict[str, SittingState], record: RecordRow, what: Mapping[str, Any]
) -> None:
    name = what["sitting"]
    if record.kind == "begun":
        sittings[name] = SittingState(what["row"], record.at)
        return
    if record.kind == "adopted":
        words = {(p, n): digest for p, n, digest in what["words"]}
        batches = [(what["positions"], what["rows"])]
        sittings[name] = SittingState(what["row"], what["touched"], batches, words=words)
        return
    state = sittings[name]
    state.touched = record.at
    if record.kind == "said":
        state.words[(what["position"], what["number"])] = what["row"]
        return
    positions = range(what["first"], what["first"] + what["count"])
    state.batches.append((positions, what["rows"]))
    for position, digest in what.get("removed", ()):
        state.removed[position] = digest
        for key in [k for k in state.words if k[0] == position]:
            del state.words[key]


def _sittings_wrong(session: Session, known: Mapping[str, SittingState]) -> str:
    kept = set()
    for row in _all(session, SittingRow, SittingRow.id):
        kept.add(row.id)
        state = known.get(row.id)
        if state is None:
            return f"sitting {row.id} was added"
        if (row.fingerprint, row.touched) != (state.row, state.touched):
            return f"title, bundle or date of sitting {row.id} was changed"
        if wrong := _calls_wrong(session, row.id, state) or _words_wrong(session, row.id, state):
            return wrong
    if missing := sorted(known.keys() - kept):
        return f"sitting {missing[0]} was taken out"
    for table in (CallRow, OverrideRow):
        of = set(session.scalars(select(table.sitting).distinct()))
        if stray := sorted(of - kept):
            return f"calls or words were added to a sitting {stray[0]} that there is not"
    return ""


def _calls_wrong(session: Session, sitting: str, state: SittingState) -> str:
    mine = select(CallRow).where(CallRow.sitting == sitting)
    rows = session.scalars(mine.execution_options(yield_per=READ))
    have = {row.position: row.fingerprint for row in rows}
    wanted: set[int] = set()
    for positions, digest in state.batches:
        wanted.update(positions)
        found = [state.removed.get(p) or have.get(p) for p in positions]
        if digest_of(found) != digest:
            return f"calls of sitting {sitting} were changed or taken out"
    if have.keys() != wanted - state.removed.keys():
        return f"calls of sitting {sitting} were added"
    return ""


def _words_wrong(session: Session, sitting: str, state: SittingState) -> str:
    mine = select(OverrideRow).where(OverrideRow.sitting == sitting)
    have = {(w.position, w.number): w.fingerprint for w in session.scalars(mine)}
    for key in sorted(have.keys() | state.words.keys(), key=str):
        if have.get(key) != state.words.get(key):
            how = "added" if key not in state.words else "changed" if key in have else "taken out"
            return f"a person's word at {key[0]} of sitting {sitting} was {how}"
    return ""


def _jobs_wrong(session: Session, known: Mapping[str, JobState]) -> str:
    kept = set()
    for row in _all(session, JobRow, JobRow.id):
        kept.add(row.id)
        state = known.get(row.id)
        if state is None:
            return f"job {row.id} was added"
        if row.fingerprint != state.row:
            return f"job {row.id} was changed"
        mine = select(ImageRow).where(ImageRow.job == row.id).order_by(ImageRow.position)
        images = [*session.scalars(mine)]
        if digest_of([i.fingerprint for i in images]) != state.images:
            return f"images of job {row.id} were changed, added or taken out"
        answers = {i.position: i.answer for i in images if i.answer is not None}
        given: set[int] = set()
        for positions, digest in state.answers:
            given.update(positions)
            if digest_of([answers.get(p) for p in positions]) != digest:
                return f"answers of job {row.id} were changed or taken out"
        if answers.keys() != given:
            return f"answers of job {row.id} were added"
    if missing := sorted(known.keys() - kept):
        return f"job {missing[0]} was taken out"
    if stray := sorted(set(session.scalars(select(ImageRow.job).distinct())) - kept):
        return f"images were added to a job {stray[0]} that there is not"
    return ""


def _all(session: Session, table: type[Any], order: Any) -> Iterator[Any]:
    """Give the rows of a table, some at a time."""
    rows = select(table).order_by(order).execution_options(yield_per=READ)
    yield from session.scalars(rows)
