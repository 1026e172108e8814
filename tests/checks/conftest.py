"""Small pictures for the tests of the checks: a smooth cell with grains, never twice the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from cytowell.types import Dataset, Sample


@pytest.fixture
def cell() -> Callable[[int], Image.Image]:
    """Draw a cell-like picture; the same seed gives the same pixels."""
    return _cell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give two class folders of twelve different cells each."""
    root = tmp_path / "photographs"
    for k, name in enumerate("ab"):
        (root / name).mkdir(parents=True)
        for i in range(12):
            _cell(1000 * k + i).save(root / name / f"{name}{i:02d}.jpg", quality=92)
    return root


@pytest.fixture
def read() -> Callable[[Path], Dataset]:
    """Read class folders without the room of sources."""
    return _read


def _cell(seed: int) -> Image.Image:
    draw, size = np.random.default_rng(seed), 120
    y, x = np.mgrid[:size, :size] / size - 0.5
    radius = 0.25 + 0.08 * draw.random()
    body = 1 / (1 + np.exp((np.hypot(x, y * (1 + 0.3 * draw.random())) - radius) * 40))
    grain = gaussian_filter(draw.normal(size=(size, size)), 1.2)
    grain /= grain.std()
    shade = 215 - 90 * body - 25 * grain * body + 3 * grain
    colour = np.stack([shade, shade * 0.82, shade * 0.97], axis=2)
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def _read(root: Path) -> Dataset:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    samples = tuple(Sample(str(p), p.relative_to(root).parts[0]) for p in files)
    return Dataset(samples, tuple(sorted({str(s.label) for s in samples})), str(root))
