"""What a training needs to go on where it stopped."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from cytowell.learners.contract import Curve
from cytowell.storage import explaining, replacing


@dataclass
class State:
    """What a checkpoint holds beside tensors.

    `skipped` is the step that an early end led to; `lowered` what a plateau has multiplied the
    rate by.
    """

    step: int = 0
    skipped: int = 0
    best_loss: float = math.inf
    best_step: int = -1
    stale: int = 0
    lowered: float = 1.0
    seconds: float = 0.0
    curve: list[Curve] = field(default_factory=list)

    @property
    def asked(self) -> int:
        """The step at which the validation part was last asked, or need not be."""
        return max(self.skipped, self.curve[-1].step if self.curve else 0)

    @staticmethod
    def from_record(record: dict[str, Any]) -> State:
        """Read the state of a checkpoint."""
        return State(**record | {"curve": [Curve(**point) for point in record["curve"]]})


class _Disk:
    """A file that remembers why it could not be written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.refusal: OSError | None = None

    def write(self, piece: Any) -> int:
        try:
            return self._file.write(piece)
        except OSError as error:
            self.refusal = self.refusal or error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.refusal = self.refusal or error
            raise


def save_checkpoint(file: Path, fingerprint: str, state: Any, tensors: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all; `state` is a dataclass of plain values."""
    record = {"fingerprint": fingerprint, "state": asdict(state)} | tensors
    with replacing(file) as beside, explaining(file), beside.open("wb") as out:
        disk = _Disk(out)
        try:
            torch.save(record, cast(IO[bytes], disk))
        except Exception:
            # PyTorch makes an error of its own of a disk's refusal, and names no cause.
            if disk.refusal is not None:
                raise disk.refusal from None
            raise


def load_checkpoint(file: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read a checkpoint of this very job; None where there is none."""
    if not file.exists():
        return None
    stored: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return stored if stored.get("fingerprint") == fingerprint else None
