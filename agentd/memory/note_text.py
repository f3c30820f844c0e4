"""The text of a note: its front matter, its blocks, and the passages that make it searchable.

Just enough of Markdown to know which lines belong together, in one pass over the text, so that time grows
with the text's length alone. Positions are in characters of the whole text. What a list item with an id says
is note_item.py's concern.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentd.memory.ids import passage_id
from agentd.memory.memory import Passage
from agentd.memory.note_item import BULLET, NoteError, comment

FRONT_MATTER_BYTES = 64 << 10
_FRONT_MATTER_DEPTH = 20
# About what the embedder reads of a passage: 256 tokens are 1,000 to 1,500 characters of English.
PASSAGE_CHARACTERS = 1500
HEADING_CHARACTERS = 200
# 8 MiB of ordinary text has half of that; a file made to have more must not take agentd's time and memory.
MAX_BLOCKS = 200_000

_FRONT_MATTER_END = re.compile(r"^---[ \t\r]*$", re.MULTILINE)
_BLANK_LINES = re.compile(r"(?:[ \t\r]*\n)+")
_HEADING = re.compile(r"#{1,6}(?:[ \t]+|\Z)")


class Block(NamedTuple):
    """A heading, a code block, a list item or a paragraph: `text[start:end]` without the last line end.

    `kind` is "heading", "code", "item" or "text". A list item has its `lines`, without the id comment if it
    has one, of which `words` are the words.
    """

    kind: str
    start: int
    end: int
    line: int
    words: Sequence[str] = ()
    lines: Sequence[str] = ()


class Prose(NamedTuple):
    """Neighbouring blocks below one heading, none of which is a memory: `text[start:end]`."""

    start: int
    end: int
    line: int
    heading: str


@dataclass(slots=True)
class Layout:
    """What is where in a note; `title` is the first heading, `code` the ends of the code blocks."""

    front: dict[str, Any]
    start: int
    title: str = ""
    memories: list[Block] = field(default_factory=list)
    prose: list[Prose] = field(default_factory=list)
    code: list[tuple[int, int]] = field(default_factory=list)


def layout(text: str) -> Layout:
    """What is where in `text`. Raises NoteError for what makes the note as a whole unusable."""
    found = Layout(*front_matter(text))
    ids: dict[str, int] = {}
    heading = ""
    first: Block | None = None
    end = 0

    def close() -> None:
        nonlocal first
        if first:
            found.prose.append(Prose(first.start, end, first.line, heading))
        first = None

    for count, block in enumerate(_blocks(text, found.start)):
        if count >= MAX_BLOCKS:
            raise NoteError(f"the note has more than {MAX_BLOCKS} paragraphs, headings and list items")
        if block.kind == "heading":
            close()
            heading = _heading(text[block.start : block.end])
            found.title = found.title or heading
        elif block.words:
            close()
            if (line := ids.setdefault(block.words[0], block.line)) != block.line:
                raise NoteError(f"the id {block.words[0]} is on line {line} already", block.line)
            found.memories.append(block)
        else:
            if first and block.end - first.start > PASSAGE_CHARACTERS:
                close()
            first, end = first or block, block.end
            if block.kind == "code":
                found.code.append((block.start, block.end))
    close()
    return found


def front_matter(text: str) -> tuple[dict[str, Any], int]:
    """The YAML between two lines `---` at the head of `text`, and where the rest begins.

    Every scalar is the text that was written: a name `no`, a number 007 and a date stay as they are. Raises
    NoteError if it is no mapping, has aliases or anchors (a small file can mean billions of values), is
    nested more than 20 deep or larger than 64 KiB.
    """
    begin = 1 if text.startswith("\ufeff") else 0
    head = text.find("\n", begin)
    if text[begin : head if head >= 0 else len(text)].rstrip(" \t\r") != "---":
        return {}, begin
    end = _FRONT_MATTER_END.search(text, head) if head >= 0 else None
    if end is None:
        raise NoteError("the front matter has no closing line ---", 1)
    source = text[head + 1 : end.start()]
    if len(source) > FRONT_MATTER_BYTES or len(source.encode("utf-8", "replace")) > FRONT_MATTER_BYTES:
        raise NoteError(f"the front matter is larger than {FRONT_MATTER_BYTES >> 10} KiB", 1)
    found = _yaml(source)
    return found, min(end.end() + 1, len(text))


def _yaml(source: str) -> dict[str, Any]:
    if not source.strip():
        return {}
    import yaml

    class Loader(yaml.BaseLoader):
        """Builds texts, lists and mappings alone, and each as often as it is written."""

        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line + 2
            if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
                raise NoteError("the front matter has an alias or anchor, which is not allowed", line)
            if self.depth >= _FRONT_MATTER_DEPTH:
                raise NoteError(f"the front matter is nested more than {_FRONT_MATTER_DEPTH} deep", line)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    try:
        found = yaml.load(source, Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark else 1
        raise NoteError(f"the front matter is no YAML: {error.problem}", line) from error
    except yaml.YAMLError as error:
        raise NoteError(f"the front matter is no YAML: {str(error).splitlines()[0]}", 1) from error
    except (ValueError, OverflowError) as error:  # PyYAML's, for "\UFFFFFFFF"
        raise NoteError("the front matter names a character that there is not", 1) from error
    if not isinstance(found, dict):
        raise NoteError("the front matter is no list of `key: value`", 2)
    return found


def _blocks(text: str, start: int) -> Iterator[Block]:
    """The blocks of `text` from `start`, which is at the beginning of a line.

    A code block counts only if it is closed: a stray ``` does not swallow the rest of a note. Raises
    NoteError for a list item with two ids.
    """
    position, number = start, text.count("\n", 0, start) + 1
    fences = True
    while position < len(text):
        line, after = _line(text, position)
        if not line:
            blank = _BLANK_LINES.match(text, position)
            if not blank:
                return
            number += text.count("\n", position, blank.end())
            position = blank.end()
            continue
        fence = _fence(line) if fences else ""
        closing = _closing(fence).search(text, after) if fence else None
        fences = fences and bool(closing) == bool(fence)
        if closing:
            block, after = Block("code", position, closing.end(), number), min(closing.end() + 1, len(text))
        elif _HEADING.match(line):
            block = Block("heading", position, position + len(line), number)
        elif BULLET.match(line):
            block, after = _item(text, position, number)
        else:
            block, after = _paragraph(text, position, number)
        yield block
        number += text.count("\n", position, after)
        position = after


def _line(text: str, position: int) -> tuple[str, int]:
    """The line at `position` without blanks at its end, and where the next one begins."""
    end = text.find("\n", position)
    if end < 0:
        return text[position:].rstrip(" \t\r"), len(text)
    return text[position:end].rstrip(" \t\r"), end + 1


def _fence(line: str) -> str:
    """The run of ` or ~ that opens a code block, "" if `line` does not."""
    if not line.startswith(("```", "~~~")):
        return ""
    rest = line.lstrip(line[0])
    return "" if "`" in rest and line[0] == "`" else line[: len(line) - len(rest)]


def _closing(fence: str) -> re.Pattern[str]:
    return re.compile(rf"^{fence[0]}{{{len(fence)},}}[ \t\r]*$", re.MULTILINE)


def _begins_block(line: str) -> bool:
    return bool(BULLET.match(line) or _HEADING.match(line)) or line.startswith(("```", "~~~"))


def _paragraph(text: str, position: int, number: int) -> tuple[Block, int]:
    start = position
    line, position = _line(text, position)
    end = start + len(line)
    while position < len(text):
        line, after = _line(text, position)
        if not line or _begins_block(line):
            break
        end, position = position + len(line), after
    return Block("text", start, end, number), position


def _item(text: str, position: int, number: int) -> tuple[Block, int]:
    """The list item at `position` and where the next block may begin.

    Its own are the lines indented below it and, as long as no id has come, lines wrapped to the left edge.
    """
    start = position
    line, position = _line(text, position)
    bullet = BULLET.match(line)
    assert bullet, "called for a list item"
    inside = (bullet[1] + "  ", bullet[1] + "\t")
    lines, end, words = [line], start + len(line), list[str]()
    found = comment(line)
    while True:
        if found:
            if words:
                raise NoteError("a list item has two ids", number + len(lines) - 1)
            words = found[1]
            lines[-1] = lines[-1][: found[0]]
        blank = _BLANK_LINES.match(text, position)
        next_position = blank.end() if blank else position
        line, after = _line(text, next_position)
        lazy = not blank and not words and not _begins_block(line)
        if not line or BULLET.match(line) or not (line.startswith(inside) or lazy):
            return Block("item", start, end, number, words, lines), position
        lines += [""] * text.count("\n", position, next_position)
        lines.append(line)
        end, position = next_position + len(line), after
        found = comment(line)


def passages(text: str, prose: list[Prose], path: str) -> Iterator[tuple[Passage, int, int]]:
    """The passages that `prose` is cut into, and where in `text` each begins and ends."""
    seen: Counter[str] = Counter()
    for start, end, line, heading in prose:
        for begin, stop in _cut(text, start, end):
            raw = text[begin:stop].lstrip()
            body = raw.rstrip().replace("\r\n", "\n")
            if any(map(str.isalnum, body)):
                name = passage_id(path, body, seen[body])
                seen[body] += 1
                first = line + text.count("\n", begin, stop - len(raw))
                yield Passage(name, body, heading, first), begin, stop
            line += text.count("\n", begin, stop + 1)


def _heading(line: str) -> str:
    """What the line of a heading says, without the signs around it, at most HEADING_CHARACTERS of it."""
    words = _HEADING.sub("", line, count=1)
    bare = words.rstrip("#")
    return (words if bare and bare[-1] not in " \t" else bare.rstrip(" \t"))[:HEADING_CHARACTERS]


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Pieces of `text[start:end]` of at most PASSAGE_CHARACTERS, cut at a line's end, else between words."""
    while end - start > PASSAGE_CHARACTERS:
        limit = start + PASSAGE_CHARACTERS
        for mark in "\n ":
            cut = text.rfind(mark, start + PASSAGE_CHARACTERS // 2, limit + 1)
            if cut >= 0:
                yield start, cut
                start = cut + 1
                break
        else:
            yield start, limit
            start = limit
    yield start, end
