"""Where memory does not reach: fewer images at once, and a clear word when one is too many."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from cytowell.errors import NotEnoughMemory

T = TypeVar("T")

BLOCK = 64
"""Images that are looked at in one go where nothing is learnt."""

FEWEST = 4
"""Images at once below which nothing is halved again."""

SIGNS = (
    "out of memory",
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "bad allocation",
    "could not create a primitive",
    "could not execute a primitive",
    "alloc_failed",
    "cannot allocate",
)
"""What PyTorch and the libraries under it (oneDNN, cuDNN, cuBLAS, the C++ library) say of it."""


def is_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory did not reach."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in said for sign in SIGNS)


def halved(work: Callable[[int], T], what: str) -> T:
    """Do something in blocks of `BLOCK` images, of half as many wherever memory does not reach.

    Raises
    ------
    NotEnoughMemory
        If it does not reach for `FEWEST` images.
    """
    block = BLOCK
    while True:
        try:
            return work(block)
        except (MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
            if block <= FEWEST:
                raise too_little(f"{what}, {block} images at once") from error
            block //= 2


def too_little(what: str) -> NotEnoughMemory:
    """Give the error, and what can be done."""
    return NotEnoughMemory(
        f"Memory does not reach for {what}.",
        "Use a smaller --side or --backbone, end other programs, or take a machine with more.",
    )
