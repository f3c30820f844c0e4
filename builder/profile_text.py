"""A profile as text: every value, and where it is written. Not for: reading one (profile.py)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.profile import Profile

WIDTH = 44  # column of the comments


def lines(profile: Profile) -> list[str]:
    """The profile as YAML with all its layers put together, each value with its file and line."""
    return list(_mapping(profile, profile.model_dump(mode="json", exclude_none=True), ()))


def _mapping(profile: Profile, values: dict[str, Any], trail: tuple[str | int, ...]) -> Iterator[str]:
    indent = "  " * len(trail)
    for key, value in values.items():
        here = (*trail, key)
        short = profile.short_form(here)
        if short is not None:
            yield _line(f"{indent}{key}: {_scalar(short)}", profile, here)
        elif isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _mapping(profile, value, here)
        elif isinstance(value, list) and value:
            yield f"{indent}{key}:"
            for index, item in enumerate(value):
                yield _line(f"{indent}  - {_scalar(item)}", profile, (*here, index))
        else:
            yield _line(f"{indent}{key}: {_scalar(value)}", profile, here)


def _line(text: str, profile: Profile, trail: tuple[str | int, ...]) -> str:
    place = profile.written_at(trail)
    origin = f"{_short(place.path)}:{place.line}" if place else "default"
    return f"{text:{WIDTH}} # {origin}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _scalar(value: Any) -> str:
    """A value in YAML's flow form; JSON is a part of YAML 1.2."""
    plain = isinstance(value, str) and value and all(c.isalnum() or c in "-_./=" for c in value)
    return value if plain and not value[0].isdigit() else json.dumps(value, ensure_ascii=False)
