"""A Space: installed into an environment of its own, started, and called by the Gradio client."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import cytowell
from cytowell.errors import EmptyDataset, MissingExtra, StorageError
from cytowell.serving import space
from cytowell.serving.space import requirements, write_space

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_space(bundle, tmp_path_factory.mktemp("space") / "space", "Our cells: <b>")


def test_everything_is_in_it(made: Path, bundle: Path) -> None:
    readme = (made / "README.md").read_text()
    assert readme.startswith("---\ntitle: Our cells")
    assert "<b>" not in readme
    assert "sdk: gradio" in readme
    assert (bundle / "MODEL_CARD.md").read_text() in readme
    assert "calls mean nothing" in readme
    assert cytowell.load(made / "bundle").digest == cytowell.load(bundle).digest
    examples = sorted((made / "examples").iterdir())
    assert len(examples) == space.EXAMPLES
    assert all(e.name.startswith("synthetic-") for e in examples)
    assert (made / "cytowell" / "serving" / "pages" / "words.toml").is_file()
    assert not (made / "cytowell" / "weights").exists()
    assert not [*made.rglob("__pycache__")]
    assert not [*made.glob(".drawn*")]


def test_only_pinned_third_parties_are_required(made: Path) -> None:
    lines = (made / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.+!-]+", line) for line in lines)
    names = {line.split("==")[0].lower() for line in lines}
    assert {"gradio", "onnxruntime", "numpy"} <= names
    assert not names & {"cytowell", "torch", "timm", "opencv-python"}


def test_what_cannot_become_a_space(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(StorageError):
        write_space(bundle, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyDataset, match="no photographs"):
        write_space(bundle, tmp_path / "out", examples=tmp_path / "empty")
    assert not (tmp_path / "out").exists()
    real = metadata.version

    def missing(name: str) -> str:
        if name == "gradio":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingExtra, match="gradio"):
        requirements()


@pytest.mark.timeout(900)
def test_it_runs_in_an_environment_of_its_own(
    made: Path, bundle: Path, cells: Path, tmp_path: Path, cli: Any
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r"]
    done = subprocess.run(
        [*install, str(made / "requirements.txt")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CYTOWELL", "GRADIO"))
    } | {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(
        [str(python), str(made / "app.py")], env=environment, cwd="/", start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert page.status == 200
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.3)
        image = next(iter(sorted(cells.rglob("*.jpg"))))
        code = (
            "import sys, json; from gradio_client import Client, handle_file\n"
            "client = Client(sys.argv[1], verbose=False)\n"
            "card, told = client.predict(handle_file(sys.argv[2]), api_name='/predict')\n"
            "print(json.dumps([card, told]))"
        )
        asked = [str(python), "-c", code, f"http://127.0.0.1:{port}/", str(image)]
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        card, answer = json.loads(said.stdout)
        cli("predict", image, "--bundle", bundle, "--out", tmp_path / "c.csv")
        row = pd.read_csv(tmp_path / "c.csv").iloc[0]
        assert answer["label"] == row["label"]
        assert answer["probability"] == pytest.approx(row["probability"], abs=1e-6)
        assert answer["photograph"] == image.name
        assert image.name in card
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_image_runs_as_nobody_special_and_is_watched() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "USER lab" in lines
    assert lines.index("USER lab") < next(i for i, s in enumerate(lines) if s.startswith("CMD"))
    check = next(s for s in lines if s.strip().startswith('CMD ["python"'))
    assert "/healthz" in check
    assert any(s.startswith("HEALTHCHECK") for s in lines)


def test_what_links_lead_to_is_not_published(bundle: Path, cells: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(sorted(cells.rglob("*.jpg"))[0].read_bytes() + b"SECRET")
    copied, tries = tmp_path / "bundle", tmp_path / "tries"
    shutil.copytree(bundle, copied)
    (copied / "more.txt").symlink_to(secret)
    (copied / "notes.txt").write_text("PRIVATE")
    tries.mkdir()
    shutil.copy(sorted(cells.rglob("*.jpg"))[0], tries / "own.jpg")
    (tries / "link.jpg").symlink_to(secret)
    (tries / "linked").symlink_to(cells)
    made = write_space(copied, tmp_path / "space", examples=tries)
    assert [f.name for f in (made / "examples").iterdir()] == ["own.jpg"]
    assert not [f for f in made.rglob("*") if f.is_file() and b"SECRET" in f.read_bytes()]
    names = {f.name for f in (made / "bundle").iterdir()}
    assert not names & {"more.txt", "notes.txt"}
    assert not [f for f in made.rglob("*") if f.is_symlink()]
    assert cytowell.load(made / "bundle").digest == cytowell.load(bundle).digest
