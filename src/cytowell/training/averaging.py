"""The moving average of a network's weights, which is what a training delivers."""

from __future__ import annotations

from typing import Any

import torch


class Averaging:
    """Exponential moving average that starts as a plain mean, so that early steps count."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    @torch.no_grad()
    def __call__(self, averaged: Any, current: Any, seen: Any) -> None:
        decay = min(self.decay, (1 + float(seen)) / (10 + float(seen)))
        floating = [(a, c) for a, c in zip(averaged, current, strict=True) if a.is_floating_point()]
        if floating:
            torch._foreach_lerp_([a for a, _ in floating], [c for _, c in floating], 1 - decay)
        for a, c in zip(averaged, current, strict=True):
            if not a.is_floating_point():
                a.copy_(c)


def bare(network: Any) -> Any:
    """Give the network inside what Fabric and several processes put around it."""
    inner = getattr(network, "module", network)
    return getattr(inner, "module", inner)
