"""Plates: where their wells are, and what a plate of calls comes to."""

from cytowell.plates.grid import Wells, find_wells, wells_of

__all__ = ["Wells", "find_wells", "wells_of"]
