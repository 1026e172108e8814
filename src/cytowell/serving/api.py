"""The routes under ``/v1``: the command line's names and numbers, as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import pandas as pd
from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as Path_

from cytowell import registry
from cytowell.errors import BadTable, CountError, CytowellError, StorageError
from cytowell.images import Encoded
from cytowell.plates.dilutions import Series
from cytowell.plates.layout_files import read_layout
from cytowell.plates.rules import compute
from cytowell.plates.units import per_millilitre
from cytowell.runs.counts import ALL, count_of
from cytowell.runs.smear import read_smear, records_of
from cytowell.runs.smear_measures import SmearOptions
from cytowell.runs.titres import settings, titration_of
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import Finder, objects
from cytowell.runtime.ruler import RED_CELL
from cytowell.serving.bounded import Bounded
from cytowell.serving.desk import Answer, Busy, Desk, answers
from cytowell.serving.guard import Meters
from cytowell.serving.jobs import Jobs
from cytowell.serving.lengths import NAME
from cytowell.serving.received import images_of
from cytowell.serving.settings import Allowed
from cytowell.serving.shapes import (
    COLUMNS,
    REFUSALS,
    SLIDES,
    Cells,
    Job,
    Models,
    QuickSum,
    Results,
    files,
)
from cytowell.serving.store import Gone
from cytowell.types import COUNTED, FOUND, REPEATED, Predictions, Sample

LOG = logging.getLogger("cytowell.serving")

COMPUTING = 2
"""Counts and titres that are computed at once."""

LOOKING = 2
"""Photographs in which objects are looked for at once."""

Named = Annotated[str, Query(max_length=NAME, description="Which bundle; the first without.")]


def routes(
    desk: Desk,
    allowed: Allowed,
    meters: Meters,
    jobs: Jobs | None,
    finders: Mapping[str, Finder],
) -> APIRouter:
    """Make the routes over a desk; those of jobs where they are kept.

    Parameters
    ----------
    finders
        What can be looked for in photographs.
    """
    router = APIRouter(prefix="/v1", responses=REFUSALS)
    looking = Bounded("looking", LOOKING, allowed.seconds)

    @router.post("/predict", openapi_extra={"requestBody": files(allowed.images)})
    async def predict(request: Request, bundle: Named = "") -> Results:
        """Call images."""
        name = _known(desk, bundle)
        images = await images_of(request, allowed.images)
        results = await _answered(desk, name, images, allowed)
        _count(meters, name, results)
        meters.waiting.set(len(desk))
        return Results.model_validate(
            {
                "results": results,
                "bundle": told(name, desk.bundles[name]),
                "drift": meters.compared(name, desk.drifts.get(name)),
            }
        )

    @router.post("/detect", openapi_extra={"requestBody": files(allowed.images)})
    async def detect(
        request: Request, bundle: Named = "", find: Literal["wells", "cells"] = "wells"
    ) -> dict[str, Any]:
        """Find objects in photographs and call each."""
        name = _known(desk, bundle)
        images = await images_of(request, allowed.images)
        chosen = desk.bundles[name]
        results = []
        for image in images:
            look = functools.partial(_looked, chosen, image, finders[find])
            with _in_time(allowed):
                found = await looking(look)
            results.append(found)
            _count(meters, name, found["objects"])
        return {"results": results, "bundle": told(name, chosen)}

    @router.post(
        "/smear", response_model=None, openapi_extra={"requestBody": files(allowed.images)}
    )
    async def smear(
        request: Request,
        bundle: Named = "",
        pixel_size: Annotated[float | None, Query(gt=0, le=1e4)] = None,
        red_cell: Annotated[float, Query(ge=3, le=15)] = RED_CELL,
    ) -> Response:
        """Count the white cells of one slide's photographs: calls, counts and sizes."""
        name = _known(desk, bundle)
        images = await images_of(request, allowed.images)
        work = functools.partial(_smeared, name, desk.bundles[name], images, pixel_size, red_cell)
        return await _computed(looking, work)

    @router.get("/models")
    async def models() -> Models:
        """Name the bundles that are served."""
        every = [told(name, b) for name, b in desk.bundles.items()]
        return Models.model_validate({"models": every})

    _report_routes(router, desk, Bounded("reports", COMPUTING, allowed.seconds))
    if jobs is not None:
        _job_routes(router, desk, allowed, jobs)
    return router


def _report_routes(router: APIRouter, desk: Desk, bounded: Bounded) -> None:
    @router.post("/titre", response_model=None)
    async def titre(asked: QuickSum) -> Response:
        """Compute a titre from counts, or the titres of plates from wells and a layout."""
        computed = _plates if asked.wells or asked.layout else _quick
        return await _computed(bounded, functools.partial(computed, asked))

    @router.post("/count", response_model=None)
    async def count(asked: Cells) -> Response:
        """Make differential counts of calls."""
        return await _computed(bounded, functools.partial(_counted, desk, asked))


async def _computed(bounded: Bounded, compute: Callable[[], dict[str, Any]]) -> Response:
    """Answer with what is computed, in time, or say which numbers do not go."""

    def work() -> bytes:
        return json.dumps(compute(), ensure_ascii=False, allow_nan=False).encode()

    try:
        body = await bounded(work)
    except CytowellError as error:
        raise HTTPException(409, str(error)) from error
    except (ArithmeticError, ValueError) as error:
        LOG.info("numbers that cannot be computed with", exc_info=error)
        words = "These numbers are too large, too small or no numbers: check them."
        raise HTTPException(409, words) from error
    except TimeoutError:
        raise HTTPException(504, "The answer took too long.") from None
    return Response(body, media_type="application/json")


def _counted(desk: Desk, asked: Cells) -> dict[str, Any]:
    correcting = desk.bundles[desk.named(asked.bundle)] if asked.bundle else None
    frame = _texts([call.model_dump() for call in asked.calls])
    if asked.by in frame.columns and frame[asked.by].nunique() > SLIDES:
        raise CountError(
            f"The column {asked.by!r} tells {frame[asked.by].nunique()} slides apart.",
            f"A request holds {SLIDES} at most.",
        )
    return count_of(frame, asked.by, correcting, interval=asked.interval).to_json()


def _job_routes(router: APIRouter, desk: Desk, allowed: Allowed, jobs: Jobs) -> None:
    @router.post("/jobs", status_code=202, openapi_extra={"requestBody": files(allowed.job)})
    async def add(request: Request, bundle: Named = "") -> Job:
        """Keep images and call them in the background; what was acknowledged survives a kill."""
        name = _known(desk, bundle)
        images = await images_of(request, allowed.job)
        with _kept():
            job = await anyio.to_thread.run_sync(jobs.add, name, images, _key_of(request))
        return Job(job=job, bundle=name, total=len(images), done=0, results=[])

    @router.get("/jobs/{job}")
    async def state(request: Request, job: Annotated[str, Path_(max_length=64)]) -> Job:
        """Say how far a job is, with the answers that are there."""
        with _kept():
            found = await anyio.to_thread.run_sync(jobs.state, job, _key_of(request))
        if found is None:
            raise HTTPException(404, "There is no such job.")
        return Job.model_validate(
            {
                "job": found.job,
                "bundle": found.bundle,
                "total": found.total,
                "done": found.done,
                "results": [a for a in found.answers if a is not None],
            }
        )


def _key_of(request: Request) -> str:
    """Give the hash of the key that was shown, "" where there are none."""
    return str(getattr(request.state, "key", ""))


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Say that the store cannot be reached, or is full, in HTTP's words."""
    try:
        yield
    except Gone as error:
        raise HTTPException(503, str(error), {"Retry-After": "2"}) from error
    except StorageError as error:
        raise HTTPException(507, str(error)) from error


def told(name: str, bundle: Bundle) -> dict[str, Any]:
    """Say which bundle it is."""
    return {
        "name": name,
        "digest": bundle.digest,
        "classes": list(bundle.classes),
        "positive": bundle.facts.positive,
        "threshold": bundle.facts.threshold,
        "synthetic": bundle.facts.synthetic,
    }


def _known(desk: Desk, bundle: str) -> str:
    try:
        return desk.named(bundle)
    except CytowellError as error:
        raise HTTPException(404, str(error)) from error


@contextlib.contextmanager
def _in_time(allowed: Allowed) -> Iterator[None]:
    try:
        with anyio.fail_after(allowed.seconds):
            yield
    except TimeoutError:
        raise HTTPException(504, "The answer took too long.") from None


async def _answered(desk: Desk, name: str, images: list[Encoded], allowed: Allowed) -> list[Answer]:
    try:
        waiting: list[Future[Answer]] = desk.submit(name, images)
    except Busy as error:
        raise HTTPException(429, str(error), {"Retry-After": "1"}) from error
    try:
        with _in_time(allowed):
            return list(await asyncio.gather(*map(asyncio.wrap_future, waiting)))
    finally:
        for slip in waiting:
            slip.cancel()


def _looked(bundle: Bundle, image: Encoded, find: Finder) -> dict[str, Any]:
    """Find and call the objects of one photograph, through a private file that is removed."""
    with tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
        place = Path(folder) / "photograph"
        place.write_bytes(image.data)
        samples = list(
            objects([Sample(str(place))], find, bundle.facts.preprocessing, bundle.facts.calls)
        )
        calls = bundle.predict(samples, workers=1)
    error = next((e for e in calls.errors if e), "").replace(str(place), image.name)
    reason = next((s.nothing for s in calls.samples if s.nothing and s.box is None), "")
    there = calls.take([i for i, s in enumerate(calls.samples) if s.box is not None])
    return {
        "path": image.name,
        "error": error,
        "reason": reason,
        "objects": _placed(there, image.name),
    }


def _smeared(
    name: str, bundle: Bundle, images: list[Encoded], pixel_size: float | None, red_cell: float
) -> dict[str, Any]:
    """Read one slide's photographs, through private files that are removed."""
    options = SmearOptions("", "", pixel_size, red_cell)
    with tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
        names = {}
        for number, image in enumerate(images):
            place = Path(folder) / str(number)
            place.write_bytes(image.data)
            names[str(place)] = image.name
        results = read_smear([Sample(place) for place in names], bundle, options)
    rows = records_of(results.to_frame())
    for row in rows:
        shown = names[row["path"]]
        repeats, of, numbered = str(row["reason"] or "").rpartition(" of ")
        if repeats.startswith(REPEATED):
            row["reason"] = f"{repeats}{of}{names[str(Path(folder) / numbered)]}"
        row["error"] = str(row["error"] or "").replace(row["path"], shown)
        row |= {"path": shown, "group": shown, "decided": row["decided"] == "true"}
    counted = results.counts.to_json()
    measured = asdict(results.measures[ALL])
    measured["cautions"] = list(measured["cautions"])
    return {
        "slides": counted["slides"],
        "measures": measured,
        "drift": "" if results.drift is None else results.drift.sentence,
        "objects": rows,
        "bundle": told(name, bundle),
    }


def _placed(calls: Predictions, name: str) -> list[dict[str, Any]]:
    out = []
    for sample, answer in zip(calls.samples, answers(calls), strict=True):
        box = sample.box
        assert box is not None
        place = {
            "object": sample.extra.get("object"),
            "plate": str(sample.extra.get("plate", "")),
            "well": str(sample.extra.get("well", "")),
            "x": box.x,
            "y": box.y,
            "width": box.width,
            "height": box.height,
            "score": sample.extra.get("score"),
        }
        if FOUND in sample.extra:
            place[FOUND] = str(sample.extra[FOUND])
        out.append({"path": name, **place, **{k: v for k, v in answer.items() if k != "path"}})
    return out


def _count(meters: Meters, name: str, results: list[dict[str, Any]]) -> None:
    for one in results:
        outcome = "error" if one["error"] else "decided" if one["decided"] else "undecided"
        if one["reason"] == COUNTED:
            outcome = "counted"
        meters.images.labels(name, outcome).inc()


def _texts(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Give rows as a table of texts, as if they had been read from a file."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    names = {name for row in rows for name in row}
    if len(names) > COLUMNS:
        raise BadTable(f"The rows have {len(names)} columns.", f"Send {COLUMNS} at most.")
    frame = pd.DataFrame([{str(k): text(v) for k, v in row.items()} for row in rows])
    return frame.fillna("").astype(str)


def _quick(asked: QuickSum) -> dict[str, Any]:
    replicates = asked.replicates
    series = Series.of(
        asked.positives, replicates, asked.log10_dilutions, asked.counts, asked.titrates
    )
    found = compute(asked.rule or "spearman-karber", series)
    per_ml, low, high = per_millilitre(found, asked.volume)
    return {
        "log10_d50": found.log10_d50,
        "per_ml": per_ml,
        "low": low,
        "high": high,
        "rule": found.rule,
        "flags": list(found.flags),
        "counts": asked.counts,
        "titrates": series.titrates,
    }


def _plates(asked: QuickSum) -> dict[str, Any]:
    changes = {"reference_iu": asked.reference_iu, "rule": asked.rule, "volume": asked.volume}
    layout = settings(_named_layout(asked.layout), changes)
    registry.part("cytowell.plates.counting:require_counts")(layout, asked.counts)
    return titration_of(_texts(asked.wells), layout, asked.positive).to_json()


def _named_layout(name: str) -> Any:
    """Give a layout that comes along: a file of the server's is never opened by a request."""
    if "/" in name or "\\" in name or "." in name:
        raise HTTPException(409, f"{name[:60]!r} is no name of a layout.")
    return read_layout(name)
