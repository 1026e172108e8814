"""A detector bundle: one ONNX network, how it wants its photograph, and how it says its boxes.

bundle.json      kind `detector`, format, classes, reading, thresholds, origin
detector.onnx    the network
MODEL_CARD.md    the same for people
SHA256SUMS       of every file above, verified at loading
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cytowell import registry
from cytowell.errors import BundleCorrupt, BundleError, ImageError
from cytowell.images import ahead, open_upright
from cytowell.images.boxes import Letterbox, letterbox
from cytowell.images.failures import reading
from cytowell.runtime.boxes import suppress, tiles, without_pieces
from cytowell.runtime.detector_facts import STRIDES, DetectorFacts
from cytowell.runtime.ruler import whole_cells
from cytowell.runtime.sealed import AGAIN, RECORD, SUMS, complete, opened, seal
from cytowell.runtime.session import first_line, open_network, refuse_outside
from cytowell.storage import is_there, replacing_folder
from cytowell.types import BoolArray, Box, FloatArray, IntArray, Pixels

NETWORK = "detector.onnx"
CARD = "MODEL_CARD.md"

SHIPPED = "smear"
"""The detector that comes along: white cells, red cells and platelets of a blood smear."""

SHARED = 0.25
"""Part of a tile's side that its neighbour covers too: what one cuts the other sees whole."""

AT_EDGE = 0.01
"""Share of a tile's side within which a box ends at its edge."""

LARGER = 1.5
"""Times the size of photographs that were learnt from at which one is looked at in tiles."""

FAINTEST = 0.01
"""Certainty down to which boxes are looked at for the average precision."""

FEWEST = 5
"""Whole red cells from which on their size is believed."""

CLEAR, USUAL = 30.0, 42.0
"""Diameter of a red cell in pixels of the input, from which on it is as large as those learnt from;
and as which it is seen in tiles, where a white cell is smaller than what two neighbours share."""

NEAR = 1.25
"""Factor between two sides of tiles from which on it is worth looking again."""

LOOKS = 3
"""Times a photograph is looked at, at most: what is found too small may be no cell."""

MOST = 3000
"""Candidates that are compared with one another, the surest ones."""


@dataclass(frozen=True)
class Found:
    """Objects of one photograph, the surest first; row i of everything belongs to object i.

    Attributes
    ----------
    boxes
        In pixels of the upright photograph, inside of it.
    labels, scores
        Class indices and certainties 0..1; (N,).
    """

    boxes: tuple[Box, ...]
    labels: IntArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.boxes)


class Detector:
    """Finds objects in photographs; made by `load_detector`.

    Parameters
    ----------
    model
        The bytes of the network.
    digest
        Hash of the bundle.
    """

    def __init__(
        self, facts: DetectorFacts, model: bytes, digest: str = "", name: str = "detector"
    ) -> None:
        self.facts = facts
        self.model = model
        self.digest = digest
        self.name = name
        refuse_outside(model, name)
        self._lock = threading.Lock()
        self._sessions: dict[int, Any] = {}
        self._input = self._at(0).get_inputs()[0]

    def _at(self, threads: int) -> Any:
        with self._lock:
            if threads not in self._sessions:
                self._sessions[threads] = open_network(self.model, self.name, threads)
            return self._sessions[threads]

    @property
    def classes(self) -> tuple[str, ...]:
        """What the detector tells apart."""
        return self.facts.classes

    def find_all(
        self, paths: Iterable[str], score: float | None = None
    ) -> Iterator[Found | ImageError]:
        """Find objects in photographs, in order, on all processors; an error is a value here."""

        def one(path: str) -> Found | ImageError:
            try:
                with reading(path, "cannot be searched"):
                    return self.find(open_upright(path), score, threads=1)
            except ImageError as error:
                return error

        return ahead(one, paths)

    def find(self, photograph: Image.Image, score: float | None = None, threads: int = 0) -> Found:
        """Find objects in an upright RGB photograph.

        A large one is looked at in tiles; with a ruler, one in which red cells are too small.

        Parameters
        ----------
        score
            Certainty from which on a box is one; the bundle's without it.
        threads
            For the network; all processors for 0.
        """
        least = self.facts.score if score is None else score
        side, usual = max(photograph.size), self.facts.photograph
        if not self.facts.ruler:
            large = usual and side > LARGER * usual
            return self._tiled(photograph, usual if large else side, least, threads)
        for _ in range(LOOKS):
            found = self._tiled(photograph, side, least, threads)
            better = self._better_side(found, photograph.size, side)
            if better == side:
                break
            side = better
        return found

    def _better_side(self, found: Found, size: tuple[int, int], side: int) -> int:
        """Give the side of tiles in which red cells are as large as those that were learnt from."""
        label = self.classes.index(self.facts.ruler)
        sure = np.flatnonzero(found.scores >= self.facts.score)
        boxes = [found.boxes[i] for i in sure]
        # Roughly is enough here, and a crowded photograph has few cells that nothing covers.
        diameters = whole_cells(boxes, found.labels[sure], label, size, touching=1.0)
        whole, usual = max(size), self.facts.photograph
        if len(diameters) < FEWEST:
            return min(side, usual) if usual and whole > LARGER * usual else side
        seen = float(np.median(diameters)) * self.facts.reading.side
        if side >= whole and seen >= CLEAR * side:
            return side
        better = round(seen / USUAL)
        return side if side / NEAR <= better <= side * NEAR else min(better, whole)

    def _tiled(self, photograph: Image.Image, side: int, least: float, threads: int) -> Found:
        """Find objects in tiles of this side; the whole photograph is one of its longer side."""
        corners, scores, labels, pieces = [], [], [], []
        for left, top, right, bottom in tiles(photograph.size, side, SHARED):
            part = photograph.crop((left, top, right, bottom))
            c, s, k = self._looked_at(part, least, threads)
            cut = _cut(c, part.size, (left, top), photograph.size)
            # What is smaller than the part that neighbours share is whole in one of them.
            large = (c[:, 2:] - c[:, :2]).max(axis=1, initial=0.0) > SHARED * max(part.size)
            inner = np.flatnonzero(~cut | large)
            pieces.append(cut[inner])
            corners.append(c[inner] + [left, top, left, top])
            scores.append(s[inner])
            labels.append(k[inner])
        every, sure, kinds = np.concatenate(corners), np.concatenate(scores), np.concatenate(labels)
        rows = without_pieces(every, kinds, np.concatenate(pieces))
        size, overlap = photograph.size, self.facts.overlap
        return kept(every[rows], sure[rows], kinds[rows], size, overlap)

    def raw(self, pixels: Pixels, threads: int = 0) -> list[Any]:
        """Run the network on letterboxed pixels (N, side, side, 3), uint8 RGB."""
        try:
            outputs: list[Any] = self._at(threads).run(None, {self._input.name: self._fed(pixels)})
        except Exception as error:  # whatever the runtime makes of a network that does not fit
            raise BundleCorrupt(
                f"{self.name} cannot be run on a photograph ({first_line(error)}).", AGAIN
            ) from error
        return outputs

    def _fed(self, pixels: Pixels) -> Any:
        reading = self.facts.reading
        ordered = pixels[..., ::-1] if reading.blue_first else pixels
        if reading.rows_first:
            return np.ascontiguousarray(ordered)
        kind = np.float16 if "float16" in self._input.type else np.float32
        scaled = ordered.astype(np.float32) / np.float32(reading.divisor)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2)).astype(kind)

    def _looked_at(
        self, image: Image.Image, least: float, threads: int
    ) -> tuple[FloatArray, FloatArray, IntArray]:
        """Give corners (N, 4) in the image's pixels, scores and classes of every likely box."""
        boxed = letterbox(image, self.facts.reading.side, self.facts.reading.centred)
        outputs = self.raw(boxed.pixels[None], threads)
        try:
            corners, scores = decode(self.facts, outputs, boxed)
            if scores.shape != (len(corners), len(self.facts.classes)):
                raise ValueError(f"{scores.shape} scores of {len(self.facts.classes)} classes")
        except (ValueError, IndexError) as error:
            raise BundleCorrupt(f"{self.name} does not say boxes ({error}).", AGAIN) from error
        return likely(corners, scores, least)

    def save(self, folder: Path, card: str) -> None:
        """Write the bundle, whole or not at all, with its sums."""
        with replacing_folder(folder) as beside:
            (beside / NETWORK).write_bytes(self.model)
            (beside / CARD).write_text(card, encoding="utf-8")
            record = json.dumps(self.facts.to_json(), indent=1, ensure_ascii=False)
            (beside / RECORD).write_text(record + "\n", encoding="utf-8")
            seal(beside, "detector")


def decode(
    facts: DetectorFacts, outputs: Sequence[Any], boxed: Letterbox
) -> tuple[FloatArray, FloatArray]:
    """Give corners (N, 4) in the photograph's pixels and scores (N, C) of a network's outputs."""
    first = np.asarray(outputs[0], dtype=np.float64)[0]
    if facts.says == "boxes":
        return boxed.back(first), np.asarray(outputs[1], dtype=np.float64)[0]
    if facts.says == "yolov8":
        first = first.T
        places, scores = first[:, :4], first[:, 4:]
    else:
        if facts.says == "yolox":
            first = _placed(first, facts.reading.side)
        places, scores = first[:, :4], first[:, 4:5] * first[:, 5:]
    middle, half = places[:, :2], places[:, 2:] / 2
    return boxed.back(np.concatenate([middle - half, middle + half], axis=1)), scores


def likely(
    corners: FloatArray, scores: FloatArray, least: float
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Give corners, certainties and classes of boxes that are sure enough, the surest first.

    Parameters
    ----------
    corners, scores
        (N, 4), and (N, C) of every class.
    """
    best = scores.argmax(axis=1)
    sure = scores[np.arange(len(best)), best]
    rows = np.flatnonzero(sure >= least)
    rows = rows[np.argsort(-sure[rows], kind="stable")[:MOST]]
    return corners[rows], sure[rows], best[rows].astype(np.int64)


def kept(
    corners: FloatArray,
    scores: FloatArray,
    labels: IntArray,
    size: tuple[int, int],
    overlap: float,
) -> Found:
    """Give what is left of likely boxes when each thing in a photograph of this size has one."""
    limit = np.array([*size, *size], dtype=np.float64)
    corners = np.clip(corners, 0.0, limit)
    real = ((corners[:, 2:] - corners[:, :2]) >= 1.0).all(axis=1)
    corners, scores, labels = corners[real], scores[real], labels[real]
    rows = suppress(corners, scores, labels, overlap)
    boxes = tuple(
        Box(float(a), float(b), float(c - a), float(d - b)) for a, b, c, d in corners[rows]
    )
    return Found(boxes, labels[rows], scores[rows])


def _placed(rows: FloatArray, side: int) -> FloatArray:
    """Give YOLOX's raw rows with centres and sides in pixels (Ge et al. 2021, arXiv 2107.08430)."""
    grids, strides = [], []
    for stride in STRIDES:
        count = side // stride
        y, x = np.mgrid[:count, :count]
        grids.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((count * count, 1), stride))
    out, steps = rows.copy(), np.concatenate(strides)
    out[:, :2] = (rows[:, :2] + np.concatenate(grids)) * steps
    out[:, 2:4] = np.exp(np.clip(rows[:, 2:4], -10, 10)) * steps
    return out


def _cut(
    corners: FloatArray, size: tuple[int, int], start: tuple[int, int], whole: tuple[int, int]
) -> BoolArray:
    """Say which boxes an inner edge of a tile cuts; (N,)."""
    left, top = start
    near = max(1.0, AT_EDGE * max(size))
    right, bottom = left + size[0] < whole[0], top + size[1] < whole[1]
    cut = np.zeros(len(corners), dtype=np.bool_)
    for cuts, reaches in (
        (left > 0, corners[:, 0] <= near),
        (top > 0, corners[:, 1] <= near),
        (right, corners[:, 2] >= size[0] - near),
        (bottom, corners[:, 3] >= size[1] - near),
    ):
        if cuts:
            cut |= reaches
    return cut


def load_detector(bundle: str | Path) -> Detector:
    """Read and verify a detector bundle: its folder, its run's folder, or a registered name.

    Raises
    ------
    BundleError
        If it is none, or a classifier.
    BundleCorrupt
        If a file is missing or was changed.
    BundleTooNew
        If a later version of Cytowell wrote it.
    """
    place = Path(bundle)
    if place.suffix.lower() == ".onnx":
        raise BundleError(
            f"{bundle} is a network and no bundle: nobody says how it wants its photographs.",
            "Run: cytowell detect import NETWORK.onnx --out FOLDER.",
        )
    if not is_there(place) and str(bundle) in registry.names("bundles"):
        place = Path(registry.load("bundles", str(bundle))())
    there = [f for f in (place, place / "bundle") if is_there(f / RECORD)]
    if not there:
        raise BundleError(
            f"{bundle} is no detector (no {RECORD} in it).",
            f"Give {SHIPPED}, or what cytowell detect train or cytowell detect import wrote.",
        )
    folder = there[0]
    record, contents = opened(folder, "detector")
    with complete(folder):
        facts = DetectorFacts.from_json(record)
    digest = hashlib.sha256(contents[SUMS]).hexdigest()
    return Detector(facts, contents[NETWORK], digest, str(folder))
