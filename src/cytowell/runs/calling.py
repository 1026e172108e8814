"""A long list of photographs, called in parts on a Ray cluster; a second start completes them."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cytowell
from cytowell import registry
from cytowell.errors import RunError
from cytowell.registry import needed
from cytowell.runs.engines import RETRIES
from cytowell.runtime.calls import writer
from cytowell.storage import explaining
from cytowell.types import Sample

PART = 2048
"""Photographs in a part: seconds of work, so little is lost with a worker."""

UNDER_WAY = 4
"""Parts handed out for each processor of the cluster: enough that none waits."""

_NAME = re.compile(r"part-\d{5}-[0-9a-f]{12}\.parquet")


@dataclass(frozen=True)
class Counts:
    """How the photographs of a part, or of all parts, came out."""

    photographs: int = 0
    declined: int = 0
    failed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.photographs + other.photographs,
            self.declined + other.declined,
            self.failed + other.failed,
        )


def call_in_parts(
    samples: Iterable[Sample],
    bundle: str,
    folder: Path,
    known: frozenset[str] = frozenset(),
    address: str = "",
    ticked: Callable[[int, int, str], None] = lambda *_: None,
    size: int = PART,
) -> Counts:
    """Call photographs as tasks of Ray, a Parquet file for each part, in the list's order.

    A part's name holds a hash of its photographs' names and columns and of the bundle, so a part
    that is there is done, and a part of another list is never taken for one of this. One that
    cannot be read is called again.

    Parameters
    ----------
    bundle
        Bundle, run folder or name; a path that the cluster's machines see too, like the images.
    known
        Which of the samples' own columns the whole list has (`types.fields_of`).
    address
        Of a running cluster; without it one is started on this machine.

    Raises
    ------
    RunError
        If a part was lost more often than it is tried again, or the folder holds parts of another
        list or bundle.
    StorageError
        If the folder cannot be written.
    """
    ray: Any = registry.part("cytowell.runs.rays:connected")(address)
    task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
    digest = cytowell.load(bundle).digest
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    strangers = {file.name for file in folder.iterdir() if _NAME.fullmatch(file.name)}
    here = str(Path.cwd())
    most = UNDER_WAY * int(ray.cluster_resources().get("CPU", 1))
    waiting: dict[Any, str] = {}
    done = Counts()
    lost: list[str] = []
    for name, part in _parts(samples, digest, size):
        strangers.discard(name)
        file = folder / name
        counted = _counted(file) if file.exists() else None
        if counted is not None:
            done += counted
            ticked(done.photographs, 0, "calling")
            continue
        while len(waiting) >= most:
            done += _one_back(ray, waiting, lost)
            ticked(done.photographs, 0, "calling")
        waiting[task.remote(part, bundle, str(file.resolve()), known, here)] = name
    while waiting:
        done += _one_back(ray, waiting, lost)
        ticked(done.photographs, 0, "calling")
    if lost:
        raise RunError(
            f"{len(lost)} parts were lost with their workers ({lost[0]}).",
            "Start again with the same command: what is done stays.",
        )
    if strangers:
        raise RunError(
            f"{folder} also holds {len(strangers)} parts of another list or bundle, such as "
            f"{min(strangers)}.",
            "All parts of this list are written; delete the others, or choose another --out.",
        )
    return done


def _parts(
    samples: Iterable[Sample], digest: str, size: int
) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    source = iter(samples)
    for number in itertools.count():
        part = tuple(itertools.islice(source, size))
        if not part:
            return
        said = "\n".join(map(repr, part))
        mark = hashlib.sha256(f"{digest}\n{said}".encode(errors="surrogateescape")).hexdigest()
        yield f"part-{number:05d}-{mark[:12]}.parquet", part


def _one_back(ray: Any, waiting: dict[Any, str], lost: list[str]) -> Counts:
    """Wait for one part; a part whose worker died too often is noted, the others go on."""
    ready, _ = ray.wait([*waiting], num_returns=1)
    name = waiting.pop(ready[0])
    try:
        counts: Counts = ray.get(ready[0])
    except ray.exceptions.RayError as error:
        # What went wrong in a task is its cause; the error itself begins with where it ran.
        reason = str(getattr(error, "cause", None) or error)
        lost.append(f"{name}: {reason.splitlines()[0] if reason else type(error).__name__}")
        return Counts()
    return counts


def _call(
    part: tuple[Sample, ...], bundle: str, file: str, known: frozenset[str], here: str
) -> Counts:
    """Call one part where the cluster wants it, and leave its file; paths are as from `here`."""
    os.chdir(here)
    counts = Counts()
    with writer(Path(file), known) as write:
        for calls in _loaded(bundle).stream(part, 1):
            write(calls)
            failed = sum(1 for e in calls.errors if e)
            declined = int((~calls.decided).sum()) - failed
            counts += Counts(len(calls), declined, failed)
    return counts


@functools.lru_cache(maxsize=1)
def _loaded(bundle: str) -> Any:
    return cytowell.load(bundle)


def _counted(file: Path) -> Counts | None:
    """Count a finished part from its file, None if that is damaged."""
    try:
        table = needed("pyarrow.parquet", "--engine ray").read_table(
            file, columns=["decided", "error"]
        )
    except (needed("pyarrow", "--engine ray").ArrowException, OSError):
        return None
    errors = [bool(e) for e in table["error"].to_pylist()]
    declined = sum(1 for d in table["decided"].to_pylist() if not d)
    return Counts(len(errors), declined - sum(errors), sum(errors))
