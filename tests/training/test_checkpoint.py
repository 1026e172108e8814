"""A checkpoint is whole or not there, and a disk that refuses it says why."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from cytowell.errors import StorageError

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_a_disk_s_refusal_is_named_and_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, words: str
) -> None:
    from cytowell.training import checkpoint

    file = tmp_path / "last.pt"
    checkpoint.save_checkpoint(file, "f", checkpoint.State(step=1), {"t": torch.zeros(1)})
    before = file.read_bytes()

    class Full:
        def __init__(self, out: BinaryIO) -> None:
            self.out, self.left = out, 20_000

        def write(self, piece: Any) -> int:
            self.left -= len(memoryview(piece))
            if self.left < 0:
                raise OSError(refusal, os.strerror(refusal))
            return self.out.write(piece)

        def flush(self) -> None:
            self.out.flush()

    disk = checkpoint._Disk
    monkeypatch.setattr(checkpoint, "_Disk", lambda out: disk(Full(out)))  # type: ignore[arg-type]
    with pytest.raises(StorageError, match=f"last.pt cannot be written.*{words}"):
        checkpoint.save_checkpoint(file, "f", checkpoint.State(step=2), {"t": torch.zeros(50_000)})
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["last.pt"]


def test_other_faults_of_saving_are_not_hidden(tmp_path: Path) -> None:
    from cytowell.training import checkpoint

    with pytest.raises(Exception, match=r"pickle|local"):
        checkpoint.save_checkpoint(
            tmp_path / "last.pt", "f", checkpoint.State(), {"t": lambda: None}
        )
