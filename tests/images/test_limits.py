"""What small files would grow to is refused before it is held; memory is measured in a process."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image

import cytowell
from cytowell.errors import BadTable, BundleCorrupt, DatasetError, ImageError, ImageTooLarge
from cytowell.images import Preprocessing, open_upright
from cytowell.images.arrays import npz_member, to_rgb_array
from cytowell.images.inflate import INFLATERS, deflated, lzma_packed, run_lengths
from cytowell.images.limits import DECODED, RATIO, Budget, grown
from cytowell.storage import make_room

HOSTILE = Path(__file__).parent.parent / "hostile"

GROWN = 150
"""Megabytes by which reading a bomb may raise a process: nothing of it is ever held."""

MEASURE = """
import resource, sys
import numpy, pandas, pyarrow.parquet, tifffile, cytowell, cytowell.images.decode
import cytowell.runtime.bundle, cytowell.sources
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
before = peak()
from cytowell.errors import CytowellError
try:
    {statement}
except CytowellError as error:
    print(peak() - before, type(error).__name__, error)
"""


def measured(statement: str, cache: Path) -> tuple[int, str]:
    """Run a statement in a process; give the megabytes that it grew by, and the error."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(statement=statement)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "CYTOWELL_CACHE": str(cache)},
    )  # fmt: skip
    grew, _, words = done.stdout.partition(" ")
    assert words, done
    return int(grew), words


def bomb(
    path: Path, size: tuple[int, int], strip: bytes, count: int, bits: int, channels: int = 1
) -> Path:
    """Write a TIFF whose strips are all the same deflated bytes, kept once."""
    width, height = size
    entries = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 8),
        (262, 3, 1, 1), (277, 3, 1, channels), (278, 4, 1, max(1, height // count)),
        (284, 3, 1, 1), (339, 3, 1, 3 if bits == 64 else 1),
    ]  # fmt: skip
    start = 8 + len(strip)
    offsets = struct.pack(f"<{count}I", *[8] * count)
    counts = struct.pack(f"<{count}I", *[len(strip)] * count)
    entries += [(273, 4, count, start), (279, 4, count, start + len(offsets))]
    table = b"".join(struct.pack("<HHII", *e) for e in sorted(entries))
    head = struct.pack("<2sHI", b"II", 42, start + len(offsets) + len(counts))
    directory = struct.pack("<H", len(entries)) + table + bytes(4)
    path.write_bytes(head + strip + offsets + counts + directory)
    return path


def test_strips_that_hold_more_than_their_rows_are_refused(tmp_path: Path, cache: Path) -> None:
    strip = zlib.compress(bytes(50 << 20), 9)
    file = bomb(tmp_path / "strips.tif", (16, 16), strip, 16, 16)
    assert file.stat().st_size < 100_000
    grew, words = measured(f"cytowell.images.decode.open_upright({str(file)!r})", cache)
    assert words.startswith("ImageTooLarge")
    assert "strips.tif" in words
    assert grew < GROWN


def test_channels_are_counted_in_bytes(tmp_path: Path, cache: Path) -> None:
    strip = zlib.compress(bytes(3000 * 64), 9)
    file = bomb(tmp_path / "channels.tif", (3000, 3000), strip, 3000, 64, 8)
    grew, words = measured(f"cytowell.images.decode.open_upright({str(file)!r})", cache)
    assert words.startswith("ImageTooLarge")
    assert f"{DECODED:,} bytes" in words
    assert grew < GROWN


def test_the_same_bombs_are_pictures_where_they_are_honest(tmp_path: Path) -> None:
    row = zlib.compress(bytes(range(32)), 9)
    file = bomb(tmp_path / "honest.tif", (16, 16), row, 16, 16)
    assert open_upright(str(file)).size == (16, 16)


@pytest.mark.parametrize("code", [8, 34925])
def test_every_compression_that_is_inflated_here_is_read(tmp_path: Path, code: int) -> None:
    assert code in INFLATERS
    deep = np.random.default_rng(0).integers(0, 65535, (30, 40), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, compression=code, rowsperstrip=7)
    found = np.asarray(open_upright(str(tmp_path / "a.tif")))
    plain = to_rgb_array(deep, Preprocessing(), "a")
    np.testing.assert_array_equal(found, plain)


def test_inflating_in_pieces_gives_all_of_it() -> None:
    data = np.random.default_rng(0).integers(0, 3, 300_000, dtype=np.uint8).tobytes()
    import lzma

    assert b"".join(deflated(zlib.compress(data))) == data
    assert b"".join(lzma_packed(lzma.compress(data))) == data
    packed = b"\x02abc" + b"\xfez" + b"\x80" + b"\x00q"
    assert b"".join(run_lengths(packed)) == b"abczzzq"


def test_a_picture_without_pixels_is_no_picture(cache: Path) -> None:
    with pytest.raises(ImageError, match=r"no-strips\.tif has no pixels"):
        open_upright(str(HOSTILE / "no-strips.tif"))
    calls = cytowell.load("blood").predict([HOSTILE / "no-strips.tif"])
    assert "no pixels" in calls.errors[0]
    assert calls.labels[0] == ""
    for empty in (np.zeros((0, 5), np.uint16), np.zeros((5, 0, 3), np.uint8)):
        with pytest.raises(ImageError, match="no pixels"):
            to_rgb_array(empty, Preprocessing(), "a")


def test_an_archive_in_an_archive_counts(tmp_path: Path, cache: Path) -> None:
    before = {f for f in cache.rglob("*") if f.is_file()}
    with pytest.raises(DatasetError, match=r"nested-npz\.zip would be unpacked to more"):
        cytowell.read(HOSTILE / "nested-npz.zip")
    assert {f for f in cache.rglob("*") if f.is_file()} == before, "nothing of it is left"


def test_an_npz_that_grows_too_much_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("train_images.npy", "w") as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    with pytest.raises(ImageTooLarge, match=r"a\.npz would be unpacked"):
        npz_member(str(tmp_path / "a.npz"), "train_images")


def test_an_image_of_an_array_is_capped(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", train_images=np.zeros((1, 3, 50_000_000), np.uint8))
    with pytest.raises(ImageTooLarge, match="50000000 x 3"):
        open_upright(f"{tmp_path}/a.npz::train_images/0")


def test_a_bundles_arrays_are_counted_before_they_are_unpacked(
    bundle: Path, tmp_path: Path, cache: Path
) -> None:
    from cytowell.runtime.sealed import seal

    copied = tmp_path / "bundle"
    copied.mkdir()
    for file in bundle.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    with (
        zipfile.ZipFile(copied / "statistics.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("centre.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(700):
            member.write(bytes(1 << 20))
    seal(copied, "classifier")
    assert (copied / "statistics.npz").stat().st_size < 1 << 20
    grew, words = measured(f"cytowell.runtime.bundle.load({str(copied)!r})", cache)
    assert words.startswith("BundleCorrupt")
    assert "statistics.npz" in words
    assert grew < GROWN


def test_parquet_is_counted_before_it_is_unpacked(tmp_path: Path, cache: Path) -> None:
    words = pa.array(["a.jpg"] * 4_000_000).dictionary_encode()
    pq.write_table(
        pa.table({"path": words, "label": words, "group": words}), tmp_path / "t.parquet"
    )
    assert (tmp_path / "t.parquet").stat().st_size < 50_000
    grew, said = measured(f"cytowell.read({str(tmp_path / 't.parquet')!r})", cache)
    assert said.startswith("BadTable")
    assert "t.parquet" in said
    assert grew < GROWN
    long = pa.array(["x" * 100_000] * 2000).dictionary_encode()
    pq.write_table(pa.table({"path": long}), tmp_path / "long.parquet")
    with pytest.raises(BadTable, match=r"long\.parquet would be unpacked"):
        cytowell.read(tmp_path / "long.parquet")


def test_parquet_is_read_as_before(tmp_path: Path) -> None:
    import pandas as pd

    from cytowell.sources.table import read_frame

    frame = pd.DataFrame(
        {"path": ["a.png", "b.png"], "label": ["x", None], "n": [1.5, 2.0], "b": [True, False]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(
        read_frame(tmp_path / "t.parquet"), pd.read_parquet(tmp_path / "t.parquet")
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "1e999"), ("temperature", "1e999"), ("temperature", "0"), ("classes", '"abcde"'),
        ("maps", "[" * 5000 + "]" * 5000), ("preprocessing", '{"size": 1e999}'),
        ("thresholds", "7"), ("classes", "[1, 2, 3, 4, 5]"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_is_no_bundle(
    bundle: Path, tmp_path: Path, name: str, value: str
) -> None:
    from cytowell.runtime.sealed import seal

    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    record = json.loads((tmp_path / "bundle.json").read_text())
    record[name] = "HERE"
    text = json.dumps(record).replace('"HERE"', value)
    (tmp_path / "bundle.json").write_text(text)
    seal(tmp_path, "classifier")
    with pytest.raises(BundleCorrupt, match="incomplete"):
        cytowell.load(tmp_path)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="a pipe or a device"):
        open_upright(str(tmp_path / "a.jpg"))
    with pytest.raises(ImageError, match="a pipe or a device"):
        cytowell.images.upright_size(str(tmp_path / "a.jpg"))


def test_what_is_transparent_lies_on_white_in_pictures_of_many_rows() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 1100, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=0)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    wanted = np.asarray(Image.alpha_composite(white, image).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(open_upright(stream.getvalue())), wanted)


def test_a_budget_names_the_file_and_grows_with_it() -> None:
    budget = Budget("a.tif", 10)
    budget.spend(10)
    with pytest.raises(ImageTooLarge, match=r"a\.tif would be unpacked to more than 10 bytes"):
        budget.spend(1)
    assert grown(1, 5) == RATIO
    assert grown(0, 5) == 5


def test_a_cache_forgets_what_nobody_asks_for(tmp_path: Path) -> None:
    for name, since in (("old.npy", 1.0), (".writing-x", 1.0), ("new.npy", None)):
        (tmp_path / name).write_bytes(bytes(100))
        if since is not None:
            os.utime(tmp_path / name, (since, since))
    make_room(tmp_path, 0, 1000)
    assert [f.name for f in tmp_path.iterdir()] == ["new.npy"]
    make_room(tmp_path, 950, 1000)
    assert not list(tmp_path.iterdir())
