"""YOLOX (Ge et al. 2021, arXiv 2107.08430): LibreYOLO's network and loss, boxes in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from libreyolo.models.yolox.nn import BaseConv, LibreYOLOXModel
from onnx import numpy_helper
from torch import Tensor, nn

from cytowell.errors import WeightsUnavailable
from cytowell.models.weights import load_into, weights_file
from cytowell.storage import sha256

STRIDES = (8, 16, 32)

PRIOR = 0.01
"""Probability of an object that an untrained network says everywhere (Lin et al. 2017, RetinaNet):
it need not first learn that most places hold nothing."""

LARGEST = 10.0
"""Logarithm of a box's side in strides, at most."""


class Yolox(nn.Module):
    """A network that learns by `losses` and says boxes when it is called.

    Parameters
    ----------
    size
        `n`ano or `t`iny.
    classes
        How many are told apart.
    """

    def __init__(self, size: str, classes: int) -> None:
        super().__init__()
        self.body: Any = LibreYOLOXModel(size, classes)
        self.body.init_weights(PRIOR)
        self.origin = "random numbers"

    def losses(self, images: Tensor, targets: Tensor, exact: bool) -> Tensor:
        """Give the loss of a batch.

        Parameters
        ----------
        images
            (N, 3, side, side), red, green, blue, 0..255.
        targets
            (N, M, 5): class, centre and sides in pixels; rows of zeros are none.
        exact
            Whether boxes are pulled to the last pixel too (L1), as at the end of a training.
        """
        self.body.head.use_l1 = exact
        loss: Tensor = self.body(images.flip(1), targets)["total_loss"]
        return loss

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give corners (N, M, 4) in pixels and scores (N, M, C) of uint8 (N, side, side, 3)."""
        maps = self.body(pixels.permute(0, 3, 1, 2).flip(1).float())
        rows = torch.cat([m.flatten(2) for m in maps], dim=2).permute(0, 2, 1)
        places = [_grid(m.shape[-2], m.shape[-1], s) for m, s in zip(maps, STRIDES, strict=True)]
        grid, stride = (torch.cat(part).to(rows) for part in zip(*places, strict=True))
        middle = (rows[..., :2] + grid) * stride
        half = torch.exp(rows[..., 2:4].clamp(-LARGEST, LARGEST)) * stride / 2
        scores = rows[..., 4:5] * rows[..., 5:]
        return torch.cat([middle - half, middle + half], dim=-1), scores

    def start_from(self, weights: str, images: list[Tensor]) -> str:
        """Take weights from our own detector bundle, or from an official ONNX file of this size.

        Such a file has batch norm folded into its convolutions. Each norm gets the mean and the
        variance that real images cause, and a scale and shift that undo them: the network computes
        what it did, and has norms that learn.

        Parameters
        ----------
        images
            Batches (N, 3, side, side), red, green, blue, 0..255, of what is to be learnt from.

        Returns
        -------
        str
            What the bundle will say of its first weights.

        Raises
        ------
        WeightsUnavailable
            If the file is missing or holds another network.
        """
        file = weights_file(weights)
        if file.suffix != ".onnx" or _has_names(file):
            return load_into(self.body, str(file))
        folded = _convolutions(file)
        order = self._order(images[0])
        if len(order) != len(folded):
            raise WeightsUnavailable(
                f"{file} has {len(folded)} convolutions and this network {len(order)}.",
                "Name the network that the weights belong to.",
            )
        modules = dict(self.body.named_modules())
        norms: dict[str, Any] = {
            f"{name}.conv": m.bn for name, m in modules.items() if isinstance(m, BaseConv)
        }
        taken = 0
        with torch.no_grad():
            for name, (weight, bias) in zip(order, folded, strict=True):
                module = modules[name]
                if module.weight.shape != weight.shape:
                    continue  # the last layer, if it told other classes apart
                module.weight.copy_(weight)
                taken += 1
                if name in norms:
                    norms[name].reset_parameters()
                    norms[name].running_var.fill_(1.0 - norms[name].eps)
                    norms[name].bias.copy_(bias)
                elif bias is not None and module.bias is not None:
                    module.bias.copy_(bias)
            if taken < len(order) - len(STRIDES):
                raise WeightsUnavailable(
                    f"{file} fits {taken} of {len(order)} convolutions of this network.",
                    "Name the network that the weights belong to.",
                )
            self._unfold({n: m for n, m in norms.items() if n in order}, modules, images)
        return f"file {file.name}, sha256 {sha256(file)[:16]}"

    def _order(self, image: Tensor) -> list[str]:
        """Give the names of the convolutions as they are computed one after another."""
        order: list[str] = []
        hooks = [
            module.register_forward_hook(lambda m, i, o, name=name: order.append(name))
            for name, module in self.body.named_modules()
            if isinstance(module, nn.Conv2d)
        ]
        self.eval()
        with torch.no_grad():
            self.body(image[:1])
        for hook in hooks:
            hook.remove()
        return order

    def _unfold(
        self, norms: dict[str, Any], modules: dict[str, nn.Module], images: list[Tensor]
    ) -> None:
        """Give norms that do nothing the statistics of these images, and a way to undo them."""
        sums: dict[str, list[Any]] = {name: [0, 0.0, 0.0] for name in norms}

        def seen(name: str, out: Tensor) -> None:
            count, total, squares = sums[name]
            values = out.double()
            sums[name] = [
                count + out.shape[0] * out.shape[2] * out.shape[3],
                total + values.sum(dim=(0, 2, 3)),
                squares + (values**2).sum(dim=(0, 2, 3)),
            ]

        hooks = [
            modules[name].register_forward_hook(lambda m, i, o, name=name: seen(name, o))
            for name in norms
        ]
        for batch in images:
            self.body(batch.flip(1))
        for hook in hooks:
            hook.remove()
        for name, norm in norms.items():
            count, total, squares = sums[name]
            mean = total / count
            variance = (squares / count - mean**2).clamp_min(1e-6)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean)


def nano(classes: int) -> Yolox:
    """Build YOLOX-Nano: 0.9 million weights."""
    return Yolox("n", classes)


def tiny(classes: int) -> Yolox:
    """Build YOLOX-Tiny: 5 million weights."""
    return Yolox("t", classes)


def _grid(rows: int, columns: int, stride: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([x.reshape(-1), y.reshape(-1)], dim=1).float()
    return places, torch.full((rows * columns, 1), float(stride))


def _has_names(file: Path) -> bool:
    """Whether an ONNX file keeps the names that its weights had in PyTorch, norms too."""
    return any(i.name.endswith(".bn.running_var") for i in _graph(file).initializer)


def _graph(file: Path) -> Any:
    try:
        return onnx.load(str(file), load_external_data=False).graph
    except Exception as error:  # whatever a file that is none makes of the parser
        raise WeightsUnavailable(
            f"{file} cannot be read ({type(error).__name__}).", "Copy it again."
        ) from error


def _convolutions(file: Path) -> list[tuple[Tensor, Tensor | None]]:
    """Give weight and bias of every convolution, in the order of the graph."""
    graph = _graph(file)
    arrays = {i.name: i for i in graph.initializer}
    # Of equal initialisers an exporter may keep one and give it other names.
    same = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity"}

    def read(names: list[str]) -> Iterator[Tensor]:
        for name in names:
            for _ in same:
                name = same.get(name, name)
            if name not in arrays:
                raise WeightsUnavailable(
                    f"{file} computes its weights ({name}).", "Export it with weights as they are."
                )
            if arrays[name].data_location == onnx.TensorProto.EXTERNAL:
                raise WeightsUnavailable(
                    f"{file} keeps its weights in another file.", "Export it as one file."
                )
            yield torch.from_numpy(np.array(numpy_helper.to_array(arrays[name]), np.float32))

    found = []
    for node in graph.node:
        if node.op_type == "Conv":
            weight, *bias = read(list(node.input[1:]))
            found.append((weight, bias[0] if bias else None))
    return found
