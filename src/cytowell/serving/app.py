"""One application: bundles, desk, guard, routes, health, meters."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

import cytowell
from cytowell import registry as registered
from cytowell.errors import RecipeError, StorageError
from cytowell.images.decode import decode_with
from cytowell.images.processes import DecodingProcesses, shared
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import finder
from cytowell.serving.api import routes
from cytowell.serving.conflicts import ReviewConflict
from cytowell.serving.desk import Desk
from cytowell.serving.downloads import downloads
from cytowell.serving.guard import Guard, Meters
from cytowell.serving.house import House
from cytowell.serving.inbox import Inbox
from cytowell.serving.jobs import Jobs
from cytowell.serving.later import Later
from cytowell.serving.photographs import UPLOADS
from cytowell.serving.porter import Porter
from cytowell.serving.settings import Allowed
from cytowell.serving.signing import key_file, read_or_make
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Gone, Store, url_of
from cytowell.storage import explaining

QUOTA = 20 << 30
"""Bytes of files that pages take in and hand out, at once."""


ROOM = 256 << 20
"""Bytes of the disk that uploads leave free."""

FULL = (errno.ENOSPC, errno.EDQUOT)

STATUSES: dict[type[Exception], tuple[int, dict[str, str]]] = {
    Gone: (503, {"Retry-After": "2"}),
    StorageError: (507, {}),
    ReviewConflict: (409, {}),
}
"""How HTTP says what a store cannot do."""


@dataclass(frozen=True)
class Places:
    """Where a server keeps things, and what it watches.

    Attributes
    ----------
    data
        Private folder for photographs, jobs, taught bundles and SQLite; without it everything is
        kept until the server ends, and there are no jobs.
    database
        Address of PostgreSQL in place of SQLite.
    inbox
        Folder whose photographs are called as they come.
    detector
        Detector bundle, for cells; none are looked for without it.
    only
        Classes of the detector that are called; all of them without.
    pages
        Whether there are pages beside the service.
    audit_key
        File of the key that signs the audit trail; in the data folder without.
    """

    data: Path | None = None
    database: str = ""
    inbox: Path | None = None
    detector: str = ""
    only: tuple[str, ...] = ()
    pages: bool = True
    audit_key: str = ""


def application(
    bundles: Mapping[str, Bundle], allowed: Allowed | None = None, places: Places | None = None
) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    bundles
        By the name that requests use; the first is meant where none is named.
    allowed
        Limits; all defaults without it.
    places
        Where things are kept; until the server ends without it.

    Raises
    ------
    StorageError
        If folder or database cannot be used, or the inbox is none.
    """
    ends = contextlib.ExitStack()
    try:
        return _application(bundles, allowed or Allowed(), places or Places(), ends)
    except BaseException:
        ends.close()
        raise


def _application(
    bundles: Mapping[str, Bundle], limits: Allowed, places: Places, ends: contextlib.ExitStack
) -> FastAPI:
    if limits.decoders:
        ends.callback(decode_with(shared()))
    desk = Desk(bundles, limits.waiting)
    ends.callback(desk.close)
    folder = places.data
    if folder is None:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="cytowell-")))
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(url_of(folder, places.database), read_or_make(key_file(folder, places.audit_key)))
    ends.callback(store.close)
    jobs = None
    if places.data is not None:
        jobs = Jobs(desk, store, folder / UPLOADS)
        ends.callback(jobs.close)
    finders = {
        "wells": finder("wells"),
        "cells": finder("cells", 0, places.detector, only=places.only),
    }
    looks = {name: look for name, look in finders.items() if look is not None}
    house = House(desk, Sittings(store, folder / "sittings"), folder, looks, limits.owners)
    inbox = None
    if places.inbox is not None:
        inbox = Inbox(house, places.inbox)
        ends.callback(inbox.close)
    registry = CollectorRegistry()
    meters = Meters(registry)
    later = Later(functools.partial(_pages, house, inbox, limits)) if places.pages else None

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        async with later.living() if later else contextlib.nullcontext():
            yield
        ends.close()

    app = FastAPI(
        title="Cytowell",
        version=cytowell.__version__,
        description="Calls for cell and well photographs. Research use only.",
        lifespan=living,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.house = house
    app.include_router(routes(desk, limits, meters, jobs, looks))
    pool = shared() if limits.decoders else None
    loops = [loop for loop in (desk, jobs, inbox, pool) if loop is not None]
    _watched(app, loops, store, meters, registry)
    if later is not None:
        place = house.pages_folder
        shutil.rmtree(place, ignore_errors=True)  # of a process that ended: nobody has its pages
        place.mkdir(mode=0o700)
        app.include_router(downloads(house))
        app.mount("/", Porter(later, place, functools.partial(_is_full, place)))
    app.add_exception_handler(HTTPException, _refused)
    for kind in (*STATUSES, OSError):
        app.add_exception_handler(kind, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    paths = frozenset(
        {"/v1/openapi.json", "/healthz", "/readyz", "/metrics"}
        | {f"/v1/{name}" for name in ("predict", "detect", "models", "titre", "count", "jobs")}
    )
    app.add_middleware(Guard, allowed=limits, meters=meters, paths=paths)
    return app


def serve(*bundles: str | Path, data: str | Path | None = None) -> FastAPI:
    """Give pages and service over bundles as an ASGI application, for a server of one's own.

    Parameters
    ----------
    bundles
        Folders or names; the shipped blood bundle without any. The first is the default.
    data
        Private folder that keeps what is said; until the application ends without it.

    Raises
    ------
    BundleError
        If one is no bundle.
    RecipeError
        If two have the same name.

    Examples
    --------
    >>> import cytowell
    >>> app = cytowell.serve("blood", data="kept")  # uvicorn.run(app), or any other ASGI server
    >>> app.title
    'Cytowell'
    """
    return application(loaded(bundles), None, Places(None if data is None else Path(data)))


def loaded(bundles: Iterable[str | Path]) -> dict[str, Bundle]:
    """Load bundles, each under its folder's name; the blood bundle without any.

    Raises
    ------
    RecipeError
        If two have the same name.
    """
    named: dict[str, Bundle] = {}
    for bundle in [*bundles] or ["blood"]:
        name = Path(bundle).name or str(bundle)
        if name in named:
            raise RecipeError(f"Two bundles are called {name!r}.", "Rename one of their folders.")
        named[name] = cytowell.load(bundle)
    return named


def _pages(house: House, inbox: Inbox | None, allowed: Allowed) -> FastAPI:
    """Make the pages; their toolkit is loaded only here, and keeps its files in our folder."""
    os.environ["GRADIO_TEMP_DIR"] = str(house.pages_folder)
    mounted = registered.part("cytowell.serving.pages:mounted")
    pages: FastAPI = mounted(FastAPI(), house, inbox, allowed.upload)
    return pages


def _is_full(folder: Path) -> bool:
    """Whether what pages have taken in fills its room, or the disk is full."""
    if shutil.disk_usage(folder).free < ROOM:
        return True
    used = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            used += file.stat().st_size
    return used > QUOTA


def _watched(
    app: FastAPI,
    loops: Sequence[Desk | Jobs | Inbox | DecodingProcesses],
    store: Store | None,
    meters: Meters,
    registry: CollectorRegistry,
) -> None:
    """Add what those ask who keep the server running."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> dict[str, str]:
        """Say that images, jobs and inbox are worked off, and that the store answers."""
        trouble = " ".join(words for loop in loops if (words := loop.trouble))
        if trouble:
            raise HTTPException(503, trouble, {"Retry-After": "2"})
        if store is not None:
            try:
                await anyio.to_thread.run_sync(store.last)
            except Gone as error:
                raise HTTPException(503, str(error), {"Retry-After": "2"}) from error
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Give the meters in Prometheus' format."""
        meters.waiting.set(sum(len(loop) for loop in loops if isinstance(loop, Desk)))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """Give every refusal the same shape."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """Say what a client can do about what is no fault of the program."""
    for kind, (status, headers) in STATUSES.items():
        if isinstance(error, kind):
            return JSONResponse({"error": str(error)}, status, headers)
    if isinstance(error, OSError) and error.errno in FULL:
        return JSONResponse({"error": "The server's disk is full."}, 507)
    raise error


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Say which field does not fit; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    words = f"{where or 'The body'}: {first['msg']}."
    return JSONResponse({"error": words}, 400)
