"""Where circles may lie in a photograph: every edge votes for the centres that it could belong to.

An edge of a circle runs across its radius, whichever side is the brighter: light that falls aslant
turns the sign of an edge around a well's rim, so the vote uses the angle of the edge doubled, which
does not know signs (the orientation tensor, Bigun & Granlund 1987). A vote for all centres at once
is one convolution with a ring, and a ring's spectrum is a Bessel function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter
from scipy.special import jv

from cytowell.types import FloatArray, Pixels

Field = npt.NDArray[np.float32]
Complex = npt.NDArray[np.complex64]

_BESSEL_STEP = 0.02
_BESSEL = jv(2, np.arange(0, 2000, _BESSEL_STEP)).astype(np.float32)


@dataclass(frozen=True)
class Edges:
    """Edges of a photograph: strength 0..1 and doubled angle as one complex number a pixel."""

    votes: Complex
    spectrum: Complex
    wave: Field
    turn: Complex

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.votes.shape[0], self.votes.shape[1]


def edges_of(pixels: Pixels | Field, largest: float) -> Edges:
    """Find edges in every colour.

    Parameters
    ----------
    pixels
        (H, W, C).
    largest
        Radius in pixels of the largest ring that will be asked for.
    """
    image = np.asarray(pixels, dtype=np.float32)
    votes = np.zeros(image.shape[:2], dtype=np.complex64)
    for c in range(image.shape[2]):
        smooth = gaussian_filter(image[:, :, c], 1.0)
        gy, gx = np.gradient(smooth)
        votes += (gx + 1j * gy).astype(np.complex64) ** 2
    strength = np.sqrt(np.abs(votes))
    usual = 1.0 + 2.0 * float(np.median(strength))
    # Dark wells count nearly as much as bright ones, noise counts little.
    votes *= (1.0 / np.maximum(strength, 1e-6) ** 2) * (strength**2 / (strength**2 + usual**2))
    pad = int(largest) + 2
    tall = fft.next_fast_len(image.shape[0] + pad)
    wide = fft.next_fast_len(image.shape[1] + pad)
    spectrum = fft.fft2(votes, (tall, wide), workers=-1).astype(np.complex64)
    ky = 2 * np.pi * fft.fftfreq(tall)[:, None]
    kx = 2 * np.pi * fft.fftfreq(wide)[None, :]
    wave = np.hypot(ky, kx).astype(np.float32)
    turn = np.exp(-2j * np.arctan2(ky, kx)).astype(np.complex64)
    return Edges(votes, spectrum, wave, turn)


def ring_scores(edges: Edges, radius: float, thickness: float) -> Field:
    """Give for every pixel how much of a ring around it is an edge: 1 all of it, 0 by chance.

    Returns
    -------
    numpy.ndarray
        (H, W), -1..1.
    """
    at = np.minimum(edges.wave * (radius / _BESSEL_STEP), len(_BESSEL) - 1).astype(np.int32)
    kernel = -_BESSEL[at] * np.exp(-0.5 * (edges.wave * thickness) ** 2)
    height, width = edges.shape
    found = fft.ifft2(edges.spectrum * (kernel * edges.turn), workers=-1)
    scores: Field = found.real[:height, :width].astype(np.float32)
    return scores


def peaks(scores: Field, apart: float, least: float) -> tuple[FloatArray, FloatArray]:
    """Give the places (M, 2) as x, y of the highest scores, at least `apart` pixels apart."""
    size = max(3, int(apart) | 1)
    top = (maximum_filter(scores, size=size) == scores) & (scores >= least)
    y, x = np.nonzero(top)
    return np.stack([x, y], axis=1).astype(np.float64), scores[y, x].astype(np.float64)


def along(edges: Edges, x: FloatArray, y: FloatArray, normal: FloatArray) -> FloatArray:
    """Give how well the edges at points agree with a curve's normals there (radians); 0 outside."""
    real = map_coordinates(edges.votes.real, [y, x], order=1, mode="constant")
    imaginary = map_coordinates(edges.votes.imag, [y, x], order=1, mode="constant")
    agreed: FloatArray = real * np.cos(2 * normal) + imaginary * np.sin(2 * normal)
    return agreed
