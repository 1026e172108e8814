"""How a run speaks to the person who waits."""

from __future__ import annotations

from dataclasses import dataclass

from cytowell.learners.contract import Said, Ticked, silent, unticked


@dataclass(frozen=True)
class Voice:
    """How a run speaks to the person who waits."""

    said: Said = silent
    ticked: Ticked = unticked
    loggers: tuple[str, ...] = ()
    """Experiment trackers that hear of it too, by name."""
