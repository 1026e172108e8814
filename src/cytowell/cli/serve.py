"""cytowell serve: the same calls over HTTP."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from cytowell import registry
from cytowell.cli.options import OnlyOption, QuietOption, names
from cytowell.cli.voice import speaking
from cytowell.errors import RecipeError

NAME = "serve"
LOCAL = ("127.0.0.1", "localhost", "::1")
NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What a browser on this machine calls it."""


def command(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BUNDLE...]",
            help="Bundles, run folders or names; blood without.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 for a free one.", min=0, max=65535)
    ] = 7860,
    keys: Annotated[
        str,
        typer.Option(
            help="File of the keys that are let in: SHA-256 and owner's name, one a line.",
            show_default=False,
        ),
    ] = "",
    origin: Annotated[
        str,
        typer.Option(
            help="Addresses by which browsers reach it through a reverse proxy, commas between: "
            "https://lab.example.",
            show_default=False,
        ),
    ] = "",
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Print a new key and its SHA-256, and end.")
    ] = False,
    rate: Annotated[
        int, typer.Option(help="Requests a minute of one client; 0 for no limit.", min=0)
    ] = 0,
    data: Annotated[
        str,
        typer.Option(
            help="Private folder for what is entered on the pages, and jobs; without it they are "
            "deleted when the server ends.",
            show_default=False,
        ),
    ] = "",
    database: Annotated[
        str,
        typer.Option(
            help="postgresql://... in place of SQLite in the data folder.", show_default=False
        ),
    ] = "",
    inbox: Annotated[
        str,
        typer.Option(
            help="Folder whose photographs are called as a camera saves them.", show_default=False
        ),
    ] = "",
    detector: Annotated[
        str,
        typer.Option(
            help="Detector bundle, to find cells; the one that comes along without.",
            show_default=False,
        ),
    ] = "",
    only: OnlyOption = "",
    audit_key: Annotated[
        str,
        typer.Option(
            help="File of the key that signs the audit trail, best outside of --data; made if "
            "missing. CYTOWELL_AUDIT_KEY or DATA/audit.key without.",
            show_default=False,
        ),
    ] = "",
    proxy: Annotated[
        str,
        typer.Option(
            help="Addresses of a reverse proxy, commas between: its X-Forwarded headers are "
            "believed, and limits count its clients.",
            show_default=False,
        ),
    ] = "",
    no_pages: Annotated[bool, typer.Option("--no-pages", help="The service alone.")] = False,
    waiting: Annotated[
        int, typer.Option(help="Images that wait before more are refused.", min=1)
    ] = 256,
    quiet: QuietOption = False,
) -> None:
    """Serve bundles: pages at /, the service at /v1 (OpenAPI at /v1/openapi.json)."""
    registry.require_extra("serve", "cytowell serve")
    settings = "cytowell.serving.settings"
    if new_key:
        key = secrets.token_urlsafe(32)
        print(f"key      {key}\nsha-256  {registry.part(f'{settings}:digest_of')(key)}")
        return
    named = registry.part("cytowell.serving.app:loaded")(bundles or [])
    known = registry.part(f"{settings}:read_keys")(keys) if keys else frozenset()
    origins = registry.part("cytowell.serving.origins:read_origins")(set(names(origin)))
    allowed = registry.part(f"{settings}:Allowed")(
        waiting=waiting,
        rate=rate,
        keys=known,
        owners=registry.part(f"{settings}:read_owners")(keys) if keys else {},
        hosts=frozenset() if known else _hosts(host, origins),
        origins=origins,
    )
    if database and not data:
        raise RecipeError("--database needs a folder for uploads too.", "Give --data FOLDER.")
    on = registry.part("cytowell.serving.listen:bound")(host, port)
    kept = registry.part("cytowell.serving.app:Places")(
        Path(data) if data else None,
        database,
        Path(inbox) if inbox else None,
        detector,
        names(only),
        not no_pages,
        audit_key,
    )
    app = registry.part("cytowell.serving.app:application")(named, allowed, kept)
    with speaking(quiet) as speaker:
        speaker.said(f"http://{host}:{on.getsockname()[1]}/  {', '.join(named)}")
        if not data:
            speaker.said(
                "What is said on the pages is kept until the server ends; --data keeps it."
            )
        if host not in LOCAL and not known:
            speaker.said("Anybody who reaches this address may use it: --keys lets few in.")
        for words in app.state.house.refused:
            speaker.said(f"not served: {words}")
        for name, loaded in named.items():
            if loaded.facts.synthetic:
                speaker.said(f"{name} learnt from synthetic images: its calls mean nothing.")
    registry.part("cytowell.serving.listen:listen")(app, on, quiet, names(proxy))


def _hosts(host: str, origins: frozenset[str]) -> frozenset[str]:
    """Give the names by which browsers may call a server without keys."""
    proxies = {str(urlsplit(origin).hostname) for origin in origins}
    if host in LOCAL:
        return frozenset({*NAMES, *proxies})
    machine = socket.gethostname().lower()
    own = {machine, machine.split(".")[0], f"{machine.split('.')[0]}.local", host.lower()}
    return frozenset({*NAMES, *own, *proxies})
