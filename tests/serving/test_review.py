"""What is recorded in a review was chosen by a person, on the card that it is recorded for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pandas as pd
import pytest

from cytowell.errors import RecipeError
from cytowell.evaluation.calls_page import final_by, stands, verdict_of
from cytowell.serving.pages.review import NOTHING, read_word

pytestmark = [pytest.mark.timeout(400)]

SLOW = 60_000

LATE = """const fetched = window.fetch;
window.late = 250;
window.fetch = async (...asked) => {
  if (String(asked[0]?.url ?? asked[0]).includes("/gradio_api/queue/")) {
    await new Promise((done) => setTimeout(done, window.late));
  }
  return fetched(...asked);
};"""
"""Every question to the queue takes a quarter of a second longer."""


@pytest.fixture(scope="module")
def address(
    start: Callable[..., Any], bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    folder = tmp_path_factory.mktemp("lab")
    return str(start(shutil.copytree(bundle, folder / "tiny"), "--data", folder / "d").address)


@pytest.fixture
def page(browser: Any, address: str, cells: Path) -> Iterator[Any]:
    """Give the review of twelve photographs, every question to the server late."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(SLOW)
    page.add_init_script(LATE)
    page.goto(address + "/")
    page.wait_for_selector("#call-go")
    files = sorted(cells.rglob("*.jpg"))[::3][:12]
    page.set_input_files("input[type=file] >> nth=0", [str(f) for f in files])
    page.wait_for_function(
        "n => document.querySelectorAll('.file-preview tr.file').length >= n", arg=len(files)
    )
    page.click("#call-go")
    page.wait_for_selector("#call-csv:visible")
    page.get_by_role("tab", name="Review", exact=True).click()
    page.get_by_label("Show those decided").check()
    page.wait_for_selector("#review-card article img")
    page.fill("#review-who textarea, #review-who input", "Dr A")
    ready(page)
    page.click("#review-where")
    yield page
    context.close()


def ready(page: Any) -> str:
    """Wait until the card takes something; give the photograph's name."""
    page.wait_for_timeout(900)
    page.wait_for_selector("#review-card[aria-busy=false] article img")
    return str(page.inner_text("#review-card h3"))


def table(page: Any, address: str) -> pd.DataFrame:
    """Give the table as the Review page hands it out."""
    page.click("#review-make")
    page.wait_for_selector("#review-csv:visible")
    link = page.get_attribute("#review-csv", "href")
    with httpx.Client(base_url=address) as client:
        answer = client.get(f"/{link}")
    return read(answer.text)


def read(text: str) -> pd.DataFrame:
    return pd.read_csv(StringIO(text), keep_default_na=False)


def press(page: Any, key: str) -> dict[str, str]:
    """Press a key; say what was seen at that moment, and right after it."""
    look = """() => ({
        card: document.querySelector("#review-card h3")?.innerText ?? "",
        busy: document.querySelector("#review-card").getAttribute("aria-busy"),
        chosen: document.querySelector("#review-label input:checked")?.value ?? "",
        refused: document.querySelector("#review-notice.refused")?.innerText ?? "",
    })"""
    page.evaluate(
        """look => document.addEventListener("keydown", () => {
            window.before = eval(look)();
        }, { capture: true, once: true })""",
        look,
    )
    page.keyboard.press(key)
    after = page.evaluate(look)
    before = page.evaluate("() => window.before")
    return {"card": before["card"], "chosen": after["chosen"], "refused": after["refused"]}


def test_every_recorded_label_was_chosen_on_that_card(page: Any, address: str) -> None:
    chosen: dict[str, list[str]] = {}
    for i in range(16):
        told = press(page, str(1 + i % 5))
        taken = bool(told["chosen"]) and not told["refused"]
        assert taken or told["refused"], "a key is applied, or visibly refused"
        if taken:
            chosen.setdefault(told["card"], []).append(told["chosen"])
        page.keyboard.press("Enter")
        page.wait_for_timeout(600)
    ready(page)
    rows = table(page, address)
    said = rows[rows["who"] == "Dr A"]
    assert len(said) >= 3
    for _, row in said.iterrows():
        assert row["truth"] in chosen.get(row["path"], []), (row["path"], chosen)


def test_nothing_is_taken_until_the_next_card_is_shown(page: Any, address: str) -> None:
    page.evaluate("window.late = 1500")
    first = ready(page)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    assert page.get_attribute("#review-card", "aria-busy") == "true"
    assert page.locator("#review-label input").first.is_disabled()
    assert "Wait" in page.inner_text("#review-notice")
    assert "Wait" in press(page, "3")["refused"]
    page.click("#review-save", force=True)
    assert "Wait" in page.inner_text("#review-notice.refused")
    second = ready(page)
    assert second != first
    assert page.locator("#review-label input:checked").count() == 0
    assert "Choose again" in page.inner_text("#review-notice.refused")
    assert "Choose again" in press(page, "Enter")["refused"], "the suggestion is not signed"
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    ready(page)
    classes = page.locator("#review-label input").evaluate_all("all => all.map(e => e.value)")
    rows = table(page, address).set_index("path")
    said = rows[rows["who"] != ""]
    assert dict(said["truth"]) == {first: classes[1], second: classes[2]}


def test_a_held_enter_signs_one_call(page: Any, address: str) -> None:
    page.keyboard.press("1")
    for _ in range(25):
        page.keyboard.down("Enter")  # each but the first is a repeat
        page.wait_for_timeout(60)
    page.keyboard.up("Enter")
    ready(page)
    assert (table(page, address)["who"] != "").sum() == 1


def test_what_is_corrected_is_in_every_output(page: Any, address: str, cli: Any) -> None:
    name = ready(page)
    before = page.get_attribute("#call-csv", "href")
    call = next(r for _, r in read(fetch(address, before)).iterrows() if r["path"] == name)
    other = page.locator("#review-label input").evaluate_all("all => all.map(e => e.value)")
    wanted = next(c for c in other if c != call["label"])
    page.keyboard.press(str(1 + other.index(wanted)))
    page.fill("#review-reason", "large nucleus")
    page.click("#review-where")
    page.keyboard.press("Enter")
    ready(page)
    page.get_by_role("tab", name="Call", exact=True).click()
    page.wait_for_function(
        "() => document.querySelector('#call-summary').innerText.includes('changed 1')"
    )
    assert "A person reviewed 1" in page.inner_text("#call-summary")
    assert wanted in page.inner_text("#call-table")
    for link in (before, page.get_attribute("#call-csv", "href")):
        rows = read(fetch(address, link))
        assert rows.columns[:4].tolist() == ["path", "final_label", "final_by", "label"]
        row = rows[rows["path"] == name].iloc[0]
        assert (row["final_label"], row["final_by"], row["label"]) == (
            wanted, "reviewer", call["label"],
        )  # fmt: skip
        assert row["why"] == "large nucleus"
        assert set(rows["final_by"]) <= {"reviewer", "classifier", ""}
    report = fetch(address, page.get_attribute("#call-report", "href"))
    assert "A person reviewed 1 and changed 1" in report
    assert "<th>Final label</th><th>By</th><th>Call of the bundle</th>" in report
    assert f"<strong>{wanted}</strong></td><td>reviewer</td>" in report
    assert fetch(address, "calls/" + "0" * 32 + "/calls.csv", 404)
    assert fetch(address, "calls/..%2f..%2fcytowell.db/calls.csv", 404)


def fetch(address: str, path: str, status: int = 200) -> str:
    with httpx.Client(base_url=address, timeout=60) as client:
        answer = client.get(f"/{path}")
    assert answer.status_code == status
    return answer.text


HOUSE: Any = SimpleNamespace(
    sittings=SimpleNamespace(about=lambda _: SimpleNamespace(classes=("a", "b")))
)
SEEN = {"sitting": "s", "index": 0, "position": 4, "number": 1, "card": "t"}


def word(**changes: Any) -> str:
    return json.dumps({"card": "t", "label": "a", "nobody": False, "why": "", **changes})


def test_a_word_is_taken_for_the_card_that_was_shown() -> None:
    position, said = read_word(HOUSE, "s", SEEN, word(why=" round "))
    assert (position, said.number, said.label, said.why) == (4, 2, "a", "round")
    assert read_word(HOUSE, "s", SEEN, word(nobody=True))[1].label == ""


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (word(card="u"), "another card"),
        (word(card=""), "another card"),
        (word(card=None), "another card"),
        (word(label="c"), "no class"),
        (word(label=""), "Nothing is chosen"),
        (word(label=["a"]), "Nothing is chosen"),
        (word(why="x" * 1001), "1001 letters"),
        ("{}", "no decision"),
        ("", "no decision"),
        ("[" * 100_000, "no decision"),
    ],
)
def test_a_word_for_anything_else_is_refused(told: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        read_word(HOUSE, "s", SEEN, told)


def test_a_word_is_refused_where_no_card_is_shown() -> None:
    for made, seen in (("s", NOTHING), ("other", SEEN), ("", NOTHING)):
        with pytest.raises(RecipeError, match="another card"):
            read_word(HOUSE, made, seen, word(card=seen["card"]))


def test_the_final_label_is_the_reviewers_else_the_decided_call() -> None:
    rows = [
        {"label": "a", "decided": "true", "who": "", "truth": ""},
        {"label": "a", "decided": "true", "who": "Dr A", "truth": "b"},
        {"label": "a", "decided": "false", "who": "", "truth": ""},
        {"label": "a", "decided": "true", "who": "Dr A", "truth": ""},
    ]
    assert [(stands(r), final_by(r)) for r in rows] == [
        ("a", "classifier"), ("b", "reviewer"), ("", ""), ("", "reviewer"),
    ]  # fmt: skip
    assert "reviewed 2 and changed 2" in " ".join(verdict_of(rows))


def test_the_table_with_final_labels_is_counted_by_the_command_line(
    page: Any, address: str, cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "calls.csv").write_text(fetch(address, page.get_attribute("#call-csv", "href")))
    done = cli("count", tmp_path / "calls.csv", "--out", tmp_path / "count")
    assert done.status == 0, done.err
