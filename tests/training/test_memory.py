"""Where memory does not reach, fewer images are looked at at once, and at last a clear word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cytowell.errors import NotEnoughMemory
from cytowell.training.memory import FEWEST, halved, is_memory
from cytowell.types import Dataset

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate "
                     "memory: you tried to allocate 8 bytes."),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a primitive descriptor for a convolution forward"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)  # fmt: skip
def test_every_library_s_word_for_it_is_known(error: BaseException) -> None:
    assert is_memory(error)


def test_other_errors_are_not_taken_for_it() -> None:
    assert not is_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        halved(lambda block: _fail("shapes"), "a test")


def test_blocks_are_halved_until_they_fit_and_then_refused() -> None:
    tried: list[int] = []

    def work(block: int) -> int:
        tried.append(block)
        if block > 16:
            raise RuntimeError("could not create a primitive")
        return block

    assert halved(work, "a test") == 16
    assert tried == [64, 32, 16]
    with pytest.raises(NotEnoughMemory, match=f"a test, {FEWEST} images at once.*--side"):
        halved(lambda block: _fail("out of memory"), "a test")


class Short(torch.nn.Module):  # type: ignore[misc,name-defined]
    """A backbone that has memory for so many images at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.register_buffer("mean", torch.zeros(1))
        self.most = most

    def normalise(self, pixels: Any) -> Any:
        return pixels.float()

    def pooled(self, pixels: Any) -> Any:
        if len(pixels) > self.most:
            raise RuntimeError("could not create a primitive")
        return self.norm(pixels).mean(dim=(2, 3))


def test_fitting_the_norms_halves_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from cytowell.training import finetune

    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    monkeypatch.setattr(finetune, "pack", lambda *_: pixels)
    monkeypatch.setattr(Dataset, "take", lambda self, rows: self)
    data = Dataset((), ())
    plenty, short = Short(64), Short(10)
    expected = finetune.probe_features(plenty, data, None, 40)  # type: ignore[arg-type]
    found = finetune.probe_features(short, data, None, 40)  # type: ignore[arg-type]
    assert found.shape == (40, 3)
    assert np.abs(found - expected).max() < 0.1  # means over other blocks
    assert short.norm.momentum == plenty.norm.momentum == 0.1
    with pytest.raises(NotEnoughMemory, match="fitting the norms"):
        finetune.probe_features(Short(2), data, None, 40)  # type: ignore[arg-type]


def test_asking_the_validation_part_halves_too() -> None:
    from types import SimpleNamespace

    from cytowell.training import loop

    def network(images: Any) -> Any:
        if len(images) > 20:
            raise RuntimeError("could not create a primitive")
        return SimpleNamespace(logits=images.float().mean(dim=(2, 3)))

    pixels = np.random.default_rng(0).integers(0, 255, (50, 4, 4, 3), dtype=np.uint8)
    average = SimpleNamespace(eval=lambda: None, module=network)
    fabric = SimpleNamespace(device="cpu")
    losses, calls = loop._calls(average, pixels, fabric, np.zeros(50, dtype=np.int64))
    assert (len(losses), len(calls)) == (50, 50)
    assert list(calls) == list(pixels.mean(axis=(1, 2)).argmax(axis=1))


def _fail(text: str) -> Any:
    raise RuntimeError(text)
