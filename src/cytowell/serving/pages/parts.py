"""What every page is built of: errors in words, cards, reports in a frame, files to take along."""

from __future__ import annotations

import functools
import html
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cytowell.errors import CytowellError, RecipeError
from cytowell.evaluation.calls_page import word_of
from cytowell.evaluation.pages import environment, jpeg_uri
from cytowell.images.overlay import COLOURS
from cytowell.runtime.bundle import Bundle
from cytowell.serving.downloads import report_path, table_path
from cytowell.serving.house import House
from cytowell.serving.kept import Kept, Said
from cytowell.serving.pages.words import catalogue, language_of, say
from cytowell.serving.porter import OUT

LOG = logging.getLogger("cytowell.serving")

SIDE = 448
"""Longer side of a picture on a card, in pixels."""

LISTED_CLASSES = 12
"""Classes whose probability a card shows, likeliest first."""

LASTS = 24 * 3600.0
"""Seconds that files which a page has handed out are kept."""

MOST_CALLS = 1 << 31
"""No call of a sitting has a higher number."""

PRIVATE = {"api_visibility": "private"}
"""Events of a page are no programming interface: that is /v1."""

I18N = gr.I18n(**catalogue())
"""Labels, translated in the browser."""


def t(name: str) -> Any:
    """Give a label by its name in the catalogue."""
    return I18N(name)


def explained(act: Callable[..., Any]) -> Callable[..., Any]:
    """Show a user's mistake as words on the page; keep the cause of anything else in the log."""

    def refusal(error: Exception, given: tuple[Any, ...]) -> gr.Error:
        if isinstance(error, CytowellError):
            return gr.Error(html.escape(str(error)), duration=None, print_exception=False)
        LOG.exception("a page's event failed")
        request = next((g for g in given if isinstance(g, gr.Request)), None)
        words = say(language_of(request), "app.unexpected")
        return gr.Error(words, duration=None, print_exception=False)

    @functools.wraps(act)
    def done(*args: Any, **kwargs: Any) -> Any:
        try:
            return act(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise refusal(error, (*args, *kwargs.values())) from None

    return done


def hold_lengths(app: Any) -> None:
    """Have every event refuse what is longer than its field takes: a browser alone may not."""
    for event in app.fns.values():
        longest = [c.max_length if isinstance(c, gr.Textbox) else None for c in event.inputs]
        if event.fn is not None and any(longest):
            event.fn = _held(event.fn, longest)


def _held(act: Callable[..., Any], longest: Sequence[int | None]) -> Callable[..., Any]:
    @functools.wraps(act)
    def held(*args: Any, **kwargs: Any) -> Any:
        for most, given in zip(longest, args, strict=False):
            if most is not None and isinstance(given, str) and len(given) > most:
                words = f"This has {len(given)} letters. Write {most} at most."
                raise gr.Error(words, duration=None, print_exception=False)
        return act(*args, **kwargs)

    return held


def outlet(house: House) -> Path:
    """Give a new private folder for files that a page hands out; those of yesterday go."""
    for old in house.pages_folder.glob(f"{OUT}*"):
        if time.time() - old.stat().st_mtime > LASTS:
            shutil.rmtree(old, ignore_errors=True)
    folder = house.pages_folder / f"{OUT}{uuid.uuid4().hex}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def framed(page: Path, title: str) -> str:
    """Show a report as it is: the page that is signed, in a frame without any rights."""
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    return f'<iframe class="report" title="{html.escape(title)}" sandbox srcdoc="{text}"></iframe>'


def zipped(folder: Path) -> str:
    """Pack a folder; give the archive."""
    return shutil.make_archive(str(folder), "zip", folder)


def files_of(house: House, language: str, sitting: str, page: str) -> str:
    """Give links to a sitting's table and report, which are made when they are fetched."""
    if not sitting:
        return ""
    house.sittings.about(sitting)
    return drawn(
        "files",
        page=page,
        table=table_path(sitting),
        report=report_path(sitting),
        words={name: say(language, f"app.{name}") for name in ("table", "page")},
    )


def choices(house: House) -> list[tuple[str, str]]:
    """Give the latest sittings as choices: their title and time, and their name."""
    return [
        (f"{s.title} · {s.created[:16].replace('T', ' ')}", s.id) for s in house.sittings.listed()
    ]


def drawn(template: str, **told: Any) -> str:
    """Fill one of this room's templates in; every value is escaped."""
    page: str = environment("serving/pages").get_template(f"{template}.html.j2").render(**told)
    return page


def card(house: House, language: str, sitting: str, kept: Kept) -> str:
    """Show a call of a sitting, with what people said of it."""
    about = house.sittings.about(sitting)
    bundle = house.bundle_of(about)
    label = str(kept.row["label"])
    shown = [(house.picture(sitting, kept), say(language, "call.shown"))]
    if label:
        hot = house.picture(sitting, kept, heat=True)
        shown.append((hot, say(language, "call.heat", label=label)))
    return card_of(language, kept.row, bundle, shown, [_said(language, w) for w in kept.said])


def card_of(
    language: str,
    row: Mapping[str, Any],
    bundle: Bundle | None,
    pictures: Sequence[tuple[Image.Image | None, str]],
    said: Sequence[str] = (),
) -> str:
    """Show a call: pictures with their words, its probabilities and the threshold.

    Parameters
    ----------
    row
        The command line's columns.
    bundle
        What called it, where that is still served.
    """
    threshold = 0.0 if bundle is None else bundle.facts.threshold
    place = row.get("well") or row.get("object")
    name = str(row["path"])
    return drawn(
        "card",
        name=name if place is None else f"{name} \u00b7 {place}",
        figures=[_figure(image, name, words) for image, words in pictures if image is not None],
        word=spoken(language, row),
        said=said,
        bars=_bars(row, bundle.classes) if row["label"] and bundle is not None else [],
        line_at=f"{100 * threshold:.1f}",
        threshold=say(language, "call.threshold", value=f"{threshold:.3f}"),
    )


def key_in(request: gr.Request) -> str:
    """Give the SHA-256 of the key that a request came with, "" where keys are not used."""
    scope = request.request.scope if request.request is not None else {}
    return str(scope.get("state", {}).get("key", ""))


def _said(language: str, word: Said) -> str:
    return say(
        language,
        "review.said",
        who=word.who if word.verified else say(language, "review.typed", who=word.who),
        when=word.when[:16].replace("T", " "),
        label=word.label or say(language, "app.cannot"),
        why=word.why,
    )


def spoken(language: str, row: Mapping[str, Any]) -> str:
    """Give a call in words."""
    word = word_of(row)
    return word.replace("cannot decide", say(language, "app.cannot"), 1)


def _figure(image: Image.Image, name: str, caption: str) -> dict[str, str]:
    scale = max(1, SIDE // max(image.size))
    large = image.resize((image.width * scale, image.height * scale))
    return {"uri": jpeg_uri(large, SIDE), "alt": f"{name}: {caption}", "caption": caption}


def _bars(row: Mapping[str, Any], classes: tuple[str, ...]) -> list[dict[str, str]]:
    known = [(name, float(row.get(f"p_{name}") or 0.0)) for name in classes]
    known.sort(key=lambda pair: -pair[1])
    return [
        {"name": name, "width": f"{100 * p:.1f}", "value": f"{p:.3f}"}
        for name, p in known[:LISTED_CLASSES]
    ]


def position_in(event: gr.SelectData) -> int:
    """Give the call's number in the row that was chosen.

    Raises
    ------
    RecipeError
        If there is none in it.
    """
    try:
        position = int(event.row_value[0])
    except (TypeError, ValueError, LookupError, OverflowError) as error:
        raise RecipeError("This is no row of the table.", "Choose one of it.") from error
    if not 0 <= position < MOST_CALLS:
        raise RecipeError("This is no row of the table.", "Choose one of it.")
    return position


def colour_of(classes: tuple[str, ...], label: str) -> str:
    """Give a class's colour, the same as on overlays."""
    return COLOURS[classes.index(label) % len(COLOURS)] if label in classes else "#7f7f7f"
