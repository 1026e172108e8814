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


STEPS = (4, 2, 1)
"""Every so manieth pixel is asked, where rings are thick enough that nothing lies between."""

THICK = 0.85
"""Thickness of a ring in steps from which on it has nothing finer than two steps."""

_STRAIGHT = 0.8
"""Share of a square's side that is straight: corners of wells are round."""


@dataclass(frozen=True)
class Waves:
    """The votes' spectrum for centres every so many pixels, with what a kernel needs of it."""

    spectrum: Complex
    wave: Field
    turn: Complex


@dataclass(frozen=True)
class Edges:
    """Edges of a photograph: strength 0..1 and doubled angle as one complex number a pixel.

    `waves` are their spectra, by step.
    """

    votes: Complex
    waves: dict[int, Waves]

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
    tall, wide = (_fast(side + pad) for side in image.shape[:2])
    spectrum = fft.fft2(votes, (tall, wide), workers=-1).astype(np.complex64)
    return Edges(votes, {step: _waves(spectrum, step) for step in STEPS})


def _fast(side: int) -> int:
    """Give a length that is transformed fast and that every step divides."""
    whole = max(STEPS)
    return int(fft.next_fast_len(-(-side // whole))) * whole


def _waves(spectrum: Complex, step: int) -> Waves:
    """Keep the slow waves that every so manieth pixel can show."""
    tall, wide = (side // step for side in spectrum.shape)
    rows, columns = _whole(tall), _whole(wide)
    ky = (2 * np.pi / spectrum.shape[0]) * rows[:, None].astype(np.float32)
    kx = (2 * np.pi / spectrum.shape[1]) * columns[None, :].astype(np.float32)
    kept = spectrum if step == 1 else spectrum[np.ix_(rows, columns)] / np.float32(step**2)
    wave = np.hypot(ky, kx)
    turn = ((kx - 1j * ky) / np.maximum(wave, np.float32(1e-9))).astype(np.complex64) ** 2
    return Waves(kept, wave, turn)


def _whole(count: int) -> npt.NDArray[np.int64]:
    """Give the whole numbers that a spectrum of so many waves stands for, in its order."""
    numbers: npt.NDArray[np.int64] = np.fft.ifftshift(np.arange(count) - count // 2)
    return numbers


def ring_scores(edges: Edges, radius: float, thickness: float) -> tuple[Field, int]:
    """Give how much of a ring around a pixel is an edge: 1 all of it, 0 by chance.

    Returns
    -------
    tuple
        Scores -1..1 of every `step`-th pixel, (H / step, W / step) rounded up, and the step:
        thick rings have nothing finer to show.
    """
    waves, step = _suited(edges, thickness)
    at = np.minimum(waves.wave * (radius / _BESSEL_STEP), len(_BESSEL) - 1).astype(np.int32)
    kernel = -_BESSEL[at] * np.exp(-0.5 * (waves.wave * thickness) ** 2) * waves.turn
    return _convolved(edges, waves, kernel, step).real.astype(np.float32), step


def square_scores(edges: Edges, half: float, thickness: float, angle: float) -> tuple[Field, int]:
    """Give how much of a square around a pixel is an edge, as `ring_scores` does of a ring.

    Parameters
    ----------
    half
        Half of its side in pixels.
    angle
        By how many radians it is turned.
    """
    waves, step = _suited(edges, thickness)
    # A square does not know the sign of a wave: the doubled angle of the wave is enough.
    doubled = (waves.turn.conj() * np.exp(-2j * angle)).real
    right = waves.wave * np.sqrt(np.maximum(0.0, 0.5 * (1 + doubled)))
    down = waves.wave * np.sqrt(np.maximum(0.0, 0.5 * (1 - doubled)))
    length = _STRAIGHT * half / np.pi
    sides = np.cos(right * half) * np.sinc(down * length)
    sides = 0.5 * (sides - np.cos(down * half) * np.sinc(right * length))
    kernel = (sides * np.exp(-0.5 * (waves.wave * thickness) ** 2)).astype(np.complex64)
    found = _convolved(edges, waves, kernel, step) * np.exp(-2j * angle)
    return found.real.astype(np.float32), step


def main_angle(edges: Edges) -> float:
    """Give the angle in radians, up to a quarter turn, in which most edges run."""
    strength = np.maximum(np.abs(edges.votes), 1e-9)
    return float(np.angle((edges.votes**2 / strength).sum()) / 4)


def _suited(edges: Edges, thickness: float) -> tuple[Waves, int]:
    step = next(s for s in STEPS if s == 1 or thickness >= THICK * s)
    return edges.waves[step], step


def _convolved(edges: Edges, waves: Waves, kernel: Complex, step: int) -> Complex:
    height, width = (-(-side // step) for side in edges.shape)
    found: Complex = fft.ifft2(waves.spectrum * kernel, workers=-1)[:height, :width]
    return found


def peaks(scores: Field, apart: float, least: float) -> tuple[FloatArray, FloatArray]:
    """Give the places (M, 2) as x, y of the highest scores, at least `apart` pixels apart."""
    size = max(3, int(apart) | 1)
    top = (maximum_filter(scores, size=size) == scores) & (scores >= least)
    y, x = np.nonzero(top)
    return np.stack([x, y], axis=1).astype(np.float64), scores[y, x].astype(np.float64)


def along(edges: Edges, points: FloatArray, steps: FloatArray) -> FloatArray:
    """Give how well the edges at points (N, 2) run along a curve's steps (N, 2); 0 outside."""
    at = points.T[::-1]
    real = map_coordinates(edges.votes.real, at, order=1, mode="constant")
    imaginary = map_coordinates(edges.votes.imag, at, order=1, mode="constant")
    # An edge's angle is that of its gradient, across the step: doubled, the opposite direction.
    x, y = steps.T
    agreed: FloatArray = real * (y * y - x * x) - imaginary * (2 * x * y)
    share: FloatArray = agreed / np.maximum(x * x + y * y, 1e-18)
    return share
