"""The reference page of recipes, ``docs/recipe.md``, written from the settings themselves.

``python -m cytowell.runs.reference > docs/recipe.md``
"""

from __future__ import annotations

from cytowell.images import CellView
from cytowell.learners.settings import CLASSICAL, Classical, Frozen
from cytowell.runs.recipe import Recipe
from cytowell.settings import reference
from cytowell.training.detection_recipe import Detection
from cytowell.training.recipe import PRESETS, Augmentation, Finetune

INTRODUCTION = """# Recipes

A recipe holds all that a run decides. Every run writes the one that it followed as `recipe.toml`,
with a remark above each field, and `cytowell train DATA --recipe recipe.toml` runs it again. What a
recipe leaves out is the preset's. A flag of the command line wins over the file; `--learner` and
`--preset` are refused where they contradict it. A field that does not exist, or a value out of its
range, is refused with the nearest name or the range before any photograph is looked at.

```toml
learner = "finetune"
preset = "quick"

[finetune]
epochs = 8
rate = 0.001
phases = [[96, 1]]

[finetune.augmentation]
rotation = 90
```

This page is written by `python -m cytowell.runs.reference` from the settings themselves.
"""


def page() -> str:
    """Give the page in Markdown."""
    presets = ", ".join(
        f"`{name}` {' then '.join(f'{n} steps at {side} px' for side, n in s.phases)}"
        for name, s in PRESETS.items()
    )
    parts = [
        INTRODUCTION,
        "## The run\n\nAt the top of the file.\n",
        reference(Recipe, without=("settings",)),
        "## `[cell]`\n\n`cell = true` takes the usual values.\n",
        reference(CellView),
        "## `[finetune]` and `[contrastive]`\n\n"
        f"The values without a preset; the presets differ in their phases: {presets}.\n",
        reference(Finetune, "finetune."),
        "## `[finetune.augmentation]`\n",
        reference(Augmentation),
        "## `[frozen]`\n",
        reference(Frozen),
        f"## {', '.join(f'`[{name}]`' for name in CLASSICAL)}\n\n"
        "Only `logistic-regression` on features makes a bundle; the others are for `compare`.\n",
        reference(Classical),
        "## `[detector]`\n\nFor `cytowell detect train --recipe`, beside `seed`.\n",
        reference(Detection, "detector."),
        "## `[detector.augmentation]`\n\nThe fields of `[finetune.augmentation]`.\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
