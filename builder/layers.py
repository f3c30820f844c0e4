"""Layers of files: what `extends:` means.

A file that extends another is put on top of it: mappings merge, lists append, anything else is
replaced. Every value keeps the place where it is written. Not for: any schema (profile.py).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.errors import Mistake
from builder.yamlfile import Document, Place, Trail, nearest, read


def stack(path: Path, folders: Sequence[Path]) -> tuple[Document, list[Mistake], bool]:
    """A file on top of everything it extends, its mistakes, and False where a layer is not there.

    A base is looked for beside the file that names it, then in `folders`.
    """
    chain: list[Document] = []
    seen: list[Path] = []
    mistakes: list[Mistake] = []
    here: Path | None = path
    while here is not None:
        document, found = read(here)
        mistakes += found
        chain.append(document)
        seen.append(here)
        if found:
            return _merged(chain), mistakes, False
        base = document.values.get("extends")
        if not isinstance(base, str):  # none, or of a wrong type, which the schema tells
            break
        place = document.place(("extends",))
        here, problem, hint = _base(base, [place.path.parent, *folders], seen)
        if here is None:
            mistakes.append(Mistake(place.path, place.line, problem, hint))
            return _merged(chain), mistakes, False
    return _merged(chain), mistakes, True


def _base(name: str, folders: Sequence[Path], seen: list[Path]) -> tuple[Path | None, str, str]:
    """The file that `extends: name` means; or None, what is wrong and what to do."""
    if "/" in name:
        # A loop is known by its files' names, which a way through folders could write in ever new forms.
        return None, f"extends '{name}', which is a path", "the name of a machine, without folder and .yaml"
    for folder in folders:
        file = folder / f"{name}.yaml"
        if file in seen:
            ring = " -> ".join([*(path.stem for path in seen[seen.index(file) :]), name])
            return None, f"extends goes round in a loop: {ring}", "take one of the extends away"
        if file.is_file():
            return file, "", ""
    known = {file.stem for folder in folders for file in folder.glob("*.yaml")}
    return (
        None,
        f"extends '{name}', which is not a machine",
        nearest(name, known - {path.stem for path in seen}),
    )


def _merged(chain: list[Document]) -> Document:
    """Layers put together, the first the last word."""
    merged = chain[-1]
    for layer in reversed(chain[:-1]):
        places: dict[Trail, Place] = {}
        values = _merge(merged, layer, (), places)
        merged = Document(values, places)
    return merged


def _merge(below: Document, above: Document, trail: Trail, places: dict[Trail, Place]) -> Any:
    """The value at `trail` of two layers: mappings merge, lists append, anything else is replaced."""
    low, high = _at(below, trail), _at(above, trail)
    places[trail] = above.places[trail]
    if isinstance(low, dict) and isinstance(high, dict) and not _is_one_thing(trail):
        merged = {}
        for key in dict.fromkeys([*low, *high]):
            if key in low and key in high:
                merged[key] = _merge(below, above, (*trail, key), places)
            else:
                owner = above if key in high else below
                _copy_places(owner, (*trail, key), places, (*trail, key))
                merged[key] = (high if key in high else low)[key]
        return merged
    if isinstance(low, tuple) and isinstance(high, tuple):
        items: list[Any] = []
        for layer, values in ((below, low), (above, high)):
            for index, value in enumerate(values):
                if layer is above and value in low:
                    continue  # a layer that repeats what it builds on adds nothing
                _copy_places(layer, (*trail, index), places, (*trail, len(items)))
                items.append(value)
        return tuple(items)
    _copy_places(above, trail, places, trail)
    return high


def _at(document: Document, trail: Trail) -> Any:
    value = document.values
    for step in trail:
        value = value[step]
    return value


def _is_one_thing(trail: Trail) -> bool:
    """Mappings that say one thing, and so are replaced as a whole."""
    return trail in (("agent", "model"), ("agent", "embedder")) or (
        trail[:2] == ("kernel", "config") and len(trail) == 3
    )


def _copy_places(owner: Document, source: Trail, places: dict[Trail, Place], target: Trail) -> None:
    for trail, place in owner.places.items():
        if trail[: len(source)] == source:
            places[(*target, *trail[len(source) :])] = place
