"""Writing that is whole or not at all, and the folder for what can be computed again."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from cytowell.errors import MissingExtra, RecipeError, StorageError, how_to_install

REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space or choose another --out, then start again.",
    errno.EDQUOT: "The quota is used up: free some space or choose another --out.",
    errno.EACCES: "You may not write there: choose another --out or ask for the right to.",
    errno.EPERM: "You may not write there: choose another --out or ask for the right to.",
    errno.EROFS: "That disk is read-only: choose another --out.",
    errno.EEXIST: "A file stands where a folder is needed: choose another --out.",
    errno.ENOTDIR: "A file stands where a folder is needed: choose another --out.",
    errno.ENAMETOOLONG: "The name is too long for that disk: choose a shorter --out.",
    errno.ELOOP: "The links there lead in a circle: choose another --out.",
    errno.EFBIG: "The file is larger than that disk or your limits allow: choose another --out.",
    errno.EIO: "The disk does not answer as it should: choose another --out.",
    errno.EISDIR: "A folder stands where a file is needed: choose another --out.",
}

EXPIRES = 90 * 24 * 3600.0
"""Seconds after which what a cache keeps is removed if nobody has asked for it."""

HALF_WRITTEN = 24 * 3600.0
"""Seconds after which nobody is still writing what has not its own name yet."""


@contextlib.contextmanager
def explaining(path: Path | str) -> Iterator[None]:
    """Turn the system's refusal to write `path` into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        raise StorageError(f"{path} cannot be written.", REMEDIES[error.errno]) from error


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Give a path beside `path` to write to; it takes the place of `path` when all went well.

    The name keeps its ending, so that writers that look at it work. On any failure, Ctrl-C
    included, the half-written file is removed and `path` is as it was. What is no file (a pipe,
    ``/dev/stdout``) is written to and not replaced.
    """
    target = Path(path)
    with explaining(target):
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder stands there", str(target))
        if target.exists() and not target.is_file():
            yield target
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=".writing-", suffix="".join(target.suffixes[-1:])
        )
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            beside.chmod(0o666 & ~_umask())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty folder beside `path`; it takes the place of `path` when all went well."""
    target = Path(path)
    with explaining(target):
        if target.exists() and not target.is_dir():
            raise FileExistsError(errno.EEXIST, "a file stands there", str(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=".writing-"))
        try:
            yield beside
            beside.chmod(0o777 & ~_umask())
            if target.exists():
                _take_place(beside, target)
            else:
                beside.replace(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _take_place(beside: Path, target: Path) -> None:
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".old-"))
    try:
        target.replace(old / target.name)
        beside.replace(target)
    finally:
        if not target.exists() and (old / target.name).exists():
            (old / target.name).replace(target)
        shutil.rmtree(old, ignore_errors=True)


def require_free(folder: Path) -> None:
    """Refuse a folder to write to that holds something already.

    Raises
    ------
    StorageError
        If anything is there but an empty folder.
    """
    if is_there(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} holds something already.", "Name a new folder.")


def write_frame(frame: Any, path: Path) -> None:
    """Write a table (a pandas DataFrame) as CSV or Parquet, whole or not at all.

    Raises
    ------
    RecipeError
        If the file's ending is neither.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise RecipeError(f"{path} has no known ending.", "Use .csv or .parquet.")
    with replacing(path) as beside:
        if suffix == ".parquet":
            try:
                frame.to_parquet(beside, index=False)
            except ImportError as error:
                raise MissingExtra(
                    f"{path} needs pyarrow, which is not installed.",
                    f"Write .csv. {how_to_install('parquet')}.",
                ) from error
        else:
            frame.to_csv(beside, index=False, lineterminator="\n")


def open_file(path: Path | str, links: bool = True) -> BinaryIO:
    """Open a file to be read, if it is one: a pipe would be waited for, a device has no end.

    Parameters
    ----------
    links
        Whether a link is followed.

    Raises
    ------
    OSError
        If it is not there, may not be read, or is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags if links else flags | getattr(os, "O_NOFOLLOW", 0))
    try:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device and no file", str(path))
        # Opened by its name, which readers of libraries ask the file for.
        return open(path, "rb", opener=lambda *_: handle)
    except BaseException:
        os.close(handle)
        raise


_STARTS = r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
"""What a spreadsheet takes for the beginning of a formula, in full width too."""

_CELL = r"(?:^|(?<=[;\t\r\n]))"
"""Where a cell may begin: a spreadsheet of another country splits at semicolons."""

_FORMULA = re.compile(rf"{_CELL}(?='*{_STARTS})")
_MARKED = re.compile(rf"{_CELL}'(?='*{_STARTS})")
_MARK = re.compile(rf"'{_STARTS}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|inf)")


def neutral(cell: str) -> str:
    """Give a cell that no spreadsheet takes for a formula: an apostrophe stands before it.

    Numbers stay as they are. `restored` gives the cell back, whatever it was.

    >>> neutral("=1+1"), neutral("-0.5"), neutral("a.jpg")
    ("'=1+1", '-0.5', 'a.jpg')
    """
    return cell if _NUMBER.fullmatch(cell) else _FORMULA.sub("'", cell)


def restored(cell: str) -> str:
    """Give what a cell was before `neutral`.

    >>> restored("'=1+1"), restored("'tis.jpg")
    ('=1+1', "'tis.jpg")
    """
    return _MARKED.sub("", cell)


def holds_neutral(text: str) -> bool:
    """Tell whether a file's text may hold cells that `restored` would change."""
    return _MARK.search(text) is not None


def for_spreadsheets(path: Path) -> None:
    """Make a CSV file's cells `neutral`, in place: whoever is handed it opens it with anything."""
    with path.open(encoding="utf-8", newline="") as handle:
        lines = [_line([neutral(cell) for cell in row]) for row in csv.reader(handle)]
    with replacing(path) as beside:
        beside.write_text("".join(lines), encoding="utf-8", newline="")


def _line(cells: list[str]) -> str:
    """Give a line of CSV; what ends lines is quoted whichever way it ends them."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()[:-2] + "\n"


def is_there(path: Path | str) -> bool:
    """Tell whether something is at a path; a name that no disk could hold is not there."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_with(path: Path | str, write: Callable[[Path], object]) -> None:
    """Let `write` make a file, whole or not at all."""
    with replacing(path) as beside:
        write(beside)


def sha256(path: Path | str) -> str:
    """Hash a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_folder() -> Path:
    """Give the folder for what can be computed again: `CYTOWELL_CACHE`, else the user's cache."""
    given = os.environ.get("CYTOWELL_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cytowell"


def make_room(folder: Path, needed: int, most: int, unused: float = 0.0) -> None:
    """Remove what a cache has kept longest without use, until so much more has room in it.

    What nobody has asked for in `EXPIRES` goes in any case, and what a process that was killed has
    left half written. An array that is mapped into memory stays readable until it is let go.

    Parameters
    ----------
    needed, most
        Bytes that are about to be added, and that are kept in all.
    unused
        Seconds since somebody asked for a thing, before which it may still be in use.
    """
    if not folder.is_dir():
        return
    now = time.time()
    used: dict[Path, float] = {}
    sizes: dict[Path, int] = {}
    for kept in folder.iterdir():
        # Who else looks may be gone first.
        with contextlib.suppress(FileNotFoundError):
            since = kept.stat().st_mtime
            if kept.name.startswith("."):
                if now - since > HALF_WRITTEN:
                    _remove(kept)
                continue
            used[kept] = since
            inside = kept.rglob("*") if kept.is_dir() else [kept]
            sizes[kept] = sum(i.stat().st_size for i in inside if i.is_file())
    total = needed + sum(sizes.values())
    for old in sorted(used, key=lambda f: used[f]):
        idle = now - used[old]
        if (total <= most or idle < unused) and idle < EXPIRES:
            break
        total -= sizes.get(old, 0)
        _remove(old)


def _remove(kept: Path) -> None:
    if kept.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            kept.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
