"""The archive of everything that is remembered: one tar file that a person can open with anything.

`manifest.json` names the format, the machine and the sha256 of each other file; `manifest.sig` is the
machine's signature of it; `vault/` holds the notes, `turns.jsonl` what was said. Nothing is ever unpacked to
a disk by a name in it: files are read, checked against the manifest, and written by the vault's own rules.
An archive may be larger than the memory of the machine, so no more of it is held than one note or one line.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from agentd.errors import BadImport
from agentd.machine_key import verify

FORMAT = "aetheros-memory"
VERSION = 1
MANIFEST, SIGNATURE, TURNS, VAULT = "manifest.json", "manifest.sig", "turns.jsonl", "vault/"
# Bytes of all files in a tar file that is read into memory.
_LARGEST_IN_MEMORY = 1 << 30
# Of each file in an archive its name and place are kept; the others are in bytes.
MOST_FILES = 100_000
_LARGEST_MANIFEST = 64 << 20
_LARGEST_SIGNATURE = 4096
# Of a turn or session as a line: a text has 256 Ki characters at most, what the model read of it not many
# more, and a character six bytes in JSON at most.
LONGEST_LINE = 8 << 20
# A name or link longer than its field stands in a block of its own, which tarfile reads as a whole.
_LARGEST_HEADER = 1 << 20
_PIECE = 1 << 20


class Signer(Protocol):
    """What signs a manifest; machine_key.MachineKey is one."""

    def public(self) -> str: ...
    def sign(self, message: bytes, /) -> str: ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file's bytes lie in the archive, and the sha256 of them."""

    offset: int
    size: int
    sha256: str


class Archive:
    """A checked archive, read from its file piece by piece: the file stays open as long as it is used."""

    def __init__(self, file: BinaryIO, manifest: Mapping[str, Any], places: Mapping[str, _Place]) -> None:
        self._file = file
        self._places = places
        self.manifest = manifest

    def notes(self) -> Iterator[tuple[str, int]]:
        """The paths of the notes in the vault, each with its size in bytes."""
        for name, place in self._places.items():
            if name.startswith(VAULT):
                yield name.removeprefix(VAULT), place.size

    def note(self, path: str) -> bytes:
        """The note that has this path in the vault."""
        place = self._places[VAULT + path]
        self._file.seek(place.offset)
        return self._file.read(place.size)

    def turns(self) -> Iterator[bytes]:
        """The lines of sessions and turns. Raises BadImport for one that is longer than LONGEST_LINE."""
        place = self._places.get(TURNS)
        position, end = (place.offset, place.offset + place.size) if place else (0, 0)
        number = 0
        while position < end:
            # Notes may have been read since the last line.
            self._file.seek(position)
            line = self._file.readline(min(end - position, LONGEST_LINE + 1))
            number += 1
            if len(line) > LONGEST_LINE:
                raise BadImport(f"{TURNS}, line {number}: it is longer than {LONGEST_LINE >> 20} MiB")
            position += len(line)
            yield line


def write(
    file: BinaryIO,
    notes: Iterable[tuple[str, bytes]],
    turns: BinaryIO,
    about: Mapping[str, Any],
    signer: Signer,
) -> None:
    """Write an archive; `about` goes into its manifest beside the hashes."""
    hashes: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, data in notes:
            hashes[VAULT + path] = hashlib.sha256(data).hexdigest()
            _add(tar, VAULT + path, io.BytesIO(data), len(data))
        size = turns.seek(0, io.SEEK_END)
        turns.seek(0)
        hashes[TURNS] = hashlib.file_digest(turns, "sha256").hexdigest()  # type: ignore[arg-type]
        turns.seek(0)
        _add(tar, TURNS, turns, size)
        manifest = {"format": FORMAT, "version": VERSION, **about, "key": signer.public(), "files": hashes}
        data = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
        _add(tar, MANIFEST, io.BytesIO(data), len(data))
        signature = signer.sign(data).encode() + b"\n"
        _add(tar, SIGNATURE, io.BytesIO(signature), len(signature))


def read(file: BinaryIO) -> Archive:
    """Check an archive as a whole: its names, hashes and signature. Raises BadImport for what is wrong."""
    places: dict[str, _Place] = {}
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        with tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                # It keeps all that it has seen.
                tar.members.clear()
                if not _is_file(member):
                    continue
                if member.size < 0 or member.offset_data + member.size > size:
                    raise BadImport(f"the archive ends within {member.name!r}")
                places[member.name] = _place(file, member)
                if len(places) > MOST_FILES:
                    raise BadImport(f"the archive holds more than {MOST_FILES} files")
    # tarfile follows headers of headers by recursion, and numbers in them by int().
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise BadImport(f"the archive cannot be read: {error}") from error
    if MANIFEST not in places:
        raise BadImport(f"the archive has no {MANIFEST}")
    raw = _bytes(file, MANIFEST, places.pop(MANIFEST), _LARGEST_MANIFEST)
    manifest = _manifest(raw)
    files: dict[str, str] = manifest["files"]
    signature = ""
    if SIGNATURE in places:
        signed = _bytes(file, SIGNATURE, places.pop(SIGNATURE), _LARGEST_SIGNATURE)
        signature = signed.decode("ascii", "replace").strip()
    bad = [f"{name} is not in the manifest" for name in places.keys() - files.keys()]
    bad += [f"{name} is missing" for name in files.keys() - places.keys()]
    for name, wanted in files.items():
        if name in places and places[name].sha256 != wanted:
            bad.append(f"{name} is not as it was written: its sha256 differs")
    if signature and not verify(str(manifest.get("key", "")), raw, signature):
        bad.append(f"{MANIFEST} is not what its machine signed")
    if bad:
        raise BadImport("the archive is damaged", sorted(bad)[:100])
    return Archive(file, manifest, places)


def members_of(file: BinaryIO) -> dict[str, bytes]:
    """The regular files of a tar file by name. Raises BadImport."""
    try:
        with tarfile.open(fileobj=file, mode="r:*") as tar:
            return dict(_members(tar))
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise BadImport(f"the tar file cannot be read: {error}") from error


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    total = 0
    for member in tar:
        if not _is_file(member):
            continue
        total += member.size
        if total > _LARGEST_IN_MEMORY:
            raise BadImport(f"the archive holds more than {_LARGEST_IN_MEMORY >> 20} MiB")
        data = tar.extractfile(member)
        assert data is not None, "a regular file has data"
        yield member.name, data.read()


def _is_file(member: tarfile.TarInfo) -> bool:
    """Whether it is a file, not a folder. Raises BadImport for anything else, and a path that leads out."""
    parts = member.name.split("/")
    if member.name.startswith("/") or ".." in parts or "\\" in member.name:
        raise BadImport(f"the archive has the path {member.name!r}, which leads out of it")
    if member.isdir():
        return False
    if not member.isreg() or member.issparse():
        raise BadImport(f"{member.name!r} in the archive is no file")
    return True


class _Headers:
    """A file as tarfile reads the headers of a tar file from it, none of them larger than is reasonable."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell
        self.seek = file.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


def _place(file: BinaryIO, member: tarfile.TarInfo) -> _Place:
    digest = hashlib.sha256()
    file.seek(member.offset_data)
    left = member.size
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        left -= len(piece)
    return _Place(member.offset_data, member.size, digest.hexdigest())


def _bytes(file: BinaryIO, name: str, place: _Place, largest: int) -> bytes:
    if place.size > largest:
        raise BadImport(f"{name} is larger than {largest} bytes")
    file.seek(place.offset)
    return file.read(place.size)


def _manifest(raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
    except ValueError as error:
        raise BadImport(f"{MANIFEST} is not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BadImport(f"the file is no {FORMAT} archive")
    version = manifest.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise BadImport(f"the archive has version {version}; this agentd reads up to {VERSION}: it is newer")
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(isinstance(value, str) for value in files.values()):
        raise BadImport(f"{MANIFEST} has no list of files")
    return manifest


def _add(tar: tarfile.TarFile, name: str, data: BinaryIO, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    tar.addfile(member, data)
