"""cytowell compare: many candidates, one table that can be believed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

import cytowell
from cytowell import registry
from cytowell.cli.options import (
    DataArgument,
    DetectorOption,
    FindOption,
    GroupOption,
    QuietOption,
    RotateOption,
    SeedOption,
    SourceOption,
)
from cytowell.cli.voice import speaking

if TYPE_CHECKING:
    from cytowell.runs.compare import Comparison

NAME = "compare"

SideOption = Annotated[
    int | None, typer.Option(help="Side in pixels at which networks learn.", show_default=False)
]
EpochsOption = Annotated[
    float | None,
    typer.Option(help="How often networks see each image.", show_default=False),
]
WeightsOption = Annotated[
    str, typer.Option(help="What networks start from; nothing for random numbers.")
]


def command(
    data: DataArgument,
    learners: Annotated[
        str,
        typer.Option(help="Candidates: learners, learner:input, networks, network+network."),
    ] = "frozen,random-forest,svm,logistic-regression,gradient-boosting,knn",
    out: Annotated[str, typer.Option(metavar="RUN", help="Folder of the comparison.")] = "compare",
    folds: Annotated[
        int | None, typer.Option(help="Cross-validation in so many folds.", show_default=False)
    ] = None,
    shuffles: Annotated[
        int | None, typer.Option(help="So many shuffled hold-outs.", show_default=False)
    ] = None,
    holdout: Annotated[
        float | None, typer.Option(help="One hold-out of this share.", show_default=False)
    ] = None,
    optimisers: Annotated[
        str, typer.Option(help="Of networks: adamw, adam, rmsprop, sgd.", show_default=False)
    ] = "",
    balance: Annotated[
        str | None, typer.Option(help="none, balanced or smote.", show_default=False)
    ] = None,
    preset: Annotated[str, typer.Option(help="Of networks: quick, standard or best.")] = "quick",
    side: SideOption = None,
    epochs: EpochsOption = None,
    views: Annotated[
        int | None,
        typer.Option(help="Mirror images (1, 2, 4) that networks look at.", show_default=False),
    ] = None,
    weights: WeightsOption = "",
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Draw learning and validation curves.")
    ] = False,
    permutation_control: Annotated[
        bool,
        typer.Option("--permutation-control", help="Shuffle the labels: must fall to chance."),
    ] = False,
    choose: Annotated[
        bool, typer.Option("--choose", help="Refit and export the cheapest of the best.")
    ] = False,
    distill: Annotated[
        bool,
        typer.Option(
            "--distill",
            help="With --choose and --folds: the folds' networks teach the one that is delivered.",
        ),
    ] = False,
    tune: Annotated[
        int,
        typer.Option(
            min=0, help="Trials of a search for each candidate's settings, inside each division."
        ),
    ] = 0,
    new_split: Annotated[
        bool, typer.Option("--new-split", help="Divide anew, whatever split the data brings.")
    ] = False,
    raw_and_cropped: Annotated[
        bool,
        typer.Option(
            "--raw-and-cropped", help="Every candidate on whole photographs and on their boxes."
        ),
    ] = False,
    find: FindOption = "none",
    detector: DetectorOption = "",
    rotate: RotateOption = None,
    by_image: Annotated[
        bool, typer.Option("--by-image", help="Split single images though groups exist (leaks).")
    ] = False,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    jobs: Annotated[int, typer.Option(help="Processes of the local engine.")] = 1,
    address: Annotated[str, typer.Option(help="Of a Ray cluster.", show_default=False)] = "",
    seed: SeedOption = 7,
    source: SourceOption = "",
    group_pattern: GroupOption = "",
    quiet: QuietOption = False,
) -> None:
    """Compare learners on the same images, with intervals and paired tests."""
    part = registry.part
    if engine == "ray":
        registry.require_extra("scale", "--engine ray")
    if tune:
        registry.require_extra("tune", "--tune")
    with speaking(quiet) as speaker:
        fit = part("cytowell.runs.candidates:Fit")(
            preset=preset,
            side=side,
            epochs=epochs,
            views=views,
            balance=balance,
            weights=weights,
            seed=seed,
            by_image=by_image,
            raw_and_cropped=raw_and_cropped,
        )
        question = part("cytowell.runs.compare:Question")(
            words=words(learners),
            protocols=_protocols(folds, shuffles, holdout),
            optimisers=words(optimisers),
            fit=fit,
            diagnose=diagnose,
            permutation_control=permutation_control,
            choose=choose,
            tune=tune,
            distill=distill,
            new_split=new_split,
            engine=engine,
            jobs=jobs,
            address=address,
        )
        looks = part("cytowell.runtime.finding:finder")(find, rotate, detector)
        dataset = cytowell.read(data, source or None, group_pattern)
        if looks is not None:
            speaker.said(f"looking for {find} in {len(set(dataset.paths))} photographs")
            found = part("cytowell.runtime.finding:objects")(dataset.samples, looks)
            samples = tuple(dataclasses.replace(s, nothing="") for s in found)
            dataset = dataclasses.replace(dataset, samples=samples)
        for note in dataset.notes:
            speaker.said(note)
        voice = part("cytowell.runs.run:Voice")(speaker.said, speaker.ticked)
        done = cytowell.compare(dataset, out, question, voice)
    show(done)


def words(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    return tuple(w.strip() for w in text.split(",") if w.strip())


def show(done: Comparison) -> None:
    """Print the table's most asked-for columns and the verdict."""
    shown = done.table[
        ["learner", "train_accuracy", "test_accuracy", "test_low", "test_high", "error"]
    ]
    print(shown.to_string(index=False, float_format=lambda v: f"{v:.3f}"))
    for sentence in done.words:
        print(sentence)
    if done.run is not None and done.choice is not None:
        print(done.choice.sentence)
        print(f"Next:   cytowell predict PHOTOS --bundle {done.run.folder} --out calls.csv")
    print(f"Report: {done.folder / 'report.html'}")


def _protocols(
    folds: int | None, shuffles: int | None, holdout: float | None
) -> tuple[object, ...]:
    """Give the protocols asked for; folds come before shuffles before the hold-out."""
    protocol = registry.part("cytowell.runs.protocols:Protocol")
    found = []
    if folds is not None:
        found.append(protocol("folds", folds))
    if shuffles is not None:
        found.append(protocol("shuffles", shuffles))
    if holdout is not None or not found:
        found.append(protocol("holdout", test=0.3 if holdout is None else holdout))
    return tuple(found)
