"""The review page: the least certain first; a person confirms or says what it is, with keys.

Choice and reason are part of the card that is shown, and its token goes with the word that is said:
a word for any other card is refused.
"""

from __future__ import annotations

import dataclasses
import html
import json
import secrets
from typing import Any

import gradio as gr
from markupsafe import Markup

from cytowell.errors import RecipeError
from cytowell.evaluation.calls_page import is_counted, is_open
from cytowell.serving.house import House
from cytowell.serving.kept import Kept, Said
from cytowell.serving.lengths import LABEL, WHO, WHY, require_length
from cytowell.serving.pages.parts import (
    PRIVATE,
    card,
    choices,
    drawn,
    explained,
    files_of,
    key_in,
    t,
)
from cytowell.serving.pages.words import language_of, say

Seen = dict[str, Any]

NOTHING: Seen = {"sitting": "", "index": 0, "position": -1, "number": 0, "card": ""}
"""What a person sees where there is nothing to be looked at."""

LOCK = "(...given) => window.cytowellReview.lock(given)"
ARRIVED = "() => window.cytowellReview.unlock(true)"
UNLOCK = "() => window.cytowellReview.unlock(false)"
WORD = "(...given) => window.cytowellReview.word(given, false)"
NOBODY = "(...given) => window.cytowellReview.word(given, true)"

WORDS = ("wait", "again", "missing", "nothing", "label", "why", "signs", "suggested")


def page(house: House, sitting: Any) -> Any:
    """Lay the page out; give the choice of sittings, which other pages fill too."""
    seen = gr.State(NOTHING)
    with gr.Row():
        chosen = gr.Dropdown([], label=t("app.sitting"), elem_id="review-sitting", scale=3)
        who = gr.Textbox(max_length=WHO, label=t("review.who"), elem_id="review-who", scale=2)
        remembered = gr.BrowserState("", storage_key="cytowell-who")
    with gr.Row():
        everything = gr.Checkbox(label=t("review.all"), value=False)
        gr.Checkbox(label=t("review.keys"), value=True, interactive=True, elem_id="review-keys-on")
    where = gr.Markdown(elem_id="review-where", elem_classes="live")
    shown = gr.HTML(elem_id="review-card", elem_classes="live")
    word = gr.Textbox(
        max_length=12 * (LABEL + WHY), visible=False
    )  # a letter may be twelve of JSON's
    with gr.Row(elem_id="review-keys"):
        back = gr.Button(t("review.back"), elem_id="review-back")
        cannot = gr.Button(t("review.cannot"), elem_id="review-cannot")
        save = gr.Button(t("review.save"), variant="primary", elem_id="review-save")
        skip = gr.Button(t("review.skip"), elem_id="review-skip")
    make = gr.Button(t("review.files"), elem_id="review-make")
    files = gr.HTML(elem_id="review-files")
    outputs = [seen, where, shown]
    stands = [chosen, seen, everything]

    @explained
    def opened(made: str, every: bool, request: gr.Request) -> tuple[Any, ...]:
        return _shown(house, language_of(request), made, 0, every)

    @explained
    def moved(
        step: int, made: str, before: Seen, every: bool, request: gr.Request
    ) -> tuple[Any, ...]:
        return _shown(house, language_of(request), made, before["index"] + step, every)

    @explained
    def decided(
        made: str, before: Seen, every: bool, name: str, told: str, request: gr.Request
    ) -> tuple[Any, ...]:
        position, said = read_word(house, made, before, told)
        person, verified = house.person(key_in(request), name)
        house.sittings.say(made, position, dataclasses.replace(said, who=person, verified=verified))
        # What was decided leaves the queue, so the same place holds the next one.
        at = before["index"] + (1 if every else 0)
        return _shown(house, language_of(request), made, at, every)

    @explained
    def again(made: str, before: Seen, _: bool, request: gr.Request) -> tuple[Any, ...]:
        """Show a card anew if somebody else has decided meanwhile; else the choice on it stays."""
        nothing = (gr.skip(), gr.skip(), gr.skip())
        if before["position"] < 0 or before["sitting"] != made:
            return nothing
        kept = house.sittings.calls(made, [before["position"]])
        if not kept or len(kept[0].said) == before["number"]:
            return nothing
        now, shown_now = _one(house, language_of(request), made, kept[0], before["index"])
        return now, gr.skip(), shown_now

    @explained
    def made_files(made: str, request: gr.Request) -> str:
        return files_of(house, language_of(request), made, "review")

    def unlocked(event: Any) -> None:
        event.then(None, None, None, js=ARRIVED)  # which does not come after a failure
        event.failure(None, None, None, js=UNLOCK)

    for choice in (chosen, everything):
        unlocked(choice.change(opened, [chosen, everything], outputs, js=LOCK, **PRIVATE))
    for button, script in ((save, WORD), (cannot, NOBODY)):
        said = button.click(decided, [*stands, who, word], outputs, js=script, **PRIVATE)
        said.then(None, None, None, js=ARRIVED)
        looked = said.failure(again, stands, outputs, **PRIVATE)
        looked.then(None, None, None, js=UNLOCK)
        looked.failure(None, None, None, js=UNLOCK)
    for button, step in ((skip, gr.State(1)), (back, gr.State(-1))):
        unlocked(button.click(moved, [step, *stands], outputs, **PRIVATE))
    make.click(made_files, [chosen], [files], **PRIVATE)
    who.change(lambda name: name, [who], [remembered], **PRIVATE)
    sitting.change(lambda made: gr.Dropdown(choices=choices(house), value=made or None), [sitting],
                   [chosen], **PRIVATE)  # fmt: skip
    return chosen, who, remembered


def read_word(house: House, made: str, before: Seen, told: str) -> tuple[int, Said]:
    """Read what is said of the card that was shown; give the call's position and the word.

    Whose word it is, the key says, or what was typed.

    Raises
    ------
    RecipeError
        If it is of another card than the one shown, says nothing, or names no class of these.
    """
    try:
        word = json.loads(told)
        token, label, nobody, why = (word[key] for key in ("card", "label", "nobody", "why"))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecipeError("This is no decision.", "Reload the page.") from error
    if before["position"] < 0 or before["sitting"] != made or token != before["card"]:
        raise RecipeError(
            "This was said of another card than the one shown, and was not kept.", "Look again."
        )
    if nobody is True:
        label = ""
    elif not isinstance(label, str) or not label:
        raise RecipeError("Nothing is chosen.", "Choose what it is, or that nobody can.")
    elif label not in house.sittings.about(made).classes:
        raise RecipeError(
            f"There is no class {label[:LABEL]!r} here.", "Choose one of those shown."
        )
    reason = require_length(str(why).strip(), WHY, "The reason")
    return before["position"], Said(before["number"] + 1, label, "", "", reason)


def queue_of(house: House, sitting: str, every: bool) -> list[Kept]:
    """Give calls that a person has to look at, least certain first; or all of them.

    What the teach page suggests to label next comes before all others.
    """
    kept = [k for k in house.sittings.calls(sitting) if not is_counted(k.row)]
    naming = not house.sittings.about(sitting).bundle
    if not every:
        waiting = [k for k in kept if not k.said and not k.row["error"]]
        kept = [k for k in waiting if naming or (k.row["label"] and is_open(k.row))]
    first = {p: i for i, p in enumerate(house.label_next.get(sitting, ()))}
    last = len(first)
    return sorted(
        kept,
        key=lambda k: (
            first.get(k.position, last), k.row.get("probability") or 0.0, k.position,
        ),
    )  # fmt: skip


def _shown(house: House, language: str, sitting: str, at: int, every: bool) -> tuple[Any, ...]:
    if not sitting:
        return NOTHING, say(language, "app.none"), ""
    queue = queue_of(house, sitting, every)
    if not queue:
        done = say(language, "review.done")
        return NOTHING, done, f"<p>{html.escape(done)}</p>"
    at = min(max(0, at), len(queue) - 1)
    seen, shown = _one(house, language, sitting, queue[at], at)
    return seen, say(language, "review.left", at=at + 1, all=len(queue)), shown


def _one(house: House, language: str, sitting: str, kept: Kept, at: int) -> tuple[Seen, str]:
    """Give what is seen of a call, and its card with a token that no other card ever has."""
    token = secrets.token_hex(8)
    classes = house.sittings.about(sitting).classes
    seen = {
        "sitting": sitting, "index": at, "position": kept.position, "number": len(kept.said),
        "card": token,
    }  # fmt: skip
    shown = drawn(
        "review",
        token=token,
        card=Markup(card(house, language, sitting, kept)),  # every value in it is escaped already
        classes=classes,
        suggested=kept.label if kept.label in classes else "",
        longest=WHY,
        words={name: say(language, f"review.{name}") for name in WORDS},
    )
    return seen, shown
