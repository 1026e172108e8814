"""cytowell titre: from counted wells, or a table of them, to what the laboratory reports."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from cytowell import registry
from cytowell.cli.options import JsonOption, QuietOption
from cytowell.cli.voice import speaking
from cytowell.errors import TitreError

NAME = "titre"


def command(
    calls: Annotated[
        str,
        typer.Argument(
            metavar="[CALLS]",
            help="Table of wells or of counted dilutions; or none, for a quick sum by flags.",
            show_default=False,
        ),
    ] = "",
    layout: Annotated[
        str,
        typer.Option(
            help="With CALLS: a .toml or .csv file, or favn, rffit ...", show_default=False
        ),
    ] = "",
    out: Annotated[
        str,
        typer.Option(
            help="With CALLS: folder for results.csv, results.json and report.html.",
            show_default=False,
        ),
    ] = "",
    positive: Annotated[
        str,
        typer.Option(help="With CALLS: the class that is a positive well.", show_default=False),
    ] = "",
    bundle: Annotated[
        str,
        typer.Option(
            help="With CALLS: the bundle that called; knows its positive class.", show_default=False
        ),
    ] = "",
    history: Annotated[
        str,
        typer.Option(
            help="With CALLS: folder of past results, for the control chart.", show_default=False
        ),
    ] = "",
    reference_iu: Annotated[
        float | None,
        typer.Option(
            help="IU/mL of the reference serum as it was diluted; else the layout's.",
            show_default=False,
        ),
    ] = None,
    rounding: Annotated[
        str,
        typer.Option(
            help="exact, two-decimals or steps-0.12; else the layout's.", show_default=False
        ),
    ] = "",
    positives: Annotated[
        str, typer.Option(help="Counted wells at each dilution, with commas.", show_default=False)
    ] = "",
    counts: Annotated[
        str,
        typer.Option(help="Which wells were counted: infected or protected.", show_default=False),
    ] = "",
    replicates: Annotated[
        str,
        typer.Option(
            help="Wells at each dilution; one number, or one for each.", show_default=False
        ),
    ] = "",
    log10_dilutions: Annotated[
        str,
        typer.Option(
            help="Exponents with commas, negative for a dilution: -1,-2,-3.", show_default=False
        ),
    ] = "",
    dilutions: Annotated[
        str,
        typer.Option(help="The same as 1:9,1:27 or 9,27 or 1/9,1/27.", show_default=False),
    ] = "",
    titrates: Annotated[
        str,
        typer.Option(
            help="What was diluted: virus (if infected wells count) or serum.", show_default=False
        ),
    ] = "",
    volume: Annotated[
        float | None, typer.Option(help="Millilitres in each well.", show_default=False)
    ] = None,
    rule: Annotated[
        str,
        typer.Option(
            help="cytowell list titre-rules; spearman-karber, or the layout's, without.",
            show_default=False,
        ),
    ] = "",
    denominator: Annotated[
        str,
        typer.Option(help="Of Spearman-Karber's variance: n-1, or n.", show_default=False),
    ] = "",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Give titres with their 95 % intervals: of a table by its plate layout, or of one series.

    Exit status: 0 if any run is valid, 1 if every run was refused, 2 for an error.
    """
    if not calls:
        if layout or out:
            raise TitreError("--layout and --out are of a table.", "Name the table before them.")
        wells = _series(positives, counts, replicates, log10_dilutions, dilutions, titrates)
        _quick_sum(wells, counts, rule or "spearman-karber", denominator or "n-1", volume, json_)
        return
    if positives or replicates or log10_dilutions or dilutions or titrates:
        raise TitreError(
            f"{calls} and counts are both given.",
            "Give a table with --layout, or --positives and the other flags.",
        )
    if not layout:
        raise TitreError(
            "What stands in which well is not said.",
            "Give --layout, a file or a name: cytowell list layouts.",
        )
    titres = registry.part("cytowell.plates.layout_files:read_layout")
    chosen = registry.part("cytowell.runs.titres:settings")(
        titres(layout),
        {
            "reference_iu": reference_iu, "rounding": rounding, "rule": rule,
            "denominator": denominator, "volume": volume,
        },
    )  # fmt: skip
    registry.part("cytowell.plates.counting:require_counts")(chosen, counts)
    past = registry.part("cytowell.runs.titres:past")(history) if history else []
    with speaking(quiet or json_) as speaker:
        done = registry.part("cytowell.runs.titres:read_titration")(
            calls,
            chosen,
            positive_class(positive, bundle),
            [value for _, value in past],
            lambda n, of: speaker.ticked(n, of, "titres"),
        )
        for remark in chosen.remarks():
            speaker.said(f"layout: {remark}")
        if out:
            registry.part("cytowell.runs.titres:write_results")(out, done, past)
            speaker.said(f"Report: {out}/report.html")
    if json_:
        print(json.dumps(done.to_json(), indent=1))
    else:
        show_titres(done)
    exit_if_refused(done)


def exit_if_refused(done: Any) -> None:
    """End with status 1 where no run may be reported: a script must not go on with it."""
    if done.runs and not any(run.valid for run in done.runs):
        raise typer.Exit(1)


def positive_class(positive: str, bundle: str) -> str:
    """Give the class that is a positive well; a bundle without one is refused."""
    if positive or not bundle:
        return positive
    loaded = registry.part("cytowell.runtime.bundle:load")(bundle)
    if not loaded.facts.positive:
        raise TitreError(
            f"{bundle} has no positive class ({', '.join(loaded.classes)}).",
            "Give --positive NAME, or train it with --positive.",
        )
    return str(loaded.facts.positive)


def show_titres(done: Any) -> None:
    """Print what is reported, run by run."""
    span = registry.part("cytowell.plates.units:span")
    print(done.sentence)
    for run in done.runs:
        print(f"plate {' and '.join(run.plates)}: {'valid' if run.valid else 'INVALID'}")
        for reason in run.reasons:
            print(f"  {reason}")
        for titre in run.titres:
            value = f"{titre.reported} {titre.unit if titre.value is not None else ''}".strip()
            limits = span(titre.value_low, titre.value_high, titre.unit, done.layout.threshold)
            odd = "; ".join(titre.contradicting)
            said = "  ".join(
                x for x in (titre.verdict, ", ".join(titre.flags), odd, titre.error) if x
            )
            print(f"  {titre.count.name:<20} {value:<24} {limits:<22} {said}".rstrip())


def _series(
    positives: str,
    counts: str,
    replicates: str,
    log10_dilutions: str,
    dilutions: str,
    titrates: str,
) -> Any:
    """Give the series that the flags write down."""
    if not positives:
        raise TitreError(
            "There is nothing to count.", "Give --positives, --counts, --replicates, dilutions."
        )
    if bool(log10_dilutions) == bool(dilutions):
        raise TitreError(
            "Dilutions are given twice." if dilutions else "No dilutions are given.",
            "Give --log10-dilutions=-1,-2,-3 or --dilutions 1:10,1:100,1:1000.",
        )
    if dilutions:
        factor = registry.part("cytowell.plates.dilutions:factor_of")
        exponents = [-math.log10(factor(part)) for part in dilutions.split(",")]
    else:
        exponents = _numbers(log10_dilutions, "--log10-dilutions")
    if not replicates:
        raise TitreError("Of how many wells is not said.", "Give --replicates.")
    wells = _numbers(replicates, "--replicates")
    counted = _numbers(positives, "--positives")
    if len(wells) == 1:
        wells *= len(counted)
    elif len(wells) != len(counted):
        raise TitreError(
            f"There are {len(counted)} counts and {len(wells)} numbers of wells.",
            "Give one number of wells for all, or one for each.",
        )
    return registry.part("cytowell.plates.dilutions:Series").of(
        counted, wells, exponents, counts, titrates
    )


def _quick_sum(
    series: Any, counts: str, rule: str, denominator: str, volume: float | None, json_: bool
) -> None:
    with_denominator = rule == "spearman-karber"
    found = registry.part("cytowell.plates.rules:compute")(rule, series, denominator)
    per_ml, low, high = registry.part("cytowell.plates.units:per_millilitre")(found, volume)
    if json_:
        told = {
            "log10_d50": found.log10_d50,
            "per_ml": per_ml,
            "low": low,
            "high": high,
            "rule": rule,
            "flags": list(found.flags),
            "se": found.se,
            "padded": [list(p) for p in found.padded],
            "counts": counts,
            "titrates": series.titrates,
            "denominator": denominator if with_denominator else None,
            "volume": volume,
        }
        print(json.dumps(told, indent=1))
        return
    print(f"{counts} wells of a diluted {series.titrates} were counted; rule: {rule}")
    if rule == "single-hit":
        units = 10**found.log10_d50
        print(
            f"per well       {units:.4g} infectious units, undiluted (log10 {found.log10_d50:.2f})"
        )
    else:
        print(f"log10 D50      {found.log10_d50:.2f}  (1:{10**found.log10_d50:.4g})")
    if per_ml is not None:
        print(f"per mL         {per_ml:.3g}")
    limits = registry.part("cytowell.plates.units:span")(low, high, "")
    if limits:
        print(f"95 % interval  {limits}{'' if volume is None else ' per mL'}")
    else:
        print("95 % interval  none: these counts do not say how sure they are")
    for dose, share in found.padded:
        print(f"assumed        {'all' if share else 'no'} wells affected at 1:{10**dose:.4g}")
    if "not_monotone" in found.flags:
        print(f"contradicting  {'; '.join(series.contradicting_words())}")
    if found.flags:
        print(f"flags          {', '.join(found.flags)}")


def _numbers(text: str, flag: str) -> list[float]:
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError as error:
            raise TitreError(
                f"{flag}: {part.strip()!r} is no number.",
                "Write numbers with commas between them and points within: 5,3,1,0.",
            ) from error
    return found
