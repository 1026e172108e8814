"""Whether any file makes the readers do anything but read it or refuse it in words.

    python benchmarks/fuzz.py [--minutes 5] [--seed 0] [--keep FOLDER]

Small files of every kind that is read are changed at random: bits, numbers, lengths, texts, parts
of other files. A reader may give a picture, a data set or a bundle, or raise an error of ours;
anything else, and anything that takes longer than `PATIENCE`, is printed and kept. The tests run
the same for some seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from PIL import Image

import cytowell
from cytowell.errors import CytowellError
from cytowell.images import Preprocessing, open_upright, prepare, upright_size
from cytowell.runtime import bundle as bundles
from cytowell.runtime.sealed import SUMS

PATIENCE = 20.0
"""Seconds that one small file may take."""

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000)
TEXTS = (
    b"1e999", b"-1", b"nan", b"NaN", b"Infinity", b"0", b"null", b"[" * 3000, b'{"a":' * 3000,
    b"9" * 5000, b"../../../../etc/passwd", b"/etc/passwd", b"x.npz::a/0", b"::", b"\0",
    b"\xff\xfe", b'""', b"{}", b"[]", b"true", b"-", b",,,", b"\n\n", b"&a;", b"*a", b"<![CDATA[",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of file: whole ones, and what reads one of them."""

    seeds: tuple[bytes, ...]
    read: Callable[[bytes, Path], object]


def _photograph(seed: int = 0, side: tuple[int, int] = (24, 20)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (side[1], side[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def _saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def _tiff(array: np.ndarray, **settings: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **settings)
    return stream.getvalue()


def images() -> dict[str, tuple[bytes, ...]]:
    """Give small pictures of every format, each in some of its variants."""
    rgb = _photograph()
    exif = Image.Exif()
    exif[274] = 6
    rng = np.random.default_rng(1)
    deep = rng.integers(0, 65535, (20, 24), dtype=np.uint16)
    many = rng.integers(0, 65535, (4, 20, 24), dtype=np.uint16)
    grey = rng.integers(0, 255, (20, 24), dtype=np.uint8)
    return {
        "jpeg": (
            _saved(rgb, "JPEG", exif=exif), _saved(rgb, "JPEG", progressive=True),
            _saved(rgb.convert("L"), "JPEG"), _saved(rgb.convert("CMYK"), "JPEG"),
        ),
        "png": (
            _saved(rgb, "PNG"), _saved(rgb.convert("P"), "PNG", transparency=3),
            _saved(rgb.convert("RGBA"), "PNG"), _saved(rgb.convert("LA"), "PNG"),
            _saved(rgb.convert("1"), "PNG"), _saved(Image.fromarray(deep), "PNG"),
            _saved(rgb, "PNG", exif=exif),
        ),
        "bmp": (
            _saved(rgb, "BMP"), _saved(rgb.convert("P"), "BMP"), _saved(rgb.convert("1"), "BMP"),
        ),
        "webp": (
            _saved(rgb, "WEBP"), _saved(rgb.convert("RGBA"), "WEBP", lossless=True),
            _saved(rgb, "WEBP", save_all=True, append_images=[_photograph(3)]),
        ),
        "gif": (_saved(rgb.convert("P"), "GIF"),),
        "tiff": (
            _saved(rgb, "TIFF"), _saved(rgb, "TIFF", compression="tiff_lzw"),
            _saved(rgb, "TIFF", compression="jpeg"), _saved(rgb, "TIFF", compression="packbits"),
            _saved(rgb.convert("1"), "TIFF", compression="group4"),
            _saved(rgb.convert("CMYK"), "TIFF"),
        ),
        "microscope tiff": (
            _tiff(deep), _tiff(deep, compression="zlib"), _tiff(deep.astype(np.float32)),
            _tiff(deep, compression="zlib", rowsperstrip=3, bigtiff=True),
            _tiff(np.tile(deep, (2, 2)), tile=(16, 16), compression="zlib"),
            _tiff(many, photometric="minisblack", ome=True, metadata={"axes": "CYX"}),
            _tiff(many, imagej=True, metadata={"axes": "CYX", "unit": "um"}),
            _tiff(many, photometric="minisblack", metadata={"axes": "ZYX"}),
            _tiff(np.asarray(rgb), compression="lzma", planarconfig="separate"),
            _tiff(grey, photometric="miniswhite"),
        ),
    }  # fmt: skip


def _read_image(data: bytes, folder: Path) -> object:
    for record in (Preprocessing(size=16), Preprocessing(size=16, plane="Z=1", channels=(1,))):
        try:
            image = open_upright(data, record, "changed")
        except CytowellError:
            continue
        assert image.mode == "RGB"
        assert min(image.size) >= 1
        assert prepare(image, record).shape == (16, 16, 3)
    place = folder / "changed.img"
    place.write_bytes(data)
    return upright_size(str(place))


def _as(name: str) -> Callable[[bytes, Path], object]:
    """Give what reads bytes as a file of this name, with photographs beside it."""

    def read(data: bytes, folder: Path) -> object:
        for part in ("a.jpg", "images/a.jpg", "train/images/a.jpg"):
            if not (folder / part).exists():
                (folder / part).parent.mkdir(parents=True, exist_ok=True)
                _photograph().save(folder / part)
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        whole = name.endswith((".xml", ".txt"))
        try:
            dataset = cytowell.read(folder if whole else place)
            for sample in dataset.samples[:4]:
                open_upright(sample.path)
            return dataset
        finally:
            place.unlink()

    return read


def _zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _arrays(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


YOLO = b"path: .\nnames: [a, b]\ntrain: train/images\nval: images\n"
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 24, "height": 20}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 5, 1, 5]]},
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
).encode()
VOC = (
    b"<annotation><filename>a.jpg</filename><size><width>24</width><height>20</height></size>"
    b"<object><name>a</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
    b"</bndbox></object></annotation>"
)
CSV = (
    b"path,label,group,split,x,y,width,height\na.jpg,a,g,train,1,2,3,4\nimages/a.jpg,b,h,test,,,,\n"
)


def _parquet() -> bytes:
    stream = io.BytesIO()
    pd.DataFrame({"path": ["a.jpg"] * 9, "label": ["a"] * 9, "x": range(9)}).to_parquet(stream)
    return stream.getvalue()


def datasets() -> dict[str, Kind]:
    """Give tables, annotations and archives, and what reads each."""
    jpeg = _saved(_photograph(), "JPEG")
    pictures = np.random.default_rng(2).integers(0, 255, (4, 12, 12, 3), dtype=np.uint8)
    npz = _arrays(train_images=pictures, train_labels=np.arange(4, dtype=np.uint8)[:, None])
    zips = (
        _zipped({"a/x.jpg": jpeg, "b/y.jpg": jpeg}),
        _zipped({"samples.csv": b"path,label\na.jpg,a\nset.npz::train_images/0,b\n", "a.jpg": jpeg,
                 "set.npz": npz}),
        _zipped({"data.yaml": YOLO, "images/a.jpg": jpeg, "labels/a.txt": b"0 .5 .5 .2 .2\n"}),
        _zipped({"_annotations.coco.json": COCO, "a.jpg": jpeg}, zipfile.ZIP_STORED),
        _zipped({"a.xml": VOC, "a.jpg": jpeg}, zipfile.ZIP_BZIP2),
    )  # fmt: skip
    return {
        "csv": Kind((CSV, CSV.replace(b",", b";")), _as("t.csv")),
        "parquet": Kind((_parquet(),), _as("t.parquet")),
        "npz": Kind((npz,), _as("set.npz")),
        "zip": Kind(zips, _as("t.zip")),
        "yolo settings": Kind((YOLO,), _as("data.yaml")),
        "yolo labels": Kind((b"0 .5 .5 .2 .2\n1 .1 .1 .2 .2 .3 .3\n",), _as("labels/a.txt")),
        "coco": Kind((COCO,), _as("c.json")),
        "voc": Kind((VOC,), _as("Annotations/a.xml")),
    }


def _read_bundle(name: str, whole: Path) -> Callable[[bytes, Path], object]:
    """Give what reads bytes as a file of a bundle whose sums hold for them."""

    def read(data: bytes, folder: Path) -> object:
        place = folder / "bundle"
        if not place.is_dir():
            place.mkdir()
        lines = []
        for file in sorted(whole.iterdir()):
            if file.name in (SUMS, "backbone.onnx"):
                continue
            held = data if file.name == name else file.read_bytes()
            (place / file.name).write_bytes(held)
            lines.append(f"{hashlib.sha256(held).hexdigest()}  {file.name}")
        (place / "backbone.onnx").write_bytes(b"")
        lines.append(f"{hashlib.sha256(b'').hexdigest()}  backbone.onnx")
        (place / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return bundles.load(place)

    return read


def kinds() -> dict[str, Kind]:
    """Give every kind of file that is read."""
    found = {name: Kind(seeds, _read_image) for name, seeds in images().items()}
    found |= datasets()
    whole = bundles.find("blood")
    for name in ("bundle.json", "head.npz"):
        seeds = ((whole / name).read_bytes(),)
        found[f"bundle: {name}"] = Kind(seeds, _read_bundle(name, whole))
    return found


def changed(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    """Give a file with one to four things changed."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        at = rng.randrange(len(out) + 1)
        end = min(len(out), at + rng.choice((1, 2, 4, 8, 16, 64, 256)))
        what = rng.randrange(9)
        if what == 0 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif what == 1 and out:
            out[at % len(out)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif what == 2:
            width = rng.choice((2, 4, 8))
            order: str = rng.choice(("little", "big"))
            number = rng.choice(NUMBERS) % (1 << (8 * width))
            out[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
        elif what == 3:
            del out[at:end]
        elif what == 4:
            out[at:at] = out[at:end] * rng.choice((1, 2, 50))
        elif what == 5:
            out[at:end] = rng.randbytes(end - at)
        elif what == 6:
            out[at:end] = rng.choice(TEXTS)
        elif what == 7:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            out[at:end] = other[start : start + rng.choice((4, 16, 200))]
        else:
            del out[at:]
    return bytes(out)


def cases(seed: int, only: str = "") -> Iterator[tuple[str, bytes, Kind]]:
    """Give changed files of every kind in turn, without end, the same for the same seed."""
    rng = random.Random(seed)
    every = {name: kind for name, kind in kinds().items() if only in name}
    while True:
        for name, kind in every.items():
            yield name, changed(rng.choice(kind.seeds), kind.seeds, rng), kind


def tried(kind: Kind, data: bytes, folder: Path) -> tuple[str, str]:
    """Read one file; give how that ended ("read", "refused" or "wrong"), and what is wrong."""
    begin = time.perf_counter()
    how, words = "read", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind.read(data, folder)
    except CytowellError as error:
        how = "refused"
        if not error.problem:
            how, words = "wrong", "an error without a word"
    except Exception:
        how, words = "wrong", traceback.format_exc()
    took = time.perf_counter() - begin
    return ("wrong", f"it took {took:.0f} s") if took > PATIENCE else (how, words)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    setattr(bundles, "Session", lambda *_: None)  # noqa: B010  (networks are not read here)
    ended: dict[str, Counter[str]] = {}
    seen: set[str] = set()
    end = time.monotonic() + 60 * given.minutes
    with tempfile.TemporaryDirectory() as place:
        for name, data, kind in cases(given.seed, given.only):
            if time.monotonic() > end:
                break
            how, words = tried(kind, data, Path(place))
            ended.setdefault(name, Counter())[how] += 1
            if how == "wrong" and (key := words.strip().splitlines()[-1][:120]) not in seen:
                seen.add(key)
                given.keep.mkdir(exist_ok=True)
                file = (
                    given.keep / f"{name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}"
                )
                file.write_bytes(data)
                print(f"{file}\n{words}", file=sys.stderr)
    for name, counts in ended.items():
        print(f"{name:22} {counts['read']:7} read {counts['refused']:7} refused "
              f"{counts['wrong']:4} wrong")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{'in all':22} {sum(c.total() for c in ended.values()):7} files, peak {peak} MB")
    sys.exit(1 if seen else 0)


if __name__ == "__main__":
    main()
