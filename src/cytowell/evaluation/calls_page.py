"""The page of calls without a known truth: what was called, what a person said, what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

from cytowell.evaluation.pages import environment, jpeg_uri
from cytowell.storage import write_text
from cytowell.types import COUNTED, FOUND

MOST_ROWS = 2000
"""Rows of the table of calls; the file of all calls holds the rest."""

CANNOT = "cannot decide"
PICTURED = 18
SIDE = 200

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """What a page of calls says beside the calls.

    Attributes
    ----------
    title
        Its heading.
    classes
        In the order of the table of classes.
    made_with
        Names and values of its last table: bundle, digest, the trail's last hash.
    synthetic
        Whether the bundle learnt from generated images.
    compared
        A sentence on the photographs against the training images, and whether they differ.
    """

    title: str
    classes: tuple[str, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    compared: tuple[str, bool] = ("", False)


def write_calls_page(
    path: str | Path,
    rows: Sequence[Row],
    told: Told,
    picture: Callable[[int], Image.Image | None] = lambda _: None,
) -> None:
    """Write the page, whole or not at all.

    Parameters
    ----------
    rows
        The command line's columns, with `truth, who, when, why` where a person said something.
    picture
        Gives what row i shows; None where it cannot be read.
    """
    places = [i for i, r in enumerate(rows) if not is_counted(r)]
    seen = Counter(str(r.get(FOUND) or "objects") for r in rows if is_counted(r))
    rows = [rows[i] for i in places]
    shown = [_row(r) for r in rows[:MOST_ROWS]]
    page = (
        environment()
        .get_template("calls.html.j2")
        .render(
            told={
                "title": told.title,
                "synthetic": told.synthetic,
                "made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
                "made_with": told.made_with,
            },
            compared=told.compared,
            verdict=[*verdict_of(rows), *_seen(seen)],
            lines=[_line(name, rows) for name in told.classes],
            pictures=_pictures(rows, lambda i: picture(places[i])),
            placed=any(r.get("object") is not None for r in rows),
            rows=shown,
            left_out=len(rows) - len(shown),
        )
    )
    write_text(path, page)


def is_counted(row: Row) -> bool:
    """Whether it is of an object that was counted and not called, and that nobody has named."""
    return row.get("reason") == COUNTED and not row.get("who")


def _seen(counts: Counter[str]) -> list[str]:
    """Say how many objects were counted and not called."""
    if not counts:
        return []
    told = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    return [f"Counted and not called: {told}."]


def is_open(row: Row) -> bool:
    """Whether a person still has to look: not decided, and nobody has said anything."""
    return (
        not is_counted(row)
        and not row.get("error")
        and str(row.get("decided")) != "true"
        and not row.get("who")
    )


def verdict_of(rows: Sequence[Row]) -> list[str]:
    """Say in plain words how calls came out; one that waits for a person comes first."""
    if not rows:
        return ["There is nothing here."]
    failed = sum(bool(r.get("error")) for r in rows)
    bare = sum(not r.get("error") and not r.get("label") for r in rows)
    called = len(rows) - failed - bare
    waiting = sum(is_open(r) for r in rows if r.get("label"))
    spoken = [r for r in rows if r.get("who")]
    changed = sum(r["truth"] != r["label"] for r in spoken)
    decided = sum(str(r.get("decided")) == "true" for r in rows)
    said = [f"{_many(called, 'call')}, {decided} decided by the bundle."]
    if waiting:
        said.append(f"{waiting} cannot be decided and wait for a person.")
    if spoken:
        own = sum(final_by(r) == "classifier" for r in rows)
        said.append(
            f"A person reviewed {len(spoken)} and changed {changed}: the final label is the "
            f"person's there, and the bundle's for {own}."
        )
    if bare:
        said.append(f"{_many(bare, 'photograph')} without anything to call.")
    if failed:
        said.append(f"{_many(failed, 'file')} could not be read; each row says why.")
    return said


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def stands(row: Row) -> str:
    """Give what stands of a call: a person's word, else a decided call, else nothing."""
    if row.get("who"):
        return str(row["truth"])
    return str(row["label"]) if str(row.get("decided")) == "true" else ""


def final_by(row: Row) -> str:
    """Say whose the label is that stands: `reviewer`, `classifier`, or nobody's."""
    if row.get("who"):
        return "reviewer"
    return "classifier" if stands(row) else ""


def _line(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    decided = sum(r["label"] == name and str(r.get("decided")) == "true" for r in rows)
    said = sum(bool(r.get("who")) and r["truth"] == name for r in rows)
    return {
        "name": name,
        "decided": decided,
        "said": said,
        "stands": sum(stands(r) == name for r in rows),
    }


def word_of(row: Row) -> str:
    """Give a call in words: the class, or that it cannot be decided, or what went wrong."""
    if row.get("error"):
        return f"not read: {row['error']}"
    if not row.get("label"):
        return str(row.get("reason") or "")
    if str(row.get("decided")) == "true":
        return str(row["label"])
    return f"{CANNOT} ({row['label']}? {row.get('reason', '')})"


def _row(row: Row) -> dict[str, Any]:
    p = row.get("probability")
    words = [str(row.get(name) or "") for name in ("who", "when", "why")]
    place = row.get("well") or row.get("object")
    truth = str(row.get("truth") or "")
    final = {"reviewer": truth or CANNOT, "classifier": stands(row)}
    return {
        "path": row["path"],
        "final": final.get(final_by(row), "") if not row.get("error") else "",
        "by": final_by(row),
        "place": "" if place is None else str(place),
        "call": word_of(row),
        "probability": "" if p is None else f"{p:.3f}",
        "truth": (truth or CANNOT) if row.get("who") else "",
        "words": ", ".join(w for w in words if w),
        "open": is_open(row),
    }


def _pictures(
    rows: Sequence[Row], picture: Callable[[int], Image.Image | None]
) -> list[dict[str, str]]:
    known = [i for i, r in enumerate(rows) if r.get("probability") is not None]
    known.sort(key=lambda i: (not is_open(rows[i]), rows[i]["probability"]))
    out = []
    for i in known[:PICTURED]:
        image = picture(i)
        if image is None:
            continue
        place = rows[i].get("well") or rows[i].get("object")
        name = str(rows[i]["path"]) + ("" if place is None else f" {place}")
        word = _row(rows[i])["truth"] or word_of(rows[i])
        out.append({"uri": jpeg_uri(image, SIDE), "name": name, "word": word})
    return out
