"""A journalctl in a folder of its own: it notes its arguments and writes what a test has laid down."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

RECORDED = Path(__file__).parent.parent / "data/journal/recorded.jsonl"
SCRIPT = """\
#!/bin/sh
here=${0%/*}
for argument; do printf '%s\\0' "$argument"; done >>"$here/arguments"
printf '\\n\\0' >>"$here/arguments"
[ -s "$here/complaint" ] && cat "$here/complaint" >&2
cat "$here/output"
[ -e "$here/waits" ] && exec sleep 60
exit "$(cat "$here/status")"
"""


def record(message: Any, *, at: float = 1e9, unit: str = "a.service", priority: int = 3, **more: str) -> str:
    """A line as journalctl writes it; `at` is in seconds since 1970."""
    fields = {
        "__REALTIME_TIMESTAMP": str(round(at * 1e6)),
        "__CURSOR": f"{at}{unit}{message}",
        "_SYSTEMD_UNIT": unit,
        "PRIORITY": str(priority),
        "MESSAGE": message,
        **more,
    }
    return json.dumps(fields)


class FakeJournalctl:
    """The program of a test; `says` sets what it writes, `calls` are the arguments that it got."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        folder.mkdir()
        program = folder / "journalctl"
        program.write_text(SCRIPT)
        program.chmod(0o755)
        self.says()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def says(
        self, lines: Sequence[str] = (), *, complaint: str = "", status: int = 0, waits: bool = False
    ) -> None:
        """Write these lines from now on, complain, end with a status or not at all."""
        text = "".join(f"{line}\n" for line in lines)
        (self._folder / "output").write_text(text, encoding="utf-8")
        (self._folder / "complaint").write_text(complaint)
        (self._folder / "status").write_text(str(status))
        if waits:
            (self._folder / "waits").touch()

    def says_what_was_recorded(self) -> None:
        """Write records of systemd 257, the newest first."""
        self.says(RECORDED.read_text().splitlines())

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of each call."""
        calls: list[list[str]] = [[]]
        for argument in (self._folder / "arguments").read_bytes().decode().split("\0")[:-1]:
            if argument == "\n":
                calls.append([])
            else:
                calls[-1].append(argument)
        return calls[:-1]
