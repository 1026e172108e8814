"""The pages in headless Chromium, every way through them; no request leaves the machine."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import cytowell
from cytowell.runtime.imported import import_network
from cytowell.serving.later import Later
from cytowell.serving.pages.plates import FROM
from cytowell.serving.pages.review import WORDS
from cytowell.serving.pages.words import LANGUAGES, catalogue, language_of, say
from cytowell.serving.settings import digest_of

pytestmark = [pytest.mark.timeout(300)]

KEY = "a-long-and-random-key"
SLOW = 60_000


@pytest.fixture(scope="module")
def lab(start: Callable[..., Any], bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Serve the tiny bundle with an inbox."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "inbox").mkdir()
    tiny = shutil.copytree(bundle, folder / "tiny")
    server = start(tiny, "--data", folder / "data", "--inbox", folder / "inbox")
    server.folder = folder
    return server


class Visit:
    """A browser's page, and what it asked for that it should not have."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        page.set_default_timeout(SLOW)
        page.on("request", lambda r: self._asked(r.url))
        page.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: self.wrong.append(str(e)))

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(url)

    def open(self) -> Visit:
        self.page.goto(self.address + "/")
        self.page.wait_for_selector("#call-go")
        self.page.wait_for_timeout(500)
        return self

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()
        self.page.wait_for_timeout(700)

    def give(self, files: list[Path], where: str = "input[type=file] >> nth=0") -> None:
        self.page.set_input_files(where, [str(f) for f in files])
        self.page.wait_for_function(
            "n => document.querySelectorAll('.file-preview tr.file').length >= n", arg=len(files)
        )

    def call(self, files: list[Path]) -> None:
        self.give(files)
        self.page.click("#call-go")
        self.page.wait_for_selector("#call-summary strong")
        self.page.wait_for_selector("#call-csv:visible")
        self.page.wait_for_timeout(500)

    def error(self) -> str:
        """Give the words of a mistake, and put them away."""
        self.page.wait_for_selector(".toast-body.error")
        said = str(self.page.inner_text(".toast-body.error"))
        self.page.click(".toast-close")
        self.page.wait_for_selector(".toast-body.error", state="detached")
        return said

    def review_ready(self) -> None:
        """Wait until the card of the review takes something."""
        self.page.wait_for_timeout(700)
        self.page.wait_for_selector("#review-card[aria-busy=false] article img")

    def count(self, selector: str, wanted: int) -> None:
        self.page.wait_for_function(
            "([s, n]) => document.querySelectorAll(s).length === n", arg=[selector, wanted]
        )

    def download(self, button: str, to: Path) -> Path:
        with self.page.expect_download() as found:
            self.page.click(button)
        found.value.save_as(to)
        return to

    def shot(self, to: Path) -> None:
        self.page.screenshot(path=str(to), full_page=True)


@pytest.fixture
def visit(browser: Any, lab: Any) -> Iterator[Callable[..., Visit]]:
    """Give what opens the pages anew, as another person; looks at what they asked for."""
    contexts: list[Any] = []
    visits: list[Visit] = []

    def begin(**settings: Any) -> Visit:
        contexts.append(browser.new_context(locale=settings.pop("locale", "en-GB"), **settings))
        visits.append(Visit(contexts[-1].new_page(), lab.address))
        return visits[-1].open()

    yield begin
    for context in contexts:
        context.close()
    for one in visits:
        assert one.foreign == [], "a request left this machine"
        # What a page still asks for when it is left is given up.
        left = ("AbortError", "Connection errored out")
        wrong = [text for text in one.wrong if not any(word in text for word in left)]
        assert wrong == [], "the browser complained"


def some(cells: Path, count: int) -> list[Path]:
    return sorted(cells.rglob("*.jpg"))[:count]


def test_photographs_to_a_table_and_a_report(
    visit: Callable[..., Visit], cells: Path, tmp_path: Path, lab: Any, cli: Any
) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no image at all")
    images = [*some(cells, 3), bad]
    at = visit()
    at.call(images)
    assert "1 not readable, of 4" in at.page.inner_text("#call-summary")
    at.page.locator("#call-table [data-row='0'][data-col='1']").first.click()
    at.page.wait_for_selector("#call-card article img")
    card = at.page.inner_text("#call-card")
    assert "What spoke for" in card
    assert "threshold" in card
    assert at.page.locator("#call-card .bars tr").count() == 5
    found = pd.read_csv(at.download("#call-csv", tmp_path / "page.csv"), keep_default_na=False)
    cli("predict", *images, "--bundle", lab.folder / "tiny", "--out", tmp_path / "cli.csv")
    wanted = pd.read_csv(tmp_path / "cli.csv", keep_default_na=False)
    columns = [c for c in wanted.columns if c not in ("path", "error")]
    pd.testing.assert_frame_equal(found[columns], wanted[columns], check_dtype=False)
    assert found["path"].tolist() == [Path(p).name for p in wanted["path"]]
    report = at.download("#call-report", tmp_path / "r.html").read_text()
    assert "Trail at this report" in report
    assert "<script" not in report


def test_a_review_by_keys_and_a_second_person(
    visit: Callable[..., Visit], cells: Path, tmp_path: Path
) -> None:
    images = some(cells, 4)
    first = visit()
    first.call(images)
    first.tab("Review")
    page = first.page
    page.get_by_label("Show those decided").check()
    first.review_ready()
    page.click("#review-where")
    page.keyboard.press("Enter")
    assert "Write your name" in first.error()
    first.review_ready()
    page.fill("#review-who textarea, #review-who input", "Dr A")
    page.fill("#review-why textarea, #review-why input", "large nucleus")
    page.click("#review-where")
    name = page.inner_text("#review-card h3")
    second = visit()
    second.tab("Review")
    second.page.click("#review-sitting input")
    second.page.get_by_role("option").first.click()
    second.page.wait_for_timeout(500)
    second.page.get_by_label("Show those decided").check()
    second.review_ready()
    assert second.page.inner_text("#review-card h3") == name, "both look at the same call"
    page.keyboard.press("2")
    page.wait_for_timeout(300)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "old => document.querySelector('#review-card h3').innerText !== old", arg=name
    )
    second.page.fill("#review-who textarea, #review-who input", "Dr B")
    second.page.click("#review-save")
    assert "Dr A decided" in second.error(), "the second is told, and nothing is overwritten"
    first.review_ready()
    page.click("#review-where")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#review-card .said")
    assert "Dr A (name typed, not verified) said" in page.inner_text("#review-card .said")
    page.click("#review-make")
    page.wait_for_selector("#review-csv:visible")
    table = pd.read_csv(first.download("#review-csv", tmp_path / "t.csv"), keep_default_na=False)
    row = table[table["who"] == "Dr A"].iloc[0]
    assert row["path"] == name.split(" ")[0]
    assert row["why"] == "large nucleus"
    assert row["when"] > "2026"
    assert row["truth"] in {c[2:] for c in table.columns if c.startswith("p_")}
    assert (table["who"] == "").sum() == 3
    assert "large nucleus" in first.download("#review-report", tmp_path / "r.html").read_text()


def test_wells_are_found_and_their_boxes_corrected(
    visit: Callable[..., Visit], tmp_path: Path
) -> None:
    plates = cytowell.write_samples(tmp_path / "p", "plates", per_class=1)["plates"]
    at = visit()
    at.page.get_by_label("the wells in each photograph").check()
    at.call(sorted(plates.rglob("*.jpg"))[:1])
    wells = at.page.locator("#call-grid table.wells td span").count()
    assert wells >= 6
    at.page.get_by_text("Correct the boxes of a photograph").click()
    boxes = at.page.locator("#boxes g[data-i]")
    at.count("#boxes g[data-i]", wells)
    boxes.nth(0).focus()
    at.page.keyboard.press("Delete")
    at.count("#boxes g[data-i]", wells - 1)
    at.page.wait_for_timeout(1500)  # nothing that arrives later undoes it
    at.count("#boxes g[data-i]", wells - 1)
    place = boxes.nth(1).locator("rect").bounding_box()
    middle = (place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    at.page.mouse.move(*middle)
    at.page.mouse.down()
    at.page.mouse.move(middle[0] + 4, middle[1] + 3, steps=4)
    at.page.mouse.up()
    at.page.wait_for_timeout(300)
    moved = boxes.nth(1).locator("rect").bounding_box()
    assert moved["x"] == pytest.approx(place["x"] + 4, abs=2)
    at.page.locator("#boxes svg").focus()
    at.page.keyboard.press("n")
    at.count("#boxes g[data-i]", wells)
    at.page.click("#boxes-go")
    at.count("#call-grid td span", wells - 1)
    table = pd.read_csv(at.download("#call-csv", tmp_path / "t.csv"), keep_default_na=False)
    assert len(table) == wells
    assert (table["well"] == "").sum() == 1
    at.page.click("#call-draw")
    at.page.wait_for_selector("#call-overlays:visible")
    with zipfile.ZipFile(at.download("#call-overlays", tmp_path / "o.zip")) as overlays:
        assert len(overlays.namelist()) == 1


def test_cells_of_a_real_smear_are_found_called_and_drawn(
    start: Callable[..., Any], browser: Any, data: Path, tmp_path: Path
) -> None:
    network = data.parent / "weights" / "yolox_nano.onnx"
    if not network.exists():
        pytest.skip(f"{network} is not there")
    import_network(network, [str(i) for i in range(80)], score=0.05).save(tmp_path / "d", "# C\n")
    server = start("--detector", tmp_path / "d")
    context = browser.new_context(locale="en-GB")
    at = Visit(context.new_page(), server.address).open()
    at.page.get_by_label("the cells in each photograph").check()
    at.call([data / "bccd" / "JPEGImages" / "BloodImage_00001.jpg"])
    table = pd.read_csv(at.download("#call-csv", tmp_path / "t.csv"), keep_default_na=False)
    assert 5 < len(table) < 60
    assert set(table["label"]) <= set(cytowell.load("blood").classes)
    at.page.get_by_text("Correct the boxes of a photograph").click()
    at.count("#boxes g[data-i]", len(table))
    at.page.click("#call-draw")
    at.page.wait_for_selector("#call-overlays:visible")
    assert at.foreign == []
    context.close()


def test_a_typed_table_to_titres_and_a_mistake_in_words(
    visit: Callable[..., Visit], tmp_path: Path, cli: Any
) -> None:
    at = visit()
    at.tab("Plate")
    at.page.get_by_label("a table typed in").check()
    at.page.wait_for_selector("#plate-table")
    at.page.click("#plate-go")
    at.page.wait_for_selector("#plate-report iframe")
    inside = at.page.frame_locator("#plate-report iframe")
    assert "The run is valid" in inside.locator("body").inner_text()
    assert "Trail ends with" in inside.locator("body").inner_text()
    told = json.loads(at.download("#plate-json", tmp_path / "r.json").read_text())
    value = next(r["value"] for r in told["runs"][0]["results"] if r["sample"] == "serum 1")
    assert value == pytest.approx(0.66, abs=0.01)
    at.page.fill("#plate-iu textarea, #plate-iu input", "0,5")
    at.page.click("#plate-go")
    assert "Write 4.5 and not 4,5" in at.error()
    at.page.fill("#plate-iu textarea, #plate-iu input", "")
    at.page.get_by_label("protected", exact=True).check()
    at.page.click("#plate-go")
    assert "infected wells are the positive ones" in at.error()


def test_taught_on_the_page_then_photographs_to_units(
    visit: Callable[..., Visit], tmp_path: Path
) -> None:
    made = cytowell.write_samples(tmp_path / "s", "all", per_class=12)
    archive = tmp_path / "wells.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(made["wells"].rglob("*.jpg")):
            opened.write(file, file.relative_to(made["wells"]))
    at = visit()
    page = at.page
    at.tab("Teach")
    page.click("#teach-go")
    assert "Give a zip" in at.error()
    page.set_input_files("#teach-zip input[type=file]", str(archive))
    page.wait_for_selector("#teach-zip .file-preview")
    page.fill("#teach-called textarea, #teach-called input", "glow wells")
    page.fill("#teach-positive textarea, #teach-positive input", positive_of(made["wells"]))
    page.click("#teach-go")
    page.wait_for_selector("#teach-report iframe", timeout=2 * SLOW)
    report = page.frame_locator("#teach-report iframe").locator("body").inner_text()
    assert "judged" in report
    page.click("#teach-use")
    page.wait_for_function(
        "() => document.querySelector('#teach-told').innerText.includes('served from now on')"
    )
    at.open()
    page.click("#call-bundle input")
    page.get_by_role("option", name="glow wells").click()
    at.tab("Plate")
    photographs = sorted(made["titres"].rglob("*.jpg"))
    page.locator("#plate-bundle input").click()
    page.get_by_role("option", name="glow wells").click()
    page.set_input_files("#plate-files input[type=file]", [str(f) for f in photographs])
    page.wait_for_function(
        "n => document.querySelectorAll('#plate-files tr.file').length >= n",
        arg=len(photographs),
    )
    page.click("#plate-go")
    page.wait_for_selector("#plate-report iframe", timeout=2 * SLOW)
    told = json.loads(at.download("#plate-json", tmp_path / "r.json").read_text())
    assert told["counted"].endswith("were counted as infected.")
    assert {r["role"] for r in told["runs"][0]["results"]} >= {"test", "reference"}
    body = page.frame_locator("#plate-report iframe").locator("body").inner_text()
    assert re.search(r"The run is (in)?valid", body)


def positive_of(folder: Path) -> str:
    """Give the class of wells with virus in them."""
    names = {s.label for s in cytowell.read(folder).samples}
    return next(str(n) for n in sorted(map(str, names)) if "foci" in n or "posit" in n)


def test_photographs_named_with_keys_are_learnt(
    visit: Callable[..., Visit], cells: Path, tmp_path: Path
) -> None:
    classes = sorted(p.name for p in cells.iterdir() if p.is_dir())[:2]
    images = [f for c in classes for f in sorted((cells / c).rglob("*.jpg"))[:4]]
    at = visit()
    page = at.page
    at.tab("Teach")
    page.set_input_files("#teach-files input[type=file]", [str(f) for f in images])
    page.wait_for_function(
        "n => document.querySelectorAll('#teach-files tr.file').length >= n", arg=len(images)
    )
    page.fill("#teach-classes textarea, #teach-classes input", ", ".join(classes))
    page.click("#teach-name")
    page.wait_for_selector("#review-card article img")
    page.fill("#review-who textarea, #review-who input", "Technician")
    page.click("#review-where")
    for _ in images:
        name = page.inner_text("#review-card h3")
        label = next(c for c in classes for f in images if f.name == name and c in f.parts)
        page.keyboard.press(str(1 + classes.index(label)))
        page.wait_for_timeout(250)
        page.keyboard.press("Enter")
        page.wait_for_function(
            "old => document.querySelector('#review-card')?.innerText.includes(old) === false",
            arg=name,
        )
        page.wait_for_timeout(250)
    assert "Nothing is left" in page.inner_text("#review-card")
    at.tab("Teach")
    page.click("#teach-sitting input")
    page.get_by_role("option").first.click()
    page.click("#teach-go")
    page.wait_for_selector("#teach-report iframe", timeout=2 * SLOW)
    body = page.frame_locator("#teach-report iframe").locator("body").inner_text()
    assert "8 judged images" in body or "of 8" in body


def test_a_smear_is_counted(visit: Callable[..., Visit], cells: Path, tmp_path: Path) -> None:
    at = visit()
    at.call(some(cells, 6))
    at.tab("Count")
    at.page.click("#count-go")
    assert "nothing to count" in at.error()
    at.page.click("#count-sitting input")
    at.page.get_by_role("option").first.click()
    at.page.click("#count-go")
    at.page.wait_for_selector("#count-report iframe")
    report = at.page.frame_locator("#count-report iframe").locator("body").inner_text()
    assert "Differential count" in report
    assert "Trail ends with" in report
    rows = pd.read_csv(at.download("#count-table", tmp_path / "c.csv"))
    assert rows["count"].sum() + rows["undecided"].iloc[0] == 6


def test_the_inbox_shows_what_comes(visit: Callable[..., Visit], cells: Path, lab: Any) -> None:
    at = visit()
    at.tab("Inbox")
    shutil.copy(some(cells, 1)[0], lab.folder / "inbox" / "snap.jpg")
    at.page.wait_for_selector("#inbox-table [data-row='0'][data-col='1'] :text('snap.jpg')")
    at.page.locator("#inbox-table [data-row='0'][data-col='1']").first.click()
    at.page.wait_for_selector("#inbox-card article img")


def test_french_dark_and_on_a_phone(
    visit: Callable[..., Visit], cells: Path, tmp_path: Path
) -> None:
    phone = {"width": 390, "height": 800}
    at = visit(locale="fr-FR", viewport=phone, color_scheme="dark", has_touch=True)
    tabs = at.page.locator("[role=tab]").all_inner_texts()
    assert "Analyser" in tabs
    at.call(some(cells, 2))
    assert "illisibles" in at.page.inner_text("#call-summary")
    wide = at.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= phone["width"] + 1, "nothing has to be pushed sideways"
    assert at.page.evaluate("document.body.classList.contains('dark')")


def test_every_control_has_a_name(visit: Callable[..., Visit]) -> None:
    at = visit()
    for tab in ("Call", "Review", "Plate", "Count", "Teach"):
        at.tab(tab)
        nameless = at.page.evaluate(
            """() => [...document.querySelectorAll('input, select, textarea, button')]
            .filter(e => e.offsetParent !== null && e.type !== 'file')
            .filter(e => !(e.labels?.length || e.ariaLabel || e.title || e.innerText.trim()
                || e.closest('label')?.innerText.trim() || e.placeholder))
            .map(e => e.outerHTML.slice(0, 160))"""
        )
        assert nameless == []


def test_no_address_is_fetched_for_a_client(lab: Any) -> None:
    def status(path: str, sent: bytes | None = None) -> int:
        request = urllib.request.Request(lab.address + path, data=sent)
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    deep = {"data": [{"path": "https://example.org/a.jpg"}], "fn_index": 0, "session_hash": "x"}
    assert status("/gradio_api/queue/join", json.dumps(deep).encode()) == 400
    assert status("/gradio_api/queue/join", b"[" * 100_000) == 400
    for path in (
        "/gradio_api/proxy=https://example.org", "/gradio_api/info", "/gradio_api/run/predict",
        "/gradio_api/call/predict", "/monitoring", "/gradio_api/openapi.json", "/docs",
        "/gradio_api/deep_link", "/gradio_api/mcp/",
    ):  # fmt: skip
        assert status(path) == 404, path
    for file in (
        "/etc/passwd", "https://example.org/a.jpg", "HTTPS://example.org/a.jpg",
        "http:/example.org/a.jpg", f"{lab.folder}/data/cytowell.db",
        f"{lab.folder}/data/pages/../cytowell.db", "//example.org/a.jpg",
    ):  # fmt: skip
        assert status(f"/gradio_api/file={file}") == 404, file


def test_the_page_asks_for_a_key_too(
    start: Callable[..., Any], browser: Any, bundle: Path, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(digest_of(KEY))
    server = start(bundle, "--keys", keys)
    for path in (
        "/", "/config", "/theme.css", "/assets/x.js", "/gradio_api/upload", "/gradio_api/info",
        "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/file=x", "/metrics",
        "/gradio_api/heartbeat/x", "/gradio_api/startup-events", "/v1/models", "/manifest.json",
    ):  # fmt: skip
        for sent in (None, b"{}"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(
                    urllib.request.Request(server.address + path, data=sent), timeout=30
                )
            assert refused.value.code == 401, path
            refused.value.close()
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.address + "/")
    assert page.url.endswith("/login")
    page.fill("#key", "wrong")
    page.click("button")
    assert "not known" in page.inner_text("[role=alert]")
    page.fill("#key", KEY)
    page.click("button")
    page.wait_for_selector("#call-go", timeout=SLOW)
    cookie = context.cookies()[0]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert KEY not in cookie["value"]
    context.clear_cookies()
    told, _, _ = cookie["value"].rpartition(".")
    forged = {"name": "cytowell", "value": f"{told}.{'0' * 64}", "url": server.address}
    context.add_cookies([forged])
    page.goto(server.address + "/")
    assert page.url.endswith("/login"), "a cookie that this server did not make"
    tries = 0
    while "Too many keys" not in page.content():
        tries += 1
        assert tries <= 25
        page.fill("#key", "guess")
        page.click("button")
    context.close()


def test_the_catalogue_is_whole() -> None:
    texts = catalogue()
    assert set(texts) == set(LANGUAGES)
    assert texts["en"].keys() == texts["fr"].keys()
    for name in texts["en"]:
        holes = [set(re.findall(r"{(\w+)}", texts[lang][name])) for lang in LANGUAGES]
        assert holes[0] == holes[1], name
    used = {f"call.{find}" for find in ("none", "wells", "cells")}
    used |= {f"plate.{way}" for way in FROM} | {"app.table", "app.json", "app.page"}
    used |= {f"review.{name}" for name in WORDS}
    for file in (Path(cytowell.__file__).parent / "serving" / "pages").glob("*.py"):
        used |= set(re.findall(r"""["']([a-z]+\.[a-z_]+)["']""", file.read_text()))
    assert set(texts["en"]) - used == set()

    asked = SimpleNamespace(headers={"accept-language": "de-DE,de;q=0.9,fr;q=0.8,en;q=0.7"})
    assert language_of(asked) == "fr"
    assert language_of(None) == "en"
    assert say("fr", "call.grid", plate=1) == "Plaque 1"


def test_the_service_answers_while_the_pages_are_made() -> None:
    made, asked = threading.Event(), threading.Event()
    page = FastAPI()

    @page.get("/")
    def root() -> str:
        return "page"

    def make() -> FastAPI:
        assert made.wait(30)
        return page

    later = Later(make)

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        async with later.living():
            yield

    app = FastAPI(lifespan=living)

    @app.get("/service")
    def service() -> str:
        return "answer"

    app.mount("/", later)
    with TestClient(app) as client:

        def ask() -> None:
            assert client.get("/").json() == "page"
            asked.set()

        waiting = threading.Thread(target=ask)
        waiting.start()
        assert client.get("/service").json() == "answer"
        assert not asked.is_set()
        made.set()
        waiting.join(30)
        assert asked.is_set()


def test_pages_that_cannot_be_made_are_said(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Any:
        raise OSError("no toolkit")

    app = FastAPI()
    app.mount("/", Later(make))
    with TestClient(app) as client:
        assert client.get("/").status_code == 503
    assert "no toolkit" in caplog.text


def test_a_service_without_pages(start: Callable[..., Any], bundle: Path) -> None:
    server = start(bundle, "--no-pages")
    assert server.ask("/v1/models")["models"]
    with pytest.raises(urllib.error.HTTPError) as none:
        urllib.request.urlopen(server.address + "/", timeout=10)
    assert none.value.code == 404
    none.value.close()
