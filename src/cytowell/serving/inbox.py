"""A folder that is watched: photographs are called as a camera saves them."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from cytowell.errors import CytowellError, PlaneNotChosen, StorageError
from cytowell.images import SUFFIXES, open_upright
from cytowell.serving.house import House
from cytowell.serving.sittings import Expired
from cytowell.serving.store import Gone
from cytowell.sources.walk import walk
from cytowell.types import Sample

LOG = logging.getLogger("cytowell.serving")

PAUSE = 1.0
"""Seconds between two looks."""

PATIENCE = 30.0
"""Seconds that a file which cannot be read is waited for: a camera may still be writing it."""

TITLE = "Inbox"


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
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="inbox", daemon=True)
        self._thread.start()

    @property
    def _title(self) -> str:
        return f"{TITLE}: {self.folder}"

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
            except Exception:
                LOG.exception("the inbox failed")
            self._ending.wait(PAUSE)

    def look(self) -> int:
        """Call what is whole and new; give how many that were."""
        now = time.monotonic()
        whole = []
        for file in walk(self.folder):
            name = str(file)
            if name in self._done or file.suffix.lower() not in SUFFIXES:
                continue
            if self._is_whole(file, now):
                whole.append(name)
        if not whole:
            return 0
        bundle = self._house.desk.bundles[self._bundle]
        for calls in bundle.stream([Sample(name) for name in whole]):
            self._house.sittings.keep(self.sitting, calls)
            self._done |= {s.path for s in calls.samples}
            if self._ending.is_set():
                break
        for name in whole:
            self._sizes.pop(Path(name), None)
        return len(whole)

    def _is_whole(self, file: Path, now: float) -> bool:
        """Whether a file has stopped growing and can be read, or has been waited for enough."""
        try:
            told = file.stat()
        except OSError:
            return False
        size, changed, since = self._sizes.get(file, (-1, -1, now))
        if (size, changed) != (told.st_size, told.st_mtime_ns):
            self._sizes[file] = (told.st_size, told.st_mtime_ns, now)
            return False
        if now - since > PATIENCE:
            return True  # its row will say what is wrong with it
        try:
            open_upright(str(file))
        except PlaneNotChosen:
            return True  # it is whole; the bundle knows which plane
        except CytowellError:
            return False
        return True
