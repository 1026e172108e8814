"""Every public name has an example in its docstring, and the example runs."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import cytowell

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", cytowell.__all__)
def test_the_example_of_a_public_name_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = getattr(cytowell, name)
    text = inspect.getdoc(value) or ""
    examples = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert examples.examples, f"cytowell.{name} has no example"
    assert "+SKIP" not in text
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(examples, out=said.append)
    assert not result.failed, "".join(said)
