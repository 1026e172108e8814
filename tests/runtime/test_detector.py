"""Detectors without PyTorch: networks of others, decoding, suppression, tiles, the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import cytowell
from cytowell.errors import BundleCorrupt, BundleError, RecipeError
from cytowell.images.boxes import letterbox, overlaps
from cytowell.runtime.boxes import suppress, tiles, without_pieces
from cytowell.runtime.detector import decode, load_detector
from cytowell.runtime.detector_facts import DetectorFacts, Reading
from cytowell.runtime.imported import import_network
from cytowell.runtime.sealed import seal

onnx = pytest.importorskip("onnx", reason='needs the extra: pip install "cytowell[train]"')

Runner = Callable[..., Any]

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
SHAPES = {"yolox": (1, CELLS, 7), "yolov5": (1, 3 * CELLS, 7), "yolov8": (1, 6, CELLS)}


def network(path: Path, answer: Any, told: dict[str, str] | None = None, side: int = SIDE) -> Path:
    """Write a network that says the same of every photograph; of any side for 0."""
    helper = onnx.helper
    answer = np.asarray(answer, dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(answer, "answer"),
        onnx.numpy_helper.from_array(np.zeros((), np.float32), "zero"),
    ]
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", kind, [1, 3, side or None, side or None])],
        [helper.make_tensor_value_info("output", kind, list(answer.shape))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    for key, value in (told or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path


def answer(family: str) -> Any:
    """Give what a family says of one object of the second class about (20, 12), 16 x 8 pixels."""
    out = np.zeros(SHAPES[family], dtype=np.float32)
    if family == "yolov8":
        out[0, :, 5] = [20, 12, 16, 8, 0.1, 0.9]
    elif family == "yolov5":
        out[0, 5] = [20, 12, 16, 8, 0.9, 0.1, 1.0]
    else:
        # Row 1, column 2 of the grid of stride 8.
        out[0, 10] = [0.5, 0.5, np.log(2), np.log(1), 0.9, 0.1, 1.0]
    return out


@pytest.mark.parametrize("family", SHAPES)
def test_a_network_of_each_family_is_told_by_its_shape(tmp_path: Path, family: str) -> None:
    file = network(tmp_path / "a.onnx", answer(family), {"names": "{0: 'red', 1: 'white'}"})
    detector = import_network(file)
    assert detector.facts.says == family
    assert detector.facts.classes == ("red", "white")
    found = detector.find(Image.new("RGB", (128, 128)))
    assert len(found) == 1
    box = found.boxes[0]
    assert (box.x, box.y, box.width, box.height) == pytest.approx((24, 16, 32, 16), abs=1e-3)
    assert found.labels.tolist() == [1]
    assert found.scores[0] == pytest.approx(0.9, abs=1e-6)


def test_what_a_network_leaves_unsaid_is_asked_for(tmp_path: Path) -> None:
    file = network(tmp_path / "a.onnx", answer("yolox"))
    with pytest.raises(BundleError, match="--names"):
        import_network(file)
    with pytest.raises(RecipeError, match="2 classes and not 1"):
        import_network(file, ["red"])
    with pytest.raises(RecipeError, match="score"):
        import_network(file, ["red", "white"], score=7)
    free = network(tmp_path / "free.onnx", answer("yolox"), side=0)
    for side in (33, 1 << 20):
        with pytest.raises(RecipeError, match="multiple of 32"):
            import_network(free, ["red", "white"], side=side)
    assert (
        import_network(file, ["red", "white"], score=0.95).find(Image.new("RGB", (9, 9))).boxes
        == ()
    )
    odd = network(tmp_path / "odd.onnx", np.zeros((1, 17, 7)))
    with pytest.raises(BundleError, match="fits none of"):
        import_network(odd, ["red", "white"])
    flat = network(tmp_path / "flat.onnx", np.zeros((1, 17)))
    with pytest.raises(BundleError, match="no list of boxes"):
        import_network(flat, ["red"])
    (tmp_path / "no.onnx").write_bytes(b"no network")
    with pytest.raises(BundleCorrupt, match="no ONNX"):
        import_network(tmp_path / "no.onnx")
    with pytest.raises(BundleError, match="cannot be read"):
        import_network(tmp_path / "missing.onnx")


def test_the_real_network_of_coco_is_taken_in(data: Path) -> None:
    file = data.parent / "weights" / "yolox_nano.onnx"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    detector = import_network(file, [str(i) for i in range(80)], score=0.05)
    assert (detector.facts.says, detector.facts.reading.side) == ("yolox", 416)
    found = detector.find(Image.open(data / "bccd" / "JPEGImages" / "BloodImage_00001.jpg"))
    # To a network that has seen no blood, white cells are vases and doughnuts: things all the same.
    assert 5 < len(found) < 60
    for box in found.boxes:
        assert 0 <= box.x < box.x + box.width <= 640
        assert 0 <= box.y < box.y + box.height <= 480


def test_a_bundle_comes_back_and_one_changed_byte_is_noticed(tmp_path: Path, bundle: Path) -> None:
    file = network(tmp_path / "a.onnx", answer("yolov8"))
    made = import_network(file, ["red", "white"])
    made.save(tmp_path / "detector", "# Card\n")
    again = load_detector(tmp_path / "detector")
    assert again.facts == made.facts
    assert len(again.digest) == 64
    with pytest.raises(BundleError, match="detector and no classifier"):
        cytowell.load(tmp_path / "detector")
    with pytest.raises(BundleError, match="classifier and no detector"):
        load_detector(bundle)
    with pytest.raises(BundleError, match="detect import"):
        load_detector(file)
    with pytest.raises(BundleError, match="no detector"):
        load_detector(tmp_path)
    network_file = tmp_path / "detector" / "detector.onnx"
    data = bytearray(network_file.read_bytes())
    data[40] ^= 1
    network_file.write_bytes(bytes(data))
    with pytest.raises(BundleCorrupt, match="changed"):
        load_detector(tmp_path / "detector")


@pytest.mark.parametrize(
    "changed",
    [
        {"says": "anything"}, {"score": 0}, {"overlap": "much"}, {"photograph": 1},
        {"reading": {"side": 1 << 30}}, {"reading": {"side": 64, "divisor": 0}},
        {"reading": {"side": "wide"}}, {"reading": {"inch": 3}}, {"reading": []}, {"classes": None},
    ],
)  # fmt: skip
def test_a_record_that_cannot_hold_is_no_detector(tmp_path: Path, changed: dict[str, Any]) -> None:
    made = import_network(network(tmp_path / "a.onnx", answer("yolov8")), ["red", "white"])
    made.save(tmp_path / "detector", "# Card\n")
    record_file = tmp_path / "detector" / "bundle.json"
    record = json.loads(record_file.read_text()) | changed
    record_file.write_text(json.dumps(record))
    seal(tmp_path / "detector", "detector")
    with pytest.raises(BundleCorrupt, match="incomplete"):
        load_detector(tmp_path / "detector")


def test_a_network_that_says_something_else_is_corrupt(tmp_path: Path) -> None:
    made = import_network(network(tmp_path / "a.onnx", answer("yolov8")), ["red", "white"])
    for facts in (
        DetectorFacts(("red",), Reading(SIDE), "yolov8"),
        DetectorFacts(("red", "white"), Reading(SIDE), "boxes"),
        DetectorFacts(("red", "white"), Reading(SIDE), "yolox"),
        DetectorFacts(("red", "white"), Reading(96), "yolov8"),
    ):
        with pytest.raises(BundleCorrupt):
            type(made)(facts, made.model).find(Image.new("RGB", (50, 40)))


def test_a_photograph_is_fitted_in_and_boxes_find_back() -> None:
    photograph = Image.new("RGB", (200, 100), (255, 0, 0))
    for centred, top in ((True, 16), (False, 0)):
        boxed = letterbox(photograph, SIDE, centred)
        assert boxed.pixels[top, 0].tolist() == [255, 0, 0]
        assert boxed.pixels[40 + top, 0].tolist() == [114, 114, 114]
        corners = np.array([[0.0, top, 64.0, top + 32]])
        np.testing.assert_allclose(boxed.back(corners), [[0, 0, 200, 100]])


def test_suppression_is_torchvisions() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import batched_nms, box_iou

    rng = np.random.default_rng(5)
    low = rng.uniform(0, 80, (300, 2))
    corners = np.concatenate([low, low + rng.uniform(5, 30, (300, 2))], axis=1)
    scores, labels = rng.random(300), rng.integers(0, 3, 300)
    want = batched_nms(
        torch.tensor(corners), torch.tensor(scores), torch.tensor(labels), 0.5
    ).tolist()
    assert suppress(corners, scores, labels, 0.5).tolist() == want
    np.testing.assert_allclose(
        overlaps(corners[0], corners), box_iou(torch.tensor(corners[:1]), torch.tensor(corners))[0]
    )
    assert suppress(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), 0.5).tolist() == []


def test_tiles_cover_everything_and_share() -> None:
    for size in ((100, 100), (640, 480), (641, 480), (4000, 3000)):
        seen = np.zeros(size[::-1], dtype=np.int64)
        for left, top, right, bottom in tiles(size, 640, 0.25):
            assert right - left <= 640
            seen[top:bottom, left:right] += 1
        assert seen.min() >= 1


def test_a_large_photograph_is_looked_at_in_tiles(tmp_path: Path) -> None:
    """One object in the middle of every tile: as many as there are tiles, each where it is."""
    out = np.zeros(SHAPES["yolov8"], dtype=np.float32)
    out[0, :, 0] = [32, 32, 8, 8, 0.9, 0.0]
    out[0, :, 1] = [62, 32, 8, 8, 0.9, 0.0]  # cut by a tile's right edge
    detector = import_network(network(tmp_path / "a.onnx", out), ["red", "white"])
    small = detector.find(Image.new("RGB", (64, 64)))
    assert len(small) == 2
    facts = DetectorFacts(**{**vars(detector.facts), "photograph": 64})
    tiled = type(detector)(facts, detector.model)
    found = tiled.find(Image.new("RGB", (160, 64)))
    middles = sorted(b.x + b.width / 2 for b in found.boxes if b.width == pytest.approx(8))
    assert middles == pytest.approx([32, 80, 128])
    # The cut one stays only where the photograph itself ends.
    assert sum(b.x + b.width == pytest.approx(160) for b in found.boxes) == 1
    assert len(found) == 4


def test_our_own_networks_say_corners_and_scores() -> None:
    boxed = letterbox(Image.new("RGB", (128, 128)), SIDE, False)
    facts = DetectorFacts(("cell",), Reading(SIDE, rows_first=True), "boxes")
    corners = np.array([[[12.0, 8, 28, 16]]])
    found, scores = decode(facts, [corners, np.array([[[0.7]]])], boxed)
    np.testing.assert_allclose(found, [[24, 16, 56, 32]])
    assert scores.tolist() == [[0.7]]


def test_cells_are_found_cut_out_called_and_judged(
    tmp_path: Path, bundle: Path, cli: Runner
) -> None:
    file = network(tmp_path / "a.onnx", answer("yolov8"), {"names": "['red', 'white']"})
    said = cli("detect", "import", str(file), "--out", str(tmp_path / "detector"))
    assert said.status == 0
    assert "yolov8, 64 px, 2 classes (red, white)" in said.out
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photographs / "a.png")
    out = tmp_path / "calls.csv"
    called = cli(
        "predict", str(photographs), "--find", "cells", "--detector", str(tmp_path / "detector"),
        "--bundle", str(bundle), "--out", str(out),
    )  # fmt: skip
    assert called.status == 0
    row = pd.read_csv(out).iloc[0]
    assert (row["object"], row["found"], row["score"]) == (1, "white", 0.9)
    assert (row["x"], row["width"]) == pytest.approx((24, 32), abs=0.01)
    for only, found in (("red, white", "white"), ("red", "")):
        few = tmp_path / f"only-{found}.csv"
        said = cli(
            "predict", str(photographs), "--find", "cells", "--detector",
            str(tmp_path / "detector"), "--only", only, "--bundle", str(bundle), "--out", str(few),
        )  # fmt: skip
        assert said.status == 0
    assert pd.read_csv(tmp_path / "only-white.csv")["found"].tolist() == ["white"]
    assert pd.read_csv(tmp_path / "only-.csv")["reason"].tolist() == ["no red was found"]
    (photographs / "boxes.csv").write_text("path,label,x,y,width,height\na.png,white,24,16,32,16\n")
    judged = cli(
        "detect", "evaluate", str(tmp_path / "detector"), str(photographs / "boxes.csv"), "--json"
    )
    metrics = json.loads(judged.out)
    assert metrics["map50_95"]["value"] == pytest.approx(1.0)
    assert metrics["confusion"][1][1] == 1
    shown = cli("detect", "evaluate", str(tmp_path / "detector"), str(photographs / "boxes.csv"))
    assert "mAP50 " in shown.out
    (photographs / "boxes.csv").write_text("path,label,x,y,width,height\na.png,blue,24,16,32,16\n")
    wrong = cli("detect", "evaluate", str(tmp_path / "detector"), str(photographs / "boxes.csv"))
    assert wrong.status == 2
    assert "blue" in wrong.err


def test_a_piece_of_a_larger_box_is_none_of_its_own() -> None:
    whole, piece, inside, other = (
        [0, 0, 100, 100],
        [0, 60, 90, 100],
        [5, 5, 60, 60],
        [0, 50, 50, 99],
    )
    corners = np.array([whole, piece, inside, other], dtype=np.float64)
    cut = np.array([False, True, False, True])
    labels = np.array([0, 0, 0, 1])
    assert without_pieces(corners, labels, cut).tolist() == [0, 2, 3]
    half = np.array([[0, 0, 100, 100], [90, 0, 200, 90]], dtype=np.float64)
    assert without_pieces(half, np.zeros(2, np.int64), np.array([False, True])).tolist() == [0, 1]
    none = without_pieces(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    assert none.tolist() == []
