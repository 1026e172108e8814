"""The inbox page: what the camera has saved, called as it comes."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pandas as pd

from cytowell.serving.house import House
from cytowell.serving.inbox import Inbox
from cytowell.serving.pages.calls import table_of
from cytowell.serving.pages.parts import PRIVATE, card, explained, position_in, t
from cytowell.serving.pages.words import language_of, say

EVERY = 2.0
"""Seconds between two looks at what has come."""

LATEST = 200
"""Rows that the page shows, latest first."""


def page(house: House, inbox: Inbox) -> None:
    """Lay the page out."""
    told = gr.Markdown(elem_id="inbox-told")
    table = gr.Dataframe(label=t("call.table"), interactive=False, elem_id="inbox-table")
    shown = gr.HTML(elem_id="inbox-card", elem_classes="live")
    timer = gr.Timer(EVERY)
    seen = gr.State("")

    @explained
    def come(before: str, request: gr.Request) -> tuple[Any, ...]:
        language = language_of(request)
        touched = house.sittings.about(inbox.sitting).touched
        if touched == before:
            return gr.skip(), gr.skip(), gr.skip()
        latest: pd.DataFrame = table_of(language, house.sittings.latest(inbox.sitting, LATEST))
        return touched, latest, say(language, "inbox.watched", folder=inbox.folder.name)

    @explained
    def pick(event: gr.SelectData, request: gr.Request) -> str:
        kept = house.sittings.calls(inbox.sitting, [position_in(event)])
        return card(house, language_of(request), inbox.sitting, kept[0]) if kept else ""

    timer.tick(come, [seen], [seen, table, told], show_progress="hidden", **PRIVATE)
    table.select(pick, None, [shown], **PRIVATE)
