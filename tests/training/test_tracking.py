"""What TensorBoard is told, in the order in which it was said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cytowell.learners.contract import Curve
from cytowell.training.tracking import Board

pytestmark = pytest.mark.torch


def point(step: int) -> Curve:
    return Curve(step, 32, 0.1, 1.0, 0.5, 1.0, 0.5, 10.0, 1.0)


def test_writers_of_one_second_are_read_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's name ends in a count read as text: the tenth would be read before the ninth."""
    writer: Any = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    events: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(writer, "_global_uid", writer.AtomicCounter(9))
    for step in (3, 6):
        board = Board(tmp_path, step)
        board.curve(point(step))
        board.close()
    read = events.EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in read.Scalars("loss/validation")] == [3, 6]


def test_the_loss_of_every_step_is_there(tmp_path: Path) -> None:
    events: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = Board(tmp_path, 0)
    for step in range(3):
        board.step(step, 1.0 / (step + 1), 0.1)
    board.close()
    found = events.EventAccumulator(str(tmp_path)).Reload()
    seen = [(e.step, round(e.value, 3)) for e in found.Scalars("step/loss")]
    assert seen == [(0, 1.0), (1, 0.5), (2, 0.333)]
    assert [e.step for e in found.Scalars("step/rate")] == [0, 1, 2]
