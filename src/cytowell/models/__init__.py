"""Networks: a body that gives maps, their means as features, and the record it was trained with."""
