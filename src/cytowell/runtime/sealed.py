"""A folder whose files are listed with their sums: one changed byte is noticed in time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cytowell import registry
from cytowell.errors import BundleCorrupt, BundleError, BundleRefused, BundleTooNew
from cytowell.images.limits import IN_MEMORY
from cytowell.storage import is_there, open_file

SUMS = "SHA256SUMS"
RECORD = "bundle.json"

FORMAT = 2
"""Version of the bundle format; a later one is refused. 2 has the canonical view of a cell, without
which the network would be shown something else; what needs nothing of it is written as 1."""

FILES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "classifier": (
        ("backbone.onnx", "head.npz"),
        ("statistics.npz", "MODEL_CARD.md"),
    ),
    "detector": (("detector.onnx",), ("MODEL_CARD.md",)),
}
"""Files that a bundle of each kind has beside its record, and those that it may have."""

AGAIN = "Copy the bundle again from where it was made."


def seal(folder: Path, kind: str) -> None:
    """Write the sums of the files of a bundle that are there."""
    required, further = FILES[kind]
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}"
        for name in (RECORD, *required, *further)
        if (folder / name).exists()
    ]
    (folder / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def opened(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Give what `bundle.json` says and the bytes of every file, verified.

    Raises
    ------
    BundleError
        If it is a bundle of another kind.
    BundleCorrupt
        If a file is missing, was changed, or is none of those that such a folder has.
    BundleTooNew
        If a later version of Cytowell wrote it.
    """
    contents = _verified(folder)
    if RECORD not in contents:
        raise BundleCorrupt(f"{folder / SUMS} does not list the files of a bundle.", AGAIN)
    record = _record(folder, contents[RECORD])
    found = str(record.get("kind", "classifier"))
    if found != kind:
        raise BundleError(
            f"{folder} is a {found} and no {kind}.",
            "A classifier goes to --bundle, a detector to --detector.",
        )
    required, further = FILES[kind]
    named = set(contents) - {SUMS}
    if not {RECORD, *required} <= named <= {RECORD, *required, *further}:
        raise BundleCorrupt(f"{folder / SUMS} does not list the files of a bundle.", AGAIN)
    return record, contents


def _verified(folder: Path) -> dict[str, bytes]:
    sums = folder / SUMS
    try:
        listed = _bytes_of(sums)
        lines = [line.split("  ", 1) for line in listed.decode("utf-8").splitlines() if line]
        wanted = {name: digest for digest, name in lines}
    except (OSError, ValueError) as error:
        raise BundleCorrupt(f"{folder} has no readable {SUMS}.", AGAIN) from error
    known = {RECORD, *(n for pair in FILES.values() for part in pair for n in part)}
    if not set(wanted) <= known:
        raise BundleCorrupt(f"{sums} does not list the files of a bundle.", AGAIN)
    contents = {SUMS: listed}
    for name, digest in wanted.items():
        try:
            contents[name] = _bytes_of(folder / name)
        except OSError as error:
            raise BundleCorrupt(f"{folder / name} is missing.", AGAIN) from error
        if hashlib.sha256(contents[name]).hexdigest() != digest:
            raise BundleCorrupt(f"{folder / name} was changed since the bundle was made.", AGAIN)
    return contents


def _bytes_of(file: Path) -> bytes:
    with open_file(file) as handle:
        return handle.read()


@contextlib.contextmanager
def complete(shown: object) -> Iterator[None]:
    """Turn whatever goes wrong while a bundle's files are understood into `BundleCorrupt`.

    Numbers beyond any (1e999), lists in lists in lists, arrays that promise more than there is:
    what is wrong with them is not listed here, for the next one is always missing.
    """
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        words = (str(error) or type(error).__name__)[:300]
        raise BundleCorrupt(f"{shown} is incomplete ({words}).", AGAIN) from error


def classes_of(record: dict[str, Any]) -> tuple[str, ...]:
    """Give the classes of a record.

    Raises
    ------
    ValueError
        If they are no list of names.
    """
    classes = record["classes"]
    if not isinstance(classes, list) or not all(isinstance(c, str) and c for c in classes):
        raise ValueError("classes are no list of names")
    return tuple(classes)


def _record(folder: Path, data: bytes) -> dict[str, Any]:
    if len(data) > IN_MEMORY:
        raise BundleCorrupt(f"{folder}/{RECORD} of {len(data):,} bytes is no record.", AGAIN)
    with complete(f"{folder}/{RECORD}"):
        record: dict[str, Any] = json.loads(data)
        version = int(record["format"])
    if version > FORMAT:
        raise BundleTooNew(
            f"{folder} has the format {version}; this Cytowell reads up to {FORMAT}.",
            "Run: pip install --upgrade cytowell.",
        )
    return record


_CODE = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".h5", ".keras")


def find(bundle: str | Path) -> Path:
    """Give the folder of a bundle named by folder, run or registered name."""
    place = Path(bundle)
    if place.suffix.lower() in _CODE:
        raise BundleRefused(
            f"{bundle} is a file that can run code when it is opened.",
            "Give a bundle folder: cytowell train writes one.",
        )
    there = is_there(place)
    if not there and os.sep not in str(bundle) and str(bundle) in registry.names("bundles"):
        shipped = Path(registry.load("bundles", str(bundle))())
        if (shipped / "bundle.json").is_file():
            return shipped
        raise BundleError(
            f"The bundle {str(bundle)!r} is not part of this installation.",
            "Give --bundle a folder that cytowell train made.",
        )
    for folder in (place, place / "bundle") if there else ():
        if (folder / "bundle.json").is_file():
            return folder
    raise BundleError(
        f"{bundle} is no bundle (no bundle.json in it).",
        f"Give a bundle folder, a run folder, or one of {', '.join(registry.names('bundles'))}.",
    )
