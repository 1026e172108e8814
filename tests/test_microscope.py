"""Files of microscopes: OME-TIFF, ImageJ, CZI and ND2, their planes and the size of their pixels.

CZI and ND2 have no free writer; the two here write what their readers need, by the published
layout of ZISRAW segments and of ND2 chunks.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import struct
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import tifffile
from PIL import Image

import cytowell
from cytowell.cli import app
from cytowell.errors import ImageError, ImageTooLarge, MissingDecoder, PlaneNotChosen, RecipeError
from cytowell.images import Preprocessing, load, microscope, open_upright, upright_size
from cytowell.images.overlay import draw
from cytowell.images.planes import PIXEL_SIZE, choose, parse_plane, pixel_size
from cytowell.runs.recipe import make
from cytowell.runtime.finding import finder, objects
from cytowell.types import Sample

Stack = npt.NDArray[Any]
Write = Callable[[Path, Stack], Path]

STACK = np.random.default_rng(0).integers(1, 250, (2, 3, 2, 20, 30)).astype(np.uint16) * 200
"""Two points in time, three focus planes, two channels, 20 x 30 pixels."""


def ome(path: Path, stack: Stack) -> Path:
    named = path.with_suffix(".ome.tif")
    told = {"axes": "TZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(named, stack, metadata=told)
    return named


def imagej(path: Path, stack: Stack) -> Path:
    named = path.with_suffix(".tif")
    told = {"axes": "TZCYX", "unit": "um"}
    tifffile.imwrite(named, stack, imagej=True, resolution=(4, 4), metadata=told)
    return named


def czi(
    path: Path, stack: Stack, compression: int = 0, metres: str = "2.5e-07", tiles: int = 1
) -> Path:
    """Write TZCYX, or TZYXS of 8 bits, as ZEN does: blocks of planes, blue before red.

    Several tiles lie side by side, and a smaller copy of each plane comes after them.
    """
    named = path.with_suffix(".czi")
    colour = stack.dtype == np.uint8
    planes = stack[:, :, None] if colour else stack[..., None]
    out = bytearray(32 + 512)
    entries = b""
    for t, z, c in itertools.product(*map(range, planes.shape[:3])):
        plane = planes[t, z, c]
        tall, wide = plane.shape[:2]
        step = wide // tiles
        parts = [(m, m * step, plane[:, m * step : (m + 1) * step], 0) for m in range(tiles)]
        parts += [(-1, 0, plane[::2, ::2] // 2, 2)] if tiles > 1 else []
        for m, x, pixels, pyramid in parts:
            size = (wide if pyramid else step, tall)
            places = {
                "X": (5 + x, size[0]),
                "Y": (7, size[1]),
                "C": (c, 1),
                "Z": (z, 1),
                "T": (t, 1),
            }
            places |= {"M": (m, 1)} if tiles > 1 and not pyramid else {}
            stored = {"X": pixels.shape[1], "Y": pixels.shape[0]}
            head = (
                b"DV",
                3 if colour else 1,
                len(out),
                0,
                compression,
                pyramid,
                0,
                b"",
                len(places),
            )
            entry = struct.pack("<2siqiiBB4si", *head)
            for axis, (start, length) in places.items():
                kept = stored.get(axis, length)
                entry += struct.pack("<4siifi", axis.encode(), start, length, 0.0, kept)
            data = struct.pack("<iiq", 0, 0, pixels.nbytes) + entry
            turned = pixels[..., ::-1] if colour else pixels
            data += bytes(256 - len(data)) + np.ascontiguousarray(turned).tobytes()
            out += segment(b"ZISRAWSUBBLOCK", data)
            entries += entry
    directory = len(out)
    count = int(np.prod(planes.shape[:3])) * (tiles + (tiles > 1))
    out += segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", count) + entries)
    told = len(out)
    xml = (
        '<ImageDocument><Metadata><Scaling><Items><Distance Id="X">'
        f"<Value>{metres}</Value></Distance></Items></Scaling></Metadata></ImageDocument>"
    ).encode()
    out += segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    guid = bytes(16)
    begin = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, guid, guid, 0, directory, told, 0, 0)
    out[:544] = segment(b"ZISRAWFILE", begin + bytes(512 - len(begin)))
    named.write_bytes(bytes(out))
    return named


def segment(name: bytes, data: bytes) -> bytes:
    return struct.pack("<16sqq", name, len(data), len(data)) + data


def nd2(path: Path, stack: Stack, packed: bool = False) -> Path:
    """Write TZCYX as NIS-Elements does: a chunk a frame, channels beside one another in it."""
    named = path.with_suffix(".nd2")
    times, focus, channels, tall, wide = stack.shape
    bits = stack.dtype.itemsize * 8
    told = {
        "uiWidth": wide, "uiHeight": tall, "uiComp": channels, "uiBpcInMemory": bits,
        "uiBpcSignificant": bits, "uiSequenceCount": times * focus,
        "uiWidthBytes": wide * channels * bits // 8,
    }  # fmt: skip
    told |= {"eCompression": 0, "dCompressionParam": 1.0} if packed else {}
    planes = {f"i{c}": {"uiCompCount": 1, "sDescription": f"c{c}"} for c in range(channels)}
    picture = {
        "bCalibrated": True,
        "dCalibration": 0.25,
        "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
    }
    loop = {
        "eType": 1,
        "uLoopPars": {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0},
        "ppNextLevelEx": {
            "i0": {"eType": 4, "uLoopPars": {"uiCount": focus, "dZStep": 1.0}},
        },
    }
    chunks = {
        b"ImageAttributesLV!": lite({"SLxImageAttributes": told}),
        b"ImageMetadataSeqLV|0!": lite({"SLxPictureMetadata": picture}),
        b"ImageMetadataLV!": lite({"SLxExperiment": loop}),
    }
    for i, (t, z) in enumerate(itertools.product(range(times), range(focus))):
        frame = np.moveaxis(stack[t, z], 0, -1).tobytes()
        frame = zlib.compress(frame) if packed else frame
        chunks[f"ImageDataSeq|{i}!".encode()] = bytes(8) + frame
    out = bytearray(chunk(b"ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32))
    listed = b""
    for name, data in chunks.items():
        listed += name + struct.pack("<QQ", len(out), len(data))
        # The pixels of a frame begin 4096 bytes after its chunk.
        out += chunk(name, data, 4096 - 16 - 8 if name.startswith(b"ImageDataSeq") else 64)
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(out))
    out += chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", listed + end, 32)
    named.write_bytes(bytes(out))
    return named


def chunk(name: bytes, data: bytes, room: int) -> bytes:
    return struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data


def lite(told: Mapping[str, Any]) -> bytes:
    """Write nested settings as CLX lite variants: type, name in UTF-16, value."""
    out = b""
    for name, value in told.items():
        said = (name + "\0").encode("utf-16-le")
        if isinstance(value, bool):
            kind, body = 1, struct.pack("<B", value)
        elif isinstance(value, int):
            kind, body = 3, struct.pack("<I", value)
        elif isinstance(value, float):
            kind, body = 6, struct.pack("<d", value)
        elif isinstance(value, str):
            kind, body = 8, (value + "\0").encode("utf-16-le")
        else:
            inside = lite(value)
            length = 2 + len(said) + 12 + len(inside)
            kind, body = 11, struct.pack("<IQ", len(value), length) + inside + bytes(8 * len(value))
        out += bytes([kind, len(said) // 2]) + said + body
    return out


FORMATS: dict[str, Write] = {"ome": ome, "imagej": imagej, "czi": czi, "nd2": nd2}


@pytest.fixture(params=FORMATS)
def write(request: pytest.FixtureRequest) -> Write:
    return FORMATS[request.param]


def seen(path: Path, **how: Any) -> Stack:
    return np.asarray(open_upright(path, Preprocessing(window=(0, 51000), **how)))


def shown(plane: Stack) -> Stack:
    return np.floor(plane / 200 + 0.5).astype(np.uint8)


def test_the_chosen_plane_and_channels_are_read(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cell", STACK)
    for t, z in itertools.product(range(2), range(3)):
        found = seen(path, plane=f"Z={z},T={t}", channels=(1, 0))
        assert (found[..., 0] == shown(STACK[t, z, 1])).all()
        assert (found[..., 1] == shown(STACK[t, z, 0])).all()
        assert not found[..., 2].any()


def test_bytes_are_read_as_files_are(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cell", STACK)
    how = Preprocessing(plane="T=1,Z=2", channels=(0,))
    assert open_upright(path.read_bytes(), how).tobytes() == open_upright(path, how).tobytes()
    assert upright_size(str(path), how) == (30, 20)


def test_a_plane_of_a_stack_is_never_guessed(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cell", STACK)
    with pytest.raises(ImageError, match=r"(points in time|focus planes).*--plane"):
        open_upright(path)
    with pytest.raises(ImageError, match=r"2 points in time.*--plane T=0 to T=1"):
        open_upright(path, Preprocessing(plane="Z=1"))
    with pytest.raises(ImageError, match=r"3 focus planes, not Z=3.*Z=0 to Z=2"):
        open_upright(path, Preprocessing(plane="T=1,Z=3"))
    with pytest.raises(ImageError, match="1 positions, not P=1"):
        open_upright(path, Preprocessing(plane="T=1,Z=2,P=1"))


def test_a_single_picture_needs_no_choice(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cell", STACK[:1, :1])
    assert (seen(path, channels=(0,))[..., 0] == shown(STACK[0, 0, 0])).all()
    assert (seen(path, channels=(0,), plane="Z=0")[..., 0] == shown(STACK[0, 0, 0])).all()


def test_pixels_keep_their_size(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cell", STACK)
    image = open_upright(path, Preprocessing(plane="Z=0,T=0"))
    assert pixel_size(image) == pytest.approx(0.25)
    assert set(image.info) == {PIXEL_SIZE}, "nothing else may travel on"
    pixels = load(Sample(str(path)), Preprocessing(plane="Z=0,T=0", size=16))
    assert pixels.shape == (16, 16, 3)


@pytest.mark.parametrize("write", [czi, nd2])
def test_damaged_files_are_refused_in_words(tmp_path: Path, write: Write) -> None:
    whole = write(tmp_path / "cell", STACK[:1, :1]).read_bytes()
    for cut in (12, 40, len(whole) // 2, len(whole) - 600):
        with pytest.raises(ImageError, match=r"damaged or incomplete|nothing but zeros"):
            open_upright(whole[:cut], name="cell")
    rng = np.random.default_rng(1)
    for _ in range(40):
        broken = bytearray(whole)
        for at in rng.integers(16, len(whole), 20):
            broken[at] = rng.integers(256)
        with contextlib.suppress(ImageError):
            open_upright(bytes(broken), name="cell")


@pytest.mark.parametrize(("write", "module"), [(czi, "czifile"), (nd2, "nd2")])
def test_without_the_extra_the_remedy_is_said(
    tmp_path: Path, write: Write, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "cell", STACK)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDecoder, match=r"\.\[microscopy\]"):
        open_upright(path)


def test_a_colour_czi_is_upright_rgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (1, 1, 8, 9, 3), dtype=np.uint8)
    assert (np.asarray(open_upright(czi(tmp_path / "colour", pixels))) == pixels[0, 0]).all()


def test_tiles_are_laid_side_by_side_and_smaller_copies_left_out(tmp_path: Path) -> None:
    path = czi(tmp_path / "slide", STACK, tiles=3)
    for z in range(3):
        found = seen(path, plane=f"Z={z},T=1", channels=(1,))
        assert (found[..., 0] == shown(STACK[1, z, 1])).all()


def test_a_czi_without_scale_has_no_size(tmp_path: Path) -> None:
    path = czi(tmp_path / "cell", STACK[:1, :1], metres="")
    assert pixel_size(open_upright(path)) is None


def test_an_unread_compression_is_named(tmp_path: Path) -> None:
    path = czi(tmp_path / "cell", STACK[:1, :1], compression=6)
    with pytest.raises(ImageError, match=r"compressed as Zstandard.*uncompressed"):
        open_upright(path)


def test_what_announces_too_much_is_not_allocated(tmp_path: Path) -> None:
    path = czi(tmp_path / "cell", STACK[:1, :1])
    told = struct.pack("<4siifi", b"X", 5, 30, 0.0, 30)
    wide = struct.pack("<4siifi", b"X", 5, 2_000_000_000, 0.0, 2_000_000_000)
    with pytest.raises(ImageTooLarge):
        open_upright(path.read_bytes().replace(told, wide), name="cell")
    # The directory comes last: a block alone may lie too.
    for other in (wide, struct.pack("<4siifi", b"X", 5, 20_000, 0.0, 1)):
        data = path.read_bytes()
        at = data.index(told)
        with pytest.raises(ImageError, match="not what its directory says"):
            open_upright(data[:at] + other + data[at + len(told) :], name="cell")
    many = np.ones((1, 1, 1, 8, 8), dtype=np.uint16)
    listed = nd2(tmp_path / "many", many).read_bytes()
    size = struct.pack("<I", 8)
    for name in ("uiWidth\0", "uiHeight\0"):
        key = name.encode("utf-16-le")
        listed = listed.replace(key + size, key + struct.pack("<I", 60_000))
    with pytest.raises(ImageTooLarge):
        open_upright(listed, name="cell")


def test_frames_that_were_deflated_are_read(tmp_path: Path) -> None:
    path = nd2(tmp_path / "cell", STACK, packed=True)
    assert (seen(path, plane="Z=2,T=1", channels=(1,))[..., 0] == shown(STACK[1, 2, 1])).all()


def test_what_inflates_without_end_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microscope, "DECODED", 1 << 20)
    for size, said in ((1 << 16, "damaged"), (1 << 24, "more than 1 MB")):
        packed = bytes([76, 0]) + bytes(10) + zlib.compress(bytes(size))
        with monkeypatch.context() as changed:
            changed.setitem(globals(), "lite", lambda told, packed=packed: packed)
            path = nd2(tmp_path / "bomb", STACK)
        with pytest.raises(ImageError, match=said):
            open_upright(path)


def test_a_label_between_positions_shifts_no_size(tmp_path: Path) -> None:
    path = tmp_path / "three.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as out:
        for um, plane in (
            (0.25, STACK[0, 0, 0]),
            (7.0, STACK[0, 0, 0, :5, :5]),
            (0.5, STACK[1, 1, 1]),
        ):
            told = {"axes": "YX", "PhysicalSizeX": um, "PhysicalSizeXUnit": "µm"}
            out.write(plane, metadata=told)
    assert pixel_size(open_upright(path, Preprocessing(plane="P=1"))) == 0.5


@pytest.mark.parametrize("metres", ["nan", "inf", "-1e-6", "1e30", "1e-20"])
def test_a_size_that_no_microscope_has_is_none(tmp_path: Path, metres: str) -> None:
    image = open_upright(czi(tmp_path / "cell", STACK[:1, :1], metres=metres))
    assert pixel_size(image) is None
    draw(image, [])


@pytest.mark.parametrize("size", [(1, 1), (2, 90), (90, 2), (3, 3), (40, 30), (700, 20)])
def test_a_picture_too_small_for_a_bar_has_none(size: tuple[int, int]) -> None:
    for um in (1e-4, 0.1, 1e4):
        image = Image.new("RGB", size, "#808080")
        image.info = {PIXEL_SIZE: um}
        assert draw(image, []).size == size


def test_a_plane_that_cannot_be_read_is_an_error_and_not_the_first(tmp_path: Path) -> None:
    pages = [Image.new("L", (30, 20), 50 * i) for i in range(1, 5)]
    told = {270: "ImageJ=1.54f\nimages=4\nslices=4\n"}
    path = tmp_path / "lzw.tif"
    pages[0].save(
        path, compression="tiff_lzw", save_all=True, append_images=pages[1:], tiffinfo=told
    )
    try:
        found = int(np.asarray(open_upright(path, Preprocessing(plane="Z=3")))[0, 0, 0])
        assert found == 200, "with imagecodecs it is read"
    except ImageError as error:
        assert "deflate" in str(error)  # noqa: PT017  (either is right)


@pytest.mark.parametrize("axis", ["P", "R", "H", "V"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_axes_of_any_name_are_chosen(tmp_path: Path, axis: str, kind: type) -> None:
    stack: Stack = (np.arange(4, dtype=kind)[:, None, None] + 1) * np.ones((4, 20, 30), kind)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, metadata={"axes": f"{axis}YX"}, photometric="minisblack")
    with pytest.raises(ImageError, match=f"{axis}=0 to {axis}=3"):
        open_upright(path)
    found = open_upright(path, Preprocessing(plane=f"{axis}=2", window=(0, 255)))
    assert np.asarray(found)[0, 0].tolist() == [3, 3, 3]
    assert upright_size(str(path)) == (30, 20)


def test_of_several_positions_each_has_its_size_and_labels_are_none(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as out:
        for position, um in enumerate((0.25, 1.0)):
            told = {"axes": "YX", "PhysicalSizeX": um, "PhysicalSizeXUnit": "µm"}
            out.write(STACK[0, position, 0], metadata=told)
        out.write(STACK[0, 0, 0, :5, :5], metadata={"axes": "YX", "Name": "label"})
    assert pixel_size(open_upright(path, Preprocessing(plane="P=1"))) == 1.0
    with pytest.raises(ImageError, match="2 positions, not P=2"):
        open_upright(path, Preprocessing(plane="P=2"))


def test_dots_per_inch_are_no_size_in_imagej_either(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    told = {"axes": "YX", "unit": "inch"}
    tifffile.imwrite(path, STACK[0, 0, 0], imagej=True, resolution=(72, 72), metadata=told)
    assert pixel_size(open_upright(path)) is None


def test_objects_are_looked_for_in_the_plane_that_is_called(tmp_path: Path) -> None:
    path = ome(tmp_path / "a", STACK)
    look = finder("wells")
    (found,) = objects([Sample(str(path))], look, Preprocessing(plane="Z=1,T=0"))
    assert found.nothing, "it was looked at: there are no wells"
    (bare,) = objects([Sample(str(path))], look)
    assert not bare.nothing, "whoever calls it says what is wrong with it"


def test_boxes_on_stacks_are_read_before_a_plane_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    ome(tmp_path / "images" / "a", STACK)
    (tmp_path / "labels" / "a.ome.txt").write_text("0 0.5 0.5 0.2 0.2\n", encoding="utf-8")
    (tmp_path / "data.yaml").write_text("names: [cell]\ntrain: images\n", encoding="utf-8")
    (sample,) = cytowell.read(tmp_path).samples
    assert sample.box is not None
    assert (sample.box.width, sample.box.height) == pytest.approx((6, 4))


def test_a_position_of_several_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as out:
        for position in range(2):
            out.write(STACK[0, position, 0], metadata={"axes": "YX"})
    assert (seen(path, plane="P=1")[..., 0] == shown(STACK[0, 1, 0])).all()
    with pytest.raises(ImageError, match="2 positions"):
        open_upright(path)


@pytest.mark.parametrize("said", ["Z", "Z=", "Z=-1", "Z=1,Z=2", "X=1", "C=0", "Z=1;T=2", "1", "*"])
def test_a_choice_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(RecipeError, match="is no choice"):
        Preprocessing(plane=said)


def test_choices_are_read() -> None:
    assert parse_plane("z=3, T=0") == {"Z": 3, "T": 0}
    assert choose({"Z": 4, "H": 1}, "Z=3", "cell") == {"Z": 3, "H": 0}
    with pytest.raises(ImageError, match="2 planes along H"):
        choose({"H": 2}, "", "cell")


def test_a_photograph_of_a_phone_has_no_size(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "white").save(tmp_path / "phone.jpg", dpi=(72, 72))
    Image.new("RGB", (40, 30), "white").save(tmp_path / "scan.tif", dpi=(300, 300))
    for path in tmp_path.iterdir():
        assert pixel_size(open_upright(path)) is None


@pytest.mark.parametrize(("um", "word"), [(0.25, 100), (0.1, 50), (2.0, 1000), (0.013, 5)])
def test_the_bar_is_as_long_as_it_says(um: float, word: int) -> None:
    image = Image.new("RGB", (2000, 1000), "#808080")
    image.info = {PIXEL_SIZE: um}
    drawn = np.asarray(draw(image, []))
    assert drawn.shape == (1000, 2000, 3)
    row = (drawn[950:, :] == 0).all(axis=2).sum(axis=1).max()
    assert row * um == pytest.approx(word, rel=0.02)
    assert (np.asarray(draw(Image.new("RGB", (2000, 1000), "#808080"), [])) == 128).all()


def test_from_stacks_to_calls(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(3)
    (tmp_path / "in").mkdir()
    for i in range(2):
        nd2(tmp_path / "in" / f"cell{i}", rng.integers(1, 250, (1, 3, 2, 64, 64), dtype=np.uint16))
    out = tmp_path / "calls.csv"
    told = ["predict", str(tmp_path / "in"), "--bundle", str(bundle), "--out", str(out)]
    app([*told, "--quiet"], standalone_mode=False)
    errors = pd.read_csv(out)["error"]
    assert errors.str.contains("--plane Z=0 to Z=2").all()
    app([*told, "--plane", "Z=1", "--channels", "0", "--quiet"], standalone_mode=False)
    calls = pd.read_csv(out)
    assert calls["error"].isna().all()
    assert calls["label"].notna().sum() + calls["reason"].notna().sum() >= 2


def test_cut_outs_keep_the_size_of_their_pixels(tmp_path: Path) -> None:
    path = nd2(tmp_path / "cells", STACK)
    table = tmp_path / "boxes.csv"
    table.write_text(f"path,label,x,y,width,height\n{path},cell,2,3,10,12\n", encoding="utf-8")
    told = ["crop", str(table), "--out", str(tmp_path / "cut"), "--plane", "Z=1,T=0"]
    app([*told, "--window", "0,51000", "--channels", "1", "--quiet"], standalone_mode=False)
    rows = pd.read_csv(tmp_path / "cut" / "samples.csv")
    assert rows[PIXEL_SIZE].tolist() == [0.25]
    part = np.asarray(Image.open(tmp_path / "cut" / rows["path"][0]))
    assert (part[..., 0] == shown(STACK[0, 1, 1])[3:15, 2:12]).all()


def test_a_bundle_learns_and_calls_the_plane_it_was_told(tmp_path: Path, cells: Path) -> None:
    """Stacks whose second plane is the cell and whose first is another class's."""
    found = cytowell.read(cells)
    pictures = {c: [s.path for s in found.samples if s.label == c] for c in found.classes[:2]}
    for label, paths in pictures.items():
        (other,) = set(pictures) - {label}
        (tmp_path / "data" / label).mkdir(parents=True)
        for i, path in enumerate(paths):
            planes = [
                np.asarray(Image.open(p).resize((64, 64))) for p in (pictures[other][i], path)
            ]
            stack = np.moveaxis(np.stack(planes), -1, 1)[None]
            ome(tmp_path / "data" / label / f"{i}", stack)
    recipe, _ = make(
        "frozen", backbones=("imagenet",), crops=(1.0,), strengths=(0.01,), plane="Z=1"
    )
    run = cytowell.train(cytowell.read(tmp_path / "data"), tmp_path / "run", recipe)
    assert 'plane = "Z=1"' in (run.folder / "recipe.toml").read_text(encoding="utf-8")
    loaded = cytowell.load(run.bundle)
    one = next(iter(sorted((tmp_path / "data").rglob("*.tif"))))
    whole, single = loaded.predict(one), loaded.predict(Image.open(pictures[found.classes[0]][0]))
    assert not whole.errors[0]
    assert whole.labels == single.labels
    assert "--plane" in loaded.reading(plane="").predict(one).errors[0]


@pytest.mark.parametrize("told", ["ome", "tag"])
def test_the_bits_that_a_file_states_are_its_window(tmp_path: Path, told: str) -> None:
    """A camera of 12 bits in a file of 16 is not nearly black."""
    array = np.full((20, 30), 2048, dtype=np.uint16)
    file = tmp_path / "a.tif"
    if told == "ome":
        about = {"axes": "YX", "SignificantBits": 12}
        tifffile.imwrite(file, array, ome=True, metadata=about)
    else:
        tifffile.imwrite(file, array, extratags=[(281, "H", 1, 4095, True)])
    assert np.asarray(open_upright(file))[5, 5].tolist() == [128, 128, 128]
    wide = Preprocessing(window=(0, 65535))
    assert np.asarray(open_upright(file, wide))[5, 5].tolist() == [8, 8, 8]


@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_pages_of_which_nothing_is_told_are_not_guessed(
    tmp_path: Path, count: int, kind: type
) -> None:
    array: npt.NDArray[Any] = np.stack(
        [np.full((20, 30), 10 + 20 * i, dtype=kind) for i in range(count)]
    )
    file = tmp_path / "pages.tif"
    with tifffile.TiffWriter(file) as out:
        for page in array:
            out.write(page, contiguous=False, metadata=None)
    with pytest.raises(PlaneNotChosen, match=rf"has {count} pages") as raised:
        open_upright(file)
    choice = re.search(r"--plane ([A-Z])=0", raised.value.remedy)
    assert choice is not None
    window = (0, 255)
    seen = open_upright(file, Preprocessing(plane=f"{choice[1]}=1", window=window))
    assert np.asarray(seen)[5, 5].tolist() == [30, 30, 30]
    colours = open_upright(file, Preprocessing(channels=(1, 0), window=window))
    assert np.asarray(colours)[5, 5].tolist() == [30, 10, 0]
    assert upright_size(str(file)) == (30, 20)
