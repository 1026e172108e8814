"""Images of all requests, taken a few at a time by as many threads as there are processors.

Micro-batching without waiting: a thread that becomes free takes what lies there, up to a batch of
one bundle. A quiet server answers at once; a busy one fills its batches.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from cytowell.errors import CytowellError, UnknownName
from cytowell.images import Encoded, worker_count
from cytowell.registry import did_you_mean
from cytowell.runtime import pipeline
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.drift import Drift, DriftMonitor
from cytowell.types import Predictions

WAITING = 256
"""Images that may lie there; more are refused: memory is bounded, and nobody waits long."""

REMEMBERED = 100
"""Images of a bundle, the latest, that are compared with its training images."""

AGAIN = 20
"""Further images after which they are compared anew; fewer are not compared at all."""

LOG = logging.getLogger("cytowell.serving")

DIGITS = 6
"""Of probabilities, as `cytowell predict` writes them."""


class Busy(CytowellError):
    """More images are waiting than may; come back in a moment."""


Answer = dict[str, Any]


@dataclass(frozen=True)
class _Waiting:
    bundle: str
    image: Encoded
    answer: Future[Answer]


class Desk:
    """Calls images that are handed in from any thread.

    Parameters
    ----------
    bundles
        By the name that requests use; the first is the one that is meant where none is named.
    waiting
        Images that may lie there before more are refused.
    workers
        Threads; one per processor without it.
    """

    def __init__(
        self, bundles: Mapping[str, Bundle], waiting: int = WAITING, workers: int | None = None
    ) -> None:
        self.bundles = dict(bundles)
        self._most = waiting
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._watching = threading.Lock()
        self._monitors: dict[str, tuple[Bundle, DriftMonitor]] = {}
        self._fresh: dict[str, int] = {}
        self.drifts: dict[str, Drift] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"desk-{i}", daemon=True)
            for i in range(workers or worker_count())
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        return len(self._line)

    @property
    def trouble(self) -> str:
        """Why images are not called; "" while they are."""
        return "" if all(t.is_alive() for t in self._threads) else "Images are not called any more."

    def named(self, name: str) -> str:
        """Give the bundle's name that a request means.

        Raises
        ------
        UnknownName
            If no bundle is called so.
        """
        wanted = name or next(iter(self.bundles))
        if wanted not in self.bundles:
            raise UnknownName(
                f"There is no bundle {name!r} here.", did_you_mean(name, [*self.bundles])
            )
        return wanted

    def take(self, name: str, bundle: Bundle) -> None:
        """Serve one more bundle, or another under this name, from now on."""
        self.bundles = {**self.bundles, name: bundle}

    def submit(self, bundle: str, images: Sequence[Encoded]) -> list[Future[Answer]]:
        """Hand images in; each future is one image's answer, in order.

        Raises
        ------
        Busy
            If there is no room for all of them; none is taken then.
        """
        name = self.named(bundle)
        slips = [_Waiting(name, image, Future()) for image in images]
        with self._changed:
            # One request larger than the room is taken when nothing waits, or it never would be.
            if self._line and len(self._line) + len(slips) > self._most:
                raise Busy(f"{len(self._line)} images are waiting.", "Send them again in a moment.")
            self._line.extend(slips)
            self._changed.notify(len(slips))
        return [slip.answer for slip in slips]

    def watch(self, name: str, bundle: Bundle, batch: pipeline.Batch) -> None:
        """Remember what a bundle was shown, and compare it with its training images in time."""
        with self._watching:
            known = self._monitors.get(name)
            if known is None or known[0] is not bundle:
                known = self._monitors[name] = (bundle, DriftMonitor(bundle, REMEMBERED))
                self.drifts.pop(name, None)
                self._fresh[name] = 0
            known[1].add(batch)
            self._fresh[name] += len(batch.samples)
            if self._fresh[name] >= AGAIN and len(known[1]) >= AGAIN:
                self._fresh[name] = 0
                self.drifts[name] = known[1].result()

    def close(self) -> None:
        """Take no more; what lies there is still answered."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with threadpool_limits(1, user_api="blas"):
            while True:
                slips = self._next()
                if not slips:
                    return
                self._answer(slips)

    def _next(self) -> list[_Waiting]:
        """Wait for work; give up to a batch of one bundle, what was given up left out."""
        with self._changed:
            while True:
                while self._line and self._line[0].answer.cancelled():
                    self._line.popleft()
                if self._line:
                    break
                if not self._open:
                    return []
                self._changed.wait()
            slips = [self._line.popleft()]
            while (
                self._line
                and len(slips) < pipeline.BATCH
                and self._line[0].bundle == slips[0].bundle
            ):
                slips.append(self._line.popleft())
        return slips

    def _answer(self, slips: list[_Waiting]) -> None:
        taken = [s for s in slips if s.answer.set_running_or_notify_cancel()]
        if not taken:
            return
        try:
            name = taken[0].bundle
            bundle = self.bundles[name]

            def watch(batch: pipeline.Batch) -> None:
                self.watch(name, bundle, batch)

            told = _called(bundle, [s.image for s in taken], watch)
        except BaseException as error:
            for slip in taken:
                slip.answer.set_exception(error)
            return
        for slip, answer in zip(taken, told, strict=True):
            slip.answer.set_result(answer)


def _called(
    bundle: Bundle, images: Sequence[Encoded], watch: Callable[[pipeline.Batch], None]
) -> list[Answer]:
    """Call a few images; where that fails, each alone, so that one does not stop the rest."""
    try:
        batch = pipeline.batch_of(bundle.session, bundle.facts.preprocessing, images)
        told = answers(bundle.call(batch))
        watch(batch)
        return told
    except Exception:
        LOG.exception("%d images could not be called", len(images))
        if len(images) == 1:
            return [failed(images[0].name, "It could not be called; the server's log says why.")]
    return [answer for image in images for answer in _called(bundle, [image], watch)]


def failed(name: str, error: str) -> Answer:
    """Give the answer of an image that could not be called."""
    return {"path": name, "label": "", "probability": None, "decided": False, "reason": "",
            "error": error, "probabilities": {}}  # fmt: skip


def answers(calls: Predictions) -> list[Answer]:
    """Give each call as it is answered: the command line's names and numbers."""
    out = []
    for i, label in enumerate(calls.labels):
        row = calls.probabilities[i]
        known = bool(calls.readable[i])
        told = {name: round(float(p), DIGITS) for name, p in zip(calls.classes, row, strict=True)}
        out.append(
            {
                "path": calls.samples[i].path,
                "label": label,
                "probability": round(float(np.max(row)), DIGITS) if known else None,
                "decided": bool(calls.decided[i]),
                "reason": calls.reasons[i],
                "error": calls.errors[i],
                "probabilities": told if known else {},
            }
        )
    return out
