"""The networks of the two projects that `cytowell replay` follows, on PBC, 70/30.

    python benchmarks/table.py [--side 96] [--epochs 2] [--views 4]
        [--weights weights] [--words A,B] [--preset best] [--out runs/table] [--pictures docs]

At a size that two processors can learn. One comparison, cell by cell: started again, it goes
on. Networks start from ImageNet where `benchmarks/imagenet.py` or the train extra have weights,
else from nothing; the last column says which. With a preset other than quick, its own sides,
steps and views hold. The split is by image, because no donor is known: optimistic. What has not
been run yet is not in the table. `frozen` looks through the ImageNet network alone: the shipped
blood bundle has seen these images.
"""

from __future__ import annotations

import argparse
import base64
import re
import time
from pathlib import Path

import cytowell
from cytowell.images import worker_count
from cytowell.runs.candidates import Fit
from cytowell.runs.compare import Question, compare
from cytowell.runs.protocols import Protocol
from cytowell.runs.run import Voice
from machine import bare_speed, data_folder

FROM_IMAGENET = ("mobilenet-v2", "xception", "vgg-16")
WORDS = (
    "frozen:imagenet", "random-forest", "svm", "logistic-regression", "gradient-boosting", "knn",
    "svm:features", "finetune", "contrastive", "mobilenet-v2", "cnn", "efficientnet-b0@nothing",
    "unet", "resnet-50@nothing", "xception", "densenet-201@nothing", "inception-v3@nothing",
    "vgg-16", "hybrid",
)  # fmt: skip
"""Cheap ones first: a sitting that ends leaves the most rows."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--weights", default="weights")
    parser.add_argument("--words", default="", help="only these candidates, with commas")
    parser.add_argument("--out", default="runs/table")
    parser.add_argument("--pictures", default="", help="folder for the page's pictures")
    given = parser.parse_args()
    root = data_folder("pbc")
    data = cytowell.read(root)
    start = time.monotonic()

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - start:7.0f} s  {sentence}", flush=True)

    chosen = [w for w in given.words.split(",") if w] or [*WORDS]
    fit = Fit(side=given.side, epochs=given.epochs, views=given.views)
    budget = f"side {given.side}, {given.epochs:g} epochs, {given.views} views"
    if given.preset != "quick":
        fit, budget = Fit(given.preset), f"preset {given.preset}"
    question = Question(
        words=tuple(named(word, Path(given.weights)) for word in chosen),
        protocols=(Protocol("holdout"),),
        fit=fit,
    )
    found = compare(data, Path(given.out), question, Voice(said))
    print(f"{budget}, test part of {len(data)} images, by image")
    print(f"machine {bare_speed():.0f} images/s, Lite0 at 224 px, {worker_count()} threads")
    print(
        "| learner | train | test | 95 % | macro-F1 | ECE "
        "| fit s | images/s | parameters | MB | from |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for _, row in found.table.iterrows():
        if row["error"]:
            print(f"| {row['learner']} | {row['error']} |")
            continue
        print(
            f"| {str(row['learner']).split('@')[0]} | {row['train_accuracy']:.4f} "
            f"| {row['test_accuracy']:.4f} | {row['test_low']:.4f} to {row['test_high']:.4f} "
            f"| {row['macro_f1']:.4f} | {row['ece']:.4f} | {row['fit_seconds']:.0f} "
            f"| {row['images_per_second']:.0f} | {row['parameters']:.0f} "
            f"| {row['bundle_megabytes']:.1f} | {row['weights']} |"
        )
    for sentence in found.words:
        print(sentence)
    if given.pictures:
        page = (Path(given.out) / "report.html").read_text(encoding="utf-8")
        drawn = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
        for name, picture in zip(("learners", "ranks"), drawn, strict=False):
            (Path(given.pictures) / f"{name}.svg").write_bytes(base64.b64decode(picture))


def named(word: str, folder: Path) -> str:
    """Give a candidate with its weights file, where it starts from one."""
    if word in FROM_IMAGENET:
        return f"{word}@{folder / word}.safetensors"
    if word == "hybrid":
        return f"hybrid@nothing+{folder / 'xception'}.safetensors"
    return word


if __name__ == "__main__":
    main()
