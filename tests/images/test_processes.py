"""Pictures decoded in processes with limits: the same pixels; a death is one picture's error."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cytowell.errors import ImageError, ImageTooLarge, PlaneNotChosen
from cytowell.images import Preprocessing, decode, open_upright
from cytowell.images.planes import pixel_size
from cytowell.images.processes import DecodingProcesses

HOSTILE = Path(__file__).parent.parent / "hostile"


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodingProcesses]:
    made = DecodingProcesses(1, seconds=60)
    yield made
    made.close()


@pytest.fixture
def elsewhere(pool: DecodingProcesses) -> Iterator[DecodingProcesses]:
    undo = decode.decode_with(pool)
    yield pool
    undo()


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    )


def test_pixels_are_the_same(pool: DecodingProcesses, tmp_path: Path) -> None:
    import tifffile

    deep = np.random.default_rng(1).integers(0, 65535, (3, 40, 50), dtype=np.uint16)
    told = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "um"}
    tifffile.imwrite(tmp_path / "a.ome.tif", deep, ome=True, metadata=told)
    record = Preprocessing(plane="Z=1", window=(100.0, 40_000.0))
    sources: list[tuple[str | bytes, Preprocessing]] = [
        (encoded(noise(1500, 900)), Preprocessing()),
        (encoded(noise(60, 80), "JPEG"), Preprocessing(jpeg_scale=2)),
        (str(tmp_path / "a.ome.tif"), record),
    ]
    here = [open_upright(source, how) for source, how in sources]
    undo = decode.decode_with(pool)
    there = [open_upright(source, how) for source, how in sources]
    undo()
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert pixel_size(one) == pixel_size(other)
    assert pixel_size(there[2]) == 0.5


def test_errors_are_the_same(
    elsewhere: DecodingProcesses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "z.tif", np.zeros((3, 9, 9), np.uint16), metadata={"axes": "ZYX"},
                     photometric="minisblack")  # fmt: skip
    with pytest.raises(PlaneNotChosen, match=r"z\.tif has 3 focus planes"):
        open_upright(str(tmp_path / "z.tif"))
    with pytest.raises(ImageError, match=r"a\.jpg is not an image"):
        open_upright(b"hello", name="a.jpg")
    with pytest.raises(ImageError, match="no pixels"):
        open_upright(str(HOSTILE / "no-strips.tif"))
    with pytest.raises(ImageError, match="cannot be read"):
        open_upright("nowhere.jpg")
    (tmp_path / "beside.png").write_bytes(encoded(noise(9, 9)))
    monkeypatch.chdir(tmp_path)
    assert open_upright("beside.png").size == (9, 9), "paths are of this process's folder"


def test_a_process_that_dies_is_one_pictures_error(pool: DecodingProcesses) -> None:
    whole = encoded(noise(20, 30))
    assert pool(whole, Preprocessing(), "a.png")[0].size == (30, 20)
    process = pool._free.get()
    assert process is not None
    process._process.kill()
    process._process.wait()
    pool._free.put(process)
    assert pool(whole, Preprocessing(), "a.png")[0].size == (30, 20), "it is started again"
    process = pool._free.get()
    assert process is not None
    process._process.send_signal(signal.SIGSTOP)
    watch = threading.Timer(0.3, process._process.kill)
    watch.start()
    pool._free.put(process)
    with pytest.raises(ImageTooLarge, match=r"b\.png ended the process"):
        pool(whole, Preprocessing(), "b.png")
    assert pool(whole, Preprocessing(), "a.png")[0].size == (30, 20)


def test_a_picture_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    pool = DecodingProcesses(1, seconds=30)
    pool(encoded(noise(9, 9)), Preprocessing(), "a.png")
    pool._seconds = 0.0
    with pytest.raises(ImageError, match=r"slow\.png took more than 0 seconds"):
        pool(encoded(noise(3000, 3000)), Preprocessing(), "slow.png")
    pool._seconds = 60.0
    assert pool(encoded(noise(9, 9)), Preprocessing(), "a.png")[0].size == (9, 9)
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_a_process_has_a_limit_of_memory(pool: DecodingProcesses) -> None:
    pool(encoded(noise(9, 9)), Preprocessing(), "a.png")
    process = pool._free.get()
    assert process is not None
    limits = Path(f"/proc/{process._process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    pool._free.put(process)
    assert (1 << 30) < int(line.split()[3]) < (8 << 30)


def test_more_memory_than_there_is_is_the_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, "_ELSEWHERE", [])
    monkeypatch.setattr(decode, "_opened", full)
    with pytest.raises(ImageTooLarge, match=r"a\.jpg needs more memory"):
        open_upright(b"x", name="a.jpg")


def test_ctrl_c_is_no_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(decode, "_ELSEWHERE", [])
    monkeypatch.setattr(decode, "_opened", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_upright(b"x", name="a.jpg")


def test_a_process_ends_with_the_one_that_asks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cytowell.images.worker"],
        input=b"", capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == b'{"ready": true}\n'


def test_processes_that_do_not_start_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = DecodingProcesses(1)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(ImageTooLarge):
            pool(encoded(noise(9, 9)), Preprocessing(), "a.png")
        assert "does not start" in pool.trouble
    assert pool(encoded(noise(9, 9)), Preprocessing(), "a.png")[0].size == (9, 9)
    assert pool.trouble == ""
    pool.close()


def test_what_was_not_read_of_one_picture_is_not_the_next_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def small(size: tuple[int, int], shown: str, each: int = 3) -> None:
        raise ImageTooLarge(f"{shown} is too large.")

    pool = DecodingProcesses(1)
    with monkeypatch.context() as patch:
        patch.setattr("cytowell.images.processes.cap", small)
        with pytest.raises(ImageTooLarge, match="is too large"):
            pool(encoded(noise(30, 30)), Preprocessing(), "large.png")
    image = noise(9, 9)
    found, _ = pool(encoded(image), Preprocessing(), "a.png")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image))
    pool.close()
