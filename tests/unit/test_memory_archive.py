"""Archives as files: read piece by piece, and refused as a whole for whatever is wrong with one."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from memory_calls import members, tar_of

from agentd.errors import BadImport
from agentd.machine_key import MachineKey
from agentd.memory import archive

LINES = [b'{"session": {}}\n', b'{"turn": {"text": "one"}}\n', b'{"turn": {"text": "two"}}\n']


@pytest.fixture
def data(tmp_path: Path) -> bytes:
    file = io.BytesIO()
    notes = [("MEMORY.md", b"- a memory\n"), ("notes/garden.md", b"compost\n")]
    turns = io.BytesIO(b"".join(LINES))
    archive.write(file, notes, turns, {"machine": "harbour"}, MachineKey(tmp_path))
    return file.getvalue()


def made(turns: bytes, **files: bytes) -> bytes:
    """An archive without a signature."""
    inside = {"turns.jsonl": turns, **files}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in inside.items()}
    manifest = {"format": "aetheros-memory", "version": 1, "files": hashes}
    return tar_of({**inside, "manifest.json": json.dumps(manifest).encode()})


def why(data: bytes) -> str:
    with pytest.raises(BadImport) as caught:
        archive.read(io.BytesIO(data))
    return " ".join([str(caught.value.parameters["detail"]), *caught.value.parameters["bad"]])  # type: ignore[misc]


def test_what_was_written_is_read_in_any_order(data: bytes) -> None:
    found = archive.read(io.BytesIO(data))
    assert found.manifest["machine"] == "harbour"
    assert list(found.notes()) == [("MEMORY.md", 11), ("notes/garden.md", 8)]
    turns = found.turns()
    first = next(turns)
    assert found.note("notes/garden.md") == b"compost\n"
    assert [first, *turns] == LINES
    assert found.note("MEMORY.md") == b"- a memory\n"


def test_the_last_line_needs_no_end(data: bytes) -> None:
    assert list(archive.read(io.BytesIO(made(b"one\ntwo"))).turns()) == [b"one\n", b"two"]
    assert list(archive.read(io.BytesIO(made(b""))).turns()) == []


def test_a_line_that_is_too_long_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LONGEST_LINE", 8)
    turns = archive.read(io.BytesIO(made(b"1234567\n123456789\n"))).turns()
    assert next(turns) == b"1234567\n"
    with pytest.raises(BadImport, match="line 2"):
        next(turns)


def test_a_file_that_is_not_the_one_that_was_written_is_named(data: bytes) -> None:
    files = members(data)
    changed = tar_of({**files, "vault/MEMORY.md": b"- another \n"})
    assert "vault/MEMORY.md is not as it was written" in why(changed)
    assert "vault/more.md is not in the manifest" in why(tar_of({**files, "vault/more.md": b""}))
    del files["turns.jsonl"]
    assert "turns.jsonl is missing" in why(tar_of(files))


def test_a_manifest_that_its_machine_did_not_sign_is_refused(data: bytes) -> None:
    files = members(data)
    manifest = files["manifest.json"].replace(b"harbour", b"another")
    assert "not what its machine signed" in why(tar_of({**files, "manifest.json": manifest}))


def test_an_archive_that_was_cut_off_is_refused_wherever_that_was(data: bytes) -> None:
    # Without its signature, which comes last, it is whole.
    for size in range(0, data.index(b"manifest.sig"), 100):
        assert why(data[:size])


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MOST_FILES", 3, "more than 3 files"),
        ("_LARGEST_MANIFEST", 100, "manifest.json is larger"),
        ("_LARGEST_SIGNATURE", 10, "manifest.sig is larger"),
    ],
)
def test_what_a_reader_has_to_keep_is_bounded(
    data: bytes, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, reason: str
) -> None:
    monkeypatch.setattr(archive, limit, value)
    assert reason in why(data)


def header(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "trap",
    [
        lambda: header(tarfile.XHDTYPE, 2 << 20) + bytes(2 << 20),
        lambda: header(tarfile.GNUTYPE_LONGNAME, 1 << 40),
        lambda: header(tarfile.XHDTYPE, -512),
        lambda: header(tarfile.REGTYPE, 0) + header(tarfile.REGTYPE, -512),
        lambda: header(tarfile.REGTYPE, 1 << 40),
        lambda: header(tarfile.XHDTYPE, 0) * 3000,
    ],
    ids=["long header", "endless name", "negative header", "negative file", "endless file", "headers"],
)
def test_a_tar_file_that_is_a_trap_is_refused(data: bytes, trap: Callable[[], bytes]) -> None:
    assert why(trap() + data)


def test_a_file_with_holes_is_refused() -> None:
    member = tarfile.TarInfo("vault/sparse.md")
    member.type = tarfile.GNUTYPE_SPARSE
    whole = made(b"", **{"vault/sparse.md": b""})
    assert archive.read(io.BytesIO(whole))
    assert "is no file" in why(member.tobuf(tarfile.GNU_FORMAT) + whole)
