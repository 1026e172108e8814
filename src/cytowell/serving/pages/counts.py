"""The count page: calls of a smear to a differential count."""

from __future__ import annotations

from typing import Any

import gradio as gr

from cytowell.errors import CountError, EmptyDataset
from cytowell.runs.counts import count_calls, write_counts
from cytowell.serving.house import House
from cytowell.serving.lengths import NAME
from cytowell.serving.pages.parts import PRIVATE, explained, outlet, t
from cytowell.serving.pages.plates import outputs, results_of
from cytowell.serving.pages.words import language_of, say


def page(house: House) -> Any:
    """Lay the page out; give the choices of sittings and of classifiers."""
    names = list(house.desk.bundles)
    with gr.Row():
        with gr.Column(min_width=280):
            file = gr.File(label=t("count.file"), file_types=[".csv", ".parquet"])
            chosen = gr.Dropdown([], label=t("app.sitting"), elem_id="count-sitting")
        with gr.Column(min_width=280):
            by = gr.Textbox(max_length=NAME, label=t("count.by"), elem_id="count-by")
            kinds = ["goodman", "sison-glaz"]
            interval = gr.Radio(kinds, value="goodman", label=t("count.interval"))
            correct = gr.Checkbox(label=t("count.correct"), value=True, elem_id="count-correct")
            bundle = gr.Dropdown(names, value=names[0], label=t("app.bundle"))
    go = gr.Button(t("count.go"), variant="primary", elem_id="count-go")
    results = outputs("count")

    @explained
    def count(
        given: str | None, sitting: str, column: str, kind: str, corrected: bool, name: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        folder = outlet(house)
        table = given
        served = house.desk.bundles[house.desk.named(name)] if corrected else None
        if not table:
            if not sitting:
                raise EmptyDataset("There is nothing to count.", "Give a table, or choose calls.")
            about = house.sittings.about(sitting)
            if corrected and (served := house.bundle_of(about)) is None:
                raise CountError(
                    f"The classifier {about.bundle} that called these is not served any more.",
                    "Count without its correction.",
                )
            table = str(folder / "calls.csv")
            house.sittings.frame(sitting).to_csv(table, index=False, lineterminator="\n")
        counted = count_calls(table, column.strip(), served, interval=kind)
        out = write_counts(folder / "count", counted, house.sittings.store.last())
        return results_of(out, say(language, "app.report"))

    given = [file, chosen, by, interval, correct, bundle]
    go.click(count, given, results, **PRIVATE)
    return chosen, bundle
