"""The review page: the least certain first; a person confirms or says what it is, with keys."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from cytowell.errors import RecipeError
from cytowell.evaluation.calls_page import is_counted, is_open
from cytowell.serving.house import House
from cytowell.serving.kept import Kept, Said
from cytowell.serving.pages.parts import (
    PRIVATE,
    card,
    choices,
    explained,
    key_in,
    outlet,
    t,
)
from cytowell.serving.pages.words import language_of, say
from cytowell.storage import for_spreadsheets

Seen = dict[str, Any]

NOTHING: Seen = {"sitting": "", "index": 0, "position": -1, "number": 0}
"""What a person sees where there is nothing to be looked at."""


def page(house: House, sitting: Any) -> Any:
    """Lay the page out; give the choice of sittings, which other pages fill too."""
    seen = gr.State(NOTHING)
    with gr.Row():
        chosen = gr.Dropdown([], label=t("app.sitting"), elem_id="review-sitting", scale=3)
        who = gr.Textbox(label=t("review.who"), elem_id="review-who", max_length=100, scale=2)
        remembered = gr.BrowserState("", storage_key="cytowell-who")
    with gr.Row():
        everything = gr.Checkbox(label=t("review.all"), value=False)
        gr.Checkbox(label=t("review.keys"), value=True, interactive=True, elem_id="review-keys-on")
    where = gr.Markdown(elem_id="review-where", elem_classes="live")
    shown = gr.HTML(elem_id="review-card", elem_classes="live")
    label = gr.Radio([], label=t("review.label"), elem_id="review-label")
    why = gr.Textbox(label=t("review.why"), elem_id="review-why", max_length=1000)
    with gr.Row(elem_id="review-keys"):
        back = gr.Button(t("review.back"), elem_id="review-back")
        cannot = gr.Button(t("review.cannot"), elem_id="review-cannot")
        save = gr.Button(t("review.save"), variant="primary", elem_id="review-save")
        skip = gr.Button(t("review.skip"), elem_id="review-skip")
    with gr.Row():
        make = gr.Button(t("review.files"), elem_id="review-make")
        csv = gr.DownloadButton(t("app.table"), visible=False, elem_id="review-csv")
        report = gr.DownloadButton(t("app.page"), visible=False, elem_id="review-report")
    outputs = [seen, where, shown, label, why]
    stands = [chosen, seen, everything]

    @explained
    def opened(made: str, every: bool, request: gr.Request) -> tuple[Any, ...]:
        return _shown(house, language_of(request), made, 0, every)

    @explained
    def moved(
        step: int, made: str, before: Seen, every: bool, request: gr.Request
    ) -> tuple[Any, ...]:
        return _shown(house, language_of(request), made, before["index"] + step, every)

    @explained
    def decided(
        made: str, before: Seen, every: bool, name: str, said: str | None, reason: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        if before["position"] >= 0 and before["sitting"] == made:
            # What the person saw decides, not what is first in the queue by now.
            if said is None:
                raise RecipeError("Nothing is chosen.", "Choose what it is, or that nobody can.")
            person, verified = house.person(key_in(request), name)
            word = Said(before["number"] + 1, said, person, "", reason.strip(), verified)
            house.sittings.say(made, before["position"], word)
        # What was decided leaves the queue, so the same place holds the next one.
        at = before["index"] + (1 if every else 0)
        return _shown(house, language_of(request), made, at, every)

    @explained
    def files(made: str) -> tuple[Any, ...]:
        folder = outlet(house)
        house.sittings.frame(made).to_csv(folder / "calls.csv", index=False, lineterminator="\n")
        for_spreadsheets(folder / "calls.csv")
        house.write_report(made, folder / "report.html")
        return (
            gr.DownloadButton(value=str(folder / "calls.csv"), visible=True),
            gr.DownloadButton(value=str(folder / "report.html"), visible=True),
        )

    chosen.change(opened, [chosen, everything], outputs, **PRIVATE)
    everything.change(opened, [chosen, everything], outputs, **PRIVATE)
    said = [*stands, who, label, why]
    save.click(decided, said, outputs, **PRIVATE)
    nobody = gr.State("")
    cannot.click(decided, [*stands, who, nobody, why], outputs, **PRIVATE)
    step_on, step_back = gr.State(1), gr.State(-1)
    skip.click(moved, [step_on, *stands], outputs, **PRIVATE)
    back.click(moved, [step_back, *stands], outputs, **PRIVATE)
    make.click(files, [chosen], [csv, report], **PRIVATE)
    who.change(lambda name: name, [who], [remembered], **PRIVATE)
    sitting.change(lambda made: gr.Dropdown(choices=choices(house), value=made or None), [sitting],
                   [chosen], **PRIVATE)  # fmt: skip
    return chosen, who, remembered


def queue_of(house: House, sitting: str, every: bool) -> list[Kept]:
    """Give calls that a person has to look at, least certain first; or all of them."""
    kept = [k for k in house.sittings.calls(sitting) if not is_counted(k.row)]
    naming = not house.sittings.about(sitting).bundle
    if not every:
        waiting = [k for k in kept if not k.said and not k.row["error"]]
        kept = [k for k in waiting if naming or (k.row["label"] and is_open(k.row))]
    return sorted(kept, key=lambda k: (k.row.get("probability") or 0.0, k.position))


def _shown(house: House, language: str, sitting: str, at: int, every: bool) -> tuple[Any, ...]:
    nobody = gr.Radio(choices=[], value=None)
    if not sitting:
        return NOTHING, say(language, "app.none"), "", nobody, ""
    queue = queue_of(house, sitting, every)
    if not queue:
        done = say(language, "review.done")
        return NOTHING, done, f"<p>{html.escape(done)}</p>", nobody, ""
    at = min(max(0, at), len(queue) - 1)
    kept = queue[at]
    classes = list(house.sittings.about(sitting).classes)
    return (
        {"sitting": sitting, "index": at, "position": kept.position, "number": len(kept.said)},
        say(language, "review.left", at=at + 1, all=len(queue)),
        card(house, language, sitting, kept),
        gr.Radio(choices=classes, value=kept.label if kept.label in classes else None),
        kept.said[-1].why if kept.said else "",
    )
