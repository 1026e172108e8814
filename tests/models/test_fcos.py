"""FCOS says boxes where it was taught to, and goes on from its own bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cytowell.errors import WeightsUnavailable

pytest.importorskip("torch", reason='needs the extra: pip install "cytowell[train]"')

import torch

from cytowell.export.detector import export_detector
from cytowell.models.fcos import lite0
from cytowell.runtime.detector_facts import DetectorFacts, Reading

SIDE = 96


def scene() -> tuple[Any, Any, Any]:
    """Give pixels, images and targets of two squares on grey."""
    pixels = np.full((2, SIDE, SIDE, 3), 200, dtype=np.uint8)
    pixels[0, 20:50, 30:60] = (200, 30, 40)
    pixels[1, 40:76, 10:50] = (30, 40, 200)
    targets = torch.zeros(2, 3, 5)
    targets[0, 0] = torch.tensor([0.0, 45.0, 35.0, 30.0, 30.0])
    targets[1, 0] = torch.tensor([1.0, 30.0, 58.0, 40.0, 36.0])
    return pixels, torch.from_numpy(pixels).permute(0, 3, 1, 2).float(), targets


@pytest.fixture(scope="module")
def taught() -> Any:
    torch.manual_seed(0)
    network = lite0(2).train()
    _, images, targets = scene()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(60):
        loss = network.losses(images, targets, False)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def test_it_starts_from_imagenet() -> None:
    assert "ImageNet" in lite0(2).origin


def test_it_says_what_it_was_taught(taught: Any, tmp_path: Path) -> None:
    pixels, _, targets = scene()
    facts = DetectorFacts(("red", "blue"), Reading(SIDE, rows_first=True))
    detector = export_detector(taught.train(), facts, list(pixels))
    # Norms of two images are not those of many: what it was taught is told with these.
    corners, scores = (t.detach().numpy() for t in taught.train()(torch.from_numpy(pixels)))
    for i in range(2):
        best = int(scores[i].max(axis=1).argmax())
        _, x, y, w, h = targets[i, 0].tolist()
        assert scores[i][best].argmax() == i
        told = corners[i][best]
        assert np.abs(told - [x - w / 2, y - h / 2, x + w / 2, y + h / 2]).max() < 6
    detector.save(tmp_path / "bundle", "card")
    again = lite0(2)
    again.start_from(str(tmp_path / "bundle"), [])
    for name, value in taught.state_dict().items():
        if value.is_floating_point() and "bn" not in name:
            assert torch.allclose(again.state_dict()[name], value, atol=1e-6), name
    with pytest.raises(WeightsUnavailable, match="is not there"):
        again.start_from(str(tmp_path / "none"), [])


def test_a_photograph_without_objects_has_a_loss(taught: Any) -> None:
    _, images, targets = scene()
    loss = taught.train().losses(images, torch.zeros_like(targets), False)
    assert bool(torch.isfinite(loss))
