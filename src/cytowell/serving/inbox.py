"""A folder that is watched: photographs are called as a camera saves them."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
import time
from pathlib import Path

from cytowell.errors import CytowellError, PlaneNotChosen, StorageError
from cytowell.images import SUFFIXES, Encoded, open_upright, worker_count
from cytowell.images.limits import IN_MEMORY
from cytowell.runtime import pipeline
from cytowell.serving.house import House
from cytowell.serving.sittings import Expired
from cytowell.serving.store import Gone
from cytowell.sources.walk import walk
from cytowell.storage import open_file
from cytowell.types import Predictions, Sample, printable

LOG = logging.getLogger("cytowell.serving")

PAUSE = 1.0
"""Seconds between two looks."""

PATIENCE = 30.0
"""Seconds that a file which cannot be read is waited for: a camera may still be writing it."""

TITLE = "Inbox"

AT_ONCE = 4 * pipeline.BATCH * worker_count()
"""Photographs whose calls are kept together."""


class Inbox:
    """Calls what comes into a folder, each photograph once, in a thread of its own.

    Parameters
    ----------
    folder
        Photographs in it are left where they are.
    bundle
        Which served bundle calls them.

    Raises
    ------
    StorageError
        If there is no such folder.
    """

    def __init__(self, house: House, folder: Path, bundle: str = "") -> None:
        if not folder.is_dir():
            raise StorageError(f"{folder} is no folder.", "Make it, or check --inbox.")
        self.folder = folder.resolve()
        self._house = house
        self._bundle = house.desk.named(bundle)
        digest = house.desk.bundles[self._bundle].digest
        self.sitting = house.sittings.find(self._title, digest) or self._begin()
        self._sizes: dict[Path, tuple[int, int, float]] = {}
        self._done = {k.file for k in house.sittings.calls(self.sitting)}
        self._odd: set[str] = set()
        self._failing = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="inbox", daemon=True)
        self._thread.start()

    @property
    def _title(self) -> str:
        return f"{TITLE}: {self.folder}"

    @property
    def trouble(self) -> str:
        """Why the inbox is not looked into; "" while it is."""
        if not self._thread.is_alive():
            return "The inbox is not watched any more."
        return "The inbox cannot be called; the server's log says why." if self._failing else ""

    def _begin(self) -> str:
        served = self._house.desk.bundles[self._bundle]
        return self._house.sittings.begin(self._title, self._bundle, served.digest, served.classes)

    def close(self) -> None:
        """Stop watching."""
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.is_set():
            try:
                self.look()
            except Expired:
                # Nobody has come for a month; what was called then is not called again.
                self.sitting = self._begin()
            except (CytowellError, OSError) as error:
                kind = "the database does not answer" if isinstance(error, Gone) else "failed"
                LOG.warning('{"inbox": "%s"}', kind)
                self._failing = True
            except Exception:
                LOG.exception("the inbox failed")
                self._failing = True
            else:
                self._failing = False
            self._ending.wait(PAUSE)

    def look(self) -> int:
        """Call what is whole and new; give how many that were."""
        if not self.folder.is_dir():
            raise StorageError(f"{self.folder} is gone.", "Make it again, or check --inbox.")
        now = time.monotonic()
        whole, odd = [], list[Path]()
        for file in walk(self.folder, odd=odd):
            name = str(file)
            if name in self._done or file.suffix.lower() not in SUFFIXES:
                continue
            if self._is_whole(file, now):
                whole.append(name)
        for file in odd:
            if str(file) not in self._odd:
                self._odd.add(str(file))
                LOG.warning('{"inbox": "a link or no file is left out", "name": %s}', _json(file))
        for start in range(0, len(whole), AT_ONCE):
            names = whole[start : start + AT_ONCE]
            self._house.sittings.keep(self.sitting, self._called(names))
            self._done.update(names)
            for name in names:
                self._sizes.pop(Path(name), None)
            if self._ending.is_set():
                break
        return len(whole)

    def _called(self, names: list[str]) -> Predictions:
        """Call photographs; where that fails, each alone, so that one does not stop the rest."""
        bundle = self._house.desk.bundles[self._bundle]
        try:
            return bundle.predict([_read(name) for name in names])
        except Exception:
            LOG.exception("%d photographs of the inbox could not be called", len(names))
            if len(names) == 1:
                why = f"{names[0]} could not be called; the server's log says why."
                return bundle.predict([Sample(names[0], error=why)])
        return Predictions.join([self._called([name]) for name in names])

    def _is_whole(self, file: Path, now: float) -> bool:
        """Whether a file has stopped growing and can be read, or has been waited for enough."""
        try:
            told = file.lstat()
        except OSError:
            return False
        if not stat.S_ISREG(told.st_mode):
            return False
        size, changed, since = self._sizes.get(file, (-1, -1, now))
        if (size, changed) != (told.st_size, told.st_mtime_ns):
            self._sizes[file] = (told.st_size, told.st_mtime_ns, now)
            return False
        if now - since > PATIENCE:
            return True  # its row will say what is wrong with it
        try:
            source = _read(str(file))
            if isinstance(source, Encoded):
                open_upright(source.data, name=source.name)
            elif source.error:
                return False
            else:
                open_upright(source.path)
        except PlaneNotChosen:
            return True  # it is whole; the bundle knows which plane
        except CytowellError:
            return False
        return True


def _read(name: str) -> Encoded | Sample:
    """Read a file that is one, links not followed; a large one is read by whoever decodes it.

    What has become a link, a pipe or a folder since it was listed is a sample with an error.
    """
    try:
        with open_file(name, links=False) as file:
            if os.fstat(file.fileno()).st_size > IN_MEMORY:
                return Sample(name)
            return Encoded(name, file.read())
    except OSError as error:
        return Sample(name, error=f"{name} cannot be read ({error.strerror}).")


def _json(file: Path) -> str:
    return json.dumps(printable(str(file.name)))
