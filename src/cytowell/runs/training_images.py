"""Images that taught a network are no test of it: found at the start, named, and kept out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cytowell import registry
from cytowell.checks import join
from cytowell.checks.issues import findings as table
from cytowell.checks.issues import flags, shown
from cytowell.checks.training_images import TrainingImages, find, record
from cytowell.errors import RunError
from cytowell.images import Preprocessing
from cytowell.learners.contract import Makings
from cytowell.runs.candidates import Candidate
from cytowell.runs.recipe import Recipe
from cytowell.runs.voice import Voice
from cytowell.runtime.bundle import Bundle, load
from cytowell.types import BoolArray, Dataset, Findings, IntArray

NETWORK = "backbone.onnx"


@dataclass(frozen=True)
class Overlap:
    """Images of a data set that taught one network.

    Attributes
    ----------
    name
        The network as the user named it.
    exact, near
        Which of the N samples show a photograph that taught it, and which a near copy of one.
    paths
        The N photographs.
    """

    name: str
    exact: BoolArray
    near: BoolArray
    paths: tuple[str, ...]

    @property
    def rows(self) -> BoolArray:
        """Where a sample shows what the network knows; (N,)."""
        return self.exact | self.near

    def __bool__(self) -> bool:
        return bool(self.rows.any())

    def __str__(self) -> str:
        known = list(dict.fromkeys(p for p, k in zip(self.paths, self.rows, strict=True) if k))
        copies = {p for p, near in zip(self.paths, self.near, strict=True) if near}
        of = f", {len(copies)} of them near copies" if copies else ""
        return (
            f"{len(known)} of {len(set(self.paths))} images trained or calibrated "
            f"{self.name!r}{of}: {shown([Path(p).name for p in known])}."
        )


def record_of(network: str) -> TrainingImages | None:
    """Give what is recorded of the images that taught a network; None for nothing.

    Parameters
    ----------
    network
        A registered bundle, a bundle's or a run's folder, or the network's file in one; whatever
        else networks start from has no record.
    """
    place = Path(network)
    if network in registry.names("bundles"):
        place = Path(registry.load("bundles", network)())
    elif place.name == NETWORK:
        place = place.parent
    for folder in (place, place / "bundle"):
        if (folder / NETWORK).is_file() and (folder / "bundle.json").is_file():
            return load(folder).facts.training_images
    return None


def overlap(
    name: str,
    known: TrainingImages | None,
    paths: Sequence[str],
    reading: Preprocessing | None = None,
    voice: Voice | None = None,
) -> Overlap:
    """Find the photographs, one path a sample, that taught a network of this name."""
    heard = voice or Voice()
    if known is None or not len(known):
        none = np.zeros(len(paths), dtype=np.bool_)
        return Overlap(name, none, none, tuple(paths))
    found = find(known, paths, reading, lambda what, done, of: heard.ticked(done, of, what))
    return Overlap(name, found.exact, found.near, tuple(paths))


def overlaps(dataset: Dataset, recipe: Recipe, voice: Voice | None = None) -> tuple[Overlap, ...]:
    """Find the images that taught a network which a recipe may start from."""
    names = dict.fromkeys(_starts(recipe.settings))
    every = (overlap(n, record_of(n), dataset.paths, recipe.reading, voice) for n in names if n)
    return tuple(found for found in every if found)


def strangers(
    networks: Sequence[str], dataset: Dataset, reading: Preprocessing | None, voice: Voice
) -> tuple[str, ...]:
    """Give those networks that none of the images taught; all of them where none is left."""
    kept = tuple(n for n in networks if not overlap(n, record_of(n), dataset.paths, reading, voice))
    return kept or tuple(networks)


def _starts(settings: Any) -> Iterable[str]:
    if getattr(settings, "input", "features") == "features":
        yield from getattr(settings, "backbones", ())
    yield from str(getattr(settings, "weights", "")).split("+")


def without(recipe: Recipe, known: Sequence[Overlap]) -> tuple[Recipe, tuple[Overlap, ...]]:
    """Give the recipe without networks that images of the data taught, and those that must stay.

    Where every network that the recipe names was taught by them, all of them stay.
    """
    taught = {found.name for found in known}
    backbones = getattr(recipe.settings, "backbones", ())
    kept = tuple(b for b in backbones if b not in taught)
    if not kept or len(kept) == len(backbones):
        return recipe, tuple(known)
    settings = replace(recipe.settings, backbones=kept)
    left = tuple(k for k in known if k.name not in backbones)
    return replace(recipe, settings=settings), left


def with_overlaps(dataset: Dataset, found: Findings, known: Sequence[Overlap]) -> Findings:
    """Add to the findings which images taught which network."""
    if not known:
        return found
    flagged = np.any([k.rows for k in known], axis=0)
    why = {
        int(i): "taught the network " + ", ".join(k.name for k in known if k.rows[i])
        for i in np.flatnonzero(flagged)
    }
    own = table(dataset, {"training_image": flags(flagged, why)}, (), [str(k) for k in known])
    return join(dataset, {"all": found, "training images": own})


def untaught(
    candidates: Sequence[Candidate], dataset: Dataset, voice: Voice
) -> tuple[tuple[Candidate, ...], tuple[Overlap, ...]]:
    """Give the candidates that start from nothing that images of the data taught.

    Returns
    -------
    tuple
        The candidates, of several networks those that are left, and what was found.

    Raises
    ------
    RunError
        If none is left.
    """
    names = dict.fromkeys(n for c in candidates for n in _starts(c.recipe.settings) if n)
    reading = candidates[0].recipe.reading
    every = (overlap(n, record_of(n), dataset.paths, reading, voice) for n in names)
    known = tuple(found for found in every if found)
    for found in known:
        voice.said(str(found))
    kept = []
    for candidate in candidates:
        mine = [k for k in known if k.name in _starts(candidate.recipe.settings)]
        recipe, left = without(candidate.recipe, mine)
        if left:
            voice.said(f"{candidate.name} is no candidate: these images taught {left[0].name!r}")
        else:
            kept.append(replace(candidate, recipe=recipe))
    if not kept:
        raise RunError(
            f"Nothing is left to compare. {known[0]}",
            "A network that these images taught knows them: compare others, or other images.",
        )
    return tuple(kept), known


def no_test(known: Sequence[Overlap], rows: IntArray) -> str:
    """Say why figures of the samples at `rows` are no test; "" where they are one."""
    seen = [k for k in known if k.rows[rows].any()]
    if not seen:
        return ""
    taught = " and ".join(repr(k.name) for k in seen)
    count = int(np.any([k.rows[rows] for k in seen], axis=0).sum())
    return (
        f"These figures are no test: {count} of the {len(rows)} images trained or calibrated "
        f"{taught}, which this classifier starts from. Start from another network, or evaluate on "
        "images that it has not seen."
    )


def write_into(
    bundle: Bundle, makings: Makings, dataset: Dataset, rows: IntArray, recipe: Recipe, voice: Voice
) -> None:
    """Record in a bundle what taught it: the samples at `rows`, and what taught its start."""
    paths = list(dict.fromkeys(dataset.samples[int(i)].path for i in rows))
    own = record(paths, recipe.reading, lambda what, done, of: voice.ticked(done, of, what))
    own = own.joined(makings.training_images)
    for name in str(getattr(recipe.settings, "weights", "")).split("+"):
        own = own.joined(record_of(name) if name else None)
    bundle.facts = replace(bundle.facts, training_images=own)
