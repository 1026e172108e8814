"""Features of frozen networks, computed once per image and network and kept on disk."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cytowell.errors import DatasetError, StorageError
from cytowell.images import NPZ_MARK, Preprocessing
from cytowell.images.arrays import npz_image
from cytowell.learners.contract import Ticked, unticked
from cytowell.learners.descriptors import SIDE, VERSION, described
from cytowell.runtime.pipeline import Batch, features
from cytowell.runtime.session import Session
from cytowell.storage import cache_folder, explaining
from cytowell.types import Sample


def content_key(sample: Sample) -> bytes:
    """Hash what the sample shows: the file's bytes and the box, whatever its name or place."""
    digest = hashlib.sha256()
    if NPZ_MARK in sample.path:
        pixels = npz_image(sample.path)
        digest.update(f"{pixels.shape} {pixels.dtype}".encode())
        digest.update(pixels.tobytes())
    else:
        digest.update(Path(sample.path).read_bytes())
    digest.update(repr(sample.box).encode())
    return digest.digest()


def cached_features(
    session: Session,
    network: str,
    record: Preprocessing,
    samples: Sequence[Sample],
    ticked: Ticked = unticked,
) -> npt.NDArray[np.float32]:
    """Give features (N, D) of samples, from the cache where it has them.

    Parameters
    ----------
    network
        The hash of the network's file.

    Raises
    ------
    DatasetError
        If an image cannot be read.
    StorageError
        If the cache is damaged or its disk is full.
    """
    return cached_rows(
        network, record, samples, lambda missing: features(session, record, missing), ticked
    )


def cached_descriptors(
    samples: Sequence[Sample], reading: Preprocessing, ticked: Ticked = unticked
) -> npt.NDArray[np.float32]:
    """Give plain descriptors (N, D) of samples, from the cache where it has them.

    Parameters
    ----------
    reading
        Channels, window and crop; the side is the descriptors' own.
    """
    record = replace(reading, size=SIDE)
    return cached_rows(VERSION, record, samples, lambda missing: described(missing, record), ticked)


def cached_rows(
    maker: str,
    record: Preprocessing,
    samples: Sequence[Sample],
    compute: Callable[[Sequence[Sample]], Iterator[Batch]],
    ticked: Ticked = unticked,
) -> npt.NDArray[np.float32]:
    """Give a row for each sample, computed once per image and maker.

    Parameters
    ----------
    maker
        The hash of a network's file, or another name that changes when the rows would.
    compute
        Gives the rows of samples that are not in the cache, in order.

    Raises
    ------
    DatasetError, StorageError
        As `cached_features`.
    """
    name = hashlib.sha256((maker + json.dumps(record.to_json())).encode()).hexdigest()[:32]
    folder = cache_folder() / "features"
    with explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        keys = [content_key(replace(s, box=None) if record.whole else s) for s in samples]
    except OSError as error:
        raise DatasetError(
            f"An image cannot be read ({error}).", "Run cytowell check on the data."
        ) from error
    with _opened(folder / f"{name}.sqlite") as store:
        store.execute("create table if not exists features (key blob primary key, row blob)")
        known = dict(_stored(store, keys))
        missing = [i for i, k in enumerate(keys) if k not in known]
        done = 0
        for batch in compute([samples[i] for i in missing]):
            _refuse_errors(batch)
            here = [keys[i] for i in missing[done : done + len(batch.samples)]]
            rows = list(zip(here, batch.features, strict=True))
            known.update(rows)
            store.executemany(
                "insert or replace into features values (?, ?)",
                [(k, r.astype(np.float32).tobytes()) for k, r in rows],
            )
            done += len(batch.samples)
            if done % 512 < len(batch.samples):
                store.commit()
            ticked(len(samples) - len(missing) + done, len(samples), "features")
        store.commit()
    return np.stack([known[k] for k in keys]).astype(np.float32)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open the cache; what SQLite refuses becomes an error that says what to do."""
    try:
        with closing(sqlite3.connect(file, timeout=60)) as store:
            yield store
    except sqlite3.Error as error:
        raise StorageError(
            f"The cache {file} cannot be used ({error}).",
            "Free some space or remove that file; CYTOWELL_CACHE names another place.",
        ) from error


def _stored(
    store: sqlite3.Connection, keys: Sequence[bytes]
) -> Iterator[tuple[bytes, npt.NDArray[np.float32]]]:
    for start in range(0, len(keys), 500):
        part = list(keys[start : start + 500])
        marks = ",".join("?" * len(part))
        query = f"select key, row from features where key in ({marks})"
        for key, row in store.execute(query, part):
            yield key, np.frombuffer(row, dtype=np.float32)


def _refuse_errors(batch: Batch) -> None:
    for error in batch.errors:
        if error:
            raise DatasetError(
                f"An image cannot be learnt from: {error}",
                "Run cytowell check, and mend or remove what it lists.",
            )
