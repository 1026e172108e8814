"""Every file below a folder, in an order that does not depend on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PARTS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What folders and files of a given split are called, and the part that they stand for."""


def walk(
    path: Path, closed: list[Path] | None = None, odd: list[Path] | None = None
) -> Iterator[Path]:
    """Give every file below a folder in the order of names, each folder once even if linked.

    Parameters
    ----------
    closed
        Folders that could not be looked into are added to it.
    odd
        Links, pipes, sockets and devices are added to it and not given: a folder that others write
        to may hold what leads out of it, or never ends. Without it links are followed.
    """
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            stat = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError:
            if closed is not None:
                closed.append(folder)
            continue
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if odd is not None and not _is_plain(entry):
                odd.append(Path(entry.path))
            elif _is_folder(entry):
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)
        pending.extend(reversed(folders))


def _is_plain(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
