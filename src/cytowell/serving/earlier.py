"""What earlier versions put into the trail: calls and words of sittings, by the rule of then."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set

from sqlalchemy import select
from sqlalchemy.orm import Session

from cytowell.serving.kept import CallRow, OverrideRow, SittingRow
from cytowell.serving.tables import RecordRow, digest_of
from cytowell.serving.trail import READ


def against_earlier(session: Session, sealed: int, removed: Mapping[str, Set[int]]) -> str:
    """Compare calls and words with the records of earlier versions; give "" or what is wrong.

    Parameters
    ----------
    sealed
        Number of the last record of an earlier version.
    removed
        Positions that were taken out since, by sitting.
    """
    if not sealed:
        return ""
    kept = set(session.scalars(select(SittingRow.id)))
    gone = {(name, p) for name, positions in removed.items() for p in positions}
    known: dict[tuple[str, int, int], str] = {}
    batches = []
    records = select(RecordRow).where(RecordRow.number <= sealed).order_by(RecordRow.number)
    for record in session.scalars(records.execution_options(yield_per=READ)):
        what = json.loads(record.what)
        if what.get("sitting") not in kept:
            continue
        if record.kind == "said":
            known[(what["sitting"], what["position"], what["number"])] = what["digest"]
        elif record.kind in ("calls", "boxes"):
            gone |= {(what["sitting"], position) for position in what.get("without", ())}
            batches.append(what)
    names = {what["sitting"] for what in batches} | {key[0] for key in known}
    rows = {
        (c.sitting, c.position): c.row
        for c in session.scalars(select(CallRow).where(CallRow.sitting.in_(names)))
    }
    words = {
        (w.sitting, w.position, w.number): digest_of([w.label, w.who, w.why, w.at])
        for w in session.scalars(select(OverrideRow).where(OverrideRow.sitting.in_(names)))
    }
    for what in batches:
        places = [(what["sitting"], what["first"] + i) for i in range(what["count"])]
        if gone.isdisjoint(places) and (
            any(p not in rows for p in places)
            or digest_of([rows[p] for p in places]) != what["calls"]
        ):
            return f"calls of sitting {what['sitting']} were changed or taken out"
    for key, digest in known.items():
        if key[:2] not in gone and words.get(key) != digest:
            how = "changed" if key in words else "taken out"
            return f"a person's word at {key[1]} of sitting {key[0]} was {how}"
    adopted = select(RecordRow).where(RecordRow.number > sealed, RecordRow.kind == "adopted")
    for record in session.scalars(adopted):
        what = json.loads(record.what)
        for position, number, _ in what.get("words", ()):
            if what["sitting"] in kept and (what["sitting"], position, number) not in known:
                return f"a person's word at {position} of sitting {what['sitting']} was added"
    return ""
