"""ONNX Runtime, held once per network and process."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cytowell.errors import BundleCorrupt, BundleRefused
from cytowell.runtime.outside import reaches_outside
from cytowell.runtime.sealed import AGAIN
from cytowell.types import Pixels


def refuse_outside(model: bytes, name: str) -> None:
    """Refuse a network that would read other files, and what is no network.

    Raises
    ------
    BundleCorrupt
        If it is no ONNX file.
    BundleRefused
        If it keeps numbers elsewhere.
    """
    try:
        outside = reaches_outside(model)
    except ValueError as error:
        raise BundleCorrupt(f"{name} is no ONNX file.", AGAIN) from error
    if outside:
        raise BundleRefused(
            f"{name} keeps numbers in files outside of itself.",
            "Save the model as one file, without external data.",
        )


def open_network(model: bytes, name: str, threads: int = 0) -> Any:
    """Open a network on so many threads, one per processor for 0.

    Raises
    ------
    BundleCorrupt
        If it cannot be run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait take the processor from those that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleCorrupt(f"{name} cannot be run ({first_line(error)}).", AGAIN) from error


def first_line(error: BaseException) -> str:
    """Give what the runtime says is wrong, without its pages of where."""
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


class Session:
    """A network that takes pixels and gives features and maps.

    Parameters
    ----------
    model
        The bytes of an ONNX file; one that keeps numbers in other files is refused.
    name
        What to call it in errors.

    Raises
    ------
    BundleCorrupt
        If it is no backbone of a bundle, or cannot be run.
    BundleRefused
        If it would read other files.
    """

    def __init__(self, model: bytes, name: str) -> None:
        self._model = model
        self._name = name
        self._lock = threading.Lock()
        self._sessions: dict[int, Any] = {}
        refuse_outside(model, name)
        first = self._at(1)
        self.maps = tuple(o.name for o in first.get_outputs() if o.name != "features")
        shape = first.get_inputs()[0].shape
        kind = first.get_inputs()[0].type
        outputs = {o.name for o in first.get_outputs()}
        if kind != "tensor(uint8)" or len(shape) != 4 or shape[3] != 3 or "features" not in outputs:
            raise BundleCorrupt(
                f"{name} is not the backbone of a bundle (input {kind} {shape}).",
                "Its input is uint8 (N, H, W, 3) and one output is called features.",
            )
        self.size = int(shape[1]) if isinstance(shape[1], int) else 0

    def _at(self, threads: int) -> Any:
        with self._lock:
            if threads not in self._sessions:
                self._sessions[threads] = open_network(self._model, self._name, threads)
            return self._sessions[threads]

    def features(self, pixels: Pixels, threads: int = 1) -> npt.NDArray[np.float32]:
        """Give features (N, D) of uint8 pixels (N, size, size, 3)."""
        out: npt.NDArray[np.float32] = self._at(threads).run(["features"], {"image": pixels})[0]
        return out

    def features_and_maps(
        self, pixels: Pixels, threads: int = 1
    ) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
        """Give features and, by name, the maps (N, C_i, H_i, W_i) that they are the means of."""
        out = self._at(threads).run(["features", *self.maps], {"image": pixels})
        return out[0], dict(zip(self.maps, out[1:], strict=True))
