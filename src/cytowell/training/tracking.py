"""What a fine-tuning leaves in TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from cytowell.images.overlay import COLOURS, Mark, draw
from cytowell.learners.contract import Curve
from cytowell.types import Box, Pixels


class Board:
    """Writes scalars, the augmented batch and confusion matrices; `cytowell board` shows them."""

    def __init__(self, folder: Path, from_step: int) -> None:
        _wait_for_a_name(folder)
        self._writer: Any = SummaryWriter(str(folder), purge_step=from_step)

    def curve(self, point: Curve) -> None:
        """Write one answer of the validation part."""
        add = self._writer.add_scalar
        add("loss/train", point.train_loss, point.step)
        add("loss/validation", point.validation_loss, point.step)
        add("accuracy/train", point.train_accuracy, point.step)
        add("accuracy/validation", point.validation_accuracy, point.step)
        add("gap/accuracy", point.train_accuracy - point.validation_accuracy, point.step)
        add("gap/loss", point.validation_loss - point.train_loss, point.step)
        add("rate", point.rate, point.step)
        add("size", point.size, point.step)
        add("images_per_second", point.images_per_second, point.step)
        self._writer.flush()

    def step(self, step: int, loss: float, rate: float) -> None:
        """Write the loss of one step, counted from 0, and the rate that it was done at."""
        self._writer.add_scalar("step/loss", loss, step)
        self._writer.add_scalar("step/rate", rate, step)

    def flush(self) -> None:
        """Write out what waits to be written: a checkpoint says that it was."""
        self._writer.flush()

    def batch(self, images: Pixels, step: int) -> None:
        """Write augmented images (N, H, W, 3) as the network saw them."""
        self._writer.add_images("augmented", images, step, dataformats="NHWC")

    def confusion(self, counts: Any, classes: tuple[str, ...], step: int) -> None:
        """Write a confusion matrix (C, C), truth down, calls across, as an image."""
        from matplotlib.figure import Figure  # noqa: PLC0415  (a second, and only once a phase)

        figure = Figure(figsize=(1.5 + 0.6 * len(classes), 1.2 + 0.6 * len(classes)))
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i in range(len(classes)):
            for j in range(len(classes)):
                colour = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(int(counts[i, j])), ha="center", va="center", color=colour)
        axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("called")
        axes.set_ylabel("truth")
        figure.tight_layout()
        self._writer.add_figure("confusion/validation", figure, step)

    def calls(
        self,
        images: Pixels,
        truth: Sequence[str],
        called: Sequence[str],
        step: int,
    ) -> None:
        """Write validation images (N, H, W, 3) with truth and call, wrong ones in red."""
        from matplotlib.figure import Figure  # noqa: PLC0415

        columns = min(4, len(images))
        rows = -(-len(images) // columns)
        figure = Figure(figsize=(1.7 * columns, 2.0 * rows))
        for i, axes in enumerate(np.ravel(figure.subplots(rows, columns, squeeze=False))):
            axes.axis("off")
            if i < len(images):
                axes.imshow(images[i])
                colour = "black" if truth[i] == called[i] else "red"
                axes.set_title(f"{truth[i]}\ncalled {called[i]}", fontsize=7, color=colour)
        figure.tight_layout()
        self._writer.add_figure("calls/validation", figure, step)

    def scenes(self, images: Any, targets: Any, step: int) -> None:
        """Write scenes (N, H, W, 3) with boxes (N, M, 5: class, centre, sides) as a batch shows."""
        drawn = []
        for pixels, rows in zip(images, targets, strict=True):
            boxes = [
                Mark(Box(*(float(v) for v in (x - w / 2, y - h / 2, w, h))), "", _colour(k))
                for k, x, y, w, h in rows
                if w > 0
            ]
            picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            drawn.append(np.asarray(draw(picture, boxes)))
        self._writer.add_images("scenes", np.stack(drawn), step, dataformats="NHWC")

    def found(self, point: Any, metrics: dict[str, Any]) -> None:
        """Write what the validation part said of a detector."""
        add = self._writer.add_scalar
        for name in ("loss", "rate", "side", "map50", "map50_95"):
            add(f"detector/{name}", getattr(point, name), point.step)
        for row in metrics["per_class"]:
            for name in ("ap50", "ap50_95", "count_error"):
                if row[name] is not None and row[name]["value"] is not None:
                    add(f"{name}/{row['class']}", row[name]["value"], point.step)
        self._writer.flush()

    def settings(self, settings: dict[str, Any], figures: dict[str, float]) -> None:
        """Write the settings with the last figures, for TensorBoard's table of runs."""
        plain = {
            k: v if isinstance(v, int | float | str | bool) else str(v) for k, v in settings.items()
        }
        self._writer.add_hparams(
            plain, {f"final/{k}": v for k, v in figures.items()}, run_name="settings"
        )

    def close(self) -> None:
        """Write out what is left."""
        self._writer.close()


def _wait_for_a_name(folder: Path) -> None:
    """Let the second pass in which another writer named its file.

    Readers take files in order of name, and a name is its second, then the process and a count
    read as text: of one second the tenth would come before the ninth, and its first step would
    purge what the ninth wrote.
    """
    taken = {file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*")}
    while f"{int(time.time()):010d}" in taken:
        time.sleep(0.02)


def _colour(label: float) -> str:
    return COLOURS[int(label) % len(COLOURS)]
