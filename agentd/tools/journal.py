"""The journal as records, through `journalctl --output=json` (journalctl(1), systemd.journal-fields(7)).

journalctl runs with a fixed list of arguments and never through a shell; what it may cost is bounded in
lines, bytes and time. Whoever writes to the journal writes what he likes: every text that leaves this file
is one visible line. Not for: what is asked of the journal and how it is told (logs.py, services.py).
"""

import json
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.tools.render import visible
from agentd.tools.tool import Lacking, Unfit
from agentd.tools.units import is_unit_name

PROGRAM = "journalctl"
FOLDERS = (Path("/var/log/journal"), Path("/run/log/journal"))
# Limits of one look: records, bytes of their JSON, seconds.
MOST_LINES = 5000
MOST_BYTES = 8 << 20
MOST_SECONDS = 10.0
# Letters of one message that are kept, words of a search, letters of one word.
MOST_LETTERS = 1000
MOST_WORDS = 12
MOST_WORD = 100
FIELDS = (
    *("MESSAGE", "PRIORITY", "_SYSTEMD_UNIT", "UNIT", "SYSLOG_IDENTIFIER", "_COMM", "_PID", "_TRANSPORT"),
)
# syslog(3)'s names.
PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
ERROR = 3
_GROUP = "agentd reads the journal as a member of the group systemd-journal"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record; its texts are visible and on one line."""

    microseconds: int  # since 1970
    unit: str  # "nginx.service"; "kernel"; else who wrote it
    priority: int  # 0 (emergency) to 7 (debug)
    message: str
    pid: int | None
    cursor: str  # journalctl's name of this record

    @property
    def seconds(self) -> float:
        """Since 1970."""
        return self.microseconds / 1e6


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; all of it must hold.

    `since` and `until` are seconds since 1970. Of what is found the newest `lines` records come, or the
    first ones with `first`.
    """

    unit: str = ""
    priority: int | None = None  # this one and worse
    words: tuple[str, ...] = ()
    any_word: bool = False  # one of the words is enough
    since: float | None = None
    until: float | None = None
    this_boot: bool = False
    lines: int = 100
    first: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Records, oldest first; `complete` is False where there may be more than was read."""

    entries: tuple[Entry, ...]
    complete: bool


def read(query: Query) -> Found:
    """The records that a query is about.

    Raises Unfit for what cannot be a unit's name, and Lacking where there is no journal, agentd may not
    read it, or journalctl fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise Lacking("there is no journal here: journalctl is not installed")
    lines = max(1, min(query.lines, MOST_LINES))
    said, complaint, status, cut = _run([program, *arguments(query)], lines)
    records = [record for line in said.splitlines() if (record := _record(line))][:lines]
    # Without a record journalctl ends with 1 where it searched for words, and says nothing.
    if status and not cut and (complaint or status != 1):
        raise _failure(complaint or f"journalctl ended with {status}")
    if cut and not records:
        raise Lacking(f"the journal does not answer: nothing came within {MOST_SECONDS:g} seconds")
    if not records and not any(next(folder.glob("*/*.journal"), None) for folder in FOLDERS):
        raise Lacking("there is no journal here: none is kept, or agentd may not see it", _GROUP)
    if not query.first:
        records.reverse()
    return Found(tuple(records), not cut and len(records) < lines)


def arguments(query: Query) -> list[str]:
    """journalctl's arguments for a query. Raises Unfit for what cannot be a unit's name."""
    found = ["--output=json", f"--output-fields={','.join(FIELDS)}", "--no-pager", "--quiet"]
    if not query.first:
        # --grep= with --lines= would imply it, and nothing else does.
        found += [f"--lines={max(1, min(query.lines, MOST_LINES))}", "--reverse"]
    if query.this_boot:
        found.append("--boot=0")
    if query.unit:
        if not is_unit_name(query.unit):
            raise Unfit(f"{visible(query.unit, 60)} cannot be the name of a unit")
        found.append(f"--unit={query.unit}")
    if query.priority is not None:
        found.append(f"--priority={query.priority}")
    if query.since is not None:
        found.append(f"--since=@{max(0.0, query.since):.6f}")
    if query.until is not None:
        found.append(f"--until=@{max(0.0, query.until):.6f}")
    if query.words:
        found += [f"--grep={_pattern(query.words, query.any_word)}", "--case-sensitive=false"]
    return found


def words_of(text: str) -> tuple[str, ...]:
    """The words of a search, cut and counted; none of them has a character that cannot be shown."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return tuple(dict.fromkeys(word[:MOST_WORD] for word in kept.split()))[:MOST_WORDS]


def since(value: Any) -> float | None:
    """An argument `since` as seconds since 1970: None, such a number, or an ISO 8601 text.

    Raises Unfit for anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        # Imported here: only texts need it.
        from datetime import datetime

        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromisoformat(value).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11:
        return float(value)
    raise Unfit(f"{visible(str(value), 60)} is not a moment", "for example 2026-11-25T08:55:13")


def _pattern(words: Sequence[str], any_word: bool) -> str:
    # PCRE2: every word somewhere in the message, in any order; (?s) as a message may have several lines.
    if any_word:
        return "|".join(map(re.escape, words))
    return "(?s)^" + "".join(f"(?=.*{re.escape(word)})" for word in words)


def _run(command: list[str], lines: int) -> tuple[bytes, str, int, bool]:
    """What journalctl wrote, its complaint, its exit status, and whether it was stopped at a limit."""
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"}
    # More words than these would not change what is done about it.
    complaint, said, count, cut = b"", bytearray(), 0, False
    deadline = time.monotonic() + MOST_SECONDS
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ, True)
            waiting.register(process.stderr, selectors.EVENT_READ, False)
            while waiting.get_map() and not cut:
                left = deadline - time.monotonic()
                cut = left <= 0 or len(said) > MOST_BYTES or count > lines
                for key, _ in waiting.select(max(0.0, left)) if not cut else ():
                    piece = os.read(key.fd, 1 << 16)
                    if not piece:
                        waiting.unregister(key.fileobj)
                    elif key.data:
                        said += piece
                        count += piece.count(b"\n")
                    else:
                        complaint = (complaint + piece)[:2000]
        if cut:
            process.kill()
    return bytes(said), complaint.decode("utf-8", "replace").strip(), process.returncode, cut


def _failure(complaint: str) -> Lacking:
    line = visible(complaint.splitlines()[0], 200)
    if "insufficient permissions" in complaint or "Permission denied" in complaint:
        return Lacking("agentd may not read the journal", _GROUP)
    if "No journal files" in complaint:
        return Lacking("there is no journal here: none is kept", _GROUP)
    return Lacking(f"the journal cannot be read: {line}")


def _record(line: bytes) -> Entry | None:
    """A record; None for a line that is none, such as one that was cut off."""
    try:
        fields = json.loads(line)
        microseconds = int(fields["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    pid, priority = _text(fields.get("_PID")), _text(fields.get("PRIORITY"))
    return Entry(
        microseconds=microseconds,
        unit=visible(_who(fields), 100),
        priority=int(priority) if priority in tuple("01234567") else 6,
        message=_message(fields),
        pid=int(pid) if pid.isdecimal() and len(pid) < 12 else None,
        cursor=_text(fields.get("__CURSOR")),
    )


def _message(fields: dict[str, Any]) -> str:
    # journalctl writes null for what is longer than 4096 bytes, unless told --all.
    if "MESSAGE" in fields and fields["MESSAGE"] is None:
        return "(a message that is too long to show)"
    return visible(_text(fields.get("MESSAGE")), MOST_LETTERS)


def _who(fields: dict[str, Any]) -> str:
    # What systemd says about a unit is that unit's; UNIT= of others than PID 1 could say anything.
    about = _text(fields.get("UNIT")) if _text(fields.get("_PID")) == "1" else ""
    if _text(fields.get("_TRANSPORT")) == "kernel":
        return "kernel"
    names = ["SYSLOG_IDENTIFIER", "_COMM"]
    if fields.get("_SYSTEMD_UNIT") != "init.scope":  # systemd itself
        names.insert(0, "_SYSTEMD_UNIT")
    return about or next((text for name in names if (text := _text(fields.get(name)))), "?")


def _text(value: Any) -> str:
    """A field's text: JSON's string, a list of bytes where it is not UTF-8, or several of these."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value:
        if all(isinstance(byte, int) and 0 <= byte < 256 for byte in value):
            return bytes(value).decode("utf-8", "replace")
        return _text(value[0])
    return ""
