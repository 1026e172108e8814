"""Whatever a library makes of one picture becomes an error that names it: the others go on."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from cytowell.errors import CytowellError, ImageError, ImageTooLarge
from cytowell.images.limits import SMALLER

LOG = logging.getLogger("cytowell.images")

LONGEST = 300
"""Characters of a library's own words that an error repeats."""


@contextlib.contextmanager
def reading(
    shown: str,
    problem: str = "is damaged or incomplete",
    remedy: str = "Copy it again from the camera.",
) -> Iterator[None]:
    """Turn any exception into an `ImageError` of this picture; Ctrl-C is none.

    Parameters
    ----------
    shown
        What the picture is called.
    problem
        What is then said of it, before the library's own words.

    Raises
    ------
    ImageError
        For everything but our own errors, which go through.
    """
    try:
        yield
    except CytowellError:
        raise
    except MemoryError as error:
        raise ImageTooLarge(f"{shown} needs more memory than there is.", SMALLER) from error
    except Exception as error:
        LOG.debug("%s", shown, exc_info=True)
        words = (str(error) or type(error).__name__)[:LONGEST]
        raise ImageError(f"{shown} {problem} ({words}).", remedy) from error
