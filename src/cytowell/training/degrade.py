"""What other microscopes, lamps and cameras do to a photograph: gamma, tint, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from cytowell.types import Pixels

GREY_SHARE, INVERTED_SHARE = 0.08, 0.02
"""Shares of degraded photographs without colour, and of negatives."""

GAMMA, GAIN = 0.5, (0.75, 1.1)
"""Logarithm of a gamma at most, shared and per channel by halves; factors of a channel's light."""

EACH = 0.5
"""Probability of each of blur, noise and JPEG."""

FALL_OFF, CLOUDY, COARSEST_CLOUDS = 40.0, 12.0, 8
"""Of empty scenes: grey levels from the middle to a side, of clouds, and clouds across at most."""

COARSEST, SOFTEST, NOISIEST, QUALITY = 3.0, 1.5, 10.0, (25, 95)
"""Factor of resampling, sigma of blur in pixels, sigma of noise in grey levels, JPEG qualities."""


def degrade(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Show pixels (H, W, 3), uint8, as another camera and lamp would; the geometry is untouched."""
    light = pixels.astype(np.float32) / 255.0
    if rng.random() < GREY_SHARE:
        light = np.repeat(light.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < INVERTED_SHARE:
        light = 1.0 - light
    gamma = np.exp((rng.uniform(-GAMMA, GAMMA) + rng.uniform(-GAMMA, GAMMA, 3)) / 2)
    light = light ** gamma.astype(np.float32) * rng.uniform(*GAIN, 3).astype(np.float32)
    if rng.random() < EACH:
        light += rng.normal(0.0, rng.uniform(0, NOISIEST / 255), light.shape).astype(np.float32)
    image = Image.fromarray((light.clip(0, 1) * 255).astype(np.uint8))
    if rng.random() < EACH:
        image = _blurred(image, rng)
    if rng.random() < EACH:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(*QUALITY)))
        image = Image.open(buffer)
    return np.asarray(image)


def empty(side: int, rng: np.random.Generator) -> Pixels:
    """Give a square without objects: one colour, its fall-off to a side, clouds, noise."""
    base = rng.uniform(0, 255) + rng.normal(0, 12, 3)
    slope = np.linspace(-1, 1, side) * rng.uniform(0, FALL_OFF)
    light = np.broadcast_to(base, (side, side, 3)) + slope[:, None, None]
    if rng.random() < EACH:
        coarse = int(rng.integers(2, COARSEST_CLOUDS))
        clouds = Image.fromarray(rng.normal(0, 1, (coarse, coarse)).astype(np.float32))
        grown = np.asarray(clouds.resize((side, side), Image.Resampling.BICUBIC))
        light = light + grown[..., None] * rng.uniform(0, CLOUDY)
    if rng.random() < EACH:
        light = light + rng.normal(0, rng.uniform(0, 2 * NOISIEST), light.shape)
    turned = np.rot90(light, int(rng.integers(4)))
    return np.ascontiguousarray(turned.clip(0, 255).astype(np.uint8))


def _blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur, or make coarse and bring back to size."""
    if rng.random() < 0.5:
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, SOFTEST)))
    coarse = [max(8, round(v / rng.uniform(1.2, COARSEST))) for v in image.size]
    small = image.resize((coarse[0], coarse[1]), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BILINEAR)
