"""A sitting's table and report, made when they are fetched: with all that was corrected by then."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
from fastapi import APIRouter, HTTPException
from fastapi import Path as Path_
from fastapi.responses import Response

from cytowell.evaluation.calls_page import final_by, stands
from cytowell.serving.house import House
from cytowell.serving.sittings import Expired
from cytowell.serving.store import Gone
from cytowell.storage import for_spreadsheets

AT_ONCE = 2
"""Reports that are drawn at once."""

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox"

Name = Annotated[str, Path_(pattern="^[0-9a-f]{32}$")]


def table_path(sitting: str) -> str:
    """Give where a sitting's table is fetched, from the page."""
    return f"calls/{sitting}/calls.csv"


def report_path(sitting: str) -> str:
    """Give where a sitting's report is fetched, from the page."""
    return f"calls/{sitting}/report.html"


def final_table(house: House, sitting: str) -> pd.DataFrame:
    """Give a sitting's table with `final_label`, which counts, and `final_by`, whose it is.

    Both stand before the columns of the call, so that nobody takes a corrected `label` for the
    result; the call itself and what was said of it stay beside them.
    """
    frame = house.sittings.frame(sitting)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for place, (name, give) in enumerate((("final_label", stands), ("final_by", final_by)), 1):
        frame.insert(place, name, [give({str(k): v for k, v in row.items()}) for row in rows])
    return frame


def downloads(house: House) -> APIRouter:
    """Make the routes."""
    router = APIRouter(prefix="/calls", include_in_schema=False)
    drawing = threading.Semaphore(AT_ONCE)

    @router.get("/{sitting}/calls.csv")
    def table(sitting: Name) -> Response:
        """Give the table."""
        with _found(), tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
            place = Path(folder) / "calls.csv"
            final_table(house, sitting).to_csv(place, index=False, lineterminator="\n")
            for_spreadsheets(place)
            return _file(place.read_bytes(), "calls.csv", "text/csv; charset=utf-8")

    @router.get("/{sitting}/report.html")
    def report(sitting: Name) -> Response:
        """Give the report."""
        with _found(), drawing, tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
            place = Path(folder) / "report.html"
            house.write_report(sitting, place)
            return _file(place.read_bytes(), "report.html", "text/html; charset=utf-8")

    return router


@contextlib.contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except Expired as error:
        raise HTTPException(404, str(error)) from error
    except Gone as error:
        raise HTTPException(503, str(error), {"Retry-After": "2"}) from error


def _file(content: bytes, name: str, kind: str) -> Response:
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "content-security-policy": CSP,
    }
    return Response(content, media_type=kind, headers=headers)
