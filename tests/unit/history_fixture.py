"""Histories for tests, and what git and the bare files say about them."""

import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.memory.history import History

NOON = "2026-11-25T12:00:00Z"
SECRET = b"hunter2"
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    """What git prints, without the configuration of whoever runs the tests."""
    environment = os.environ | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    environment |= {"GIT_AUTHOR_NAME": "Max", "GIT_AUTHOR_EMAIL": "max@example.org"}
    environment |= {"GIT_COMMITTER_NAME": "Max", "GIT_COMMITTER_EMAIL": "max@example.org"}
    run = subprocess.run(
        ["git", "-C", str(folder), *arguments], env=environment, capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.decode(errors="replace")


def fsck(folder: Path) -> None:
    """Let git look for anything wrong."""
    assert git(folder, "fsck", "--strict", "--full", "--no-dangling") == ""


def texts_in(folder: Path) -> bytes:
    """All that can be read in the files beneath .git, compressed or not."""
    found = b""
    for path in folder.glob(".git*/**/*"):
        if path.is_file():
            data = path.read_bytes()
            found += str(path).encode() + data
            for match in re.finditer(rb"x[\x01\x5e\x9c\xda]", data):
                try:
                    found += zlib.decompressobj().decompress(data[match.start() :])
                except zlib.error:
                    continue
    return found


def keep_no(text: bytes) -> Callable[[str, bytes], bytes | None]:
    def rewrite(path: str, content: bytes) -> bytes | None:
        return None if "secret" in path else content.replace(text, b"[removed]")

    return rewrite


def clean_message(message: str) -> str:
    return message.replace(SECRET.decode(), "[removed]")


def loose(folder: Path, name: str) -> Path:
    return folder / ".git/objects" / name[:2] / name[2:]


def tree_of(folder: Path, revision: str) -> str:
    commit = zlib.decompress(loose(folder, revision).read_bytes()).decode()
    return commit.split("\0tree ")[1][:40]


def committed(history: History, changes: dict[str, bytes | None], message: str = "Remember") -> str:
    revision = history.commit(changes, message, "agent", NOON)
    assert revision is not None
    return revision


def told(history: History) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(change.time, change.author, change.message, change.paths) for change in history.log()]


def with_secret(history: History) -> None:
    """Six commits: text before, in, and after the secret; a secret file; a secret message."""
    history.commit({"MEMORY.md": b"- tea\n", "notes/a.md": b"a"}, "Begin", "owner", "2026-01-01T00:00:00Z")
    history.commit({"MEMORY.md": b"- tea\n- hunter2\n"}, "Add", "agent", "2026-01-02T00:00:00Z")
    history.commit({"notes/secret.md": b"hunter2 again"}, "Only", "agent", "2026-01-03T00:00:00Z")
    history.commit({"notes/a.md": b"b"}, "About hunter2", "agent", "2025-01-04T00:00:00Z")
    history.commit({"notes/secret.md": None}, "Only gone", "owner", "2026-01-05T00:00:00Z")
    history.commit({"MEMORY.md": b"- coffee\n"}, "End", "agent", "2026-01-06T00:00:00Z")


PURGED = [
    ("2026-01-06T00:00:00Z", "agent", "End", ("MEMORY.md",)),
    ("2025-01-04T00:00:00Z", "agent", "About [removed]", ("notes/a.md",)),
    ("2026-01-02T00:00:00Z", "agent", "Add", ("MEMORY.md",)),
    ("2026-01-01T00:00:00Z", "owner", "Begin", ("MEMORY.md", "notes/a.md")),
]
