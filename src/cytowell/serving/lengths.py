"""How long what people write may be: the same in the browser, on the pages and in the database."""

from __future__ import annotations

from cytowell.errors import RecipeError

NAME = 255
"""Letters of a name: a file's, a bundle's, a column's."""

WHO = 100
LABEL = 100
WHY = 1000
CLASSES = 200
"""Classes that a person may name by hand."""


def require_length(text: str, most: int, what: str) -> str:
    """Give a text back that is no longer than it may be.

    Raises
    ------
    RecipeError
        If it is longer.
    """
    if len(text) > most:
        raise RecipeError(f"{what} has {len(text)} letters.", f"Write {most} at most.")
    return text
