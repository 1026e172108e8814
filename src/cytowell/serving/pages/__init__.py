"""The laboratory's pages: one Gradio application over the house's bundles and sittings."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

# Before Gradio is imported: it reads them then. Nothing is asked of, or told to, another host.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount

from cytowell.serving.house import House
from cytowell.serving.inbox import Inbox
from cytowell.serving.lengths import WHO
from cytowell.serving.pages import calls, counts, inbox, plates, review, teach
from cytowell.serving.pages.parts import (
    I18N,
    PRIVATE,
    choices,
    drawn,
    hold_lengths,
    key_in,
    t,
)
from cytowell.serving.pages.words import language_of, say

LOOK = ("page.css", "keys.js")
EXPIRY = (3600, 24 * 3600)
"""Seconds: how often files of pages are looked through, and the age at which they go."""

SYSTEM = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Arial", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def blocks(house: House, watched: Inbox | None = None) -> Any:
    """Make the pages.

    Parameters
    ----------
    watched
        The inbox that has a page, where there is one.
    """
    with gr.Blocks(title="Cytowell", analytics_enabled=False, delete_cache=EXPIRY) as app:
        banner = gr.HTML(elem_id="banner")
        sitting = gr.State("")
        with gr.Tabs() as tabs:
            with gr.Tab(t("call.tab"), id="call") as called:
                calling = calls.page(house, sitting, called)
            with gr.Tab(t("review.tab"), id="review"):
                reviewed, who, remembered = review.page(house, sitting)
            with gr.Tab(t("plate.tab"), id="plate"):
                plated, plating = plates.page(house)
            with gr.Tab(t("count.tab"), id="count"):
                counted, counting = counts.page(house)
            with gr.Tab(t("teach.tab"), id="teach"):
                named, taken = teach.page(house, sitting, tabs)
            if watched is not None:
                with gr.Tab(t("inbox.tab"), id="inbox"):
                    inbox.page(house, watched)
        sittings = [reviewed, plated, counted, named]
        classifiers = [calling, plating, counting]
        lists = [*sittings, *classifiers]

        def refresh() -> Any:
            names = list(house.desk.bundles)
            old, served = gr.Dropdown(choices=choices(house)), gr.Dropdown(choices=names)
            return (*(old for _ in sittings), *(served for _ in classifiers))

        def greet(name: Any, request: gr.Request) -> tuple[str, str]:
            known = isinstance(name, str) and len(name) <= WHO  # kept by the browser, so anything
            # With keys it is the key's owner who acts, whatever was typed.
            person = house.person(key_in(request), name if known else "")[0]
            return _banner(house, language_of(request)), person

        app.load(greet, [remembered], [banner, who], **PRIVATE)
        app.load(refresh, None, lists, **PRIVATE)
        tabs.change(refresh, None, lists, show_progress="hidden", **PRIVATE)
        taken.then(greet, [who], [banner, who], **PRIVATE)
    hold_lengths(app)
    app.queue(max_size=64, default_concurrency_limit=4)
    return app


def mounted(application: Any, house: House, watched: Inbox | None, largest: int) -> Any:
    """Mount the pages into a FastAPI application, at its root.

    Parameters
    ----------
    largest
        Bytes of one uploaded file, at most.
    """
    here = Path(__file__).parent
    css, js = (here.joinpath(name).read_text(encoding="utf-8") for name in LOOK)
    app = blocks(house, watched)
    made = gr.mount_gradio_app(
        application,
        app,
        path="/",
        i18n=I18N,
        theme=gr.themes.Base(primary_hue="blue", font=SYSTEM, font_mono=MONO),
        css=css,
        head=f"<script>{js}</script>",
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        run_history=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=True,
        max_file_size=largest,
    )
    # Gradio looks at the paths in events only of what it has launched itself, which a mounted
    # application never counts as: without this, any path is copied to where it is given out.
    app.has_launched = True
    for route in made.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            route.app.add_exception_handler(OSError, _no_room)
    return made


async def _no_room(_: Request, error: Exception) -> JSONResponse:
    """Say that the disk is full, of an upload too; what else is wrong with a file is a fault."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return JSONResponse({"error": "The server's disk is full."}, 507)
    raise error


def _banner(house: House, language: str) -> str:
    made_up = [n for n, b in house.desk.bundles.items() if b.facts.synthetic]
    names = ", ".join(made_up)
    return drawn(
        "banner",
        title=say(language, "app.title"),
        ruo=say(language, "app.ruo"),
        synthetic=say(language, "app.synthetic", names=names) if made_up else "",
    )
