"""The teach page: photographs and their names to a classifier, without a line of Python."""

from __future__ import annotations

import html
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

import cytowell
from cytowell.errors import EmptyDataset, RecipeError, TooFewImages
from cytowell.runs import recipe as recipes
from cytowell.runs.run import Voice, check, train
from cytowell.serving.house import House, listed, plain_name
from cytowell.serving.lengths import CLASSES, LABEL, NAME, require_length
from cytowell.serving.pages.calls import TYPES
from cytowell.serving.pages.next_labels import next_labels
from cytowell.serving.pages.parts import PRIVATE, explained, framed, outlet, t
from cytowell.serving.pages.words import language_of, say
from cytowell.storage import replacing_folder
from cytowell.types import Findings

FEWEST = 4
"""Named photographs below which nothing can be learnt or judged."""

FINDINGS = 200
"""Rows of findings that the page shows; the report has them all."""


def page(house: House, sitting: Any, tabs: Any) -> Any:
    """Lay the page out; give the choice of sittings."""
    learnt = gr.State("")
    gr.Markdown(t("teach.intro"))
    with gr.Row():
        with gr.Column(min_width=280):
            archive = gr.File(label=t("teach.zip"), file_types=[".zip"], elem_id="teach-zip")
            files = gr.File(
                label=t("teach.files"), file_count="multiple", file_types=TYPES,
                elem_id="teach-files",
            )  # fmt: skip
            classes = gr.Textbox(
                max_length=CLASSES * LABEL, label=t("teach.classes"), elem_id="teach-classes"
            )
            name_them = gr.Button(t("teach.name"), elem_id="teach-name")
            chosen = gr.Dropdown([], label=t("teach.named"), elem_id="teach-sitting")
            ask = gr.Button(t("teach.next"), elem_id="teach-next")
            called = gr.Textbox(max_length=60, label=t("teach.called"), elem_id="teach-called")
            positive = gr.Textbox(
                max_length=NAME, label=t("teach.positive"), elem_id="teach-positive"
            )
            go = gr.Button(t("teach.go"), variant="primary", elem_id="teach-go")
        with gr.Column(min_width=320):
            told = gr.Markdown(elem_id="teach-told", elem_classes="live")
            suggested = gr.HTML(elem_id="teach-suggested", elem_classes="live")
            findings = gr.Dataframe(interactive=False, visible=False, max_height=260, wrap=True)
            use = gr.Button(t("teach.use"), variant="primary", visible=False, elem_id="teach-use")
            paper = gr.DownloadButton(t("app.page"), visible=False, elem_id="teach-page")
            report = gr.HTML(elem_id="teach-report")

    @explained
    def name_photographs(
        given: list[str] | None, names: str, request: gr.Request
    ) -> tuple[Any, ...]:
        wanted = list(dict.fromkeys(listed(names)))
        if len(wanted) < 2:
            raise RecipeError("Two classes are the fewest.", "Write their names, commas between.")
        if len(wanted) > CLASSES:
            raise RecipeError(f"These are {len(wanted)} classes.", f"Write {CLASSES} at most.")
        for name in wanted:
            require_length(name, LABEL, "The name of a class")
        made = house.name_photographs(given or [], wanted, ", ".join(wanted))
        ready = say(language_of(request), "teach.ready")
        return made, ready, gr.Tabs(selected="review")

    @explained
    def learn(
        zipped: str | None, named: str, name: str, call: str, request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        title = plain_name(name) or "taught"
        out = outlet(house) / title
        source = _source(house, language, zipped, named, out.with_name(".named"))
        voice = Voice(ticked=lambda done, of, what: progress((done, of), desc=what, unit=""))
        # A table that was sent names nothing of this machine; one that is made here does.
        within = source.parent if zipped else None
        dataset = cytowell.read(source, into=out.with_name(".unpacked"), within=within)
        found = check(dataset, voice, doubt=True)
        recipe, _ = recipes.make("frozen", positive=call.strip() or None)
        run = train(dataset, out, recipe, voice=voice)
        rows = _found(found)
        return (
            str(run.folder),
            "\n".join(f"- {remark}" for remark in found.remarks),
            gr.Dataframe(value=rows, visible=not rows.empty),
            gr.Button(visible=True),
            gr.DownloadButton(value=str(run.report), visible=True),
            framed(run.report, say(language, "app.report")),
        )

    @explained
    def take(folder: str, request: gr.Request) -> str:
        run = Path(folder)
        if not folder or run.parent.parent != house.folder / "pages":
            raise RecipeError("There is no classifier yet.", "Let one learn first.")
        name = run.name
        place = house.bundles_folder / name
        if name in house.desk.bundles and not place.exists():
            raise RecipeError(f"{name} is served already.", "Let it learn under another name.")
        with replacing_folder(place) as beside:
            shutil.copytree(run / "bundle", beside, dirs_exist_ok=True)
        house.take(name, place)
        house.sittings.store.record("bundle", {"digest": house.desk.bundles[name].digest})
        return f"**{html.escape(say(language_of(request), 'teach.used', name=name))}**"

    @explained
    def look(named: str, request: gr.Request) -> str:
        return next_labels(house, language_of(request), named)

    ask.click(look, [chosen], [suggested], **PRIVATE)
    name_them.click(name_photographs, [files, classes], [sitting, told, tabs], **PRIVATE)
    outputs = [learnt, told, findings, use, paper, report]
    go.click(learn, [archive, chosen, called, positive], outputs, **PRIVATE)
    taken = use.click(take, [learnt], [told], **PRIVATE)
    return chosen, taken


def _found(findings: Findings) -> pd.DataFrame:
    """Give a row per photograph with something the matter, and what that is."""
    rows = []
    for row in findings.table.to_dict("records"):
        issues = [name for name in findings.issues if row[f"is_{name}"]]
        if issues:
            rows.append({"path": Path(str(row["path"])).name, "issues": ", ".join(issues)})
    return pd.DataFrame(rows[:FINDINGS], columns=["path", "issues"])


def _source(house: House, language: str, archive: str | None, named: str, folder: Path) -> Path:
    """Give what is read: the archive, or a table of what people said."""
    if archive:
        return Path(archive)
    if not named:
        raise EmptyDataset(say(language, "teach.what"))
    frame = house.sittings.frame(named, paths=True)
    said = frame[(frame["truth"].astype(str) != "") & (frame["who"].astype(str) != "")]
    if len(said) < FEWEST:
        raise TooFewImages(say(language, "teach.few", n=len(said)))
    columns = ["path", "truth", "label", "who", "when", "why"]
    boxes = [c for c in ("x", "y", "width", "height") if c in said.columns]
    folder.mkdir(mode=0o700)
    table = folder / "samples.csv"
    pd.DataFrame(said[[*columns, *boxes]]).to_csv(table, index=False)
    return table
