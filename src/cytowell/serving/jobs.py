"""Jobs: images that are kept before they are acknowledged, called when there is time."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

from cytowell.errors import StorageError
from cytowell.images import Encoded
from cytowell.runtime import pipeline
from cytowell.serving.desk import Answer, Busy, Desk, failed
from cytowell.serving.store import Gone, JobState, Store, Waiting

LOG = logging.getLogger("cytowell.serving")

KEPT = timedelta(days=7)
"""How long a finished job and its images are kept."""

QUOTA = 20 << 30
"""Bytes of uploads that are kept at once."""

AT_ONCE = 4 * pipeline.BATCH
"""Images of jobs on the desk at once: whoever waits for an answer is not behind a thousand."""

PAUSE = 1.0
"""Seconds until the store or a full desk is asked again."""


class Jobs:
    """Keeps and works off jobs, in a thread of its own.

    Parameters
    ----------
    folder
        Private folder for uploads.
    """

    def __init__(self, desk: Desk, store: Store, folder: Path) -> None:
        self._desk = desk
        self._store = store
        self._folder = folder
        self._news = threading.Event()
        self._ending = threading.Event()
        self._failing = False
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    def add(self, bundle: str, images: Sequence[Encoded], owner: str = "") -> str:
        """Keep a job; give its name once images and rows are on disk.

        Parameters
        ----------
        owner
            Hash of the key that it is for; "" where there are none.

        Raises
        ------
        UnknownName, StorageError, Gone
            If there is no such bundle, no room, or no database.
        """
        name = self._desk.named(bundle)
        size = sum(len(image.data) for image in images)
        if size + self._used() > QUOTA:
            raise StorageError("The uploads that may be kept fill their room.", "Wait, or ask.")
        job = uuid.uuid4().hex
        place = self._folder / job
        place.mkdir(mode=0o700)
        try:
            for i, image in enumerate(images):
                with (place / str(i)).open("wb") as handle:
                    handle.write(image.data)
                    handle.flush()
                    os.fsync(handle.fileno())
            _sync(place)
            _sync(self._folder)
            rows = [(i.name, hashlib.sha256(i.data).hexdigest()) for i in images]
            self._store.add_job(job, name, rows, owner)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self._news.set()
        return job

    @property
    def trouble(self) -> str:
        """Why jobs are not worked off; "" while they are."""
        if not self._thread.is_alive():
            return "Jobs are not worked off any more."
        return "Jobs cannot be worked off; the server's log says why." if self._failing else ""

    def state(self, job: str, key: str = "") -> JobState | None:
        """Give how far a job is; None where there is none, or it is another key's.

        A job that was sent when there were no keys is nobody's, and given to everybody.
        """
        found = self._store.job(job)
        return None if found is None or found.owner not in ("", key) else found

    def close(self) -> None:
        """Stop; what is not done is done after the next start."""
        self._ending.set()
        self._news.set()
        self._thread.join()

    def _used(self) -> int:
        return sum(f.stat().st_size for f in self._folder.glob("*/*"))

    def _work(self) -> None:
        while not self._ending.is_set():
            try:
                slips = self._store.waiting(AT_ONCE)
                if slips:
                    self._call(slips)
                    self._failing = False
                    continue
                self._expire()
            except Busy:
                self._ending.wait(PAUSE)
                continue
            except Gone:
                LOG.warning('{"jobs": "the database does not answer"}')
                self._ending.wait(PAUSE)
                continue
            except Exception:
                # Whatever it is, later jobs are taken up; /readyz says that something is wrong.
                LOG.exception("a job could not be worked off")
                self._failing = True
                self._ending.wait(PAUSE)
                continue
            self._failing = False
            self._news.wait(60.0)
            self._news.clear()

    def _call(self, slips: list[Waiting]) -> None:
        """Call some images of one bundle and keep their answers."""
        mine = [s for s in slips if s.bundle == slips[0].bundle]
        if mine[0].bundle not in self._desk.bundles:
            told = f"The bundle {mine[0].bundle!r} is not served any more."
            self._store.answer([(s, failed(s.name, told)) for s in mine])
            return
        images = [Encoded(s.name, self._read(s)) for s in mine]
        waiting = self._desk.submit(mine[0].bundle, images)
        self._store.answer([(s, _answer(s, w)) for s, w in zip(mine, waiting, strict=True)])

    def _read(self, slip: Waiting) -> bytes:
        try:
            return (self._folder / slip.job / str(slip.position)).read_bytes()
        except OSError:
            return b""

    def _expire(self) -> None:
        for job in self._store.expire(KEPT):
            shutil.rmtree(self._folder / job, ignore_errors=True)


def _answer(slip: Waiting, waiting: Future[Answer]) -> Answer:
    """Give an image's answer; one that could not be called has its error and is done with."""
    try:
        return waiting.result()
    except Exception:
        LOG.exception("an image of a job could not be called")
        return failed(slip.name, "It could not be called; the server's log says why.")


def _sync(folder: Path) -> None:
    """Make names in a folder survive a power cut, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
