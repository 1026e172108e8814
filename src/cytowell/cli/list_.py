"""cytowell list: what there is, a laboratory's own parts included."""

from __future__ import annotations

from typing import Annotated

import typer

from cytowell import registry
from cytowell.errors import UnknownName

NAME = "list"
KINDS = (
    "sources", "writers", "checks", "learners", "backbones", "detectors", "titre-rules",
    "layouts", "bundles", "augmentations", "callbacks", "loggers",
)  # fmt: skip


def command(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS) + ".")],
) -> None:
    """Print the names of a kind of part, and where each lives."""
    if kind not in KINDS:
        raise UnknownName(
            f"There is nothing called {kind!r}.", registry.did_you_mean(kind, [*KINDS])
        )
    if kind == "layouts":
        for file in registry.part("cytowell.plates.layout_files:ready_files")():
            print(f"{file.stem:24} {file}")
        return
    for name, reference in sorted(registry.names(kind).items()):
        print(f"{name:24} {reference}")
