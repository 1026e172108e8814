"""Where the cells of a grid are computed: here, on several processes, or as tasks of Ray."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib

from cytowell import registry
from cytowell.errors import UnknownName
from cytowell.registry import did_you_mean
from cytowell.runs.cells import Answer, Cell, compute, failed
from cytowell.types import Dataset

Engine = Callable[[Sequence[tuple[int, Dataset, Cell, Path]]], Iterator[tuple[int, Answer]]]
"""Takes numbered cells with their data sets and folders; gives answers as they come."""

RETRIES = 3
"""How often a task of Ray is started again whose worker has died."""


def engine(name: str, jobs: int = 1, address: str = "") -> Engine:
    """Give the engine of this name.

    Parameters
    ----------
    jobs
        Processes of `local`; networks use all processors already, so 1 unless asked for.
    address
        Of a running Ray cluster, whose machines see the images under the same paths; without it
        one is started on this machine.
    """
    if name == "local":
        return lambda work: _local(work, jobs)
    if name == "ray":
        return lambda work: _ray(work, address)
    raise UnknownName(f"There is no engine {name!r}.", did_you_mean(name, ["local", "ray"]))


def _numbered(number: int, dataset: Dataset, cell: Cell, folder: Path) -> tuple[int, Answer]:
    return number, compute(dataset, cell, folder)


def _local(
    work: Sequence[tuple[int, Dataset, Cell, Path]], jobs: int
) -> Iterator[tuple[int, Answer]]:
    if jobs == 1:
        for item in work:
            yield _numbered(*item)
        return
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from pool(joblib.delayed(_numbered)(*item) for item in work)


def _ray(
    work: Sequence[tuple[int, Dataset, Cell, Path]], address: str
) -> Iterator[tuple[int, Answer]]:
    """One task a cell, with its demand; a worker that dies has its cell computed again."""
    ray: Any = registry.part("cytowell.runs.rays:connected")(address)
    task = ray.remote(_unfoldered)
    shared: dict[int, Any] = {}
    waiting = {}
    here = str(Path.cwd())
    for number, dataset, cell, _ in work:
        if id(dataset) not in shared:
            shared[id(dataset)] = ray.put(dataset)
        gpus = 1 if cell.candidate.network and _has_gpu(ray) else 0
        demand = task.options(max_retries=RETRIES, num_cpus=1, num_gpus=gpus)
        waiting[demand.remote(number, shared[id(dataset)], cell, here)] = number
    while waiting:
        ready, _ = ray.wait([*waiting], num_returns=1)
        number = waiting.pop(ready[0])
        try:
            yield ray.get(ready[0])
        except ray.exceptions.RayError as error:
            cell = next(c for n, _, c, _ in work if n == number)
            dataset = next(d for n, d, _, _ in work if n == number)
            yield number, failed(dataset, cell, f"Lost by Ray: {str(error).splitlines()[0]}")


def _unfoldered(number: int, dataset: Dataset, cell: Cell, here: str) -> tuple[int, Answer]:
    """Compute in a temporary folder of the machine that was chosen; paths are as from `here`."""
    os.chdir(here)
    return number, compute(dataset, cell)


def _has_gpu(ray: Any) -> bool:
    return bool(ray.cluster_resources().get("GPU", 0))
