"""A bundle as a Hugging Face Space: a folder that only has to be pushed."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path

import cytowell
from cytowell.errors import EmptyDataset, MissingExtra, how_to_install
from cytowell.images import SUFFIXES
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.sealed import find, opened
from cytowell.sources.samples import write_samples
from cytowell.sources.walk import walk
from cytowell.storage import replacing_folder, require_free, write_text

EXAMPLES = 6
"""Photographs to try that a Space has."""

PYTHON = "3.11"

APP = '''"""Starts the page over the bundle beside it."""

from pathlib import Path

from cytowell.serving.pages.space import launch

HERE = Path(__file__).parent

if __name__ == "__main__":
    launch(HERE / "bundle", sorted((HERE / "examples").iterdir()))
'''

HEADER = """---
title: {title}
emoji: \U0001f52c
colorFrom: blue
colorTo: gray
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
license: apache-2.0
pinned: false
---

"""

_EXTRA = re.compile(r"extra\s*==\s*['\"](\w+)['\"]")
_NAME = re.compile(r"^[A-Za-z0-9._-]+")


def write_space(
    bundle: str | Path, out: str | Path, title: str = "Cytowell", examples: str | Path = ""
) -> Path:
    """Write a Space: app, pinned requirements, README with model card, bundle, examples, source.

    Parameters
    ----------
    bundle
        Bundle folder, run folder or name.
    out
        A new folder.
    examples
        A folder of photographs to try; generated ones without it.

    Raises
    ------
    MissingExtra
        If the page's toolkit is not installed here: its version is what is pinned.
    StorageError
        If the folder holds something.
    """
    folder = Path(out)
    require_free(folder)
    loaded = cytowell.load(bundle)
    pinned = requirements()
    with replacing_folder(folder) as beside:
        _copy_bundle(find(bundle), beside / "bundle")
        _copy_source(beside / "cytowell")
        _copy_examples(beside / "examples", examples, beside)
        write_text(beside / "app.py", APP)
        write_text(beside / "requirements.txt", "\n".join(pinned) + "\n")
        write_text(beside / "README.md", _readme(loaded, beside / "bundle", title))
        write_text(beside / ".gitattributes", "*.onnx filter=lfs diff=lfs merge=lfs -text\n")
    return folder


def requirements() -> list[str]:
    """Give what the page needs of others, each at the version that is installed here.

    Raises
    ------
    MissingExtra
        If one of them is not installed.
    """
    wanted = []
    for line in metadata.requires("cytowell") or []:
        extra, begin = _EXTRA.search(line), _NAME.match(line)
        if begin and (extra is None or extra[1] == "serve"):
            wanted.append(begin[0])
    pinned = []
    for name in wanted:
        try:
            pinned.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError as error:
            raise MissingExtra(
                f"A Space pins {name}, which is not installed here.",
                how_to_install("serve") + ".",
            ) from error
    return sorted(set(pinned), key=str.lower)


def _copy_bundle(place: Path, into: Path) -> None:
    """Copy the files that the bundle's sums list, verified: nothing else becomes public."""
    _, contents = opened(place, "classifier")
    into.mkdir()
    for name, data in contents.items():
        (into / name).write_bytes(data)


def _copy_source(into: Path) -> None:
    """Copy the package without its own bundles: the Space has the one that it shows."""
    here = Path(cytowell.__file__).parent
    left = shutil.ignore_patterns("__pycache__", "*.pyc", "weights")
    shutil.copytree(here, into, ignore=left)


def _copy_examples(into: Path, given: str | Path, beside: Path) -> None:
    into.mkdir()
    if given:
        # A link's target may be anything of this machine, and what is copied becomes public.
        inside = walk(Path(given), odd=[])
        files = [f for f in inside if f.suffix.lower() in SUFFIXES][:EXAMPLES]
        if not files:
            raise EmptyDataset(f"{given} holds no photographs.", "Check --examples.")
    else:
        drawn = beside / ".drawn"
        made = write_samples(drawn, "cells", per_class=1) | write_samples(
            beside / ".drawn-wells", "wells", per_class=1
        )
        files = [f for kind in made.values() for f in walk(kind) if f.suffix in SUFFIXES]
        files = files[:: max(1, len(files) // EXAMPLES)][:EXAMPLES]
    for file in files:
        prefix = "" if given else "synthetic-"
        shutil.copyfile(file, into / f"{prefix}{file.name}")
    for drawn in (beside / ".drawn", beside / ".drawn-wells"):
        shutil.rmtree(drawn, ignore_errors=True)


def _readme(bundle: Bundle, place: Path, title: str) -> str:
    card = (place / "MODEL_CARD.md").read_text(encoding="utf-8")
    plain = re.sub(r"[^\w .,()-]", " ", title).strip() or "Cytowell"
    head = HEADER.format(title=plain, gradio=metadata.version("gradio"), python=PYTHON)
    made_up = "\n**It learnt from synthetic images: its calls mean nothing.**\n"
    note = (
        "Research use only, not an in vitro diagnostic. Photographs are looked at and forgotten "
        "within the hour. `/predict` takes a file and gives the call as JSON.\n"
    )
    return f"{head}# {plain}\n\n{note}{made_up if bundle.facts.synthetic else ''}\n{card}"
