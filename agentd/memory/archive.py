"""The archive of everything that is remembered: one tar file that a person can open with anything.

`manifest.json` names the format, the machine and the sha256 of each other file; `manifest.sig` is the
machine's signature of it; `vault/` holds the notes, `turns.jsonl` what was said. Nothing is ever unpacked to
a disk by a name in it: files are read, checked against the manifest, and written by the vault's own rules.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from agentd.errors import BadImport
from agentd.machine_key import verify

FORMAT = "aetheros-memory"
VERSION = 1
MANIFEST, SIGNATURE, TURNS, VAULT = "manifest.json", "manifest.sig", "turns.jsonl", "vault/"
# Of one file in it, and of all of them.
LARGEST_FILE = 1 << 30
_LARGEST_MANIFEST = 64 << 20


class Signer(Protocol):
    """What signs a manifest; machine_key.MachineKey is one."""

    def public(self) -> str: ...
    def sign(self, message: bytes, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Archive:
    """A whole archive: what its manifest says, its notes by their paths in the vault, its turns' lines.

    `signed_by` is the public key whose signature holds, empty if there is none.
    """

    manifest: Mapping[str, Any]
    notes: Mapping[str, bytes]
    turns: bytes
    signed_by: str


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
    """Read and check an archive. Raises BadImport for what is wrong with it."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            found = dict(_members(tar))
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise BadImport(f"the archive cannot be read: {error}") from error
    raw = found.pop(MANIFEST, None)
    if raw is None:
        raise BadImport(f"the archive has no {MANIFEST}")
    manifest = _manifest(raw)
    signature = found.pop(SIGNATURE, b"").decode("ascii", "replace").strip()
    files: dict[str, str] = manifest["files"]
    bad = [f"{name} is not in the manifest" for name in found.keys() - files.keys()]
    bad += [f"{name} is missing" for name in files.keys() - found.keys()]
    for name, wanted in files.items():
        if name in found and hashlib.sha256(found[name]).hexdigest() != wanted:
            bad.append(f"{name} is not as it was written: its sha256 differs")
    key = str(manifest.get("key", ""))
    if signature and not verify(key, raw, signature):
        bad.append(f"{MANIFEST} is not what its machine signed")
    if bad:
        raise BadImport("the archive is damaged", sorted(bad))
    notes = {name.removeprefix(VAULT): data for name, data in found.items() if name.startswith(VAULT)}
    return Archive(manifest, notes, found.get(TURNS, b""), key if signature else "")


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
        parts = member.name.split("/")
        if member.name.startswith("/") or ".." in parts or "\\" in member.name:
            raise BadImport(f"the archive has the path {member.name!r}, which leads out of it")
        if member.isdir():
            continue
        if not member.isreg():
            raise BadImport(f"{member.name!r} in the archive is no file")
        total += member.size
        if total > LARGEST_FILE:
            raise BadImport(f"the archive holds more than {LARGEST_FILE >> 20} MiB")
        data = tar.extractfile(member)
        assert data is not None, "a regular file has data"
        yield member.name, data.read()


def _manifest(raw: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(raw[:_LARGEST_MANIFEST])
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
