"""Files that the `agent` command sends to agentd for an import, and the one that it writes for an export.

A folder of Markdown goes as a tar file, the zip files of ChatGPT and Claude as the list of conversations in
them. What is inside is read by agentd; here it is only found, and bounded.
"""

import base64
import io
import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from agentd.errors import AgentError

CONVERSATIONS = "conversations.json"
# What agentd takes (memory/transfer.py): years of talk. A zip file that unpacks to more may be a trap.
LARGEST = 64 << 20
# An archive is read piece by piece.
LARGEST_ARCHIVE = 1 << 30
_NOTE = ".md"


@dataclass(frozen=True, slots=True)
class Found:
    """An open file and its format, one of those that io.aetheros.Memory.Import names."""

    file: BinaryIO
    format: str


def open_import(path: Path, given: str | None) -> Found:
    """Open what `path` names, in the format `given` or the one it looks like. Raises AgentError."""
    if str(path) == "-":
        if given is None:
            raise AgentError("which format has the standard input?", "--format jsonl")
        return Found(sys.stdin.buffer, given)
    try:
        if path.is_dir():
            if given not in (None, "markdown"):
                raise AgentError(f"{path} is a folder", "a folder is imported as markdown")
            return Found(_packed(path), "markdown")
        if zipfile.is_zipfile(path):
            return _from_zip(path, given)
        # agentd gets it in pieces, so the file stays open.
        file = path.open("rb")
    except OSError as error:
        raise AgentError(f"cannot read {path}: {error.strerror}") from error
    try:
        found = Found(file, given or _guessed(path, file))
        # Said before all of it has been sent.
        largest = LARGEST_ARCHIVE if found.format == "archive" else LARGEST
        if os.fstat(file.fileno()).st_size > largest:
            raise AgentError(f"{path} is larger than {largest >> 20} MiB")
        return found
    except BaseException:
        file.close()
        raise


def encoded(piece: bytes) -> str:
    """The piece in base64."""
    return base64.b64encode(piece).decode("ascii")


def write_whole(path: Path, pieces: Iterator[bytes]) -> int:
    """Write a file that is there as a whole or not at all; its size in bytes. Raises AgentError."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        # Private: it is everything that somebody remembers.
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        beside.rename(path)
    except OSError as error:
        raise AgentError(f"cannot write {path}: {error.strerror}", "nothing was exported") from error
    finally:
        beside.unlink(missing_ok=True)
    return size


def _packed(folder: Path) -> BinaryIO:
    """A tar file of a folder's notes, with paths below it; links are left out."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob(f"*{_NOTE}")):
            below = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in below.parts)
            if hidden or not path.is_file() or path.is_symlink():
                continue
            if packed.tell() + path.stat().st_size > LARGEST:
                raise AgentError(
                    f"{folder} holds more than {LARGEST >> 20} MiB of notes", "import a part of it"
                )
            archive.add(path, str(below), recursive=False)
    packed.seek(0)
    return packed


def _from_zip(path: Path, given: str | None) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.rsplit("/", 1)[-1] == CONVERSATIONS]
            if not names:
                raise AgentError(f"{path} has no {CONVERSATIONS}", "an export of ChatGPT or Claude has one")
            if archive.getinfo(names[0]).file_size > LARGEST:
                raise AgentError(f"{path}: {names[0]} is larger than {LARGEST >> 20} MiB")
            data = archive.read(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise AgentError(f"{path} cannot be unpacked: {error}") from error
    file = io.BytesIO(data)
    return Found(file, given or _guessed(path, file))


def _guessed(path: Path, file: BinaryIO) -> str:
    """The format that a file looks like. Raises AgentError."""
    head = file.read(1 << 16)
    file.seek(0)
    if head[257:262] == b"ustar":
        return "archive"
    if path.suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    if b'"chat_messages"' in head:
        return "claude"
    if b'"mapping"' in head:
        return "chatgpt"
    if head.lstrip()[:1] == b"{":
        return "jsonl"
    raise AgentError(f"what is {path}?", "--format archive|markdown|chatgpt|claude|jsonl")
