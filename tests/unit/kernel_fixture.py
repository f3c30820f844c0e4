"""A small kernel for tests of what is said of a configuration; its symbols are as kconfig_dump has them."""

import json
from pathlib import Path

from builder.kconfig import Configuration, Wanted
from builder.kernel_subject import Subject


def row(name: str, value: str = "n", *, prompt: str = "A question", **more: object) -> dict[str, object]:
    """A symbol; `depends`, `selected_by` and `implied_by` are lists of [expression, value]."""
    depends = more.get("depends", [])
    return {
        "name": name,
        "type": "bool",
        "value": value,
        "file": "k/Kconfig",
        "line": 7,
        "prompts": [[prompt, depends]] if prompt else [],
        "depends": depends,
        "selected_by": [],
        "implied_by": [],
        "defaults": [],
        **more,
    }


def want(symbol: str, value: str, layer: str, reason: str = "a reason", line: int = 3) -> Wanted:
    return Wanted(symbol, value, reason, Path(f"/k/{layer}.config"), line, layer)


def subject(
    folder: Path,
    rows: list[dict[str, object]],
    wanted: list[Wanted],
    name: str = "lab",
    *,
    stock: bool = False,
) -> Subject:
    """A configuration of these symbols; those that have a value other than n are set."""
    place = folder / name
    place.mkdir()
    quoted = {
        str(one["name"]): f'"{one["value"]}"' if one["type"] == "string" else str(one["value"])
        for one in rows
        if one["value"] != "n"
    }
    (place / "config").write_text("".join(f"CONFIG_{key}={value}\n" for key, value in quoted.items()))
    (place / "symbols.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return Subject(
        name=name,
        stock=stock,
        source="Linux 6.12",
        config=place / "config",
        wanted=tuple(wanted),
        values=quoted,
        configuration=Configuration(name, place / "config"),
    )
