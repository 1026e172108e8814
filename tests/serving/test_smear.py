"""A smear on the server and on its pages: white cells are called, the others counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import cytowell
from cytowell.runs.counts import count_of
from cytowell.runtime.bundle import Bundle
from cytowell.runtime.finding import finder
from cytowell.serving.app import Places, application
from cytowell.serving.desk import Desk
from cytowell.serving.house import House
from cytowell.serving.pages.calls import results_of
from cytowell.serving.pages.review import queue_of
from cytowell.serving.sittings import Sittings
from cytowell.serving.store import Store
from cytowell.types import COUNTED, Box


@pytest.fixture(scope="module")
def white(bundle: Path) -> Bundle:
    """Give a small bundle that is for white cells."""
    loaded = cytowell.load(bundle)
    return Bundle(
        dataclasses.replace(loaded.facts, calls=("WBC",)),
        loaded.head,
        loaded.statistics,
        loaded.model,
    )


@pytest.fixture(scope="module")
def smear(data: Path) -> Path:
    """Give a smear photograph that taught nothing."""
    return data / "bccd" / "JPEGImages" / "BloodImage_00014.jpg"


@pytest.fixture
def house(white: Bundle, store: Store, tmp_path: Path) -> Iterator[House]:
    place = tmp_path / "data"
    place.mkdir()
    desk = Desk({"white": white}, workers=1)
    cells = finder("cells")
    assert cells is not None
    yield House(desk, Sittings(store, place / "sittings"), place, {"cells": cells})
    desk.close()


def test_the_service_finds_cells_and_calls_the_white_ones(white: Bundle, smear: Path) -> None:
    with TestClient(application({"white": white}, None, Places(pages=False))) as client:
        files = [("files", ("a.jpg", smear.read_bytes()))]
        said = client.post("/v1/detect?find=cells", files=files)
        told = said.json()["results"][0]
        meters = client.get("/metrics").text
        rows = [{k: v for k, v in o.items() if k != "probabilities"} for o in told["objects"]]
        count = client.post("/v1/count", json={"calls": rows})
    kinds = np.array([o["found"] for o in told["objects"]])
    assert (told["error"], told["reason"]) == ("", "")
    assert (kinds == "WBC").sum() == 1
    for o in told["objects"]:
        called = o["found"] == "WBC"
        assert (o["label"] != "") == called
        assert (o["reason"] == COUNTED) != called
        assert (o["probabilities"] != {}) == called
    others = int((kinds != "WBC").sum())
    assert f'outcome="counted"}} {others}.0' in meters
    slide = count.json()["slides"][0]
    assert (slide["unread"], sum(number for _, number in slide["found"])) == (0, others)


def test_pages_show_the_cells_that_are_called_and_keep_the_others(
    house: House, smear: Path, tmp_path: Path
) -> None:
    made = house.call([smear], "", "cells", "smear")
    kept = house.sittings.calls(made)
    white = [k.position for k in kept if k.row["found"] == "WBC"]
    assert len(kept) > 10
    assert sorted(k.position for k in queue_of(house, made, every=True)) == white
    shown = results_of(house, "en", made)
    assert shown[3]["#"].tolist() == white
    red = sum(k.row["found"] == "RBC" for k in kept)
    assert f"{red} RBC" in shown[2]
    assert f"of {len(white)}." in shown[2]
    report = tmp_path / "report.html"
    house.write_report(made, report)
    page = report.read_text(encoding="utf-8")
    assert "Differential count of a blood smear" in page
    assert f"<td>{red} (" in page
    table = house.sittings.frame(made).astype(object)
    texts = table.where(table.notna(), "").astype(str)
    counted = count_of(texts).slides[0]
    assert counted.unread == 0
    assert dict(counted.found)["RBC"] == red


def test_boxes_that_are_corrected_leave_what_was_counted(house: House, smear: Path) -> None:
    made = house.call([smear], "", "cells", "smear")
    before = house.sittings.calls(made)
    counted = [k.row for k in before if k.row["reason"] == COUNTED]
    house.call_boxes(made, before[0].file, [Box(100, 100, 60, 60)])
    after = house.sittings.calls(made)
    assert [k.row for k in after if k.row["reason"] == COUNTED] == counted
    new = [k.row for k in after if k.row["reason"] != COUNTED]
    assert [(row["x"], row["width"]) for row in new] == [(100, 60)]
    assert new[0]["object"] == max(int(k.row["object"]) for k in before) + 1
