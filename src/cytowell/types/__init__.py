"""The values that every room speaks: frozen, aligned, saved and read back as tables.

A `Dataset` holds photographs and samples; a `Split` says who learns and who judges; `Findings` is
the one table of the checks; `Predictions` is the one table of calls. Pixels never live here.
"""

from cytowell.types.calls import (
    CALL_COLUMNS,
    COUNTED,
    FOUND,
    KIND,
    KIND_PROBABILITY,
    OBJECT,
    REPEATED,
    Call,
    Predictions,
)
from cytowell.types.data import (
    GROUP_KEY,
    NPZ_MARK,
    BoolArray,
    Box,
    Dataset,
    Findings,
    FloatArray,
    IntArray,
    Pixels,
    Sample,
    fields_of,
    file_of,
    printable,
)
from cytowell.types.split import PARTS, Split

__all__ = [
    "CALL_COLUMNS",
    "COUNTED",
    "FOUND",
    "GROUP_KEY",
    "KIND",
    "KIND_PROBABILITY",
    "NPZ_MARK",
    "OBJECT",
    "PARTS",
    "REPEATED",
    "BoolArray",
    "Box",
    "Call",
    "Dataset",
    "Findings",
    "FloatArray",
    "IntArray",
    "Pixels",
    "Predictions",
    "Sample",
    "Split",
    "fields_of",
    "file_of",
    "printable",
]
