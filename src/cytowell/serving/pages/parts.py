"""What every page is built of: errors in words, cards, reports in a frame, files to take along."""

from __future__ import annotations

import functools
import html
import inspect
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cytowell.errors import CytowellError
from cytowell.evaluation.calls_page import word_of
from cytowell.evaluation.pages import jpeg_uri
from cytowell.images.overlay import COLOURS
from cytowell.serving.house import House
from cytowell.serving.pages.words import catalogue, language_of, say
from cytowell.serving.sittings import Kept

LOG = logging.getLogger("cytowell.serving")

SIDE = 448
"""Longer side of a picture on a card, in pixels."""

LISTED_CLASSES = 12
"""Classes whose probability a card shows, likeliest first."""

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

    if inspect.isgeneratorfunction(act):

        @functools.wraps(act)
        def steps(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from act(*args, **kwargs)
            except gr.Error:
                raise
            except Exception as error:
                raise refusal(error, (*args, *kwargs.values())) from None

        return steps

    @functools.wraps(act)
    def done(*args: Any, **kwargs: Any) -> Any:
        try:
            return act(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise refusal(error, (*args, *kwargs.values())) from None

    return done


def outlet(house: House) -> Path:
    """Give a new private folder for files that a page hands out; Gradio removes old ones."""
    folder = house.folder / "pages" / f"out-{uuid.uuid4().hex}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


def framed(page: Path, title: str) -> str:
    """Show a report as it is: the page that is signed, in a frame without any rights."""
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    return (
        f'<iframe class="report" title="{html.escape(title)}" sandbox srcdoc="{text}"></iframe>'
    )


def zipped(folder: Path) -> str:
    """Pack a folder; give the archive."""
    return shutil.make_archive(str(folder), "zip", folder)


def choices(house: House) -> list[tuple[str, str]]:
    """Give the latest sittings as choices: their title and time, and their name."""
    return [(f"{s.title} · {s.created[:16].replace('T', ' ')}", s.id) for s in house.sittings.listed()]


def card(house: House, language: str, sitting: str, kept: Kept) -> str:
    """Show a call: the picture, what spoke for it, its probabilities and the threshold."""
    about = house.sittings.about(sitting)
    plain, hot = house.picture(sitting, kept), house.picture(sitting, kept, heat=True)
    label = str(kept.row["label"])
    figures = _figure(plain, kept.name, say(language, "call.shown"))
    if label and hot is not None:
        words = say(language, "call.heat", label=label)
        figures += _figure(hot, f"{kept.name}: {words}", words)
    bundle = house.desk.bundles.get(about.bundle)
    place = kept.row.get("well") or kept.row.get("object")
    name = kept.name if place is None else f"{kept.name} · {place}"
    said = ""
    for word in kept.said:
        told = say(
            language, "review.said", who=word.who, when=word.when[:16].replace("T", " "),
            label=word.label or say(language, "app.cannot"), why=word.why,
        )  # fmt: skip
        said += f"<p class='said'>{html.escape(told)}</p>"
    bars = "" if bundle is None or not label else _bars(kept, about.classes, bundle.facts.threshold)
    line = ""
    if bars and bundle is not None:
        value = f"{bundle.facts.threshold:.3f}"
        line = f"<p class='soft'>{html.escape(say(language, 'call.threshold', value=value))}</p>"
    return (
        f"<article class='card' aria-label='{html.escape(name, quote=True)}'>"
        f"<div class='pictures'>{figures}</div><div class='told'><h3>{html.escape(name)}</h3>"
        f"<p class='word'>{html.escape(spoken(language, kept.row))}</p>{said}{bars}{line}</div></article>"
    )


def spoken(language: str, row: Mapping[str, Any]) -> str:
    """Give a call in words."""
    word = word_of(row)
    return word.replace("cannot decide", say(language, "app.cannot"), 1)


def _figure(image: Image.Image | None, name: str, caption: str) -> str:
    if image is None:
        return ""
    scale = max(1, SIDE // max(image.size))
    uri = jpeg_uri(image.resize((image.width * scale, image.height * scale)), SIDE)
    alt = html.escape(name, quote=True)
    return f"<figure><img src='{uri}' alt='{alt}'><figcaption>{html.escape(caption)}</figcaption></figure>"


def _bars(kept: Kept, classes: tuple[str, ...], threshold: float) -> str:
    known = [(name, float(kept.row.get(f"p_{name}") or 0.0)) for name in classes]
    known.sort(key=lambda pair: -pair[1])
    rows = "".join(
        f"<tr><th scope='row'>{html.escape(name)}</th><td class='bar'>"
        f"<span style='width:{100 * p:.1f}%'></span><i style='left:{100 * threshold:.1f}%'></i></td>"
        f"<td class='n'>{p:.3f}</td></tr>"
        for name, p in known[:LISTED_CLASSES]
    )
    return f"<table class='bars'>{rows}</table>"


def colour_of(classes: tuple[str, ...], label: str) -> str:
    """Give a class's colour, the same as on overlays."""
    return COLOURS[classes.index(label) % len(COLOURS)] if label in classes else "#7f7f7f"
