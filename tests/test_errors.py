from __future__ import annotations

import inspect
import re

import pytest

from cytowell import errors
from cytowell.errors import CytowellError


def tree() -> list[type[CytowellError]]:
    return [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, CytowellError)
    ]


@pytest.mark.parametrize("kind", tree())
def test_every_error_is_drawn_where_it_hangs(kind: type[CytowellError]) -> None:
    """The tree in the docstring is the tree of the classes, indentation included."""
    drawn: dict[str, int] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^([│ ├└─]*)([A-Z]\w+)( |$)", line)
        if found and (found[1] or found[2] == "CytowellError"):
            drawn[found[2]] = len(found[1]) // 4
    assert kind.__name__ in drawn
    ours = [base for base in kind.__mro__ if issubclass(base, CytowellError)]
    assert drawn[kind.__name__] == len(ours) - 1
    assert kind.__doc__


def test_problem_and_remedy_are_one_text_and_two_parts() -> None:
    error = errors.EmptyDataset("photos holds no images.", "Put some there.")
    assert str(error) == "photos holds no images. Put some there."
    assert (error.problem, error.remedy) == ("photos holds no images.", "Put some there.")
    assert str(errors.EmptyDataset("Nothing.")) == "Nothing."
    assert isinstance(error, errors.DatasetError)
