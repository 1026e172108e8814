"""The report of photographs that were called together, as it stands when it is fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

import cytowell
from cytowell.evaluation.calls_page import Told, write_calls_page
from cytowell.evaluation.smear_page import write_smear_page
from cytowell.runs.counts import count_of
from cytowell.runs.smear import records_of
from cytowell.runs.smear_report import is_smear, slides_of
from cytowell.runtime.bundle import Bundle
from cytowell.serving.kept import Kept, Sitting
from cytowell.serving.photographs import is_changed
from cytowell.serving.sittings import frame_of


def write_report(
    path: Path,
    about: Sitting,
    kept: Sequence[Kept],
    trail: str,
    bundle: Bundle | None,
    picture: Callable[[int], Image.Image | None],
    compared: tuple[str, bool] = ("", False),
) -> None:
    """Write the page of calls; of smear photographs the differential count comes first.

    Parameters
    ----------
    trail
        Last hash of the audit trail, which the page prints.
    picture
        Gives what call i shows; None where it cannot be read.
    compared
        A sentence on the photographs against the training images, and whether they differ.
    """
    rows = frame_of(kept)
    records = records_of(rows)
    for record, call in zip(records, kept, strict=True):
        record["who"] = call.said[-1].person if call.said else ""
    made_with = _made_with(about, kept, trail, bundle)
    synthetic = bundle is not None and bundle.facts.synthetic
    if is_smear(records):
        texts = rows.astype(object).where(rows.notna(), "").astype(str)
        slides = slides_of(records, count_of(texts).slides)
        titled = {"Title": about.title, **made_with}
        write_smear_page(path, slides, titled, picture, synthetic, compared)
        return
    said = Told(about.title, about.classes, made_with, synthetic, compared)
    write_calls_page(path, records, said, picture)


def _made_with(
    about: Sitting, kept: Sequence[Kept], trail: str, bundle: Bundle | None
) -> dict[str, str]:
    hashes = sorted({k.sha256 for k in kept})
    total = hashlib.sha256("".join(hashes).encode()).hexdigest()
    threshold = "" if bundle is None else f"{bundle.facts.threshold:.3f}"
    changed = sorted({k.name for k in kept if is_changed(k)})
    replaced = {"Replaced since they were called": "\n".join(changed)} if changed else {}
    return {
        "Bundle": f"{about.bundle}\nSHA-256 {about.digest}",
        "Threshold": threshold or "not known: the bundle is not served any more",
        "Sitting": f"{about.id}, begun {about.created}",
        "Images": f"{len(hashes)} files\nSHA-256 of their SHA-256 {total}",
        "Trail at this report": trail,
        "Version": f"cytowell {cytowell.__version__}",
        **replaced,
    }
