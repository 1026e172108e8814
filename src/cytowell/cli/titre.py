"""cytowell titre: from counted wells to an end point, by a named rule."""

from __future__ import annotations

import json
import math
from typing import Annotated

import typer

from cytowell import registry
from cytowell.cli.options import JsonOption
from cytowell.errors import TitreError

NAME = "titre"


def command(
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
    rule: Annotated[str, typer.Option(help="cytowell list titre-rules.")] = "spearman-karber",
    denominator: Annotated[
        str, typer.Option(help="Of Spearman-Karber's variance: n-1 or n.")
    ] = "n-1",
    json_: JsonOption = False,
) -> None:
    """Give the dilution at which half of the wells are affected, with its 95 % interval."""
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
    series = registry.part("cytowell.plates.dilutions:Series").of(
        counted, wells, exponents, counts, titrates
    )
    estimate = registry.load("titre-rules", rule)
    with_denominator = rule == "spearman-karber"
    found = estimate(series, denominator) if with_denominator else estimate(series)
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
    if low is not None and high is not None:
        print(f"95 % interval  {low:.3g} to {high:.3g}{'' if volume is None else ' per mL'}")
    else:
        print("95 % interval  none: these counts do not say how sure they are")
    for dose, share in found.padded:
        print(f"assumed        {'all' if share else 'no'} wells affected at 1:{10**dose:.4g}")
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
