"""What is sent and what is answered, as OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from cytowell.serving.lengths import NAME

MOST_WELLS = 100_000
COLUMNS = 300
"""Columns of a table that is sent, at most: its cells are as many as rows times columns."""

SLIDES = 10_000
"""Slides of one count, at most."""

FARTHEST = 10**9
"""Largest number of a quick sum: nobody counts or dilutes so far."""

BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAKklEQVR42mN8duIOAymAiYFEMAg1sKDxSxLmoIn0"
    "LEgZbp4mWQPjSEwaAGS/CDX4D+QZAAAAAElFTkSuQmCC"
)
"""A picture of 16 by 16 pixels, for the examples."""


def files(most: int) -> dict[str, Any]:
    """Say how images are sent: files, repeated, or names with base64. Never a path or address.

    Parameters
    ----------
    most
        Images of one request.
    """
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "additionalProperties": False,
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": most,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "additionalProperties": False,
                    "properties": {
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": most,
                            "items": {
                                "type": "object",
                                "required": ["name", "data"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string", "maxLength": NAME},
                                    "data": {
                                        "type": "string",
                                        "pattern": BASE64,
                                        "contentEncoding": "base64",
                                    },
                                },
                            },
                        }
                    },
                },
                "example": {"images": [{"name": "dot.png", "data": DOT}]},
            },
        },
    }


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "What was sent has another shape; `error` says which field."},
    409: {"description": "What was sent contradicts itself or the layout; `error` says where."},
    401: {"description": "A key is needed."},
    404: {"description": "There is no such bundle, job or detector."},
    408: {"description": "The request took too long to arrive."},
    413: {"description": "Too large, or too many images."},
    415: {"description": "Neither multipart/form-data nor application/json."},
    503: {"description": "The database does not answer; see Retry-After."},
    507: {"description": "There is no room for more uploads."},
    429: {"description": "Too many requests, or images that wait; see Retry-After."},
    504: {"description": "The answer took too long."},
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Call(_Strict):
    """One image: what it is called, how surely, or why not."""

    path: str = Field(description="Base name that the client sent.")
    label: str
    probability: float | None
    decided: bool
    reason: str
    error: str
    probabilities: dict[str, float]


class Told(_Strict):
    """Which bundle answered."""

    name: str
    digest: str
    classes: list[str]
    positive: str | None
    threshold: float
    synthetic: bool


class Results(_Strict):
    """Calls, in the order of the images."""

    results: list[Call]
    bundle: Told
    drift: str = Field(
        default="",
        description="The latest images that the server called with this bundle against its "
        "training images, in one sentence; empty before there are enough.",
    )


class Models(_Strict):
    """The bundles that are served; the first is meant where none is named."""

    models: list[Told]


class Job(_Strict):
    """A job and how far it is; answers in the order of the images, as far as they are there."""

    job: str
    bundle: str
    total: int
    done: int
    results: list[Call]


def _whole(value: Any) -> Any:
    """Take 3.0 for 3, as JSON does; anything else is for the type to judge."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, Field(ge=-FARTHEST, le=FARTHEST), BeforeValidator(_whole)]
Number = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]


Text = Annotated[str, Field(max_length=NAME)]
Value = Text | int | float | bool | None


class QuickSum(_Strict):
    """Counted wells of one series, or a table of wells with its layout."""

    positives: list[Count] = Field(default=[], max_length=1000, examples=[[5, 3, 1, 0]])
    counts: Literal["infected", "protected", ""] = Field(default="", examples=["infected"])
    replicates: Count | list[Count] = Field(default=0, examples=[5])
    log10_dilutions: list[Number] = Field(default=[], max_length=1000, examples=[[-5, -6, -7, -8]])
    titrates: Literal["virus", "serum", ""] = ""
    volume: Number | None = Field(default=None, examples=[0.1])
    rule: Text = Field(default="", examples=["spearman-karber"])
    layout: Text = Field(default="", description="Name of a layout that comes along: favn ...")
    positive: Text = Field(default="", description="The class that is a positive well.")
    reference_iu: Number | None = None
    wells: list[dict[Text, Value]] = Field(
        default=[],
        max_length=MOST_WELLS,
        description="Rows with plate, well and positive, or label and p_<class>.",
    )


class Counted(BaseModel):
    """A call, with whatever other columns its table has."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Value]
    label: Text


class Cells(_Strict):
    """Calls to be counted."""

    calls: list[Counted] = Field(
        min_length=1,
        max_length=1_000_000,
        examples=[[{"label": "neutrophil", "decided": True, "slide": "a"}]],
    )
    by: Text = ""
    bundle: Text = Field(default="", description="Served bundle that corrects the counts.")
    interval: Literal["goodman", "sison-glaz"] = "goodman"
