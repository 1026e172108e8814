"""ONNX Runtime, held once per network and process."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cytowell.errors import BundleCorrupt, BundleRefused
from cytowell.runtime.outside import reaches_outside
from cytowell.types import Pixels


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
        self._refuse_outside()
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

    def _refuse_outside(self) -> None:
        try:
            outside = reaches_outside(self._model)
        except ValueError as error:
            raise BundleCorrupt(
                f"{self._name} is no ONNX file.", "Copy the bundle again from where it was made."
            ) from error
        if outside:
            raise BundleRefused(
                f"{self._name} keeps numbers in files outside of itself.",
                "Save the model as one file, without external data.",
            )

    def _at(self, threads: int) -> Any:
        with self._lock:
            if threads not in self._sessions:
                options = ort.SessionOptions()
                options.intra_op_num_threads = threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                # Threads that spin while they wait take the processor from those that decode.
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                try:
                    self._sessions[threads] = ort.InferenceSession(
                        self._model, options, providers=["CPUExecutionProvider"]
                    )
                except Exception as error:
                    raise BundleCorrupt(
                        f"{self._name} cannot be run ({str(error).splitlines()[0][:200]}).",
                        "Copy the bundle again from where it was made.",
                    ) from error
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
