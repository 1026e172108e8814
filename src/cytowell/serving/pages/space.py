"""The one page of a Space: a photograph in, its call out; nothing is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

import cytowell
from cytowell.errors import EmptyDataset
from cytowell.runtime.calls import named_rows
from cytowell.runtime.heat import heated, seen
from cytowell.serving.pages.parts import I18N, card_of, drawn, explained, t
from cytowell.serving.pages.words import language_of, say
from cytowell.types import Sample

HERE = Path(__file__).parent
EXPIRY = (600, 1800)
"""Seconds: how often uploads are looked through, and the age at which they go."""


def page(bundle: str | Path, examples: Sequence[str | Path] = ()) -> Any:
    """Make the page; its one named event, ``/predict``, takes a file and gives the call as JSON.

    Parameters
    ----------
    bundle
        Folder of the bundle.
    examples
        Photographs to try.
    """
    loaded = cytowell.load(bundle)

    @explained
    def predict(photograph: str | None, request: gr.Request) -> tuple[str, dict[str, Any]]:
        if not photograph:
            raise EmptyDataset("There is no photograph.", "Give one.")
        language = language_of(request)
        sample = Sample(photograph)
        calls = loaded.predict([sample])
        row = named_rows(calls)[0]
        pictures = []
        if not row["error"]:
            label = loaded.classes.index(str(row["label"]))
            words = say(language, "call.heat", label=row["label"])
            pictures.append((seen(loaded.facts.preprocessing, sample), say(language, "call.shown")))
            if loaded.facts.maps:
                pictures.append((heated(loaded, sample, label), words))
        told = {
            # Not `path`: Gradio's client takes whatever has one for a file to be fetched.
            "photograph": row["path"], "label": row["label"], "probability": row["probability"],
            "decided": row["decided"] == "true", "reason": row["reason"], "error": row["error"],
            "probabilities": {} if row["error"] else {c: row[f"p_{c}"] for c in loaded.classes},
            "bundle": loaded.digest,
        }  # fmt: skip
        return card_of(language, row, loaded, pictures), told

    def greet(request: gr.Request) -> str:
        language = language_of(request)
        made_up = say(language, "app.synthetic", names="This") if loaded.facts.synthetic else ""
        title, ruo = say(language, "app.title"), say(language, "app.ruo")
        return drawn("banner", title=title, ruo=ruo, synthetic=made_up)

    with gr.Blocks(title="Cytowell", analytics_enabled=False, delete_cache=EXPIRY) as app:
        banner = gr.HTML(elem_id="banner")
        photograph = gr.Image(
            type="filepath", label=t("call.boxes_photo"), sources=["upload", "clipboard"],
            elem_id="photograph",
        )  # fmt: skip
        go = gr.Button(t("call.go"), variant="primary", elem_id="go")
        shown = gr.HTML(elem_id="card")
        told = gr.JSON(label="JSON", open=False)
        if examples:
            gr.Examples([[str(e)] for e in examples], [photograph], cache_examples=False)
        go.click(predict, [photograph], [shown, told], api_name="predict")
        app.load(greet, None, [banner], api_visibility="private")
    app.queue(max_size=32, default_concurrency_limit=2)
    return app


def launch(bundle: str | Path, examples: Sequence[str | Path] = ()) -> None:
    """Serve the page as a Space does: on the port that its host names, without a share link."""
    css = HERE.joinpath("page.css").read_text(encoding="utf-8")
    page(bundle, examples).launch(
        server_name="0.0.0.0", share=False, i18n=I18N, css=css, ssr_mode=False, footer_links=[],
        max_file_size="50mb", run_history=False,
    )  # fmt: skip
