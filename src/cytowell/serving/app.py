"""One application: bundles, desk, guard, routes, health, meters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

import cytowell
from cytowell.runtime.bundle import Bundle
from cytowell.serving.api import routes
from cytowell.serving.desk import Desk
from cytowell.serving.guard import CSP, Guard, Meters
from cytowell.serving.jobs import Jobs
from cytowell.serving.settings import Allowed
from cytowell.serving.store import Gone, Store, url_of
from cytowell.storage import explaining


def application(
    bundles: Mapping[str, Bundle],
    allowed: Allowed | None = None,
    data: Path | None = None,
    database: str = "",
) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    bundles
        By the name that requests use; the first is meant where none is named.
    allowed
        Limits; all defaults without it.
    data
        Private folder for jobs' uploads and for SQLite; without it no jobs are kept.
    database
        Address of PostgreSQL in place of SQLite.

    Raises
    ------
    StorageError
        If folder or database cannot be used.
    """
    limits = allowed or Allowed()
    desk = Desk(bundles, limits.waiting)
    jobs = store = None
    if data is not None:
        with explaining(data):
            data.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(url_of(data, database))
        jobs = Jobs(desk, store, data / "uploads")
    registry = CollectorRegistry()
    meters = Meters(registry)

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        yield
        if jobs is not None and store is not None:
            jobs.close()
            store.close()
        desk.close()

    app = FastAPI(
        title="Cytowell",
        version=cytowell.__version__,
        description="Calls for cell and well photographs. Research use only.",
        lifespan=living,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/v1/openapi.json",
    )
    app.state.desk = desk
    app.include_router(routes(desk, limits, meters, jobs))

    _watched(app, desk, store, meters, registry)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    paths = frozenset(
        {"/v1/openapi.json", "/healthz", "/readyz", "/metrics"}
        | {f"/v1/{name}" for name in ("predict", "detect", "models", "titre", "count", "jobs")}
    )
    app.add_middleware(Guard, allowed=limits, meters=meters, paths=paths)
    return app


def _watched(
    app: FastAPI, desk: Desk, store: Store | None, meters: Meters, registry: CollectorRegistry
) -> None:
    """Add what those ask who keep the server running."""

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> dict[str, str]:
        """Say that bundles are loaded and that the store answers."""
        if store is not None:
            try:
                await anyio.to_thread.run_sync(store.last)
            except Gone as error:
                raise HTTPException(503, str(error), {"Retry-After": "2"}) from error
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        """Give the meters in Prometheus' format."""
        meters.waiting.set(len(desk))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    """Give every refusal the same shape."""
    assert isinstance(error, HTTPException)
    headers = {"content-security-policy": CSP, **(error.headers or {})}
    return JSONResponse({"error": str(error.detail)}, error.status_code, headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Say which field does not fit; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first: Any = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    words = f"{where or 'The body'}: {first['msg']}."
    return JSONResponse({"error": words}, 400, {"content-security-policy": CSP})
