"""cytowell audit: whether the server's trail is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cytowell import registry
from cytowell.errors import StorageError

NAME = "audit"
app = typer.Typer(help="The server's trail: a chain of hashes.", no_args_is_help=True)


@app.callback()
def main() -> None:
    """Keep `verify` a command of its own."""


@app.command()
def verify(
    data: Annotated[str, typer.Option(help="The server's data folder.", show_default=False)],
    database: Annotated[
        str, typer.Option(help="postgresql://..., if it is not SQLite.", show_default=False)
    ] = "",
) -> None:
    """Compute the chain anew; exit status 1 if a record was changed, added or taken out."""
    folder = Path(data)
    if not database and not (folder / "cytowell.db").is_file():
        raise StorageError(f"{data} holds no trail.", "Give the folder that serve --data names.")
    store = registry.part("cytowell.serving.store:Store")(
        registry.part("cytowell.serving.store:url_of")(folder, database)
    )
    sittings = registry.part("cytowell.serving.sittings:Sittings")(store, folder / "sittings")
    held, wrong = sittings.verify()
    print(f"{held} records hold; last hash {store.last()}")
    if wrong:
        print(f"BROKEN: {wrong}")
        raise typer.Exit(1)
