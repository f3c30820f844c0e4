"""YAML files that a person writes: their values, the line of every value, every mistake at once.

A file is read with the lines of its keys kept, so that a mistake which a schema finds in the values
can be told as file:line with what to do. Not for: any particular schema (profile.py, catalogue.py).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarint import HexCapsInt, HexInt

from builder.errors import Mistake

Trail = tuple[str | int, ...]  # the way from a file's top to a value: ("kernel", "fragments", 0)


@dataclass(frozen=True)
class Place:
    """Where a value is written; `line` counts from 1."""

    path: Path
    line: int


@dataclass(frozen=True)
class Document:
    """The values of a file (mappings, tuples and scalars) and where each is written."""

    values: Any
    places: Mapping[Trail, Place]

    def place(self, trail: Sequence[str | int]) -> Place:
        """Where a value is written, or the nearest thing around it that is."""
        return self.places[self.written(trail)]

    def written(self, trail: Sequence[str | int]) -> Trail:
        """The part of the way to a value that the file has."""
        found = tuple(trail)
        while found not in self.places:
            found = found[:-1]
        return found


class Written(BaseModel):
    """The base of every schema for a file that people write: unknown keys and wrong types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def wrong(message: str, hint: str = "") -> PydanticCustomError:
    """The error that a schema's own validator raises: what is wrong and what to do."""
    # Braces would be taken for a template, so the texts travel as its values.
    return PydanticCustomError("written", "{message}", {"message": message, "hint": hint})


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A hint: the known word that is meant, or `otherwise`, or all that are known."""
    names = sorted(known)
    if close := difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6):
        return f"did you mean '{close[0]}'?"
    return otherwise or (f"known: {', '.join(names)}" if names else "")


def read(path: Path) -> tuple[Document, list[Mistake]]:
    """The values of a YAML 1.2 file; where it cannot be read, an empty mapping and the mistakes."""
    empty = Document({}, {(): Place(path, 1)})
    try:
        tree = YAML(typ="rt").load(path.read_text())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        text = " ".join(str(error.problem or error).split())
        return empty, [Mistake(path, mark.line + 1 if mark else 1, f"not YAML: {text}", _yaml_hint(text))]
    except RecursionError:
        return empty, [Mistake(path, 1, "not YAML: brackets too deep in each other")]
    except (YAMLError, UnicodeDecodeError) as error:
        return empty, [Mistake(path, 1, f"not YAML: {' '.join(str(error).split())}")]
    except IsADirectoryError:
        return empty, [Mistake(path, 0, "is a folder, not a file")]
    except OSError as error:
        return empty, [Mistake(path, 0, f"cannot be read: {error.strerror}")]
    if tree is None:
        return empty, [Mistake(path, 1, "the file is empty")]
    if not isinstance(tree, CommentedMap):
        return empty, [Mistake(path, 1, "expected `key: value` lines", "see docs/profiles.md")]
    places: dict[Trail, Place] = {(): Place(path, 1)}
    return Document(_plain(tree, path, (), places), places), []


def _yaml_hint(text: str) -> str:
    if "found character '\\t'" in text or "'\\t'" in text:
        return "indent with spaces, not tabs"
    if "duplicate key" in text:
        return "write the key once"
    if "mapping values are not allowed" in text:
        return "a value that holds `: ` needs quotes"
    return "check the indentation, quotes and brackets of this line and the one above"


def _plain(node: Any, path: Path, trail: Trail, places: dict[Trail, Place]) -> Any:
    """Plain values of a node; the line of every value below it is noted in `places`."""
    around = places[trail].line
    if isinstance(node, CommentedMap):
        found = {}
        for key, value in node.items():
            line = node.lc.data[key][0] + 1 if node.lc.data and key in node.lc.data else around
            places[(*trail, str(key))] = Place(path, line)
            found[str(key)] = _plain(value, path, (*trail, str(key)), places)
        return found
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            known = node.lc.data and index in node.lc.data
            places[(*trail, index)] = Place(path, node.lc.data[index][0] + 1 if known else around)
        return tuple(_plain(value, path, (*trail, i), places) for i, value in enumerate(node))
    if isinstance(node, HexInt | HexCapsInt):
        return f"0x{node:x}"  # a kernel symbol's value, the one place that wants it, wants it so
    # The round-trip loader's scalars remember how they were written: 0x10, 1_000, 'quoted'.
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


Schema = TypeVar("Schema", bound=Written)


def check(
    schema: type[Schema], document: Document, *, context: Any = None, incomplete: bool = False
) -> tuple[Schema | None, list[Mistake]]:
    """The document as `schema`, or every mistake in it; `context` reaches the schema's validators.

    `incomplete` keeps quiet about missing keys: a layer of the file could not be read at all.
    """
    try:
        return schema.model_validate(document.values, context=context), []
    except ValidationError as error:
        found = [
            _mistake(schema, document, details)
            for details in error.errors(include_url=False)
            if not (incomplete and details["type"] == "missing")
        ]
        return None, sorted(found, key=lambda m: (str(m.path), m.line))


def _mistake(schema: type[Written], document: Document, details: ErrorDetails) -> Mistake:
    trail = tuple(details["loc"])
    place = document.place(trail)
    # A wrong key's trail ends in pydantic's own "[key]".
    named = [str(step) for step in trail if not isinstance(step, int) and step != "[key]"]
    inside = ".".join(named[:-1])
    # The short form of a value has no keys of its own: name it by what is written.
    name = ".".join(str(step) for step in document.written(trail) if not isinstance(step, int))
    found = _shown(details["input"])
    context = details.get("ctx", {})
    match details["type"]:
        case "written":
            message, hint = str(context["message"]), str(context["hint"])
            # A whole file's mistakes name their own key; others are told with theirs.
            message = f"{name}: {message}" if name else message
        case "extra_forbidden":
            message = f"unknown key '{named[-1]}'" + (f" in {inside}" if inside else "")
            hint = nearest(named[-1], keys_at(schema, trail[:-1]))
        case "missing":
            message = f"key '{named[-1]}' is missing" + (f" in {inside}" if inside else "")
            hint = "see docs/profiles.md"
        case "literal_error":
            message = f"{name}: {found} is not one of {context['expected']}"
            choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
            hint = nearest(str(details["input"]), choices, otherwise="see docs/profiles.md")
        case "greater_than_equal":
            message, hint = f"{name}: {found} is too small", f"at least {context['ge']}"
        case "less_than_equal":
            message, hint = f"{name}: {found} is too large", f"at most {context['le']}"
        case kind:
            wanted = WANTED.get(kind)
            message = f"{name}: expected {wanted}, found {found}" if wanted else f"{name}: {details['msg']}"
            hint = _quoting(kind, details["input"]) or "see docs/profiles.md"
    return Mistake(place.path, place.line, message, hint)


WANTED = {
    "bool_type": "true or false",
    "dict_type": "`key: value` lines",
    "int_type": "a whole number",
    "model_type": "`key: value` lines",
    "model_attributes_type": "`key: value` lines",
    "string_type": "text",
    "tuple_type": "a list",
}


def _quoting(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, int | float):
        return "write it in quotes"
    if kind == "int_type" and isinstance(value, str) and value.isdigit():
        return "write it without quotes"
    return ""


def _shown(value: Any) -> str:
    """A value as a person would point at it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) <= 60 else repr(value[:57] + "...")
        case dict():
            return "`key: value` lines"
        case tuple():
            return "a list"
    return str(value)


def keys_at(schema: type[Written], trail: Sequence[str | int]) -> list[str]:
    """The keys that a schema knows where `trail` leads."""
    for step in trail:
        # An index, or a key of people's own choice, does not lead to another schema.
        if step in schema.model_fields:
            [schema, *_] = [*schemas_in(schema.model_fields[str(step)].annotation), schema]
    return list(schema.model_fields)


def schemas_in(annotation: Any) -> list[type[Written]]:
    """The schemas that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Written):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in schemas_in(part)]
