"""The routes under ``/v1``: the command line's names and numbers, as JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

import anyio
import pandas as pd
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi import Path as Path_
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from cytowell import registry
from cytowell.errors import CytowellError, StorageError
from cytowell.images import Encoded
from cytowell.plates.dilutions import Series
from cytowell.plates.layout_files import read_layout
from cytowell.plates.units import per_millilitre
from cytowell.runs.counts import count_of
from cytowell.runs.titres import settings, titration_of
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import finder, objects
from cytowell.serving.desk import Answer, Busy, Desk, answers
from cytowell.serving.guard import Meters
from cytowell.serving.jobs import Jobs
from cytowell.serving.settings import Allowed
from cytowell.serving.store import Gone
from cytowell.types import Predictions, Sample

LOOKING = 2
"""Photographs in which objects are looked for at once."""

MOST_WELLS = 100_000
NAME = 255

_FILES = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["files"],
                "properties": {
                    "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                },
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "additionalProperties": False,
                "properties": {
                    "images": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["name", "data"],
                            "additionalProperties": False,
                            "properties": {
                                "name": {"type": "string", "maxLength": NAME},
                                "data": {"type": "string", "format": "byte"},
                            },
                        },
                    }
                },
            },
            "example": {"images": [{"name": "cell.jpg", "data": "/9j/4AAQSkZJRgABAQ..."}]},
        },
    },
}
"""How images are sent: files, repeated, or names with base64. Never a path, never an address."""

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent cannot be used; `error` says why."},
    401: {"description": "A key is needed."},
    404: {"description": "There is no such bundle."},
    408: {"description": "The request took too long to arrive."},
    413: {"description": "Too large, or too many images."},
    415: {"description": "Neither multipart/form-data nor application/json."},
    503: {"description": "The database does not answer; see Retry-After."},
    507: {"description": "There is no room for more uploads."},
    429: {"description": "Too many requests, or images that wait; see Retry-After."},
    504: {"description": "The answer took too long."},
}


Named = Annotated[str, Query(max_length=NAME, description="Which bundle; the first without.")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Call(_Strict):
    """One image: what it is called, how surely, or why not."""

    path: str = Field(description="Base name that the client sent.")
    label: str
    probability: float | None
    decided: bool
    reason: str
    error: str
    probabilities: dict[str, float]


class Told(_Strict):
    """Which bundle answered."""

    name: str
    digest: str
    classes: list[str]
    positive: str | None
    threshold: float
    synthetic: bool


class Results(_Strict):
    """Calls, in the order of the images."""

    results: list[Call]
    bundle: Told


class Models(_Strict):
    """The bundles that are served; the first is meant where none is named."""

    models: list[Told]


class Job(_Strict):
    """A job and how far it is; answers in the order of the images, as far as they are there."""

    job: str
    bundle: str
    total: int
    done: int
    results: list[Call]


class QuickSum(_Strict):
    """Counted wells of one series, or a table of wells with its layout."""

    positives: list[int] = Field(default=[], max_length=1000, examples=[[5, 3, 1, 0]])
    counts: Literal["infected", "protected", ""] = ""
    replicates: int | list[int] = Field(default=0, examples=[5])
    log10_dilutions: list[float] = Field(default=[], max_length=1000, examples=[[-5, -6, -7, -8]])
    titrates: Literal["virus", "serum", ""] = ""
    volume: float | None = Field(default=None, examples=[0.1])
    rule: str = Field(default="", examples=["spearman-karber"])
    layout: str = Field(default="", description="Name of a layout that comes along: favn ...")
    positive: str = Field(default="", description="The class that is a positive well.")
    reference_iu: float | None = None
    wells: list[dict[str, str | int | float | bool | None]] = Field(
        default=[],
        max_length=MOST_WELLS,
        description="Rows with plate, well and positive, or label and p_<class>.",
    )


class Cells(_Strict):
    """Calls to be counted."""

    calls: list[dict[str, str | int | float | bool | None]] = Field(
        min_length=1,
        max_length=1_000_000,
        examples=[[{"label": "neutrophil", "decided": True, "slide": "a"}]],
    )
    by: str = ""
    bundle: str = Field(default="", description="Served bundle that corrects the counts.")
    interval: Literal["goodman", "sison-glaz"] = "goodman"


def routes(desk: Desk, allowed: Allowed, meters: Meters, jobs: Jobs | None) -> APIRouter:
    """Make the routes over a desk; those of jobs where they are kept."""
    router = APIRouter(prefix="/v1", responses=REFUSALS)
    looking = anyio.CapacityLimiter(LOOKING)

    @router.post("/predict", openapi_extra={"requestBody": _FILES})
    async def predict(request: Request, bundle: Named = "") -> Results:
        """Call images."""
        name = _known(desk, bundle)
        images = await _images(request, allowed)
        results = await _answered(desk, name, images, allowed)
        _count(meters, name, results)
        meters.waiting.set(len(desk))
        return Results.model_validate(
            {"results": results, "bundle": told(name, desk.bundles[name])}
        )

    @router.post("/detect", openapi_extra={"requestBody": _FILES})
    async def detect(
        request: Request, bundle: Named = "", find: Literal["wells"] = "wells"
    ) -> dict[str, Any]:
        """Find objects in photographs and call each."""
        name = _known(desk, bundle)
        images = await _images(request, allowed)
        chosen = desk.bundles[name]
        results = []
        for image in images:
            look = functools.partial(_looked, chosen, image, find)
            with _in_time(allowed):
                found = await anyio.to_thread.run_sync(look, limiter=looking)
            results.append(found)
            _count(meters, name, found["objects"])
        return {"results": results, "bundle": told(name, chosen)}

    @router.get("/models")
    async def models() -> Models:
        """Name the bundles that are served."""
        every = [told(name, b) for name, b in desk.bundles.items()]
        return Models.model_validate({"models": every})

    @router.post("/titre")
    async def titre(asked: QuickSum) -> dict[str, Any]:
        """Compute a titre from counts, or the titres of plates from wells and a layout."""
        with _explained():
            computed = _plates if asked.wells or asked.layout else _quick
            return await anyio.to_thread.run_sync(computed, asked)

    @router.post("/count")
    async def count(asked: Cells) -> dict[str, Any]:
        """Make differential counts of calls."""
        with _explained():
            correcting = desk.bundles[desk.named(asked.bundle)] if asked.bundle else None
            counted = functools.partial(
                count_of, _texts(asked.calls), asked.by, correcting, interval=asked.interval
            )
            return (await anyio.to_thread.run_sync(counted)).to_json()

    if jobs is not None:
        _job_routes(router, desk, allowed, jobs)
    return router


def _job_routes(router: APIRouter, desk: Desk, allowed: Allowed, jobs: Jobs) -> None:
    @router.post("/jobs", status_code=202, openapi_extra={"requestBody": _FILES})
    async def add(request: Request, bundle: Named = "") -> Job:
        """Keep images and call them in the background; what was acknowledged survives a kill."""
        name = _known(desk, bundle)
        images = await _images(request, allowed)
        with _kept():
            job = await anyio.to_thread.run_sync(jobs.add, name, images)
        return Job(job=job, bundle=name, total=len(images), done=0, results=[])

    @router.get("/jobs/{job}")
    async def state(job: Annotated[str, Path_(max_length=64)]) -> Job:
        """Say how far a job is, with the answers that are there."""
        with _kept():
            found = await anyio.to_thread.run_sync(jobs.state, job)
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
def _explained() -> Iterator[None]:
    """Turn what a user did into a 400 that says what and how to mend it."""
    try:
        yield
    except CytowellError as error:
        raise HTTPException(400, str(error)) from error


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


async def _images(request: Request, allowed: Allowed) -> list[Encoded]:
    """Read the images of a request: files, or names with base64."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        images = await _from_form(request, allowed)
    elif kind == "application/json":
        images = _from_json(await request.body())
    else:
        raise HTTPException(415, "Send multipart/form-data with files, or application/json.")
    if not images:
        raise HTTPException(400, "There is no image in the request: repeat the field files.")
    if len(images) > allowed.images:
        raise HTTPException(413, f"A request holds {allowed.images} images at most.")
    return images


async def _from_form(request: Request, allowed: Allowed) -> list[Encoded]:
    images = []
    async with request.form(max_files=allowed.images + 1, max_fields=10) as form:
        for field, item in form.multi_items():
            if field != "files" or not isinstance(item, UploadFile):
                raise HTTPException(400, f"The field {field[:40]!r} is not known: send files.")
            images.append(Encoded(base_name(item.filename or "image"), await item.read()))
    return images


def _from_json(body: bytes) -> list[Encoded]:
    remedy = 'Send {"images": [{"name": "a.jpg", "data": BASE64}]}.'
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"The body is no JSON. {remedy}") from error
    if not isinstance(given, dict) or set(given) != {"images"}:
        raise HTTPException(400, f"The body has other fields than images. {remedy}")
    listed = given["images"]
    if not isinstance(listed, list) or not all(
        isinstance(one, dict)
        and set(one) == {"name", "data"}
        and all(isinstance(v, str) for v in one.values())
        and len(one["name"]) <= NAME
        for one in listed
    ):
        raise HTTPException(400, f"An image has to have a name and data, both texts. {remedy}")
    images = []
    for one in listed:
        try:
            data = base64.b64decode(one["data"], validate=True)
        except (binascii.Error, ValueError) as error:
            said = base_name(one["name"])
            raise HTTPException(400, f"The data of {said!r} are no base64.") from error
        images.append(Encoded(base_name(one["name"]), data))
    return images


def base_name(name: str) -> str:
    """Give a name without its folders, whichever system wrote it; nothing here opens it."""
    last = PurePosixPath(PureWindowsPath(name).as_posix()).name
    shown = "".join(c for c in last if c.isprintable()).strip()
    return shown[:NAME] or "image"


def _looked(bundle: Bundle, image: Encoded, find: str) -> dict[str, Any]:
    """Find and call the objects of one photograph, through a private file that is removed."""
    with tempfile.TemporaryDirectory(prefix="cytowell-") as folder:
        place = Path(folder) / "photograph"
        place.write_bytes(image.data)
        samples = list(objects([Sample(str(place))], finder(find)))
        calls = bundle.predict(samples, workers=1)
    error = next((e for e in calls.errors if e), "").replace(str(place), image.name)
    reason = next((s.nothing for s in calls.samples if s.nothing), "")
    there = calls.take([i for i, s in enumerate(calls.samples) if s.box is not None])
    return {
        "path": image.name,
        "error": error,
        "reason": reason,
        "objects": _placed(there, image.name),
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
        out.append({"path": name, **place, **{k: v for k, v in answer.items() if k != "path"}})
    return out


def _count(meters: Meters, name: str, results: list[dict[str, Any]]) -> None:
    for one in results:
        outcome = "error" if one["error"] else "decided" if one["decided"] else "undecided"
        meters.images.labels(name, outcome).inc()


def _texts(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Give rows as a table of texts, as if they had been read from a file."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    frame = pd.DataFrame([{str(k): text(v) for k, v in row.items()} for row in rows])
    return frame.fillna("").astype(str)


def _quick(asked: QuickSum) -> dict[str, Any]:
    replicates = asked.replicates
    series = Series.of(
        asked.positives, replicates, asked.log10_dilutions, asked.counts, asked.titrates
    )
    rule: Callable[[Series], Any] = registry.load("titre-rules", asked.rule or "spearman-karber")
    found = rule(series)
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
        raise HTTPException(400, f"{name[:60]!r} is no name of a layout.")
    return read_layout(name)
