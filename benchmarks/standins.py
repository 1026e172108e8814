"""Stand-ins for other laboratories: real cells as another camera, light or stain would show them.

`SEEN` are of the kinds that the training's augmentation draws from; the family `UNSEEN` changes
images in ways of which neither augmentation nor any threshold knows.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from skimage.color import hed2rgb, rgb2hed

Change = Callable[[Image.Image], Image.Image]
_Floats = npt.NDArray[np.float64]


def _pixels(image: Image.Image) -> _Floats:
    return np.asarray(image, dtype=np.float64) / 255


def _image(pixels: _Floats) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


def larger(image: Image.Image) -> Image.Image:
    """Show cells 1.45 times as large in the picture."""
    wide, tall = image.size
    inner = (wide * (1 - 1 / 1.45) / 2, tall * (1 - 1 / 1.45) / 2)
    return image.resize(
        image.size,
        Image.Resampling.BICUBIC,
        box=(inner[0], inner[1], wide - inner[0], tall - inner[1]),
    )


def smaller(image: Image.Image) -> Image.Image:
    """Give the picture 120 pixels and a JPEG's losses."""
    stream = io.BytesIO()
    image.resize((120, 120), Image.Resampling.BILINEAR).save(stream, "JPEG", quality=75)
    return Image.open(stream).convert("RGB")


def yellow(image: Image.Image) -> Image.Image:
    """Light it in yellow, with another gamma."""
    return _image(_pixels(image) ** 1.25 * np.array([1.0, 0.93, 0.62]))


def dim(image: Image.Image) -> Image.Image:
    """Take two fifths of the light."""
    return _image(_pixels(image) * 0.6)


def stained(image: Image.Image) -> Image.Image:
    """Stain with half more of the blue and two fifths less of the red."""
    return _image(hed2rgb(rgb2hed(np.clip(_pixels(image), 0, 1)) * np.array([1.5, 0.6, 1.0])))


def blurred(image: Image.Image) -> Image.Image:
    """Put it out of focus by 2 pixels."""
    return image.filter(ImageFilter.GaussianBlur(2.0))


def other_camera(image: Image.Image) -> Image.Image:
    """Turn the hues by 22 degrees, darken the corners, sharpen hard, add noise."""
    matrix = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    angle = np.deg2rad(22)
    turn = np.array(
        [
            [1, 0, 0],
            [0, np.cos(angle), -np.sin(angle)],
            [0, np.sin(angle), np.cos(angle)],
        ]
    )
    pixels = _pixels(image) @ (np.linalg.inv(matrix) @ turn @ matrix).T
    down, right = np.mgrid[-1 : 1 : image.height * 1j, -1 : 1 : image.width * 1j]
    pixels = 0.85 * pixels * (1 - 0.25 * (down**2 + right**2))[..., None]
    sharp = _pixels(_image(pixels).filter(ImageFilter.UnsharpMask(2, 150, 0)))
    noise = np.random.default_rng(int(1000 * pixels.mean())).normal(0, 0.02, pixels.shape)
    return _image(sharp + noise)


def off_the_middle(image: Image.Image) -> Image.Image:
    """Shift the cell to a corner, with a black border where the photograph ends."""
    moved = Image.new("RGB", image.size)
    moved.paste(image, (image.width // 6, -image.height // 8))
    return moved


SEEN: dict[str, Change] = {
    "larger": larger,
    "smaller": smaller,
    "yellow light": yellow,
    "dim light": dim,
    "other stain": stained,
    "out of focus": blurred,
}
UNSEEN: dict[str, Change] = {"other camera": other_camera, "off the middle": off_the_middle}
