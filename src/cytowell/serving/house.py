"""What pages and inbox share: bundles, sittings, a private folder; photographs to calls."""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import cytowell
from cytowell.errors import CytowellError, EmptyDataset, ImageError, RecipeError
from cytowell.evaluation.calls_page import is_counted
from cytowell.images import SUFFIXES, Preprocessing
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.drift import DriftMonitor
from cytowell.runtime.finding import Finder, objects
from cytowell.runtime.heat import heated, seen
from cytowell.runtime.overlays import Overlays
from cytowell.serving.case_report import write_report
from cytowell.serving.compared import compared_in, keep_compared
from cytowell.serving.conflicts import require_version
from cytowell.serving.desk import Desk
from cytowell.serving.kept import Kept, Sitting, version_of
from cytowell.serving.photographs import is_changed, require_unchanged
from cytowell.serving.sittings import WORDS, Sittings
from cytowell.sources.archive import unpack
from cytowell.sources.walk import walk
from cytowell.storage import explaining
from cytowell.types import Box, Predictions, Sample

Ticked = Callable[[int, int], None]

MOST = 10_000
"""Photographs that a page takes at once."""

NOT_NAMED = "not named yet"

PLAIN = Preprocessing(size=448)
"""How a photograph is shown that no bundle has called."""

_NAME = re.compile(r"[^\w .-]+")


class House:
    """A laboratory's bundles and sittings, as its pages use them.

    Parameters
    ----------
    folder
        Private; holds photographs of sittings and bundles that were taught here.
    finders
        What can be looked for in photographs.
    owners
        Whose each key is, by its SHA-256, where keys are used.
    """

    def __init__(
        self,
        desk: Desk,
        sittings: Sittings,
        folder: Path,
        finders: Mapping[str, Finder] | None = None,
        owners: Mapping[str, str] | None = None,
    ) -> None:
        self.owners = dict(owners or {})
        self.desk = desk
        self.sittings = sittings
        self.folder = folder
        self.finders = dict(finders or {})
        self._calling = threading.Semaphore(2)
        self.label_next: dict[str, list[int]] = {}
        self.bundles_folder = folder / "bundles"
        self.pages_folder = folder / "pages"
        with explaining(folder):
            self.bundles_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.refused: list[str] = []
        for place in sorted(self.bundles_folder.iterdir()):
            if place.name.startswith(".") or place.name in desk.bundles:
                continue  # half a bundle of a process that was killed, or one given by name
            try:
                self.take(place.name, place)
            except CytowellError as error:
                self.refused.append(str(error))

    def take(self, name: str, place: Path) -> None:
        """Serve a bundle under a name, from now on."""
        self.desk.take(name, cytowell.load(place))

    def person(self, key: str, typed: str) -> tuple[str, bool]:
        """Give who acts, and whether that is verified: a key's owner is, a name typed is not."""
        return (self.owners[key], True) if key in self.owners else (typed.strip(), False)

    @property
    def finds(self) -> list[str]:
        """What can be looked for in photographs."""
        return ["none", *self.finders]

    def call(
        self,
        photographs: Sequence[str | Path],
        bundle: str,
        find: str,
        title: str,
        ticked: Ticked = lambda done, of: None,
    ) -> str:
        """Take photographs in, call them, keep the calls; give the sitting.

        Raises
        ------
        EmptyDataset
            If there is no photograph.
        UnknownName, StorageError, Gone
            If there is no such bundle, no room, or no database.
        """
        name = self.desk.named(bundle)
        served = self.desk.bundles[name]
        with (
            self.taking_in(photographs) as files,
            self.sittings.beginning(title, name, served.digest, served.classes) as sitting,
        ):
            places = self.sittings.take_in(sitting, files)
            monitor = DriftMonitor(served)
            self.sittings.keep(sitting, self._called(served, places, find, ticked, monitor))
            if len(monitor):
                keep_compared(self.folder, sitting, monitor.result())
        return sitting

    def compared(self, sitting: str) -> tuple[str, bool]:
        """Give a sentence on photographs against the training images, and whether they differ."""
        return compared_in(self.folder, sitting)

    @contextlib.contextmanager
    def taking_in(self, photographs: Sequence[str | Path]) -> Iterator[list[Path]]:
        """Give photographs, those in zip archives included, while they are copied or read.

        Raises
        ------
        EmptyDataset
            If there is none, or more than a page takes.
        """
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".unpacked-") as place:
            yield expanded(photographs, Path(place))

    def bundle_of(self, about: Sitting) -> Bundle | None:
        """Give the very bundle that called a sitting, None where it is not served any more."""
        bundle = self.desk.bundles.get(about.bundle)
        return bundle if bundle is not None and bundle.digest == about.digest else None

    def _called(
        self,
        bundle: Bundle,
        places: Sequence[str],
        find: str,
        ticked: Ticked,
        monitor: DriftMonitor,
    ) -> Predictions:
        samples = objects(
            [Sample(p) for p in places],
            self.finders.get(find),
            bundle.facts.preprocessing,
            bundle.facts.calls,
        )
        known = {p: i for i, p in enumerate(places)}
        parts = []
        with self._calling:
            for part in bundle.stream(samples, watch=monitor.add):
                parts.append(part)
                ticked(1 + max(known[s.path] for s in part.samples), len(places))
        return Predictions.join(parts)

    def call_boxes(
        self, sitting: str, photograph: str, boxes: Sequence[Box], version: str | None = None
    ) -> None:
        """Call a photograph's boxes as a person has corrected them.

        A box that is as it was keeps its call and what was said of it; one that was moved is called
        anew, and a well whose middle it still holds keeps its name.

        Parameters
        ----------
        photograph
            Where it lies, as its calls say.
        version
            The version of the photograph that the person saw, `version_of`; the present one
            without.

        Raises
        ------
        Expired
            If the sitting is not kept any more.
        ReviewConflict
            If somebody has said something of it, or corrected it, since the person saw it.
        PhotographChanged
            If the file is not the photograph that was called.
        RecipeError
            If the photograph is not of this sitting, or its bundle is not served any more.
        """
        about = self.sittings.about(sitting)
        bundle = self.bundle_of(about)
        # What was counted and not called is not on the page, so that nobody can have taken it out.
        every = self.of_photograph(sitting, photograph)
        seen = version_of(every) if version is None else version
        require_version(every, seen)
        require_unchanged(every[0])
        before = [k for k in every if not is_counted(k.row)]
        if bundle is None:
            raise RecipeError(
                f"The classifier {about.bundle} that called it is not served any more.",
                "Call the photographs again.",
            )
        kept = {box: k.position for k in before if (box := box_of(k.row)) is not None}
        wanted = set(boxes)
        gone = [k.position for k in before if box_of(k.row) not in wanted]
        wells = [k.row for k in before if k.position in gone and k.row.get("well")]
        used = max((int(k.row["object"] or 0) for k in every), default=0)
        samples = []
        for number, box in enumerate((b for b in boxes if b not in kept), used + 1):
            old = _nearest(box, wells)
            extra: dict[str, Any] = {
                "object": number,
                "plate": old.get("plate") or "",
                "well": old.get("well") or "",
                "score": None,
            }
            samples.append(Sample(photograph, group=photograph, box=box, extra=extra))
        if not boxes:
            why = "a person found nothing in it"
            samples = [Sample(photograph, group=photograph, nothing=why, extra={"object": None})]
        with self._calling:
            calls = bundle.predict(samples)
        # Asked again where it is kept: the calls have taken their time.
        self.sittings.keep(sitting, calls, gone, (photograph, seen))

    def of_photograph(self, sitting: str, photograph: str) -> list[Kept]:
        """Give the calls of one photograph.

        Raises
        ------
        RecipeError
            If it is not of this sitting.
        """
        found = [k for k in self.sittings.calls(sitting) if k.file == photograph]
        if not found:
            raise RecipeError("This photograph is not of this sitting.", "Choose one of it.")
        return found

    def name_photographs(
        self, photographs: Sequence[str | Path], classes: Sequence[str], title: str
    ) -> str:
        """Take photographs in that a person is going to name; give the sitting."""
        with (
            self.taking_in(photographs) as files,
            self.sittings.beginning(title, classes=classes) as sitting,
        ):
            places = self.sittings.take_in(sitting, files)
            self.sittings.keep(sitting, unnamed(places, classes))
        return sitting

    def picture(self, sitting: str, kept: Kept, heat: bool = False) -> Image.Image | None:
        """Give what a call is of, or with what spoke for it; None if there is no such picture.

        What spoke for it is known of a call whose bundle is still served and has maps. In place of
        a file that is not the photograph that was called, a picture says so.
        """
        if is_changed(kept):
            return None if heat else not_shown()
        bundle = self.bundle_of(self.sittings.about(sitting))
        sample = Sample(kept.file, box=box_of(kept.row))
        label = str(kept.row["label"])
        try:
            if not heat:
                return seen(bundle.facts.preprocessing if bundle else PLAIN, sample)
            if bundle is None or label not in bundle.classes or not bundle.facts.maps:
                return None
            return heated(bundle, sample, bundle.classes.index(label))
        except ImageError:
            return None

    def write_report(self, sitting: str, path: Path) -> None:
        """Write the page of a sitting's calls: a smear's has the differential count first."""
        about = self.sittings.about(sitting)
        kept, last = self.sittings.calls_at(sitting)
        bundle = self.bundle_of(about)
        compared = self.compared(sitting)
        write_report(
            path, about, kept, last, bundle, lambda i: self.picture(sitting, kept[i]), compared
        )

    def write_overlays(self, sitting: str, folder: Path) -> None:
        """Draw the boxes of a sitting's photographs, coloured by what stands."""
        bundle = self.bundle_of(self.sittings.about(sitting))
        drawn = Overlays(folder, bundle.facts.preprocessing if bundle else None)
        drawn(self.predictions(sitting))
        drawn.flush()

    def predictions(self, sitting: str) -> Predictions:
        """Give a sitting's calls as predictions again; a person's word counts as certain."""
        frame = self.sittings.frame(sitting, paths=True)
        for i, (who, truth) in enumerate(zip(frame["who"], frame["truth"], strict=True)):
            if who and f"p_{truth}" in frame.columns:
                frame.loc[i, [c for c in frame.columns if c.startswith("p_")]] = 0.0
                frame.loc[i, f"p_{truth}"] = 1.0
                frame.loc[i, "decided"] = "true"
            elif who:  # nobody can decide, or it is something else
                frame.loc[i, "decided"] = "false"
        return Predictions.from_frame(frame.drop(columns=[*WORDS]))


def expanded(photographs: Sequence[str | Path], place: Path) -> list[Path]:
    """Give photographs, those in zip archives included.

    Parameters
    ----------
    place
        Private folder into which archives are unpacked.

    Raises
    ------
    EmptyDataset
        If there is none, or more than a page takes.
    """
    out: list[Path] = []
    for i, given in enumerate(photographs):
        file = Path(given)
        if file.suffix.lower() == ".zip":
            inside = walk(unpack(file, place / str(i)))
            out += [f for f in inside if f.suffix.lower() in SUFFIXES]
        else:
            out.append(file)
    if not out:
        raise EmptyDataset("There is no photograph.", "JPEG, PNG, TIFF, BMP, WebP are read.")
    if len(out) > MOST:
        raise EmptyDataset(
            f"There are {len(out)} photographs; a page takes {MOST} at once.",
            "cytowell predict takes any number.",
        )
    return out


def not_shown() -> Image.Image:
    """Draw what stands in the place of a photograph that was replaced."""
    image = Image.new("RGB", (PLAIN.size, PLAIN.size), "white")
    words = "not shown:\nthis file is not\nthe photograph\nthat was called"
    ImageDraw.Draw(image).multiline_text((40, 120), words, "#b00020", ImageFont.load_default(40))
    return image


def unnamed(places: Sequence[str], classes: Sequence[str]) -> Predictions:
    """Give rows of photographs that nobody has called yet."""
    n = len(places)
    return Predictions(
        tuple(Sample(p, nothing=NOT_NAMED) for p in places),
        tuple(classes),
        np.full((n, len(classes)), np.nan),
        np.zeros(n, dtype=np.bool_),
        (NOT_NAMED,) * n,
        ("",) * n,
    )


def box_of(row: Mapping[str, Any]) -> Box | None:
    """Give the box of a row, None of a whole photograph."""
    if row.get("x") is None or row.get("width") is None:
        return None
    return Box(*(float(row[n]) for n in ("x", "y", "width", "height")))


def _nearest(box: Box, wells: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Take the well whose middle a corrected box still holds; it keeps its name, once."""
    for i, row in enumerate(wells):
        old = box_of(row)
        if old is None:
            continue
        x, y = old.x + old.width / 2, old.y + old.height / 2
        if box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height:
            return wells.pop(i)
    return {}


def plain_name(text: str) -> str:
    """Give a name that a folder may have, from what a person wrote."""
    return _NAME.sub("-", text).strip(" .-")[:60]


def listed(texts: str) -> Iterator[str]:
    """Give the names in a text, one a line or between commas."""
    for part in re.split(r"[,;\n]", texts):
        if part.strip():
            yield part.strip()
