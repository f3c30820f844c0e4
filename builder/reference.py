"""The reference tables of docs/profiles.md, made from the schemas.

`python -m builder.reference` writes them anew between their marks; a test sees that they are current.
Not for: the rest of that page.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from builder import catalogue, profile
from builder.yamlfile import Written, schemas_in

PAGE = profile.REPOSITORY / "docs/profiles.md"
TABLES: dict[str, type[Written]] = {"profile": profile.Profile, "model": catalogue.Model}
WORDS = {str: "text", int: "number", bool: "true or false"}


def table(schema: type[Written]) -> str:
    """A Markdown table of every key that a schema has, with those of the schemas in it."""
    rows = ["| key | value | default | what it is |", "|---|---|---|---|", *_rows(schema, "")]
    return "\n".join(rows)


def _rows(schema: type[Written], above: str) -> list[str]:
    rows = []
    told: list[type[Written]] = []  # a schema that is there twice is described once
    for name, field in schema.model_fields.items():
        inner = schemas_in(field.annotation)
        many = "[]" if get_origin(_bare(field.annotation)) is tuple and inner else ""
        named = ".NAME" if get_origin(_bare(field.annotation)) is dict else ""
        value = "" if inner else _value(field)
        cells = [f"`{above}{name}{many}{named}`", value, _default(field), field.description or ""]
        rows.append("| " + " | ".join(cells) + " |")
        for one in inner:
            if one not in told:
                rows += _rows(one, f"{above}{name}{many}{named}.")
        told += inner
    return rows


def _bare(annotation: Any) -> Any:
    return _bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _value(field: FieldInfo) -> str:
    return _kind(field.annotation)


def _kind(annotation: Any) -> str:
    bare = _bare(annotation)
    if get_origin(bare) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(bare))
    if get_origin(bare) is tuple:
        return f"list of {_kind(get_args(bare)[0])}"
    if get_origin(bare) is dict:
        return "keys and values"
    if bare in WORDS:
        return WORDS[bare]
    return " or ".join(dict.fromkeys(_kind(one) for one in get_args(bare) if one is not type(None)))


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if value is None or value in ("", (), {}) or isinstance(value, Written):
        return ""
    shown = ", ".join(value) if isinstance(value, tuple) else str(value)
    return f"`[{shown}]`" if isinstance(value, tuple) else f"`{shown}`"


def current(page: str) -> str:
    """The page with its tables made anew."""
    for name, schema in TABLES.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        made = f"{begin}\n\n{table(schema)}\n\n{end}"
        page = re.sub(f"{begin}.*?{end}", made.replace("\\", r"\\"), page, flags=re.DOTALL)
    return page


def main(path: Path = PAGE) -> int:
    """Write the tables into the page."""
    path.write_text(current(path.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
