"""The key that signs the end of the audit trail: Ed25519, so that others can verify."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cytowell.errors import StorageError
from cytowell.storage import explaining

KEY_FILE = "audit.key"
"""The key's name in the data folder, where no other place is given."""

ENVIRONMENT = "CYTOWELL_AUDIT_KEY"
"""Environment variable that names the key's file."""


@dataclass(frozen=True)
class PublicKey:
    """Verifies what a signing key has signed."""

    key: Ed25519PublicKey

    @property
    def text(self) -> str:
        """The key as 64 hexadecimal digits, to be printed and kept elsewhere."""
        return self.key.public_bytes_raw().hex()

    def verifies(self, signature: str, signed: bytes) -> bool:
        """Tell whether a signature is of these bytes and by this key."""
        try:
            self.key.verify(bytes.fromhex(signature), signed)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """Signs the end of the trail.

    Attributes
    ----------
    file
        Where it is kept.
    new
        Whether it was made just now, and so has signed nothing before.
    """

    key: Ed25519PrivateKey
    file: Path
    new: bool = False

    @property
    def public(self) -> PublicKey:
        """The half that verifies."""
        return PublicKey(self.key.public_key())

    def sign(self, signed: bytes) -> str:
        """Give a signature, as hexadecimal digits."""
        return self.key.sign(signed).hex()


def key_file(data: Path, given: str | Path = "") -> Path:
    """Give where the signing key is: as given, else as the environment says, else with the data."""
    place = str(given) or os.environ.get(ENVIRONMENT, "")
    return Path(place) if place else data / KEY_FILE


def read_or_make(path: Path) -> SigningKey:
    """Read the signing key; make it, for its owner alone, where there is none.

    Raises
    ------
    StorageError
        If it cannot be read or made, is none, or others may read it.
    """
    made = Ed25519PrivateKey.generate()
    pem = made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read(path)
    except OSError as error:
        raise StorageError(
            f"The key {path} cannot be made ({error.strerror}).", "Give another --audit-key."
        ) from error
    with os.fdopen(handle, "wb") as out, explaining(path):
        out.write(pem)
        out.flush()
        os.fsync(out.fileno())
    return SigningKey(made, path, new=True)


def read(path: Path) -> SigningKey:
    """Read the signing key.

    Raises
    ------
    StorageError
        If it cannot be read, is none, or others may read it.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & stat.S_IRWXO:
            raise StorageError(
                f"Everybody on this machine may read the key {path}.", f"chmod 600 {path}."
            )
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(
            f"{path} holds no signing key that can be read.",
            "Put the key back from its copy, or check --audit-key.",
        ) from error
    if not isinstance(found, Ed25519PrivateKey):
        raise StorageError(f"{path} holds a key of another kind.", "An Ed25519 key is needed.")
    return SigningKey(found, path)


def public_key(text: str) -> PublicKey:
    """Read a public key from its 64 hexadecimal digits.

    Raises
    ------
    StorageError
        If it is none.
    """
    try:
        return PublicKey(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.strip())))
    except ValueError as error:
        raise StorageError(
            f"{text[:80]!r} is no public key.", "cytowell audit key prints it: 64 digits."
        ) from error
