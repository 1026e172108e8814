"""The pages' texts: one catalogue, `words.toml`."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "fr")


@functools.cache
def catalogue() -> dict[str, dict[str, str]]:
    """Give every text by language and name (`call.go`)."""
    rooms = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
    return {
        language: {f"{room}.{name}": text[language] for room, texts in rooms.items()
                   for name, text in texts.items()}
        for language in LANGUAGES
    }  # fmt: skip


def language_of(request: Any) -> str:
    """Give the language that a browser asks for; English where it is none of ours."""
    asked = str(request.headers.get("accept-language", "")) if request is not None else ""
    for part in asked.split(","):
        tag = part.split(";")[0].split("-")[0].strip().lower()
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]


def say(language: str, name: str, /, **filled: object) -> str:
    """Give a text with its names filled in."""
    return catalogue()[language][name].format(**filled)
