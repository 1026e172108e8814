"""Train the shipped smear detector on TXL, split by content; the run holds the bundle.

    python benchmarks/smear_train.py --weights yolox_nano.onnx [--out RUN] [--resume]

YOLOX-Nano starts from Megvii's weights on COCO (Apache-2.0). Only TXL's boxes (MIT) teach: BCCD's
lack half of the red cells. The split is `smear_split.py`'s. Settings were chosen on the validation
part.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from cytowell.runs.detector import train_detector
from cytowell.runs.run import Voice
from cytowell.training.detection_recipe import Detection
from cytowell.training.recipe import Augmentation
from machine import data_folder
from smear_split import annotated

SETTINGS = Detection(
    phases=((320, 1500), (416, 800)),
    batch=8,
    rate=2e-3,
    mosaic=0.5,
    plain=0.25,
    zoom=1.2,
    degrade=0.6,
    empty=0.05,
    evaluations=12,
    patience=1000,
    augmentation=Augmentation(brightness=0.25, contrast=0.3, saturation=0.4, stain=0.25),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", default="")
    parser.add_argument("--out", default="runs/smear")
    parser.add_argument("--phases", default="", help="as 320x1500,416x800")
    parser.add_argument("--rate", type=float, default=SETTINGS.rate)
    parser.add_argument("--ema", type=float, default=SETTINGS.ema)
    given = parser.parse_args()
    settings = dataclasses.replace(
        SETTINGS, weights=given.weights, rate=given.rate, ema=given.ema, accelerator="cpu"
    )
    if given.phases:
        phases = [part.split("x") for part in given.phases.split(",")]
        settings = dataclasses.replace(
            settings, phases=tuple((int(side), int(steps)) for side, steps in phases)
        )
    out = Path(given.out)
    start = time.monotonic()
    last = [0.0]

    def said(sentence: str) -> None:
        print(f"{time.monotonic() - start:7.0f} s  {sentence}", flush=True)

    def ticked(done: int, of: int, what: str) -> None:
        if time.monotonic() - last[0] > 60:
            last[0] = time.monotonic()
            said(f"{done} of {of}  {what}")

    data = annotated(data_folder("txl").parent)
    run = train_detector(data, out, settings, resume=out.exists(), voice=Voice(said, ticked))
    print(f"{run.bundle}: {run.metrics['map50']}")


if __name__ == "__main__":
    main()
