"""Smears over HTTP and in a report: the same counts as on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import cytowell
from cytowell.runs.smear import smear
from cytowell.serving.app import Places, application
from cytowell.serving.settings import Allowed
from cytowell.sources.samples import write_samples


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = write_samples(tmp_path_factory.mktemp("samples"), "smear")["smear"]
    return sorted(folder.glob("*.jpg"))[:3]


def test_the_service_counts_as_the_command_line_does(photographs: list[Path]) -> None:
    here = smear(photographs)
    app = application({"blood": cytowell.load("blood")}, Allowed(images=20), Places(pages=False))
    with TestClient(app) as client:
        files = [("files", (p.name, p.read_bytes(), "image/jpeg")) for p in photographs]
        files.append(("files", (photographs[0].name, photographs[0].read_bytes(), "image/jpeg")))
        files.append(("files", ("broken.jpg", b"no picture", "image/jpeg")))
        answer = client.post("/v1/smear", files=files)
        refused = client.post("/v1/smear?pixel_size=-1", files=files)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    (slide,) = told["slides"]
    assert slide["white"] == here.slides[0].white
    assert slide["undecided"] == here.slides[0].undecided
    assert told["measures"]["red_cells"] >= here.measures["all"].red_cells
    assert told["measures"]["repeated"] >= 1
    names = {row["path"] for row in told["objects"]}
    assert names == {p.name for p in photographs} | {"broken.jpg"}
    assert "/tmp" not in answer.text
    (broken,) = [row for row in told["objects"] if row["path"] == "broken.jpg"]
    assert broken["error"].startswith("broken.jpg")
    assert refused.status_code in (400, 422)
