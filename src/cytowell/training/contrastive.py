"""Supervised contrastive learning of any backbone: like classes near, unlike ones far.

Khosla et al. 2020 (arXiv 2004.11362): two augmented views of each image, a projection head that is
dropped after, and a linear head fitted on the finished features. The loop is that of fine-tuning;
only what it is punished for differs.
"""

from __future__ import annotations

from cytowell.training.finetune import FinetuneLearner


class ContrastiveLearner(FinetuneLearner):
    """Contrasts first, then a linear head; needs the train extra."""

    name = "contrastive"


LEARNER = ContrastiveLearner()
