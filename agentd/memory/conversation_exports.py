"""Reading conversations that were made elsewhere: JSON Lines, and the exports of ChatGPT and Claude.

Each reader takes the file's bytes and returns sessions, and a line for each record that cannot be used.
What the services write is described nowhere officially but by the files themselves: ChatGPT's
`conversations.json` is a list of trees of messages, of which the branch that ends at `current_node` is what
the person saw; Claude's is a list of `chat_messages`. Not for: storing them (turns_import.py).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agentd.turns_import import ImportedSession, ImportedTurn

# A record is a thing said, not a book.
LONGEST_TEXT = 256 * 1024
# Speakers that are the machine's side of a conversation.
AGENTS = frozenset({"assistant", "agent", "ai", "model", "bot"})


@dataclass(slots=True)
class Read:
    """What a file holds, and what of it cannot be used: one line each, with the place."""

    sessions: list[ImportedSession] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


class _BadRecord(Exception):
    """A record that cannot be used; the text says why."""


def read_jsonl(data: bytes) -> Read:
    """JSON Lines: each line an object with text, speaker, and id, session, time where there are any."""
    read = Read()
    sessions: dict[str, list[ImportedTurn]] = {}
    seen: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _object(line)
            speaker = _text(record, "speaker", "person")
            turn = ImportedTurn(
                ref=_text(record, "id", str(number)),
                speaker=speaker,
                role=_role(speaker),
                time=_text(record, "time", ""),
                text=_said(record.get("text")),
            )
            if turn.ref in seen:
                raise _BadRecord(f"the id {turn.ref!r} is there twice")
            seen.add(turn.ref)
            sessions.setdefault(_text(record, "session", "1"), []).append(turn)
        except _BadRecord as bad:
            read.bad.append(f"line {number}: {bad}")
    read.sessions = [ImportedSession(ref, "", turns) for ref, turns in sessions.items()]
    return read


def read_chatgpt(data: bytes) -> Read:
    """ChatGPT's conversations.json. Raises ValueError when the file as a whole is something else."""
    return _read_list(data, _chatgpt)


def read_claude(data: bytes) -> Read:
    """Claude's conversations.json. Raises ValueError when the file as a whole is something else."""
    return _read_list(data, _claude)


def _read_list(data: bytes, reader: Callable[[dict[str, Any], Read, str], ImportedSession]) -> Read:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the file is not JSON: {error}") from error
    if not isinstance(found, list):
        raise ValueError("the file is not a list of conversations")
    read = Read()
    for number, conversation in enumerate(found, start=1):
        place = f"conversation {number}"
        try:
            if not isinstance(conversation, dict):
                raise _BadRecord("it is not an object")
            session = reader(conversation, read, place)
        except _BadRecord as bad:
            read.bad.append(f"{place}: {bad}")
            continue
        if session.turns:
            read.sessions.append(session)
    return read


def _chatgpt(conversation: dict[str, Any], read: Read, place: str) -> ImportedSession:
    mapping = conversation.get("mapping")
    if not isinstance(mapping, dict):
        raise _BadRecord("it has no mapping")
    ref = _text(conversation, "conversation_id", "") or _text(conversation, "id", "")
    if not ref:
        raise _BadRecord("it has no id")
    turns: list[ImportedTurn] = []
    for node in _branch(conversation, mapping):
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        author = message.get("author")
        role = author.get("role") if isinstance(author, dict) else None
        content = message.get("content")
        # System messages, tools' output and pictures are nobody's words.
        if role not in ("user", "assistant") or not isinstance(content, dict):
            continue
        parts = content.get("parts")
        text = "\n".join(part for part in parts if isinstance(part, str)) if isinstance(parts, list) else ""
        if text.strip():
            time = message.get("create_time") or conversation.get("create_time") or ""
            _append(turns, read, place, node.get("id"), role, time, text)
    return ImportedSession(ref, _text(conversation, "title", ""), turns)


def _branch(conversation: dict[str, Any], mapping: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages' nodes from the root to the current one."""
    current = conversation.get("current_node")
    if current not in mapping:
        leaves = [
            key for key, node in mapping.items() if isinstance(node, dict) and not node.get("children")
        ]
        if not leaves:
            raise _BadRecord("its messages go round in a circle")
        current = leaves[-1]
    nodes: list[dict[str, Any]] = []
    while current is not None:
        node = mapping.get(current)
        if not isinstance(node, dict):
            raise _BadRecord(f"the message {current!r} is missing")
        nodes.append({"id": current, **node})
        if len(nodes) > len(mapping):
            raise _BadRecord("its messages go round in a circle")
        current = node.get("parent")
    return nodes[::-1]


def _claude(conversation: dict[str, Any], read: Read, place: str) -> ImportedSession:
    messages = conversation.get("chat_messages")
    ref = _text(conversation, "uuid", "")
    if not isinstance(messages, list) or not ref:
        raise _BadRecord("it has no uuid or no chat_messages")
    turns: list[ImportedTurn] = []
    for message in messages:
        if not isinstance(message, dict):
            read.bad.append(f"{place}: a message is not an object")
            continue
        text = message.get("text") or "\n".join(_claude_parts(message.get("content")))
        if isinstance(text, str) and text.strip():
            role = "user" if message.get("sender") == "human" else "assistant"
            _append(turns, read, place, message.get("uuid"), role, message.get("created_at") or "", text)
    return ImportedSession(ref, _text(conversation, "name", ""), turns)


def _claude_parts(content: object) -> Iterator[str]:
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
            yield part["text"]


def _append(
    turns: list[ImportedTurn], read: Read, place: str, ref: object, role: str, time: object, text: str
) -> None:
    if not isinstance(ref, str) or not ref:
        read.bad.append(f"{place}: a message has no id")
        return
    try:
        said = _said(text)
    except _BadRecord as bad:
        read.bad.append(f"{place}: message {ref}: {bad}")
        return
    agent = role == "assistant"
    when = str(time) if isinstance(time, str | int | float) else ""
    turns.append(ImportedTurn(ref, role if agent else "", "agent" if agent else "person", when, said))


def _object(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except UnicodeDecodeError:
        raise _BadRecord("it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise _BadRecord("it is not JSON") from None
    if not isinstance(record, dict):
        raise _BadRecord("it is not an object")
    return record


def _text(record: dict[str, Any], key: str, default: str) -> str:
    value = record.get(key)
    if value is None or value == "":
        return default
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _BadRecord(f"its {key} is not a text")
    return str(value)


def _said(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _BadRecord("it has no text")
    if len(value) > LONGEST_TEXT:
        raise _BadRecord(f"its text is longer than {LONGEST_TEXT} characters")
    # Half of a surrogate pair is valid JSON and no text.
    return value.encode("utf-8", "replace").decode()


def _role(speaker: str) -> str:
    return "agent" if speaker.lower() in AGENTS else "person"
