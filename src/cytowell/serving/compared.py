"""What is said of a sitting's photographs against the training images, kept beside them."""

from __future__ import annotations

import json
from pathlib import Path

from cytowell.runtime.drift import Drift
from cytowell.storage import write_text

FOLDER = "drift"


def keep_compared(folder: Path, sitting: str, found: Drift) -> None:
    """Keep the sentence of a sitting."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True, mode=0o700)
    kept = {"sentence": found.sentence, "differs": found.differs}
    write_text(place / f"{sitting}.json", json.dumps(kept))


def compared_in(folder: Path, sitting: str) -> tuple[str, bool]:
    """Give the sentence of a sitting, and whether its photographs differ; "" where none is kept."""
    try:
        kept = json.loads((folder / FOLDER / f"{sitting}.json").read_text(encoding="utf-8"))
        return str(kept["sentence"]), bool(kept["differs"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", False
