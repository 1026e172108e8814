"""Two who review the same photograph at once: the second is told what was said meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cytowell.errors import CytowellError
from cytowell.serving.kept import Kept, Said, news_since, version_of

SHOWN = 3
"""Words that the error of a conflict repeats."""

MOST_LETTERS = {"label": 255, "who": 255, "why": 4000}
"""Letters of what a person says, at most."""


class ReviewConflict(CytowellError):
    """Somebody else has decided in the meantime; their word stands, and nothing was overwritten."""


def require_version(kept: Sequence[Kept], seen: str) -> None:
    """Refuse what was decided on an earlier version of a photograph.

    Raises
    ------
    ReviewConflict
        Naming what was said meanwhile.
    """
    if version_of(kept) == seen:
        return
    if news := news_since(seen, kept):
        raise conflict_of(news)
    raise ReviewConflict(
        "Somebody else has corrected the boxes of this photograph meanwhile.",
        "Look again: yours were not kept.",
    )


def conflict_of(news: Sequence[Said]) -> ReviewConflict:
    """Make the error that names what was said meanwhile."""
    told = "; ".join(
        f"{w.who} decided {w.label or 'that nobody can'} at {w.when}" for w in news[:SHOWN]
    )
    more = f" and {len(news) - SHOWN} more" if len(news) > SHOWN else ""
    return ReviewConflict(f"{told}{more}.", "Look again: yours was not kept.")


def plain(said: Said) -> Said:
    """Give a word on one line: what ends a line, or is no letter at all, becomes a space.

    Raises
    ------
    CytowellError
        If nobody said it, or it is too long.
    """
    texts = {
        name: "".join(c if c.isprintable() else " " for c in getattr(said, name)).strip()
        for name in MOST_LETTERS
    }
    if not texts["who"]:
        raise CytowellError("Nobody said who decides.", "Write your name.")
    for name, most in MOST_LETTERS.items():
        if len(texts[name]) > most:
            raise CytowellError(f"{name} has more than {most} letters.", "Write less.")
    if said.number < 1:
        raise CytowellError("A first word has number 1.", "Reload the page.")
    return replace(said, label=texts["label"], who=texts["who"], why=texts["why"])
