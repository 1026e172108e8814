"""Whether stated figures hold: error rates, coverage and promises, with known truth, in one table.

    python benchmarks/honest.py [--only calibration] [--runs 100] [--out table.md]

Every part is a module `honest_PART` beside this one with `rows()`: what is stated, in which
setting, of how many images, groups or wells, what it should be and what it is in simulations.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from cytowell.storage import write_text

PARTS = ("calibration", "titres", "compare", "groups")
COLUMNS = ("what", "setting", "n", "nominal", "measured", "simulations")


def rows_of(part: str, runs: int | None) -> list[dict[str, Any]]:
    """Give the rows of a part."""
    module = importlib.import_module(f"honest_{part}")
    takes = "runs" in inspect.signature(module.rows).parameters
    found: list[dict[str, Any]] = module.rows(runs) if takes and runs else module.rows()
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Write rows as a Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        lines.append("| " + " | ".join(_shown(row[name]) for name in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}"
    return str(value).replace("|", "/")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument("--runs", type=int, help="Simulations of each setting; a part's own.")
    parser.add_argument("--out", type=Path, help="A Markdown file, beside what is printed.")
    given = parser.parse_args()
    here = Path(__file__).parent
    sys.path.insert(0, str(here))
    text = ""
    for part in given.only:
        if (here / f"honest_{part}.py").exists():
            text += f"### {part.capitalize()}\n\n{table(rows_of(part, given.runs))}\n"
        else:
            print(f"{part}: no benchmarks/honest_{part}.py", file=sys.stderr)
    print(text, end="")
    if given.out is not None:
        write_text(given.out, text)


if __name__ == "__main__":
    main()
