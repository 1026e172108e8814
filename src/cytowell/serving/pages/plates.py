"""The plate page: photographs, calls or counts to titres with their verdict on validity."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from cytowell.errors import RecipeError
from cytowell.plates.counting import number, require_counts
from cytowell.plates.layout import Layout
from cytowell.plates.layout_files import read_layout, ready_files
from cytowell.runs.plate import place, titrate_photographs, way_of
from cytowell.runs.run import Voice
from cytowell.runs.titres import Titration, read_titration, settings, write_results_of
from cytowell.runtime.bundle import Bundle
from cytowell.serving.house import House
from cytowell.serving.lengths import NAME, require_length
from cytowell.serving.pages.calls import TYPES, named_files
from cytowell.serving.pages.parts import PRIVATE, choices, explained, framed, outlet, t
from cytowell.serving.pages.words import language_of, say
from cytowell.storage import for_spreadsheets
from cytowell.types import Sample

FROM = ("photographs", "sitting", "typed")
HEADERS = ["sample", "role", "log10_dilution", "positive", "replicates"]
_THIRDS = (-0.4771, -0.9542, -1.4314, -1.9085)
EXAMPLE = [
    *(["serum 1", "test", d, k, 4] for d, k in zip(_THIRDS, (0, 0, 1, 4), strict=True)),
    *(["OIE 0.5", "reference", d, k, 4] for d, k in zip(_THIRDS, (0, 0, 2, 4), strict=True)),
]
"""A table to begin with: one serum and the reference serum, in steps of three."""


def page(house: House) -> Any:
    """Lay the page out; give the choices of sittings and of classifiers."""
    names = list(house.desk.bundles)
    ready = [file.stem for file in ready_files()]
    with gr.Row():
        with gr.Column(min_width=280):
            ways = [(t(f"plate.{way}"), way) for way in FROM]
            way = gr.Radio(ways, value="photographs", label=t("plate.from"), elem_id="plate-from")
            files = gr.File(
                label=t("call.files"), file_count="multiple", file_types=TYPES,
                elem_id="plate-files",
            )  # fmt: skip
            bundle = gr.Dropdown(
                names, value=names[0], label=t("app.bundle"), elem_id="plate-bundle"
            )
            chosen = gr.Dropdown([], label=t("app.sitting"), visible=False, elem_id="plate-sitting")
            typed = gr.Dataframe(
                value=EXAMPLE, headers=HEADERS, label=t("plate.table"), interactive=True,
                visible=False, elem_id="plate-table", type="array",
            )  # fmt: skip
        with gr.Column(min_width=280):
            layout = gr.Dropdown(
                ready, value="favn", label=t("plate.layout"), elem_id="plate-layout"
            )
            own = gr.File(label=t("plate.own"), file_types=[".toml", ".csv"], height=130)
            kinds = [(t("plate.as_layout"), ""), (t("plate.infected"), "infected"),
                     (t("plate.protected"), "protected")]  # fmt: skip
            counts = gr.Radio(kinds, value="", label=t("plate.counts"))
            positive = gr.Textbox(
                max_length=NAME, label=t("plate.positive"), elem_id="plate-positive"
            )
            iu = gr.Textbox(max_length=20, label=t("plate.iu"), elem_id="plate-iu")
    go = gr.Button(t("plate.go"), variant="primary", elem_id="plate-go")
    results = outputs("plate")

    def switch(chosen_way: str) -> tuple[Any, ...]:
        photographs = chosen_way == "photographs"
        return (
            gr.File(visible=photographs),
            gr.Dropdown(visible=photographs),
            gr.Dropdown(visible=chosen_way == "sitting", choices=choices(house)),
            gr.Dataframe(visible=chosen_way == "typed"),
        )

    @explained
    def compute(
        chosen_way: str, photographs: list[str] | None, name: str, sitting: str, table: Any,
        ready_name: str, file: str | None, polarity: str, call: str, reference: str,
        request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        units = number(reference, "IU/mL of the reference serum") if reference.strip() else None
        plan = settings(read_layout(file or ready_name), {"reference_iu": units})
        require_counts(plan, polarity)
        voice = Voice(ticked=lambda done, of, what: progress((done, of), desc=what, unit=""))
        out = outlet(house) / "titres"
        served = house.desk.bundles[house.desk.named(name)]
        make = functools.partial(
            _titration, house, chosen_way, served, plan, call.strip(),
            given=(photographs, sitting, table), voice=voice,
        )  # fmt: skip
        write_results_of(out, make, trail=house.sittings.store.last())
        return results_of(out, say(language, "app.report"))

    way.change(switch, [way], [files, bundle, chosen, typed], **PRIVATE)
    given = [way, files, bundle, chosen, typed, layout, own, counts, positive, iu]
    go.click(compute, given, results, **PRIVATE)
    return chosen, bundle


def _titration(
    house: House, way: str, bundle: Bundle, layout: Layout, positive: str, folder: Path, *,
    given: tuple[Any, str, Any], voice: Voice,
) -> Titration:  # fmt: skip
    """Compute what the page asks for; what it was computed from stays beside the results."""
    photographs, sitting, table = given
    wanted = positive or bundle.facts.positive or ""
    if way == "photographs":
        _require_class(bundle, wanted)
        with house.taking_in(photographs or []) as files:
            samples = [Sample(str(f)) for f in files]
            placed = place(samples, way_of(samples), layout)
            return titrate_photographs(
                placed, bundle, layout, folder / "calls.csv", wanted, voice=voice
            )
    if way == "sitting":
        about = house.sittings.about(sitting)
        known = house.bundle_of(about)
        wanted = positive or (known.facts.positive if known else "") or ""
        if known is not None:
            _require_class(known, wanted)
        plates_apart(house, sitting).to_csv(folder / "calls.csv", index=False)
        return read_titration(folder / "calls.csv", layout, wanted)
    frame = pd.DataFrame([row[: len(HEADERS)] for row in table], columns=HEADERS)
    frame = frame.fillna("").astype(str)
    rows = frame[frame.apply(lambda r: any(v.strip() for v in r), axis=1)]
    for cell in rows.to_numpy().ravel():
        require_length(cell, NAME, "A cell of the table")
    rows.to_csv(folder / "counts.csv", index=False)
    return read_titration(folder / "counts.csv", layout)


def plates_apart(house: House, sitting: str) -> pd.DataFrame:
    """Give a sitting's table with a plate of its own for each photograph of one.

    The finder counts plates from 1 in every photograph; here each bears its photograph's name.
    """
    frame = house.sittings.frame(sitting)
    if "plate" not in frame.columns:
        return frame
    kept = house.sittings.calls(sitting)
    files = named_files(kept)
    numbers: dict[str, set[str]] = {}
    for k in kept:
        numbers.setdefault(k.file, set()).add(str(k.row.get("plate") or ""))
    names = []
    for k in kept:
        number = str(k.row.get("plate") or "")
        several = len(numbers[k.file]) > 1
        names.append(f"{files[k.file]} {number}".strip() if several else files[k.file])
    return frame.assign(plate=names)


def _require_class(bundle: Bundle, positive: str) -> None:
    if not positive:
        raise RecipeError(
            "This classifier has no positive class.",
            f"Say which call is a positive well: {', '.join(bundle.classes)}.",
        )
    if positive not in bundle.classes:
        raise RecipeError(
            f"There is no class {positive}.",
            f"Use one of {', '.join(bundle.classes)}.",
        )


def outputs(name: str) -> list[Any]:
    """Lay out what `results_of` fills: files to take along, and the report as it is signed."""
    with gr.Row():
        files = [
            gr.DownloadButton(t(f"app.{kind}"), visible=False, elem_id=f"{name}-{kind}")
            for kind in ("table", "json", "page")
        ]
    return [gr.HTML(elem_id=f"{name}-report"), *files]


def results_of(folder: Path, title: str) -> tuple[Any, ...]:
    """Give a report in its frame and the files to take along."""
    for_spreadsheets(folder / "results.csv")
    return (
        framed(folder / "report.html", title),
        *(
            gr.DownloadButton(value=str(folder / name), visible=True)
            for name in ("results.csv", "results.json", "report.html")
        ),
    )
