"""A zip of photographs, unpacked where it cannot climb out, fill the disk or run anything."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from cytowell.errors import DatasetError, EmptyDataset, StorageError
from cytowell.images.limits import KEPT_BYTES, NO_FILE_GROWS_SO, ON_DISK, Budget, grown
from cytowell.storage import cache_folder, explaining, make_room, replacing_folder, sha256

MOST_FILES = 1_000_000

UNUSED = 24 * 3600.0
"""Seconds since somebody asked for it, before which it may still be in use."""

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,  # damaged bzip2, an archive that may not be read
    ValueError,  # names that are not what they announce
    RuntimeError,  # a password; NotImplementedError is one: a compression that Python does not know
)
"""What a damaged or foreign archive makes Python's reader raise."""


def unpack(file: Path, into: Path | None = None) -> Path:
    """Unpack an archive; give the folder with its contents.

    A single folder at its top is gone into. Links in it are left out.

    Parameters
    ----------
    into
        A new folder; without it the cache, once for each archive.

    Raises
    ------
    DatasetError
        If it is no zip, is encrypted, has paths that climb out of their folder, or would grow
        more than photographs do.
    EmptyDataset
        If nothing is in it.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not _is_link(m)]
            _judge(file, members)
            folder = into or cache_folder() / "unpacked" / sha256(file)[:32]
            if not folder.is_dir():
                if into is None:
                    needed = sum(m.file_size for m in members)
                    make_room(folder.parent, needed, KEPT_BYTES, UNUSED)
                with replacing_folder(folder) as beside:
                    _extract(archive, members, beside, file)
            os.utime(folder)
    except _DAMAGE as error:
        raise DatasetError(
            f"{file} cannot be unpacked ({error}).", "Export or copy it again; without a password."
        ) from error
    return _inner(folder)


def _judge(file: Path, members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise EmptyDataset(f"{file} has nothing in it.", "Export it again.")
    for m in members:
        name = PurePosixPath(m.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in (name.parts[0] if name.parts else ""):
            raise DatasetError(
                f"{file} holds {m.filename!r}, which would be written outside its folder.",
                "Do not use this archive: no export makes such paths by accident.",
            )
        if m.flag_bits & 0x1:
            raise DatasetError(f"{file} is encrypted.", "Save it without a password.")
    total, packed = sum(m.file_size for m in members), file.stat().st_size
    if len(members) > MOST_FILES or total > grown(packed, ON_DISK):
        raise DatasetError(
            f"{file} of {packed:,} bytes would grow to {total:,} in {len(members):,} files.",
            "No archive of photographs does: do not use it.",
        )


def _extract(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, file: Path
) -> None:
    if shutil.disk_usage(folder).free < 1.05 * sum(m.file_size for m in members):
        raise StorageError(
            f"{file} does not fit on the disk of {folder.parent}.",
            "Free some space, or set CYTOWELL_CACHE to a folder on a larger disk.",
        )
    # Arrays are unpacked a second time, when they are read: both count.
    budget = Budget(file, grown(file.stat().st_size, ON_DISK), DatasetError, NO_FILE_GROWS_SO)
    budget.spend(sum(m.file_size for m in members))
    for m in members:
        target = folder.joinpath(*PurePosixPath(m.filename.replace("\\", "/")).parts)
        with explaining(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # zipfile stops at the announced size and checks the sum: a header cannot lie.
            with archive.open(m) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if target.suffix.lower() == ".npz":
                budget.spend(_inside(target))


def _inside(file: Path) -> int:
    """Give the bytes that an archive in an archive announces; 0 where it is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(m.file_size for m in archive.infolist())
    except _DAMAGE:
        return 0


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _inner(folder: Path) -> Path:
    """Go into the only folder, as long as there is nothing beside it."""
    while True:
        entries = [e for e in folder.iterdir() if e.name not in ("__MACOSX", ".DS_Store")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]
