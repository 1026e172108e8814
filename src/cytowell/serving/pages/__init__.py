"""The laboratory's pages: one Gradio application over the house's bundles and sittings."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

# Before Gradio is imported: it reads them then. Nothing is asked of, or told to, another host.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr  # noqa: E402

from cytowell.serving.house import House  # noqa: E402
from cytowell.serving.inbox import Inbox  # noqa: E402
from cytowell.serving.pages import calls, counts, inbox, plates, review, teach  # noqa: E402
from cytowell.serving.pages.parts import I18N, PRIVATE, choices, t  # noqa: E402
from cytowell.serving.pages.words import language_of, say  # noqa: E402

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
            with gr.Tab(t("call.tab"), id="call"):
                calls.page(house, sitting)
            with gr.Tab(t("review.tab"), id="review"):
                reviewed, who, remembered = review.page(house, sitting)
            with gr.Tab(t("plate.tab"), id="plate"):
                plated = plates.page(house)
            with gr.Tab(t("count.tab"), id="count"):
                counted = counts.page(house)
            with gr.Tab(t("teach.tab"), id="teach"):
                named, taken = teach.page(house, sitting, tabs)
            if watched is not None:
                with gr.Tab(t("inbox.tab"), id="inbox"):
                    inbox.page(house, watched)
        lists = [reviewed, plated, counted, named]

        def refresh() -> Any:
            return tuple(gr.Dropdown(choices=choices(house)) for _ in lists)

        def greet(name: str, request: gr.Request) -> tuple[str, str]:
            return _banner(house, language_of(request)), name

        app.load(greet, [remembered], [banner, who], **PRIVATE)
        app.load(refresh, None, lists, **PRIVATE)
        tabs.change(refresh, None, lists, show_progress="hidden", **PRIVATE)
        taken.then(greet, [who], [banner, who], **PRIVATE)
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
    return gr.mount_gradio_app(
        application,
        blocks(house, watched),
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


def _banner(house: House, language: str) -> str:
    made_up = [n for n, b in house.desk.bundles.items() if b.facts.synthetic]
    out = f"<h1>{say(language, 'app.title')}</h1><p class='ruo'>{html.escape(say(language, 'app.ruo'))}</p>"
    if made_up:
        names = ", ".join(made_up)
        out += f"<p class='synthetic'>{html.escape(say(language, 'app.synthetic', names=names))}</p>"
    return out
