from __future__ import annotations

import io
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms

from cytowell.errors import CytowellError, ImageError, ImageTooLarge, MissingDecoder, RecipeError
from cytowell.images import (
    Preprocessing,
    cut_out,
    load,
    load_many,
    npz_member,
    open_upright,
    prepare,
)
from cytowell.images.overlay import Album, draw
from cytowell.types import Box, Sample

Array = npt.NDArray[Any]


def scene(width: int = 48, height: int = 32) -> Array:
    """Draw a picture whose four corners differ, smooth enough for JPEG."""
    y, x = np.mgrid[:height, :width]
    planes = [40 + 160 * x / width, 220 - 150 * y / height, 60 + 100 * (x + y) / (width + height)]
    return np.stack(planes, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes | Path, **record: Any) -> Array:
    return np.asarray(open_upright(data, Preprocessing(**record)))


def tiff(array: Array, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes = b"") -> bytes:
    """Build a PNG by hand: what Pillow would not write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "options", "off"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 12),
        ("JPEG", {"quality": 95}, 6),
    ],
)
def test_every_format_gives_the_same_pixels(kind: str, options: dict[str, Any], off: int) -> None:
    found = pixels(encoded(Image.fromarray(scene()), kind, **options)).astype(int)
    assert np.abs(found - scene()).max() <= off


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_eight_orientations_give_the_same_upright_pixels(orientation: int, kind: str) -> None:
    upright = Image.fromarray(scene())
    as_stored = {
        1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    stored = upright
    for turn in as_stored[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    options |= {"lossless": True} if kind == "WEBP" else {}
    found = pixels(encoded(stored, kind, exif=exif, **options))
    assert found.shape == (32, 48, 3)
    assert np.abs(found.astype(int) - scene()).max() <= (4 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_16_bit_tiff_is_turned_upright_too(orientation: int) -> None:
    upright = scene()[:, :, 2].astype(np.uint16) * 257 + scene()[:, :, 1]
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    data = tiff(np.ascontiguousarray(stored), extratags=[(274, 3, 1, orientation, True)])
    found = pixels(data, window=(0, 65535))[:, :, 0]
    np.testing.assert_array_equal(found, pixels(tiff(upright))[:, :, 0])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_broken_photograph() -> None:
    data = encoded(Image.fromarray(scene()), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\1\2\3")
    assert pixels(data).shape == (32, 48, 3)


def test_transparency_is_laid_on_white() -> None:
    rgba = np.dstack([scene(), np.zeros((32, 48), np.uint8)])
    rgba[:, 24:, 3] = 255
    rgba[0, 0] = (0, 0, 0, 128)
    found = pixels(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(found[:, 24:], scene()[:, 24:])
    assert (found[1:, :24] == 255).all()
    assert (np.abs(found[0, 0].astype(int) - 127) <= 1).all()


@pytest.mark.parametrize("mode", ["LA", "P", "RGB", "L"])
def test_transparency_of_every_kind_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (10, 10, 10, 0)).convert(mode)
    options: dict[str, Any] = {}
    if mode != "LA":
        hidden = image.getpixel((0, 0))
        options["transparency"] = hidden
    assert (pixels(encoded(image, "PNG", **options)) == 255).all()


def test_cmyk_gives_the_colours_that_it_means() -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 16, 8))
    found = pixels(encoded(image, "JPEG", quality=95)).astype(int)
    assert np.abs(found[12, 8] - (0, 255, 255)).max() < 12
    assert np.abs(found[3, 8]).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr", "I;16"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = Image.fromarray(scene()).convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    kind = "TIFF" if mode == "YCbCr" else "PNG"
    assert open_upright(encoded(image, kind)).mode == "RGB"


def test_a_colour_profile_does_not_stop_reading() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.fromarray(scene()), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(pixels(data), scene())


@pytest.mark.parametrize("write", ["png", "tiff"])
def test_a_16_bit_image_is_read_by_its_window_and_never_by_its_maximum(write: str) -> None:
    dim = np.full((10, 12), 1000, np.uint16)
    dim[0, 0] = 4000
    data = encoded(Image.fromarray(dim), "PNG") if write == "png" else tiff(dim)
    whole = pixels(data)
    assert whole[5, 5].tolist() == [round(1000 * 255 / 65535)] * 3
    assert whole[0, 0].tolist() == [round(4000 * 255 / 65535)] * 3
    seen = pixels(data, window=(0, 4095))
    assert seen[5, 5, 0] == round(1000 * 255 / 4095)
    assert seen[0, 0, 0] == round(4000 * 255 / 4095)
    brighter = dim.copy()
    brighter[9, 9] = 60_000
    again = encoded(Image.fromarray(brighter), "PNG") if write == "png" else tiff(brighter)
    np.testing.assert_array_equal(pixels(again, window=(0, 4095))[:9], seen[:9])
    assert pixels(data, window=(2000, 3000))[5, 5, 0] == 0
    assert pixels(data, window=(2000, 3000))[0, 0, 0] == 255


def test_a_16_bit_colour_png_is_not_silently_squeezed_under_a_window() -> None:
    value = struct.pack(">HHH", 1000, 2000, 3000)
    data = png(4, 4, 16, 2, b"".join(b"\0" + value * 4 for _ in range(4)))
    assert pixels(data)[0, 0].tolist() == [1000 >> 8, 2000 >> 8, 3000 >> 8]
    with pytest.raises(ImageError, match="16 bits a channel") as told:
        pixels(data, window=(0, 4095))
    assert "TIFF" in told.value.remedy


def planes(dtype: type[np.generic] = np.uint16) -> Array:
    top = 60_000 if dtype == np.uint16 else 200
    return np.stack([np.full((9, 11), top * k // 5, dtype) for k in range(1, 5)])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", ["imagej", "planar", "interleaved", "ome"])
def test_channels_of_a_multi_channel_tiff_are_chosen(layout: str, dtype: type[np.generic]) -> None:
    array = planes(dtype)
    if layout == "imagej":
        data = tiff(array[None, None, :, :, :], imagej=True, metadata={"axes": "TZCYX"})
    elif layout == "ome":
        data = tiff(array, ome=True, metadata={"axes": "CYX"}, photometric="minisblack")
    elif layout == "planar":
        data = tiff(array, photometric="minisblack", planarconfig="separate")
    else:
        data = tiff(np.moveaxis(array, 0, -1), photometric="minisblack", planarconfig="contig")
    top = 65535 if dtype == np.uint16 else 255
    expected = [round(int(plane[0, 0]) * 255 / top) for plane in array]
    window = {"window": (0, 65535)} if dtype == np.uint16 else {}
    assert pixels(data, channels=(3, 1, 0), **window)[4, 4].tolist() == [
        expected[k] for k in (3, 1, 0)
    ]
    assert pixels(data, channels=(2,))[4, 4].tolist() == [expected[2]] * 3
    assert pixels(data, channels=(2, 0))[4, 4].tolist() == [expected[2], expected[0], 0]
    assert pixels(data)[4, 4].tolist() == expected[:3]
    with pytest.raises(ImageError, match="has 4 channels, not channel 4"):
        pixels(data, channels=(0, 4, 1))


def test_floats_are_shares_of_one() -> None:
    array = np.array([[0.0, 0.5, 1.0, 2.0, np.nan, np.inf]], np.float32)
    assert pixels(tiff(array))[0, :, 0].tolist() == [0, 128, 255, 255, 0, 255]
    assert pixels(tiff(array), window=(0, 2))[0, :4, 0].tolist() == [0, 64, 128, 255]


def test_a_header_of_3600_million_pixels_is_refused_without_memory(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2))
    tracemalloc.start()
    try:
        with pytest.raises(ImageTooLarge, match=r"bomb\.png") as told:
            open_upright(tmp_path / "bomb.png")
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert "save it smaller" in told.value.remedy


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (60_000, 60_000)])
@pytest.mark.parametrize("kind", ["png", "tiff", "bmp"])
def test_large_headers_of_other_formats(kind: str, width: int, height: int) -> None:
    if kind == "png":
        data = png(width, height, 8, 2)
    elif kind == "bmp":
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        data = b"BM" + struct.pack("<IHHI", 54 + 8, 0, 0, 54) + head + b"\0" * 8
    else:
        changed = bytearray(tiff(np.zeros((2, 2), np.uint16)))
        with tifffile.TiffFile(io.BytesIO(changed)) as file:
            tags = file.pages.first.tags
            for name, value in (("ImageWidth", width), ("ImageLength", height)):
                tag = tags[name]
                size = 2 if tag.dtype == 3 else 4
                struct.pack_into("<I" if size == 4 else "<H", changed, tag.valueoffset, value)
        data = bytes(changed)
    with pytest.raises(ImageTooLarge) as told:
        open_upright(data, name="large")
    assert "large" in told.value.problem


def truncated(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("empty.png", b"", "0 bytes"),
        ("text.jpg", b"a shopping list\n" * 20, "not an image"),
        ("page.png", b"<html><body>404</body></html>", "not an image"),
        ("still.gif", encoded(Image.new("P", (9, 9)), "GIF"), "not an image"),
        ("cut.jpg", truncated("JPEG"), "damaged or incomplete"),
        ("cut.png", truncated("PNG"), "damaged or incomplete"),
        ("cut.bmp", truncated("BMP"), "damaged or incomplete"),
        ("cut.tif", truncated("TIFF"), "cut.tif"),
        ("cut16.tif", tiff(np.ones((64, 64), np.uint16))[:4000], "cut16.tif"),
        ("cut.webp", truncated("WEBP"), "cut.webp"),
        ("head.jpg", encoded(Image.fromarray(scene()), "JPEG")[:20], "head.jpg"),
        ("noise.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "noise.png"),
    ],
)
def test_a_bad_file_is_named_with_a_remedy(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=words) as told:
        open_upright(tmp_path / name)
    assert str(tmp_path / name) in told.value.problem
    assert told.value.remedy.endswith(".")


def test_an_animated_gif_is_refused_by_name(tmp_path: Path) -> None:
    frames = [Image.new("P", (9, 9), k) for k in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"moving\.gif") as told:
        open_upright(tmp_path / "moving.gif")
    assert "animation" in told.value.remedy


@pytest.mark.parametrize("place", ["missing.jpg", ".", "n" * 300 + ".jpg", "nul\0.jpg"])
def test_what_cannot_be_opened_says_why(tmp_path: Path, place: str) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        open_upright(f"{tmp_path}/{place}")


def test_links_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("b.jpg")
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    with pytest.raises(ImageError, match="cannot be read"):
        open_upright(tmp_path / "a.jpg")


def test_heic_without_its_decoder_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    header = struct.pack(">I", 24) + b"ftypheic" + b"\0\0\0\0mif1heic"
    with pytest.raises(MissingDecoder, match=r"phone\.heic is HEIC") as told:
        open_upright(header, name="phone.heic")
    assert ".[heic]" in told.value.remedy
    assert "JPEG" in told.value.remedy


def test_a_damaged_heic_is_said_to_be() -> None:
    pytest.importorskip("pi_heif")
    header = struct.pack(">I", 24) + b"ftypheic" + b"\0\0\0\0mif1heic"
    with pytest.raises(ImageError, match="damaged or incomplete"):
        open_upright(header, name="phone.heic")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 4}, "no image side"),
        ({"crop": 0}, "no share"),
        ({"interpolation": "nearest"}, "not known"),
        ({"jpeg_scale": 3}, "not known"),
        ({"window": (5, 5)}, "window"),
        ({"window": (5,)}, "window"),
        ({"window": (0, 1, 2)}, "window"),
        ({"channels": ()}, "channels"),
        ({"channels": (0, -1)}, "channels"),
        ({"channels": (0, 1, 2, 3)}, "channels"),
    ],
)
def test_settings_that_cannot_hold(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words) as told:
        Preprocessing(**settings)
    assert told.value.remedy


def test_the_record_travels_as_json() -> None:
    record = Preprocessing(64, 0.8, "box", 2, (2, 0, 1), (0, 4095))
    assert Preprocessing.from_json(record.to_json()) == record
    listed = record.to_json() | {"channels": [2, 0, 1], "window": [0, 4095]}
    assert Preprocessing.from_json(listed) == record


def test_preparing_crops_about_the_centre() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[25:75, 25:75] = 200
    found = prepare(Image.fromarray(image), Preprocessing(size=32, crop=0.5))
    assert (found[2:-2, 2:-2] == 200).all()
    whole = prepare(Image.fromarray(image), Preprocessing(size=100))
    np.testing.assert_array_equal(whole, image)


def test_preparing_keeps_the_aspect_and_fills_with_the_border() -> None:
    image = np.full((40, 120, 3), 90, np.uint8)
    image[5:35, 50:70] = 250
    found = prepare(Image.fromarray(image), Preprocessing(size=60))
    assert found.shape == (60, 60, 3)
    assert (found[:18] == 90).all()
    assert (found[42:] == 90).all()
    assert found[30, 30, 0] > 200


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("crop", [1.0, 0.1])
def test_preparing_the_tiniest(size: tuple[int, int], crop: float) -> None:
    found = prepare(Image.new("RGB", size, (9, 9, 9)), Preprocessing(size=16, crop=crop))
    assert found.shape == (16, 16, 3)
    assert (found == 9).all()


def test_a_box_is_cut_out_and_kept_inside() -> None:
    image = Image.fromarray(scene(64, 64))
    cut = prepare(image, Preprocessing(size=16), Box(8, 24, 16, 16))
    np.testing.assert_array_equal(cut, scene(64, 64)[24:40, 8:24])
    over = prepare(image, Preprocessing(size=16), Box(-8, -8, 24, 24))
    np.testing.assert_array_equal(over, scene(64, 64)[:16, :16])
    for outside in (Box(70, 0, 9, 9), Box(5, 5, 0, 9), Box(-20, 0, 9, 9)):
        with pytest.raises(ImageError, match=r"outside|is empty"):
            prepare(image, Preprocessing(size=16), outside)


def test_a_box_is_seen_whole_where_pictures_were_learnt_from() -> None:
    image = Image.fromarray(scene(64, 64))
    box = Box(8, 24, 16, 16)
    middle = prepare(image, Preprocessing(size=8, crop=0.5), box)
    np.testing.assert_array_equal(middle, scene(64, 64)[28:36, 12:20])
    whole = prepare(image, Preprocessing(size=16, crop=0.5, crop_boxes=False), box)
    np.testing.assert_array_equal(whole, scene(64, 64)[24:40, 8:24])
    picture = prepare(image, Preprocessing(size=32, crop=0.5, crop_boxes=False))
    np.testing.assert_array_equal(picture, scene(64, 64)[16:48, 16:48])


def test_a_box_means_the_same_pixels_at_every_decode_scale(tmp_path: Path) -> None:
    large = Image.fromarray(scene(640, 480))
    large.save(tmp_path / "large.jpg", quality=95)
    sample = Sample(str(tmp_path / "large.jpg"), box=Box(320, 240, 160, 160))
    full = load(sample, Preprocessing(size=32))
    np.testing.assert_array_equal(load(sample, Preprocessing(size=32, jpeg_scale=8)), full)
    reduced = open_upright(tmp_path / "large.jpg", Preprocessing(jpeg_scale=4))
    assert reduced.size == (160, 120)


def test_many_are_read_in_order_and_an_error_is_a_value(tmp_path: Path) -> None:
    samples = []
    for k in range(40):
        if k != 17:
            Image.new("RGB", (8, 8), (k, k, k)).save(tmp_path / f"{k}.png")
        samples.append(Sample(str(tmp_path / f"{k}.png")))
    found = list(load_many(samples, Preprocessing(size=8), workers=2))
    assert isinstance(found[17], CytowellError)
    values = [f if isinstance(f, CytowellError) else int(f[0, 0, 0]) for f in found]
    assert values[:17] + values[18:] == [k for k in range(40) if k != 17]
    assert list(load_many([], Preprocessing())) == []


def test_images_of_an_array(tmp_path: Path) -> None:
    grey = np.arange(5 * 8 * 8, dtype=np.uint8).reshape(5, 8, 8)
    np.savez_compressed(tmp_path / "set.npz", train_images=grey)
    path = f"{tmp_path}/set.npz::train_images"
    found = np.asarray(open_upright(f"{path}/3"))
    np.testing.assert_array_equal(found, np.repeat(grey[3][:, :, None], 3, axis=2))
    for wrong in ("5", "x", ""):
        with pytest.raises(ImageError, match="0"):
            open_upright(f"{path}/{wrong}")
    with pytest.raises(ImageError, match="no readable"):
        npz_member(str(tmp_path / "set.npz"), "val_images")


def test_arrays_of_objects_and_broken_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", train_images=np.array([{}, []], dtype=object))
    noise = np.random.default_rng(0).integers(0, 255, (50, 28, 28), dtype=np.uint8)
    np.savez_compressed(tmp_path / "spoilt.npz", train_images=noise)
    spoilt = bytearray((tmp_path / "spoilt.npz").read_bytes())
    spoilt[2000:2100] = bytes(100)
    (tmp_path / "spoilt.npz").write_bytes(spoilt)
    for name in ("pickled.npz", "spoilt.npz", "missing.npz"):
        with pytest.raises(ImageError, match=name):
            npz_member(str(tmp_path / name), "train_images")


def test_what_is_saved_of_a_photograph_is_pixels_and_nothing_else(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270] = "PATIENT"
    file = tmp_path / "a.jpg"
    Image.new("RGB", (60, 40), "gray").save(
        file, comment=b"PATIENT", exif=exif, icc_profile=b"PATIENT"
    )
    assert b"PATIENT" in file.read_bytes()
    photograph = open_upright(str(file))
    assert photograph.info == {}
    Album(tmp_path / "drawn", "seen").save(draw(photograph, []), str(file))
    cut_out(photograph, Preprocessing(), Box(0, 0, 20, 20)).save(tmp_path / "cut.png")
    for saved in (*(tmp_path / "drawn").iterdir(), tmp_path / "cut.png"):
        assert b"PATIENT" not in saved.read_bytes()
