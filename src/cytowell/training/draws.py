"""Which images a step shows, and how they are augmented: of the seed and the step alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cytowell.training.augment import augment
from cytowell.types import IntArray

if TYPE_CHECKING:
    from cytowell.training.loop import Job, Material


def draw(
    job: Job, material: Material, size: int, step: int, fabric: Any, view: int = 0
) -> tuple[Tensor, IntArray]:
    """Give this process's share of a step's images, augmented, and their rows.

    Another `view` shows the same rows, augmented otherwise.
    """
    wanted = np.arange(step * job.batch, (step + 1) * job.batch)
    rows = drawn_rows(job, wanted[fabric.global_rank :: fabric.world_size])
    mark = (job.seed * 1_000_003 + step) * 64 + fabric.global_rank
    generator = torch.Generator().manual_seed(mark + (view << 40))
    torch.manual_seed(job.seed * 1_000_003 + step)
    ordered = np.sort(rows)
    pixels = torch.from_numpy(np.array(material.learn[ordered])).to(fabric.device)
    how = job.settings.augmentation
    return augment(pixels, size, how, generator, material.empty), ordered


def drawn_rows(job: Job, wanted: IntArray) -> IntArray:
    """Give the samples that stand at these places of the endless row of epochs.

    `balanced` sampling has every class equally often; rare samples then come more than once.
    """
    count = len(job.labels)
    rows = np.empty(len(wanted), dtype=np.int64)
    for epoch in np.unique(wanted // count):
        random = np.random.default_rng([job.seed, int(epoch)])
        if job.settings.sampling == "balanced":
            shares = 1.0 / np.bincount(job.labels)[job.labels]
            order = random.choice(count, size=count, p=shares / shares.sum())
        else:
            order = random.permutation(count)
        here = wanted // count == epoch
        rows[here] = order[wanted[here] % count]
    return rows
