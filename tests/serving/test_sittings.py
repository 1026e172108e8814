"""Sittings: calls that are kept, what people say of them, and that nothing of it is lost."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from sqlalchemy import text

import cytowell
from cytowell.errors import CytowellError, DatasetError, EmptyDataset, RecipeError, StorageError
from cytowell.plates.counting import read_wells
from cytowell.plates.layout_files import read_layout
from cytowell.runs.counts import count_of
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import finder
from cytowell.serving import sittings as room
from cytowell.serving.conflicts import ReviewConflict
from cytowell.serving.desk import Desk
from cytowell.serving.house import NOT_NAMED, House, box_of, expanded, listed, not_shown, plain_name
from cytowell.serving.inbox import Inbox
from cytowell.serving.kept import Said, version_of
from cytowell.serving.pages.calls import named_files
from cytowell.serving.pages.plates import plates_apart
from cytowell.serving.photographs import PhotographChanged
from cytowell.serving.sittings import Expired, Sittings
from cytowell.serving.store import Store
from cytowell.types import Box


@pytest.fixture(scope="module")
def tiny(bundle: Path) -> Bundle:
    return cytowell.load(bundle)


@pytest.fixture
def house(tiny: Bundle, store: Store, tmp_path: Path) -> Iterator[House]:
    data = tmp_path / "data"
    data.mkdir()
    desk = Desk({"tiny": tiny}, workers=1)
    wells = finder("wells")
    assert wells is not None
    yield House(desk, Sittings(store, data / "sittings"), data, {"wells": wells})
    desk.close()


@pytest.fixture
def some(cells: Path) -> list[Path]:
    return sorted(cells.rglob("*.jpg"))[:3]


def test_calls_are_kept_as_the_command_line_writes_them(
    house: House, some: list[Path], bundle: Path, tmp_path: Path, cli: object
) -> None:
    bad = tmp_path / "text.jpg"
    bad.write_text("no image")
    made = house.call([*some, bad], "", "none", "three")
    kept = house.sittings.frame(made)
    out = tmp_path / "calls.csv"
    cli("predict", *some, bad, "--bundle", bundle, "--out", out)  # type: ignore[operator]
    wanted = pd.read_csv(out, keep_default_na=False, dtype=str)
    wanted["path"] = [Path(p).name for p in wanted["path"]]
    wanted["error"] = [e.replace(str(tmp_path) + "/", "") for e in wanted["error"]]
    csv = tmp_path / "kept.csv"
    kept.drop(columns=["truth", "who", "when", "why"]).to_csv(csv, index=False)
    found = pd.read_csv(csv, keep_default_na=False, dtype=str)
    pd.testing.assert_frame_equal(found, wanted)
    assert house.sittings.about(made).classes == house.desk.bundles["tiny"].classes


def test_a_word_stands_beside_the_call_and_the_last_one_counts(
    house: House, some: list[Path]
) -> None:
    made = house.call(some, "tiny", "none", "three")
    first = house.sittings.calls(made)[0]
    other = next(c for c in house.sittings.about(made).classes if c != first.row["label"])
    house.sittings.say(made, 0, Said(1, other, "Dr A", "", "smudged"))
    house.sittings.say(made, 0, Said(2, str(first.row["label"]), "Dr B", "", ""))
    kept = house.sittings.calls(made)[0]
    assert [w.who for w in kept.said] == ["Dr A", "Dr B"]
    assert kept.label == first.row["label"]
    row = house.sittings.frame(made).iloc[0]
    assert (row["truth"], row["who"], row["label"]) == (first.row["label"], "Dr B", row["label"])
    assert row["when"] > "2026"
    assert house.sittings.store.verify() == (4, "")


def test_two_people_at_the_same_call(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    a, b = house.sittings.about(made).classes[:2]
    house.sittings.say(made, 1, Said(1, a, "Dr A", "", ""))
    with pytest.raises(ReviewConflict, match=f"Dr A decided {a}"):
        house.sittings.say(made, 1, Said(1, b, "Dr B", "", ""))
    assert [w.who for w in house.sittings.calls(made)[1].said] == ["Dr A"]
    with pytest.raises(CytowellError, match="name"):
        house.sittings.say(made, 1, Said(2, b, "  ", "", ""))


def test_what_nobody_can_decide_is_counted_as_that(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    for i in range(3):
        house.sittings.say(made, i, Said(1, "", "Dr A", "", "out of focus"))
    frame = house.sittings.frame(made).astype(object)
    frame = frame.where(frame.notna(), "").astype(str)
    assert count_of(frame).slides[0].undecided == 3
    wells = pd.DataFrame(
        {"plate": "1", "well": ["A1"], "label": ["glow"], "p_glow": ["0.9"], "decided": ["true"],
         "truth": [""], "who": ["Dr A"], "error": [""]}
    )  # fmt: skip
    seen = read_wells(wells, read_layout("favn"), "glow")["1"]["A1"]
    assert (seen.fields, seen.unread) == ((), 1)


def test_a_word_that_is_changed_breaks_the_trail(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    house.sittings.say(made, 0, Said(1, "x", "Dr A", "", ""))
    with house.sittings.store.session() as session:
        session.execute(text("UPDATE overrides SET label = 'y'"))
    held, wrong = house.sittings.verify()
    assert held == 3
    assert "word" in wrong
    with house.sittings.store.session() as session:
        session.execute(text("UPDATE overrides SET label = 'x'"))
    assert house.sittings.verify() == (3, "")
    with house.sittings.store.session() as session:
        session.execute(text("DELETE FROM overrides"))
    assert "taken out" in house.sittings.verify()[1]


def test_a_call_that_is_changed_is_noticed(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    with house.sittings.store.session() as session:
        session.execute(text("UPDATE calls SET row = '{}' WHERE position = 1"))
    assert "calls of sitting" in house.sittings.verify()[1]
    house.sittings.expire(timedelta(0))
    assert made
    assert house.sittings.verify()[1] == ""


def test_old_sittings_go_with_their_photographs(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    folder = Path(house.sittings.calls(made)[0].file).parent.parent
    assert folder.is_dir()
    house.sittings.expire(timedelta(0))
    assert not folder.exists()
    with pytest.raises(Expired, match="not kept any more"):
        house.sittings.calls(made)
    with pytest.raises(Expired):
        house.sittings.say(made, 0, Said(1, "x", "Dr A", "", ""))
    assert house.sittings.verify()[1] == ""


def test_photographs_have_a_quota(
    house: House, some: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "QUOTA", 100)
    with pytest.raises(StorageError, match="room"):
        house.call(some, "tiny", "none", "three")
    assert house.sittings.listed() == [], "what went wrong leaves nothing"
    assert [*(house.folder / "sittings").iterdir()] == []
    assert [*house.folder.glob(".unpacked-*")] == []


def test_named_photographs_are_read_as_a_table(
    house: House, some: list[Path], tmp_path: Path
) -> None:
    made = house.name_photographs(some, ["a", "b"], "names")
    assert [k.row["reason"] for k in house.sittings.calls(made)] == [NOT_NAMED] * 3
    for i, label in enumerate(("a", "b", "a")):
        house.sittings.say(made, i, Said(1, label, "Dr A", "", ""))
    frame = house.sittings.frame(made, paths=True)
    table = tmp_path / "samples.csv"
    frame[["path", "truth", "label", "who", "when", "why"]].to_csv(table, index=False)
    dataset = cytowell.read(table)
    assert [s.label for s in dataset.samples] == ["a", "b", "a"]


def test_corrected_boxes_are_called_anew_and_wells_keep_their_names(
    house: House, tmp_path: Path
) -> None:
    plate = sorted(
        cytowell.write_samples(tmp_path / "p", "plates", per_class=1)["plates"].rglob("*.jpg")
    )[0]
    made = house.call([plate], "tiny", "wells", "plate")
    kept = house.sittings.calls(made)
    boxes = [b for k in kept if (b := box_of(k.row)) is not None]
    names = [k.row["well"] for k in kept]
    house.sittings.say(made, 0, Said(1, "x", "Dr A", "", ""))
    house.sittings.say(made, 2, Said(1, "y", "Dr B", "", ""))
    moved = [Box(boxes[0].x + 3, boxes[0].y + 2, boxes[0].width, boxes[0].height), *boxes[2:]]
    house.call_boxes(made, kept[0].file, [*moved, Box(1, 1, 20, 20)])
    again = house.sittings.calls(made)
    assert [k.row["well"] for k in again] == [*names[2:], names[0], ""]
    assert [k.position for k in again] == [*range(2, len(names)), len(names), len(names) + 1]
    assert [w.who for k in again for w in k.said] == ["Dr B"], "of boxes that are as they were"
    assert len({k.row["object"] for k in again}) == len(again)
    house.call_boxes(made, kept[0].file, [])
    assert [k.row["reason"] for k in house.sittings.calls(made)] == ["a person found nothing in it"]
    with pytest.raises(RecipeError, match="not of this sitting"):
        house.call_boxes(made, "/etc/passwd", [])
    assert house.sittings.verify()[1] == ""
    house.desk.take("tiny", cytowell.load("blood"))
    with pytest.raises(RecipeError, match="not served any more"):
        house.call_boxes(made, kept[0].file, [])


def test_a_taught_bundle_is_served_after_a_restart(house: House, bundle: Path) -> None:
    for name in ("ours", "tiny", ".half"):
        shutil.copytree(bundle, house.bundles_folder / name)
    (house.bundles_folder / "broken").mkdir()
    given = house.desk.bundles["tiny"]
    again = House(house.desk, house.sittings, house.folder)
    assert set(again.desk.bundles) == {"tiny", "ours"}
    assert again.desk.bundles["tiny"] is given, "what the command names stands"
    assert len(again.refused) == 1


def test_what_is_given_to_a_page(tmp_path: Path, some: list[Path]) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for file in some:
            opened.write(file, f"x/{file.name}")
        opened.writestr("notes.txt", "no image")
    there = tmp_path / "private"
    assert sorted(f.name for f in expanded([archive], there)) == sorted(f.name for f in some)
    assert all(f.is_relative_to(there) for f in expanded([archive], there / "2"))
    with pytest.raises(EmptyDataset):
        expanded([], there)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb.jpg", b"0" * (300 << 20))
    with pytest.raises(DatasetError, match="would grow"):
        expanded([archive], there / "3")
    assert plain_name("../../a b/<c>") == "a b-c"
    assert list(listed("a, b;c\n d ,,")) == ["a", "b", "c", "d"]


def test_an_inbox_waits_for_half_a_photograph(
    house: House, some: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    with pytest.raises(StorageError, match="no folder"):
        Inbox(house, tmp_path / "none")
    inbox = Inbox(house, folder)
    whole = some[0].read_bytes()
    arriving = folder / "a.jpg"
    arriving.write_bytes(whole[: len(whole) // 2])
    assert [inbox.look() for _ in range(3)] == [0, 0, 0]
    arriving.write_bytes(whole)
    assert inbox.look() == 0, "it has just changed"
    assert inbox.look() == 1
    assert inbox.look() == 0, "once"
    kept = house.sittings.calls(inbox.sitting)
    assert [k.name for k in kept] == ["a.jpg"]
    assert arriving.read_bytes() == whole
    again = Inbox(house, folder)
    assert again.sitting == inbox.sitting
    assert [again.look(), again.look()] == [0, 0], "after a restart too"
    (folder / "b.jpg").write_bytes(whole[:100])
    (folder / "notes.txt").write_text("no image")
    again.look()
    monkeypatch.setattr("cytowell.serving.inbox.PATIENCE", -1.0)
    assert again.look() == 1, "what stays broken gets a row that says so"
    assert house.sittings.calls(again.sitting)[-1].row["error"]


def test_a_bundle_that_was_replaced_lends_nothing(
    house: House, some: list[Path], tmp_path: Path
) -> None:
    made = house.call(some, "tiny", "none", "three")
    kept = house.sittings.calls(made)[0]
    assert house.picture(made, kept, heat=True) is not None
    house.desk.take("tiny", cytowell.load("blood"))
    assert house.bundle_of(house.sittings.about(made)) is None
    assert house.picture(made, kept, heat=True) is None
    assert house.picture(made, kept) is not None
    house.write_report(made, tmp_path / "r.html")
    assert "not served any more" in (tmp_path / "r.html").read_text()


def test_what_nobody_can_decide_is_drawn_as_that(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    house.sittings.say(made, 0, Said(1, "", "Dr A", "", ""))
    house.sittings.say(made, 1, Said(1, house.sittings.about(made).classes[0], "Dr A", "", ""))
    drawn = house.predictions(made)
    assert drawn.decided.tolist()[:2] == [False, True]
    assert drawn.labels[1] == house.sittings.about(made).classes[0]


def test_an_inbox_outlives_its_sitting(
    house: House, some: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "_watch", lambda self: None)
    folder = tmp_path / "inbox"
    folder.mkdir()
    shutil.copy(some[0], folder / "a.jpg")
    inbox = Inbox(house, folder)
    assert [inbox.look(), inbox.look()] == [0, 1]
    for i in range(60):
        house.sittings.begin(f"other {i}")
    assert Inbox(house, folder).sitting == inbox.sitting, "however many came since"
    house.sittings.expire(timedelta(0))
    monkeypatch.undo()
    monkeypatch.setattr("cytowell.serving.inbox.PAUSE", 0.05)
    shutil.copy(some[1], folder / "b.jpg")
    ending = threading.Timer(10.0, inbox._ending.set)
    ending.start()

    def called() -> list[str]:
        try:
            return [k.name for k in house.sittings.calls(inbox.sitting)]
        except Expired:
            return []

    watching = threading.Thread(target=inbox._watch)
    watching.start()
    end = time.monotonic() + 9
    while not called() and time.monotonic() < end:
        time.sleep(0.05)
    inbox._ending.set()
    watching.join()
    ending.cancel()
    assert called() == ["b.jpg"], "a new sitting, and nothing twice"


def test_plates_of_several_photographs_are_told_apart(house: House, tmp_path: Path) -> None:
    plates = cytowell.write_samples(tmp_path / "p", "plates", per_class=1)["plates"]
    photograph = sorted(plates.rglob("*.jpg"))[0]
    other = tmp_path / "other" / photograph.name
    other.parent.mkdir()
    shutil.copy(photograph, other)
    made = house.call([photograph, other], "tiny", "wells", "two")
    kept = house.sittings.calls(made)
    names = named_files(kept)
    assert sorted(names.values()) == [photograph.name, f"{photograph.name} (2)"]
    frame = plates_apart(house, made)
    assert set(frame["plate"]) == set(names.values())
    assert not frame.duplicated(["plate", "well"]).any()


def test_a_report_says_what_stands(house: House, some: list[Path], tmp_path: Path) -> None:
    made = house.call(some, "tiny", "none", "<b>three</b>")
    classes = house.sittings.about(made).classes
    house.sittings.say(made, 0, Said(1, classes[0], "Dr <A>", "", "because"))
    house.write_report(made, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert house.sittings.store.last() in page
    assert "Dr &lt;A&gt;" in page
    assert "<b>three" not in page
    assert "A person reviewed 1" in page
    assert "not an in vitro diagnostic" in page
    assert page.count("data:image/jpeg") == 3
    for record in house.sittings.frame(made).to_dict("records"):
        assert json.dumps(record["path"])[1:-1] in page


def test_pictures_of_what_cannot_be_read(house: House, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    made = house.call([bad], "tiny", "none", "bad")
    kept = house.sittings.calls(made)[0]
    assert house.picture(made, kept) is None
    good = tmp_path / "good.png"
    Image.new("RGB", (40, 30), "red").save(good)
    made = house.call([good], "tiny", "none", "good")
    kept = house.sittings.calls(made)[0]
    plain, hot = house.picture(made, kept), house.picture(made, kept, heat=True)
    assert plain is not None
    assert hot is not None
    assert plain.size == hot.size


@pytest.fixture
def plate(house: House, tmp_path: Path) -> str:
    """Give a sitting of one photograph of a plate."""
    made = cytowell.write_samples(tmp_path / "p", "plates", per_class=1)["plates"]
    return house.call([sorted(made.rglob("*.jpg"))[0]], "tiny", "wells", "plate")


def boxes_of(house: House, sitting: str) -> list[Box]:
    return [b for k in house.sittings.calls(sitting) if (b := box_of(k.row)) is not None]


def moved(box: Box, by: float) -> Box:
    return Box(box.x + by, box.y, box.width, box.height)


def test_the_second_of_two_corrections_is_told_and_changes_nothing(
    house: House, plate: str
) -> None:
    before = house.sittings.calls(plate)
    seen, boxes = version_of(before), boxes_of(house, plate)
    house.call_boxes(plate, before[0].file, [moved(boxes[0], 3), *boxes[1:]], seen)
    stands = house.sittings.calls(plate)
    with pytest.raises(ReviewConflict, match="corrected the boxes"):
        house.call_boxes(plate, before[0].file, [*boxes[:-1], moved(boxes[-1], 4)], seen)
    assert house.sittings.calls(plate) == stands
    house.call_boxes(plate, before[0].file, boxes_of(house, plate)[1:], version_of(stands))
    assert house.sittings.verify()[1] == ""


def test_two_corrections_at_the_same_moment_leave_one_of_them(
    house: House, plate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, boxes = house.sittings.calls(plate), boxes_of(house, plate)
    both, said = threading.Barrier(2, timeout=60), []
    keep = house.sittings.keep

    def together(*given: Any) -> None:
        both.wait()
        keep(*given)

    monkeypatch.setattr(house.sittings, "keep", together)

    def correct(by: float) -> None:
        try:
            house.call_boxes(plate, before[0].file, [moved(b, by) for b in boxes])
            said.append("ok")
        except ReviewConflict:
            said.append("told")

    threads = [threading.Thread(target=correct, args=(by,)) for by in (2.0, 5.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["ok", "told"]
    after = {b.x for b in boxes_of(house, plate)}
    assert after in ({b.x + 2 for b in boxes}, {b.x + 5 for b in boxes}), "no mixture"


def test_a_word_said_meanwhile_does_not_vanish(house: House, plate: str) -> None:
    before, boxes = house.sittings.calls(plate), boxes_of(house, plate)
    seen = version_of(before)
    house.sittings.say(plate, 0, Said(1, "x", "Dr A", "", "smudged"))
    with pytest.raises(ReviewConflict, match="Dr A decided x"):
        house.call_boxes(plate, before[0].file, [moved(boxes[0], 3), *boxes[1:]], seen)
    assert [w.who for w in house.sittings.calls(plate)[0].said] == ["Dr A"]


def test_a_word_before_which_one_is_missing_is_refused(house: House, some: list[Path]) -> None:
    made = house.call(some, "tiny", "none", "three")
    with pytest.raises(CytowellError, match="missing"):
        house.sittings.say(made, 0, Said(2, "x", "Dr A", "", ""))
    with pytest.raises(CytowellError, match="letters"):
        house.sittings.say(made, 0, Said(1, "x", "A" * 300, "", ""))
    house.sittings.say(made, 0, Said(1, "x", "Dr\rA", "", "a\nb"))
    word = house.sittings.calls(made)[0].said[0]
    assert (word.who, word.why) == ("Dr A", "a b")


def test_a_replaced_photograph_is_not_shown_reported_or_called_again(
    house: House, some: list[Path], tmp_path: Path
) -> None:
    made = house.call(some, "tiny", "none", "three")
    kept = house.sittings.calls(made)[0]
    shown = house.picture(made, kept)
    other = Path(house.sittings.calls(made)[1].file).read_bytes()
    Path(kept.file).write_bytes(other)
    now = house.picture(made, kept)
    assert shown is not None
    assert now is not None
    assert now.tobytes() == not_shown().tobytes()
    assert house.picture(made, kept, heat=True) is None
    house.write_report(made, tmp_path / "r.html")
    assert "Replaced since" in (tmp_path / "r.html").read_text()
    with pytest.raises(PhotographChanged, match=kept.name):
        house.call_boxes(made, kept.file, [Box(1, 1, 20, 20)])
    with pytest.raises(PhotographChanged):
        house.predictions(made)


def test_who_says_it_is_the_owner_of_the_key(
    house: House, some: list[Path], tmp_path: Path
) -> None:
    house.owners = {"0" * 64: "Dr B"}
    assert house.person("0" * 64, "Dr Z") == ("Dr B", True)
    assert house.person("", " Dr Z ") == ("Dr Z", False)
    made = house.call(some, "tiny", "none", "three")
    for i, key in enumerate(("0" * 64, "")):
        who, verified = house.person(key, "Dr Z")
        house.sittings.say(made, i, Said(1, "x", who, "", "", verified))
    house.write_report(made, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "Dr Z (name typed, not verified)" in page
    assert "Dr B (name" not in page
    assert "Dr B" in page


def test_a_report_prints_a_hash_that_verify_finds(
    house: House, some: list[Path], tmp_path: Path
) -> None:
    made = house.call(some, "tiny", "none", "three")
    house.write_report(made, tmp_path / "r.html")
    printed = re.search(
        r"Trail at this report.*?([0-9a-f]{64})", (tmp_path / "r.html").read_text(), re.S
    )
    assert printed is not None
    house.sittings.say(made, 0, Said(1, "x", "Dr A", "", ""))
    key = house.sittings.store.key
    assert key is not None
    found = house.sittings.store.audit(key.public, printed.group(1))
    assert (found.wrong, found.expected) == ("", found.records - 1)
