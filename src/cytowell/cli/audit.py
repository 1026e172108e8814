"""cytowell audit: whether the server's trail, and what is kept with it, is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cytowell import registry
from cytowell.errors import StorageError

NAME = "audit"
SIGNING = "cytowell.serving.signing"
app = typer.Typer(help="The server's audit trail: a signed chain of hashes.", no_args_is_help=True)

DataOption = Annotated[str, typer.Option(help="The server's data folder.", show_default=False)]
KeyOption = Annotated[
    str,
    typer.Option(
        help="File of the signing key, as for serve; CYTOWELL_AUDIT_KEY or DATA/audit.key without.",
        show_default=False,
    ),
]


@app.command()
def key(data: DataOption = "", audit_key: KeyOption = "") -> None:
    """Print the public key; noted elsewhere, it verifies the trail without a secret."""
    print(_public(data, audit_key).text)


@app.command()
def verify(
    data: DataOption,
    database: Annotated[
        str, typer.Option(help="postgresql://..., if it is not SQLite.", show_default=False)
    ] = "",
    audit_key: KeyOption = "",
    public_key: Annotated[
        str, typer.Option(help="Public key, as audit key prints it.", show_default=False)
    ] = "",
    expect: Annotated[
        str,
        typer.Option(
            help="A hash that a report printed or that was noted: it has to be in the trail.",
            show_default=False,
        ),
    ] = "",
    photographs: Annotated[
        bool, typer.Option(help="Compare the photographs and uploads with their SHA-256 too.")
    ] = True,
) -> None:
    """Compute the chain anew and compare all that is kept with it; exit status 1 if it differs."""
    folder = Path(data)
    if not database and not (folder / "cytowell.db").is_file():
        raise StorageError(f"{data} holds no trail.", "Give the folder that serve --data names.")
    if public_key:
        public = registry.part(f"{SIGNING}:public_key")(public_key)
    else:
        public = _public(data, audit_key)
    store = registry.part("cytowell.serving.store:Store")(
        registry.part("cytowell.serving.store:url_of")(folder, database), None
    )
    found = store.audit(public, expect)
    print(f"{found.records} records hold; last hash {found.last}")
    if found.sealed:
        print(f"Of these an earlier version wrote the first {found.sealed}, without a signature.")
    if found.expected is not None:
        print(f"The expected hash is that of record {found.expected}.")
    wrong = found.wrong
    if photographs and not wrong:
        checked = store.photographs(folder)
        print(f"{checked.same} photographs are as they were; {checked.missing} are not there.")
        wrong = checked.wrong
    store.close()
    if wrong:
        print(f"BROKEN: {wrong}")
        raise typer.Exit(1)


def _public(data: str, audit_key: str) -> Any:
    if not data and not audit_key:
        raise StorageError("Which key is not said.", "Give --data or --audit-key.")
    place = registry.part(f"{SIGNING}:key_file")(Path(data), audit_key)
    return registry.part(f"{SIGNING}:read")(place).public
