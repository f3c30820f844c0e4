"""A note of the vault: what it says, and changing one memory in it while every other byte stays as it is.

All of it works on text; files are vault.py's concern, a memory's own form is note_item.py's, the text around
it note_text.py's. A note that is wrong (NoteError) is never changed: a person repairs it first.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agentd.memory import note_item, note_text
from agentd.memory.memory import OWNER, Memory, Passage
from agentd.memory.note_item import NoteError, normal
from agentd.memory.note_text import Block, Layout

__all__ = ["NoteError", "ParsedNote", "add", "normal", "parse", "person_of", "remove", "replace"]

# As Obsidian has them (https://help.obsidian.md/tags): no blanks, and not of digits alone.
_TAG = re.compile(r"(?<!\S)#([\w/-]{1,200})")
_LINK = re.compile(r"\[\[([^\[\]|#\n]{1,255})(?:[|#][^\[\]\n]{0,255})?\]\]")


@dataclass(frozen=True, slots=True)
class ParsedNote:
    """What a note says. `tags` (without #) and `links` (the notes' names) come in order, each once.

    `front` holds texts, lists and mappings of them; `passages` is what is in the note beside its memories.
    """

    title: str
    tags: tuple[str, ...]
    links: tuple[str, ...]
    front: dict[str, Any]
    memories: tuple[Memory, ...]
    passages: tuple[Passage, ...]


def parse(text: str, *, path: str) -> ParsedNote:
    """What the note at `path` (in the vault) says. Raises NoteError, whose message is one line.

    A list item whose text is gone but whose id is still there is no memory any more.
    """
    found = note_text.layout(text)
    person = person_of(path)
    memories = []
    for block in found.memories:
        if body := note_item.text_of(block.lines):
            memories.append(note_item.memory_of(body, block.words, person, block.line))
    prose = _without_code(text, found)
    tags = [tag.rstrip("/") for tag in _TAG.findall(prose) if re.search(r"[^\d/-]", tag)]
    return ParsedNote(
        title=_title(found) or PurePosixPath(path).stem,
        tags=tuple(dict.fromkeys(_front_tags(found.front) + tags)),
        links=tuple(dict.fromkeys(link.strip() for link in _LINK.findall(prose))),
        front=found.front,
        memories=tuple(memories),
        passages=tuple(passage for passage, _, _ in note_text.passages(text, found.prose, path)),
    )


def add(text: str, memory: Memory) -> str:
    """`text` with `memory` as its last list item. Raises NoteError, also when its id is there already."""
    if any(block.words[0] == memory.id for block in note_text.layout(text).memories):
        raise NoteError(f"the memory {memory.id} is there already")
    newline = _newline(text)
    item = newline.join(note_item.written(memory))
    # Whether the last line has an end is kept, so that remove() gives the very same text back.
    return text + item + newline if not text or text.endswith("\n") else text + newline + item


def replace(text: str, memory: Memory) -> str:
    """`text` with `memory` in the place of the one with its id; unknown words of its comment stay.

    Raises NoteError.
    """
    block = _find(text, memory.id)
    bullet = note_item.BULLET.match(block.lines[0])
    assert bullet, "an item begins with its marker"
    extra = note_item.unknown_words(block.words)
    lines = note_item.written(memory, bullet[1], bullet[2], extra)
    return text[: block.start] + _newline(text).join(lines) + text[block.end :]


def remove(text: str, name: str, *, path: str = "") -> str:
    """`text` without the memory, or, for the note at `path`, without the passage that `name` is the id of.

    Raises NoteError, also when it is not there.
    """
    if not name.startswith("p"):
        block = _find(text, name)
        start, end = block.start, block.end
    else:
        prose = note_text.layout(text).prose
        found = [span for span in note_text.passages(text, prose, path) if span[0].id == name]
        if not found:
            raise NoteError(f"there is no passage {name} in this note")
        _, start, end = found[0]
    line_end = text.find("\n", end)
    after = text[end : line_end if line_end >= 0 else len(text)]
    if after.strip(" \t\r") or text[start - 1 : start] not in ("", "\n", "\ufeff"):
        return text[:start] + text[end:]  # a piece of a long line
    if line_end >= 0:
        return text[:start] + text[line_end + 1 :]
    return text[:start].removesuffix("\n").removesuffix("\r")


def person_of(path: str) -> str:
    """Whose memories are in the note at `path`: people/NAME/... is NAME's, all else the owner's."""
    parts = path.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "people" else OWNER


def _find(text: str, name: str) -> Block:
    for block in note_text.layout(text).memories:
        if block.words[0] == name:
            return block
    raise NoteError(f"there is no memory {name} in this note")


def _newline(text: str) -> str:
    """The line end that `text` uses. A last line that ends in a bare \\r gets a whole \\r\\n after it."""
    first = text.find("\n")
    return "\r\n" if text.endswith("\r") or (first > 0 and text[first - 1] == "\r") else "\n"


def _without_code(text: str, found: Layout) -> str:
    starts = [found.start, *(end for _, end in found.code)]
    ends = [*(start for start, _ in found.code), len(text)]
    return "\n".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _title(found: Layout) -> str:
    named = found.front.get("title")
    return named.strip() if isinstance(named, str) and named.strip() else found.title


def _front_tags(front: dict[str, Any]) -> list[str]:
    """The tags in the front matter: a list, or one text with commas or blanks between them."""
    found = front.get("tags", front.get("tag", ""))
    if isinstance(found, str):
        found = re.split(r"[,\s]+", found)
    tags = [tag.strip().removeprefix("#") for tag in found if isinstance(tag, str)]
    return [tag for tag in tags if tag]
