"""Two networks side by side on each image, as one backbone: their features stand together.

The hybrid of InceptionV3 and Xception is the source project's best; here any two names may stand
for it. Each branch resizes and normalises its own way inside the graph, so nothing outside knows
that there are two.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's name for it)

from cytowell.errors import RecipeError
from cytowell.models.backbone import Backbone, Layers, Provenance, Stages
from cytowell.models.build import build
from cytowell.models.weights import NOTHING

DEFAULT = "inception-v3+xception"


class Branches(nn.Module):
    """Both bodies; takes raw pixels, gives both last maps."""

    def __init__(self, branches: list[Backbone]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        largest = max(b.side for b in branches)
        self.shares = [b.side / largest for b in branches]

    @property
    def bodies(self) -> list[Backbone]:
        """The branches as what they are; PyTorch's list knows them as modules only."""
        return [b for b in self.branches if isinstance(b, Backbone)]

    def forward_features(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Give each branch's last map.

        The branch whose weights were learnt at the larger side sees the image as it comes, the
        other in proportion.
        """
        maps = []
        for branch, share in zip(self.bodies, self.shares, strict=True):
            seen = pixels
            if share < 1:
                # While a graph is traced sides are tensors; it is for one side, which stays in it.
                side = [round(int(n) * share) for n in pixels.shape[2:]]
                seen = F.interpolate(pixels, size=side, mode="bilinear", align_corners=False)
            maps += branch.last_maps(branch.normalise(seen))
        return tuple(maps)

    def depth_groups(self) -> Iterator[Layers]:
        """Give each branch's parameters with their own depth."""
        for branch in self.bodies:
            yield from branch.depth_groups()


def hybrid(name: str, weights: str = "") -> Backbone:
    """Build the two networks of ``first+second`` as one backbone.

    Parameters
    ----------
    weights
        `nothing` for both, or two files or bundles with ``+`` between them.

    Raises
    ------
    RecipeError
        If there are not two names, or not as many weights.
    """
    names = name.split("+")
    given = weights.split("+") if weights not in ("", NOTHING) else [weights] * len(names)
    if len(names) != 2 or not all(names):
        raise RecipeError(f"{name!r} does not name two networks.", "Write it first+second.")
    if len(given) != 2:
        raise RecipeError(
            f"--weights {weights} are not for two networks.", "Write them first+second."
        )
    branches = [build(n, w, Stages()) for n, w in zip(names, given, strict=True)]
    for branch, own in zip(branches, names, strict=True):
        with torch.no_grad():
            maps = branch.eval().last_maps(torch.zeros(1, 3, branch.side, branch.side))
        if any(m.ndim != 4 for m in maps):
            raise RecipeError(
                f"{own!r} gives no maps to stand beside another's.", "Choose another."
            )
    provenance = Provenance(
        name,
        " and ".join(b.provenance.weights for b in branches),
        " and ".join(dict.fromkeys(b.provenance.licence for b in branches)),
    )
    body = Branches(branches)
    side = max(b.side for b in branches)
    joined = Backbone(body, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), provenance, Stages(), side)
    joined.stages = Stages((), ("first", "last"))
    return joined


def inception_xception(weights: str = "", stages: Stages | None = None) -> Backbone:
    """InceptionV3 and Xception: 43 million parameters, 4096 features."""
    return hybrid(DEFAULT, weights)
