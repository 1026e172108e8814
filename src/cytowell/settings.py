"""Settings that are validated, explained and written down, each from one declaration.

A class of settings is a frozen dataclass under `@settings`. Each field says with `setting` what it
does, its range and its unit. Values are validated by pydantic as they are given (a text is never
taken for a number), and from the same declarations come ``recipe.toml`` with its remarks, the help
of the command line and the reference page::

    @settings
    class Ours:
        rate: Annotated[float, setting("Highest learning rate.", low=1e-7, high=1.0)] = 2e-3
"""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import tomli_w
from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cytowell.errors import RecipeError
from cytowell.registry import did_you_mean

T = TypeVar("T")

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")

TYPES = {
    "float": ("number", "0.5"),
    "int": ("whole number", "7"),
    "bool": ("yes or no", "true"),
    "str": ("text", '"name"'),
}
"""How a reader calls a type, and how a value of it is written in TOML."""


def setting(
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    unit: str = "",
    example: str = "",
    added: bool = False,
) -> Any:
    """Say what a field does, for `typing.Annotated`.

    Parameters
    ----------
    text
        One or two sentences, as the help and the reference page print them.
    low, high, above
        Least and greatest value; `above` is a bound that is itself too small.
    unit
        Such as pixels, steps, degrees.
    example
        How a value is written in TOML, where its type does not show it.
    added
        Whether the field came after runs had been recorded without it: it then decides something
        only where it is not its default (`essence`).
    """
    extra: dict[str, Any] = {"unit": unit, "example": example, "added": added}
    return Field(description=text, ge=low, le=high, gt=above, json_schema_extra=extra)


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose values are validated; a wrong one is a RecipeError."""
    made: Any = dataclass(frozen=True, config=STRICT)(cls)
    validated = made.__init__

    @functools.wraps(validated)
    def explaining(self: Any, *given: Any, **values: Any) -> None:
        try:
            validated(self, *given, **values)
        except ValidationError as error:
            raise refusal(made, error) from error

    made.__init__ = explaining
    result: type[T] = made
    return result


def is_settings(value: object) -> bool:
    """Tell whether a value, or a class, was made by `settings`."""
    return hasattr(value, "__pydantic_fields__")


def field_of(cls: Any, name: str) -> FieldInfo:
    """Give what is declared of a field."""
    found: FieldInfo = cls.__pydantic_fields__[name]
    return found


def refusal(cls: Any, error: ValidationError, where: str = "") -> RecipeError:
    """Give the error that names every wrong field, and what to write instead.

    Parameters
    ----------
    where
        What stands before the names of fields, such as ``finetune.``.
    """
    said = [_explained(cls, fault, where) for fault in _first_of_each(error)]
    *others, (problem, remedy) = said
    return RecipeError(" ".join([f"{p} {r}".strip() for p, r in others] + [problem]), remedy)


def _first_of_each(error: ValidationError) -> Iterator[Any]:
    """Give one fault a field: a value of a union fails once for each of its types."""
    seen: set[str] = set()
    for fault in error.errors(include_url=False, include_context=True):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if name not in seen or fault["type"] == "unexpected_keyword_argument":
            seen.add(name)
            yield fault


def _explained(cls: Any, fault: Any, where: str) -> tuple[str, str]:
    """Give what is wrong with a field, and the remedy."""
    place = [part for part in fault["loc"] if isinstance(part, str)]
    owner, names = cls, []
    for part in place:
        if not is_settings(owner):
            break
        names.append(part)
        if part not in owner.__pydantic_fields__:
            break
        field = field_of(owner, part)
        inner = next((t for t in _types(field.annotation) if is_settings(t)), None)
        if inner is None:
            break
        owner = inner
    full = where + ".".join(names)
    if fault["type"] == "unexpected_keyword_argument":
        known = [*owner.__pydantic_fields__]
        return f"There is no setting {full!r}.", did_you_mean(names[-1], known)
    value = shown(fault["input"])
    if not names or names[-1] not in owner.__pydantic_fields__:
        return f"{full.rstrip('.') or 'It'} = {value} is no table of settings.", ""
    field = field_of(owner, names[-1])
    if names and is_settings(inner_of(field)):
        return f"{full} = {value} is no table.", f"Write it as a table [{full}]."
    if fault["type"] == "literal_error":
        options = choices(field)
        close = did_you_mean(str(fault["input"]), list(options)) if options else ""
        hint = close.partition("Known:")[0]
        return f"{full} = {value} is not known.", f"{hint}Use {_listed(options)}."
    if fault["type"] in OUT_OF_RANGE:
        return f"{full} = {value} is out of range.", f"Use {span(field)}."
    if fault["type"] == "finite_number":
        return f"{full} = {value} is no number that can be used.", f"Use {span(field)}."
    if any(isinstance(part, int) for part in fault["loc"]):
        what, example = kind(field)
        return f"{full} holds {value}, which is nothing it can hold.", f"Write it like {example}."
    what, example = kind(field)
    allowed = f" ({span(field)})" if span(field) else ""
    return f"{full} = {value} is no {what}.", f"Write {names[-1]} = {example}{allowed}."


def inner_of(field: FieldInfo) -> Any:
    """Give the class of settings that a field holds, None for a plain value."""
    return next((t for t in _types(field.annotation) if is_settings(t)), None)


def _types(annotation: Any) -> tuple[Any, ...]:
    """Give the types of an annotation, those of a union one by one."""
    inside = typing.get_args(annotation)
    if typing.get_origin(annotation) is Annotated:
        inside = inside[:1]
    if inside and typing.get_origin(annotation) not in (Literal, tuple, list, dict):
        return tuple(t for part in inside for t in _types(part))
    return (annotation,)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """Give the words that a field may be, none where it is free."""
    types = [t for t in _types(field.annotation) if typing.get_origin(t) is Literal]
    return tuple(str(word) for t in types for word in typing.get_args(t))


def kind(field: FieldInfo) -> tuple[str, str]:
    """Give what a field is to a reader, and how a value of it is written in TOML."""
    default = field.get_default(call_default_factory=True)
    example = _extra(field, "example")
    if not example and isinstance(default, int | float | tuple | str) and default != "":
        example = shown(default).replace("'", '"')
    names = []
    for t in _types(field.annotation):
        if typing.get_origin(t) is tuple:
            return "list", example or "[...]"
        if typing.get_origin(t) is Literal:
            names.append(_listed(choices(field)))
            continue
        name = getattr(t, "__name__", "")
        if name in TYPES:
            names.append(TYPES[name][0])
            example = example or TYPES[name][1]
    return " or ".join(dict.fromkeys(names)) or "value", example


def span(field: FieldInfo) -> str:
    """Give a field's range with its unit, as a reader sees it: ``32 to 4096 pixels``."""
    bounds = {
        name: getattr(mark, name)
        for mark in (*field.metadata, *_inner_marks(field))
        for name in ("ge", "gt", "le")
        if getattr(mark, name, None) is not None
    }
    unit = f" {_extra(field, 'unit')}".rstrip()
    low, above, high = bounds.get("ge"), bounds.get("gt"), bounds.get("le")
    begin = _number(low) if low is not None else ""
    if above is not None:
        begin = f"more than {_number(above)}"
    if high is None:
        return f"{begin}{unit}{' or more' if low is not None else ''}" if begin else ""
    return f"{begin} to {_number(high)}{unit}" if begin else f"{_number(high)}{unit} at most"


def _number(value: float) -> str:
    return str(int(value)) if abs(value) >= 1e5 and value == int(value) else f"{value:g}"


def _inner_marks(field: FieldInfo) -> Iterator[Any]:
    """Give the bounds of one type of a union."""
    for part in typing.get_args(field.annotation):
        if typing.get_origin(part) is Annotated:
            for mark in typing.get_args(part)[1:]:
                yield from mark.metadata if isinstance(mark, FieldInfo) else (mark,)


def _extra(field: FieldInfo, name: str) -> Any:
    extra = field.json_schema_extra
    return extra.get(name) or "" if isinstance(extra, dict) else ""


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else "".join(words)


def shown(value: Any) -> str:
    """Give a value as it stands in a recipe."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(shown(v) for v in value)}]"
    if dataclasses.is_dataclass(value) or value is None:
        return str(value)
    return repr(value)


def describe(cls: Any, name: str) -> str:
    """Give the help of a field: what it does, with words or range."""
    field = field_of(cls, name)
    text = str(field.description or "")
    limits = ", or ".join(part for part in (_listed(choices(field)), span(field)) if part)
    return f"{text} [{limits}]" if limits else text


def listed(value: Any) -> Any:
    """Give lists as tuples, all the way down: what TOML and JSON bring becomes a value."""
    if isinstance(value, list | tuple):
        return tuple(listed(v) for v in value)
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    return value


def changed(value: T, table: dict[str, Any], where: str = "") -> T:
    """Lay a table of values on settings; what it leaves out stays.

    Raises
    ------
    RecipeError
        Naming each field that does not exist or cannot hold, `where` before it.
    """
    made: Any = value
    cls = type(made)
    new: dict[str, Any] = {}
    for name, given in table.items():
        if name not in cls.__pydantic_fields__:
            raise RecipeError(
                f"There is no setting {where + name!r}.",
                did_you_mean(name, [*cls.__pydantic_fields__]),
            )
        old = getattr(made, name)
        if is_settings(old) and isinstance(given, dict):
            given = changed(old, given, f"{where}{name}.")
        new[name] = listed(given)
    try:
        return typing.cast(T, dataclasses.replace(made, **new))
    except RecipeError as error:
        if isinstance(error.__cause__, ValidationError):
            raise refusal(cls, error.__cause__, where) from error.__cause__
        raise


def essence(value: Any) -> dict[str, Any]:
    """Give what decides a result, as plain values: all but `added` fields at their default."""
    table: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if is_settings(value):
            declared = field_of(type(value), field.name)
            if _extra(declared, "added") and held == declared.get_default(
                call_default_factory=True
            ):
                continue
        table[field.name] = essence(held) if dataclasses.is_dataclass(held) else held
    return table


def plain(value: Any) -> Any:
    """Give a value as TOML can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value


def to_toml(value: Any, section: str = "", without: tuple[str, ...] = ()) -> str:
    """Write settings as TOML, what each does as a remark above it; some fields may be left out."""
    lines: list[str] = [f"[{section}]"] if section else []
    tables: list[str] = []
    for field in dataclasses.fields(value):
        held = getattr(value, field.name)
        if held is None or field.name in without:
            continue
        if dataclasses.is_dataclass(held):
            tables.append(to_toml(held, f"{section}.{field.name}".lstrip(".")))
            continue
        if is_settings(value):
            lines.append(f"# {describe(type(value), field.name)}")
        # A list of numbers or words in JSON is one in TOML, and stays in one line.
        text = json.dumps(plain(held), ensure_ascii=False) if isinstance(held, tuple) else ""
        lines.append(
            f"{field.name} = {text}" if text else tomli_w.dumps({field.name: plain(held)}).rstrip()
        )
    return "\n\n".join(["\n".join(lines), *tables])


def reference(cls: Any, head: str = "", without: tuple[str, ...] = ()) -> str:
    """Write the fields of a class as a table in Markdown.

    Parameters
    ----------
    head
        What stands before the name of a table inside, such as ``finetune.``.
    """
    rows = ["| setting | without it | values | what it does |", "|---|---|---|---|"]
    for name, field in cls.__pydantic_fields__.items():
        if name in without:
            continue
        default = field.get_default(call_default_factory=True)
        held = _listed(choices(field)) or span(field) or kind(field)[0]
        if span(field) and choices(field):
            held += f", or {span(field)}"
        given = (
            "" if default in (None, PydanticUndefined) else f"`{shown(default)}`".replace("'", '"')
        )
        if is_settings(inner_of(field)):
            held, given = f"table `[{head}{name}]`", ""
        text = str(field.description or "")
        rows.append(f"| `{name}` | {given} | {held} | {text} |")
    return "\n".join(rows) + "\n"
