"""What an adaptation gave: its parts, its figures, and both in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cytowell.runtime.bundle import Bundle


@dataclass(frozen=True)
class Part:
    """One part of an adaptation: whether it is kept, and by how much it helps.

    Attributes
    ----------
    gain, low, high
        Of `measure`, with its 95 % interval; None where there is none.
    """

    name: str
    kept: bool
    why: str
    measure: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Adaptation:
    """What an adaptation gave.

    Attributes
    ----------
    parts
        Each part, whether it is kept, and by how much it helps on left-out photographs.
    figures
        Of left-out labelled photographs: macro-F1 before and after, what is decided, how much of
        it is right. Empty without labels.
    notes
        Sentences that the reader has to know.
    bundle
        The adapted bundle; None where nothing helped.
    """

    parts: tuple[Part, ...]
    figures: dict[str, Any]
    notes: tuple[str, ...]
    bundle: Bundle | None

    @property
    def helped(self) -> bool:
        """Whether any part is kept."""
        return any(part.kept for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Give what is reported as names and values."""
        parts = [asdict(part) for part in self.parts]
        return {
            "helped": self.helped,
            "parts": parts,
            "figures": self.figures,
            "notes": [*self.notes],
        }


def card(done: Adaptation, old: Bundle) -> str:
    """Give the model card of an adapted bundle."""
    lines = ["# Model card", "", f"Adapted from the bundle {old.digest[:12]}.", ""]
    for part in done.parts:
        lines.append(f"- {part_in_words(part)}")
    if done.figures.get("decided") is not None:
        f = done.figures
        lines += [
            "",
            f"Left-out labelled photographs (n = {f['n']}): macro-F1 {f['macro_f1_before']:.3f} "
            f"before, {f['macro_f1']:.3f} after; {f['decided']} decided, "
            f"{f['right_of_decided']} of them right.",
        ]
    return "\n".join([*lines, "", *done.notes, ""])


def part_in_words(part: Part) -> str:
    """Say whether a part is kept and by how much it helps."""
    verdict = "kept" if part.kept else "not kept"
    gain = ""
    if part.gain is not None and part.low is not None and part.high is not None:
        gain = f" {part.measure} {part.gain:+.3f} ({part.low:+.3f} to {part.high:+.3f});"
    return f"{part.name}: {verdict};{gain} {part.why}."
