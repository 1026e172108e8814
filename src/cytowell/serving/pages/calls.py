"""The call page: photographs in; calls, pictures, boxes and a report out."""

from __future__ import annotations

import hashlib
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from cytowell.errors import RecipeError
from cytowell.evaluation.calls_page import is_counted, is_open, stands
from cytowell.evaluation.pages import jpeg_uri
from cytowell.images import SUFFIXES, open_upright
from cytowell.serving.house import House, box_of
from cytowell.serving.kept import Kept, version_of
from cytowell.serving.pages.boxes import NOTHING, editor, read_boxes
from cytowell.serving.pages.parts import (
    PRIVATE,
    card,
    colour_of,
    drawn,
    explained,
    files_of,
    outlet,
    position_in,
    spoken,
    t,
    zipped,
)
from cytowell.serving.pages.words import language_of, say
from cytowell.serving.photographs import require_unchanged
from cytowell.types import FOUND

PHOTOGRAPH = 1400
"""Longer side in pixels of a photograph whose boxes are corrected."""

TYPES = [*sorted(SUFFIXES), ".zip"]


def page(house: House, sitting: Any, tab: Any) -> Any:
    """Lay the page out; give the choice of classifiers.

    Parameters
    ----------
    sitting
        The state that holds the sitting that is looked at.
    tab
        Shows the page: whoever comes back to it sees what was corrected meanwhile.
    """
    touched = gr.State("")
    names = list(house.desk.bundles)
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            files = gr.File(label=t("call.files"), file_count="multiple", file_types=TYPES)
            bundle = gr.Dropdown(
                names, value=names[0], label=t("app.bundle"), elem_id="call-bundle"
            )
            finds = [(t(f"call.{find}"), find) for find in house.finds]
            find = gr.Radio(finds, value="none", label=t("call.find"))
            go = gr.Button(t("call.go"), variant="primary", elem_id="call-go")
            summary = gr.Markdown(elem_id="call-summary", elem_classes="live")
        with gr.Column(scale=3, min_width=320):
            table = gr.Dataframe(
                label=t("call.table"), interactive=False, show_search="filter", wrap=False,
                elem_id="call-table", max_height=420,
            )  # fmt: skip
            shown = gr.HTML(elem_id="call-card", elem_classes="live")
            grid = gr.HTML(elem_id="call-grid")
    given_out = gr.HTML(elem_id="call-files")
    with gr.Row():
        draw = gr.Button(t("call.draw"), visible=False, elem_id="call-draw")
        pictures = gr.DownloadButton(t("call.overlays"), visible=False, elem_id="call-overlays")
    results = [sitting, touched, summary, table, shown, grid, given_out, draw, pictures]
    with gr.Accordion(t("call.boxes"), open=False, visible=False) as correcting:
        gr.Markdown(t("call.boxes_help"))
        photograph = gr.Dropdown([], label=t("call.boxes_photo"), elem_id="boxes-photo")
        boxes = editor()
        again = gr.Button(t("call.boxes_go"), elem_id="boxes-go")

    @explained
    def call(
        given: list[str] | None, name: str, what: str, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio finds it by its default
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        photographs = given or []
        words = say(language, "call.ticked")
        title = _title(photographs)
        made = house.call(
            photographs, name, what, title,
            lambda done, of: progress((done, of), desc=words, unit=""),
        )  # fmt: skip
        return results_of(house, language, made) + _photographs(house, made)

    @explained
    def pick(made: str, event: gr.SelectData, request: gr.Request) -> str:
        kept = house.sittings.calls(made, [position_in(event)])
        return card(house, language_of(request), made, kept[0]) if kept else ""

    @explained
    def look(made: str, chosen: str | None) -> Any:
        return _boxes_of(house, made, chosen) if chosen else NOTHING

    @explained
    def correct(made: str, chosen: str, drawn_boxes: Any, request: gr.Request) -> tuple[Any, ...]:
        file = file_of(house.sittings.calls(made), chosen or "")
        wanted = read_boxes(drawn_boxes, chosen)
        house.call_boxes(made, file, wanted, str(drawn_boxes.get("version", "")))
        return (*results_of(house, language_of(request), made), _boxes_of(house, made, chosen))

    @explained
    def come_back(made: str, before: str, request: gr.Request) -> tuple[Any, ...]:
        if not made or house.sittings.about(made).touched == before:
            return tuple(gr.skip() for _ in results)
        return results_of(house, language_of(request), made)

    @explained
    def overlay(made: str) -> Any:
        folder = outlet(house)
        house.write_overlays(made, folder / "overlays")
        packed = zipped(folder / "overlays")
        return gr.DownloadButton(value=packed, visible=True)

    tab.select(come_back, [sitting, touched], results, show_progress="hidden", **PRIVATE)
    draw.click(overlay, [sitting], [pictures], **PRIVATE)
    go.click(call, [files, bundle, find], [*results, correcting, photograph, boxes], **PRIVATE)
    table.select(pick, [sitting], [shown], **PRIVATE)
    # A person's choice alone: what a call brings comes with its boxes, and would undo corrections.
    photograph.input(look, [sitting, photograph], [boxes], **PRIVATE)
    again.click(correct, [sitting, photograph, boxes], [*results, boxes], **PRIVATE)
    return bundle


def results_of(house: House, language: str, sitting: str) -> tuple[Any, ...]:
    """Give what the page shows of a sitting, as it stands now; pictures are drawn anew if asked."""
    touched = house.sittings.about(sitting).touched
    every = house.sittings.calls(sitting)
    kept = [k for k in every if not is_counted(k.row)]
    boxed = any(box_of(k.row) is not None for k in every)
    hint = f"<p class='soft'>{html.escape(say(language, 'call.pick'))}</p>"
    return (
        sitting,
        touched,
        _compared(house, sitting) + _summary(language, kept, every),
        table_of(language, kept),
        hint,
        grid_of(house, language, sitting, kept),
        files_of(house, language, sitting, "call"),
        gr.Button(visible=boxed),
        gr.DownloadButton(visible=False),
    )


def table_of(language: str, kept: Sequence[Kept]) -> pd.DataFrame:
    """Give calls as a person reads them; the first column is the call's number."""
    placed = any(k.row.get("object") is not None for k in kept)
    rows = []
    for k in kept:
        p = k.row.get("probability")
        row: dict[str, Any] = {"#": k.position, "path": k.name}
        if placed:
            row["object"] = str(k.row.get("well") or k.row.get("object") or "")
        said = (k.said[-1].label or say(language, "app.cannot")) if k.said else ""
        row["final label"] = said or stands(k.row)
        row["call"] = spoken(language, k.row)
        row["probability"] = "" if p is None else f"{float(p):.3f}"
        row["review"] = said
        rows.append(row)
    return pd.DataFrame(rows)


def grid_of(house: House, language: str, sitting: str, kept: Sequence[Kept]) -> str:
    """Draw plates whose wells were found, each well in the colour of its call."""
    classes = house.sittings.about(sitting).classes
    plates: dict[str, dict[str, Kept]] = {}
    files = named_files(kept)
    for k in kept:
        if k.row.get("well"):
            plate = f"{files[k.file]} {k.row.get('plate') or ''}".strip()
            plates.setdefault(plate, {})[str(k.row["well"])] = k
    return drawn(
        "wells",
        plates=[
            _plate(classes, language, say(language, "call.grid", plate=name), wells)
            for name, wells in plates.items()
        ],
        keys=[{"name": c, "colour": colour_of(classes, c)} for c in classes],
        cannot=say(language, "app.cannot"),
    )


def _plate(
    classes: tuple[str, ...], language: str, name: str, wells: Mapping[str, Kept]
) -> dict[str, Any]:
    columns = range(1, 1 + max(int(w[1:]) for w in wells))
    rows = [
        {"name": r, "spots": [_spot(classes, language, wells.get(f"{r}{c}")) for c in columns]}
        for r in sorted({w[0] for w in wells})
    ]
    return {"name": name, "columns": columns, "rows": rows}


def _spot(classes: tuple[str, ...], language: str, kept: Kept | None) -> dict[str, Any] | None:
    if kept is None:
        return None
    word = kept.said[-1].label if kept.said else str(kept.row["label"])
    waits = not word or (is_open(kept.row) and not kept.said)
    name = say(language, "app.cannot") if waits else word
    return {
        "open": waits,
        "title": f"{kept.row['well']}: {name}",
        "sign": "?" if waits else word[:1].upper(),
        "colour": colour_of(classes, word),
    }


def _summary(language: str, kept: Sequence[Kept], every: Sequence[Kept]) -> str:
    decided = sum(str(k.row["decided"]) == "true" for k in kept)
    failed = sum(bool(k.row["error"]) for k in kept)
    waiting = sum(bool(k.row["label"]) and is_open(k.row) and not k.said for k in kept)
    reviewed = sum(bool(k.said) for k in kept)
    changed = sum(bool(k.said) and k.label != str(k.row["label"]) for k in kept)
    told = say(
        language, "call.summary", decided=decided, open=waiting, failed=failed, all=len(kept)
    )
    if reviewed:
        told += " " + say(language, "call.reviewed", reviewed=reviewed, changed=changed)
    seen = Counter(str(k.row.get(FOUND) or "") for k in every if is_counted(k.row))
    if seen:
        found = ", ".join(f"{number} {name}" for name, number in sorted(seen.items()))
        told += " " + say(language, "call.counted", found=found)
    return f"**{told}**"


def _compared(house: House, sitting: str) -> str:
    """Say how the photographs compare with the training images; first where they differ."""
    sentence, differs = house.compared(sitting)
    if not sentence:
        return ""
    words = html.escape(sentence)
    return f"**\u26a0 {words}**\n\n" if differs else f"{words}\n\n"


def _title(photographs: Sequence[str]) -> str:
    names = [Path(p).name for p in photographs]
    if len(names) <= 1:
        return "".join(names)
    return f"{names[0]} +{len(names) - 1}"


def named_files(kept: Sequence[Kept]) -> dict[str, str]:
    """Give photographs by where they lie, each under a name of its own."""
    out: dict[str, str] = {}
    for k in kept:
        if k.file not in out:
            same = sum(Path(file).name == k.name for file in out)
            out[k.file] = f"{k.name} ({same + 1})" if same else k.name
    return out


def mark_of(file: str) -> str:
    """Give what a page calls a photograph by: where it lies is told to no browser."""
    return hashlib.sha256(file.encode()).hexdigest()[:24]


def file_of(kept: Sequence[Kept], mark: str) -> str:
    """Give where a photograph of a sitting lies.

    Raises
    ------
    RecipeError
        If it is none of these.
    """
    for k in kept:
        if mark_of(k.file) == mark:
            return k.file
    raise RecipeError("This photograph is not of this sitting.", "Choose one of it.")


def _photographs(house: House, sitting: str) -> tuple[Any, ...]:
    """Give the accordion, the choice of photographs and the first one's boxes."""
    kept = [k for k in house.sittings.calls(sitting) if "object" in k.row and not k.row["error"]]
    files = [(name, mark_of(file)) for file, name in named_files(kept).items()]
    first = files[0][1] if files else None
    return (
        gr.Accordion(visible=bool(files)),
        gr.Dropdown(choices=files, value=first),
        _boxes_of(house, sitting, first) if first else NOTHING,
    )


def _boxes_of(house: House, sitting: str, photograph: str) -> Any:
    """Give a photograph, by its mark, and its boxes as the editor takes them."""
    file = file_of(house.sittings.calls(sitting), photograph)
    kept = house.of_photograph(sitting, file)
    require_unchanged(kept[0])
    bundle = house.bundle_of(house.sittings.about(sitting))
    image = open_upright(file, bundle.facts.preprocessing.unscaled if bundle else None)
    found = [
        (b, str(k.row.get("well") or ""))
        for k in kept
        if (b := box_of(k.row)) is not None and not is_counted(k.row)
    ]
    return {
        "photograph": photograph,
        "version": version_of(kept),
        "image": jpeg_uri(image, PHOTOGRAPH),
        "width": image.width,
        "height": image.height,
        "boxes": [[b.x, b.y, b.width, b.height] for b, _ in found],
        "names": {f"{b.x:g} {b.y:g}": name for b, name in found if name},
        "chosen": -1,
    }
