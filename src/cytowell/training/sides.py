"""At which sides a network learns: those of the recipe, or the one that it can take."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cytowell.errors import RecipeError
from cytowell.learners.contract import Said
from cytowell.training.recipe import PRESETS, Finetune


def fitting_phases(backbone: Any, s: Finetune, said: Said) -> Finetune:
    """Give the settings with phases that the network can take; a side is resampled for, once.

    Phases that a preset has become one at the nearest side where a network takes no other, as
    vision transformers do, which is said. Phases that somebody gave are meant.

    Raises
    ------
    RecipeError
        For a side that the network cannot take.
    """
    sides = list(dict.fromkeys(side for side, _ in s.phases))
    preset = any(s.phases in (p.phases, p.small_phases) for p in PRESETS.values())
    if preset and hasattr(backbone.body, "set_input_size"):
        patch = getattr(backbone.body.patch_embed, "feat_ratio", lambda: 1)()
        if len(sides) > 1 or sides[0] % patch:
            side = patch * max(1, round(s.size / patch))
            said(
                f"{s.backbone} takes images of one side, a multiple of {patch}: all {s.steps} "
                f"steps are at {side} px."
            )
            s = replace(s, phases=((side, s.steps),))
            sides = [side]
    if len(sides) == 1:
        backbone.fit_to(sides[0])
    for side in sides:
        if why := backbone.refusal(side):
            remedy = f"Use --side or phases of a size it knows; it comes from {backbone.side} px."
            if hasattr(backbone.body, "set_input_size"):
                remedy = "Take one side in all phases, a multiple of its patch: --side."
            raise RecipeError(f"{s.backbone} cannot take images of {side} px ({why}).", remedy)
    return s
