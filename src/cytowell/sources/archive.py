"""A zip of photographs, unpacked where it cannot climb out, fill the disk or run anything."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from cytowell.errors import DatasetError, EmptyDataset, StorageError
from cytowell.storage import cache_folder, explaining, replacing_folder, sha256

MOST_FILES = 1_000_000
RATIO = 100
"""Times its own size that an archive of photographs grows at most; they are compressed already."""

FREELY = 256 << 20
"""Bytes up to which the ratio is not asked: a small archive of drawings may shrink well."""


KEPT_BYTES = 20 << 30
"""Archives unpacked beyond this are the first to go, those longest unused."""

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
                    _make_room(folder.parent, sum(m.file_size for m in members))
                with replacing_folder(folder) as beside:
                    _extract(archive, members, beside, file)
            os.utime(folder)
    except _DAMAGE as error:
        raise DatasetError(
            f"{file} cannot be unpacked ({error}).", "Export or copy it again; without a password."
        ) from error
    return _inner(folder)


def require_inside(paths: Iterable[str], folder: Path, place: str) -> None:
    """Refuse an archive whose tables or settings name files of this machine.

    Raises
    ------
    DatasetError
        Without saying what they are: the archive's maker may read it.
    """
    root = folder.resolve()
    outside = sum(not Path(p.split("::")[0]).resolve().is_relative_to(root) for p in set(paths))
    if outside:
        raise DatasetError(
            f"{place} names {outside} files outside of itself.",
            "Put them into the archive, or unpack it yourself and look at what it names.",
        )


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
    grown, packed = sum(m.file_size for m in members), file.stat().st_size
    if len(members) > MOST_FILES or grown > max(FREELY, RATIO * packed):
        raise DatasetError(
            f"{file} of {packed:,} bytes would grow to {grown:,} in {len(members):,} files.",
            "No archive of photographs does: do not use it.",
        )


def _make_room(folder: Path, needed: int) -> None:
    """Remove what was unpacked longest ago and not used since, beyond `KEPT_BYTES`."""
    if not folder.is_dir():
        return
    used: dict[Path, float] = {}
    sizes: dict[Path, int] = {}
    for kept in folder.iterdir():
        # What begins with a point is being written by somebody; who else looks may be gone first.
        with contextlib.suppress(FileNotFoundError):
            if kept.is_dir() and not kept.name.startswith("."):
                used[kept] = kept.stat().st_mtime
                sizes[kept] = sum(i.stat().st_size for i in kept.rglob("*") if i.is_file())
    total = needed + sum(sizes.values())
    for old in sorted(used, key=lambda f: used[f]):
        if total <= KEPT_BYTES or time.time() - used[old] < UNUSED:
            break
        total -= sizes.get(old, 0)
        shutil.rmtree(old, ignore_errors=True)


def _extract(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, file: Path
) -> None:
    if shutil.disk_usage(folder).free < 1.05 * sum(m.file_size for m in members):
        raise StorageError(
            f"{file} does not fit on the disk of {folder.parent}.",
            "Free some space, or set CYTOWELL_CACHE to a folder on a larger disk.",
        )
    for m in members:
        target = folder.joinpath(*PurePosixPath(m.filename.replace("\\", "/")).parts)
        with explaining(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # zipfile stops at the announced size and checks the sum: a header cannot lie.
            with archive.open(m) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)


def _is_link(member: zipfile.ZipInfo) -> bool:
    return stat.S_ISLNK(member.external_attr >> 16)


def _inner(folder: Path) -> Path:
    """Go into the only folder, as long as there is nothing beside it."""
    while True:
        entries = [e for e in folder.iterdir() if e.name not in ("__MACOSX", ".DS_Store")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        folder = entries[0]
