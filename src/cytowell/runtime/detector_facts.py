"""What `bundle.json` of a detector says: its input, its boxes, and when a box is one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from cytowell.errors import RecipeError
from cytowell.runtime.sealed import classes_of

SAYS = ("boxes", "yolox", "yolov5", "yolov8")
"""How networks say their boxes: decoded corners and scores (ours); YOLOX's raw grid; rows of
centre, sides, certainty, classes; columns of centre, sides, classes."""

STRIDES = (8, 16, 32)
LARGEST = 4096
"""Side of an input in pixels, at most."""


@dataclass(frozen=True)
class Reading:
    """How a photograph becomes a detector's input.

    Attributes
    ----------
    side
        Of the square input, in pixels.
    centred
        Whether a letterbox holds the photograph in its middle, or in its upper left.
    rows_first
        Whether the input is (N, H, W, 3) uint8; else (N, 3, H, W) float.
    blue_first
        Whether colours come as blue, green, red.
    divisor
        What pixels 0..255 are divided by.
    """

    side: int
    centred: bool = False
    rows_first: bool = False
    blue_first: bool = False
    divisor: float = 1.0

    def __post_init__(self) -> None:
        if self.side not in range(STRIDES[-1], LARGEST + 1) or self.side % STRIDES[-1]:
            raise RecipeError(
                f"A side of {self.side} pixels is none of a detector.",
                f"Use {STRIDES[-1]} to {LARGEST}, a multiple of {STRIDES[-1]}.",
            )
        if not 1e-3 <= self.divisor <= 1e5:
            raise RecipeError(f"divisor = {self.divisor} cannot hold.", "Use 1 or 255.")


@dataclass(frozen=True)
class DetectorFacts:
    """What `bundle.json` of a detector says.

    Attributes
    ----------
    says
        One of `SAYS`.
    score
        Certainty from which on a box is one.
    overlap
        Of two boxes of a class that overlap by more than this, the surer one is kept.
    photograph
        Longer side in pixels of photographs that were learnt from, 0 if nobody knows: much larger
        ones are looked at in tiles of that size.
    ruler
        The class whose size tells the scale of a photograph: red cells; "" for none. A large
        photograph in which they are large enough is looked at in one piece.
    """

    classes: tuple[str, ...]
    reading: Reading
    says: str = "boxes"
    score: float = 0.3
    overlap: float = 0.6
    photograph: int = 0
    ruler: str = ""
    synthetic: bool = False
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.says not in SAYS:
            raise RecipeError(f"says = {self.says!r} is not known.", f"Use {', '.join(SAYS)}.")
        for name in ("score", "overlap"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise RecipeError(
                    f"{name} = {getattr(self, name)} is no share.", "Use a share between 0 and 1."
                )
        if self.ruler and self.ruler not in self.classes:
            raise RecipeError(
                f"ruler = {self.ruler!r} is no class.", f"Use one of {', '.join(self.classes)}."
            )
        if self.photograph and not 64 <= self.photograph <= 1 << 20:
            raise RecipeError(f"photograph = {self.photograph} cannot hold.", "Use 64 or more.")

    def to_json(self) -> dict[str, Any]:
        """Give the record as it is written."""
        record = asdict(self) | {"format": 1, "kind": "detector"}
        return record | {"classes": list(self.classes)}

    @staticmethod
    def from_json(record: dict[str, Any]) -> DetectorFacts:
        """Read the record."""
        known = {k: record[k] for k in DetectorFacts.__dataclass_fields__ if k in record}
        known["classes"] = classes_of(record)
        known["reading"] = Reading(**record["reading"])
        return DetectorFacts(**known)
