"""What goes wrong around a running agentd: a full disk, thousands of notes at once, notes that are none, two
who write at the same time, a clock that jumps. Nothing that was acknowledged is lost.
"""

import base64
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import varlink
from agentd_process import DEADLINE, Agentd, environment, eventually, running

from agentd.call import Watch, calling
from agentd.database import Database
from agentd.errors import InvalidMemory
from agentd.memory.memories import Memories
from agentd.memory.vault import FileState
from agentd.session import Conversations
from agentd.worker import ModelWorker

PAGE = 4096
MANY = 10_000
# kB of agentd's resident memory, as on the image (tests/boot).
LARGEST = 60_000
# Ten levels of ten references: 10 GB if anybody wrote them out.
BOMB = "---\na: &a [x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghij", "bcdefghijk", strict=True)
)


def memory(agentd: Agentd, method: str, **parameters: Any) -> dict[str, Any]:
    with calling(agentd.socket, "io.aetheros.Memory", DEADLINE) as found:
        reply: dict[str, Any] = getattr(found, method)(**parameters)
    return reply


def add(agentd: Agentd, text: str) -> str:
    id: str = memory(agentd, "Add", text=text)["memory"]["id"]
    return id


def forget(agentd: Agentd, id: str) -> dict[str, Any]:
    return memory(agentd, "Forget", token=memory(agentd, "Preview", id=id)["token"])


def take(agentd: Agentd, data: bytes, format: str) -> dict[str, Any]:
    return memory(agentd, "Import", data=base64.b64encode(data).decode(), format=format, last=True)


def listed(agentd: Agentd) -> dict[str, str]:
    return {one["id"]: one["text"] for one in memory(agentd, "List", limit=1000)["memories"]}


def found(agentd: Agentd, query: str) -> list[str]:
    return [hit["id"] for hit in memory(agentd, "Search", query=query)["hits"]]


def command(agentd: Agentd, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentd.cli", *arguments, "--socket", agentd.socket],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=DEADLINE,
        check=False,
    )


def is_refused(work: Callable[[], Any]) -> bool:
    """Whether it was refused as it is for want of room: by a declared error, with a line that says why."""
    try:
        work()
    except varlink.VarlinkError as error:
        assert error.error().split(".")[-1] in ("StoreUnavailable", "VaultConflict"), error.error()
        detail = error.parameters()["detail"]
        assert ("full" in detail or "No space left" in detail) and "\n" not in detail
        return True
    return False


# A full disk


class Disk:
    """A file system of 8 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling = folder / "filling"

    def fill(self, pages: int = 0) -> None:
        """Leave room for that many pages."""
        with self._filling.open("ab", buffering=0) as file:
            try:
                while file.write(bytes(PAGE)):
                    pass
            except OSError:
                file.truncate(os.fstat(file.fileno()).st_size - pages * PAGE)

    def free(self) -> None:
        self._filling.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounting.stderr.decode().strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_on_a_full_disk_changes_are_refused_and_everything_can_be_read(disk: Disk) -> None:
    with running(disk.folder / "state") as agentd:
        cat, dog = add(agentd, "The cat is called Bobo."), add(agentd, "The dog is called Rex.")
        session = agentd.ask("Where do the boats sail to?")[-1]["session"]
        eventually(lambda: memory(agentd, "Stats")["files"] == 2)  # the other one is IDENTITY.md
        note = agentd.state / "vault/MEMORY.md"
        before = note.read_bytes()
        disk.fill()
        for change in (
            lambda: add(agentd, "The mouse is grey."),
            lambda: memory(agentd, "Correct", id=cat, text="The cat is called Dodo."),
            lambda: forget(agentd, dog),
            lambda: take(agentd, b'{"text": "Ahoy!"}\n', "jsonl"),
            lambda: agentd.ask("And the ships?"),
            lambda: agentd.ask("Remember that the box is blue."),
        ):
            assert is_refused(change)
        told = command(agentd, "memory", "add", "The mouse is grey.")
        first, second = told.stderr.splitlines()
        assert (told.returncode, told.stdout) == (1, "")
        assert "No space left" in first and second.startswith("hint: ")
        assert listed(agentd) == {cat: "The cat is called Bobo.", dog: "The dog is called Rex."}
        assert found(agentd, "what is the cat called?")[0] == cat
        assert memory(agentd, "Show", id=dog)["text"] == "The dog is called Rex."
        assert memory(agentd, "Stats")["memories"] == 2
        assert len(agentd.call("History", session=session)["turns"]) == 2
        assert [one["id"] for one in agentd.call("Sessions")["sessions"]] == [session]
        assert "full" in agentd.call("Health")["detail"]
        assert note.read_bytes() == before

        disk.free()
        mouse = add(agentd, "The mouse is grey.")
        memory(agentd, "Correct", id=cat, text="The cat is called Dodo.")
        assert forget(agentd, dog)["items"] == 1
        assert take(agentd, b'{"text": "Ahoy!"}\n', "jsonl")["turns"] == 1
        assert agentd.ask("And the ships?")[-1]["status"] == "complete"
        assert set(listed(agentd).values()) == {"The mouse is grey.", "The cat is called Dodo."}
        assert found(agentd, "grey mouse")[0] == mouse
        assert agentd.call("Health")["healthy"]
        assert memory(agentd, "Check")["problems"] == []


def test_whatever_room_is_left_a_change_is_done_or_leaves_no_trace(disk: Disk) -> None:
    with running(disk.folder / "state") as agentd:
        promised = {
            add(agentd, text): text for text in ("The cat is called Bobo.", "The dog is called Rex.")
        }
        eventually(lambda: memory(agentd, "Stats")["files"] == 2)
        names = [""]
        refused = 0
        for room in range(48):
            disk.fill(room)
            text = f"Thing {room} lies in {'a very ' * 300} deep drawer."
            session: list[str] = []

            def say(words: str = f"Sentence {room}.", session: list[str] = session) -> None:
                session += [reply["session"] for reply in agentd.ask(words)]

            def store(text: str = text) -> None:
                promised[add(agentd, text)] = text

            def correct(id: str = min(promised), text: str = f"It was moved {room} times.") -> None:
                new = memory(agentd, "Correct", id=id, text=text)["memory"]["id"]
                del promised[id]
                promised[new] = text

            def introduce(name: str = f"Number {room}") -> None:
                agentd.call("Introduce", owner=name, name=name)
                names.append(name)

            changes: tuple[Callable[[], Any], ...] = (say, store, correct, introduce)
            refused += sum(map(is_refused, changes))
            if session:  # the question was stored
                assert agentd.call("History", session=session[0])["turns"][0]["text"] == f"Sentence {room}."
            kept = (agentd.state / "vault/MEMORY.md").read_text()
            assert kept.endswith("-->\n")
            assert all(f"- {text} <!-- {id} " in kept for id, text in promised.items())
            assert kept.count("<!--") == len(promised)
            # Two notes.
            me = agentd.call("Whoami")
            assert me["owner"] == names[-1] and (me["name"] == names[-1] or not names[-1])
            assert not list(agentd.state.rglob(".agentd-new-*"))
            assert memory(agentd, "Search", query="what is the dog called?")["hits"]
        assert 10 < refused < 180
        disk.free()
        assert memory(agentd, "Check")["problems"] == []
        assert listed(agentd) == promised


def test_agentd_starts_on_a_full_disk_and_says_so(disk: Disk) -> None:
    with running(disk.folder / "state") as agentd:
        cat = add(agentd, "The cat is called Bobo.")
        session = agentd.ask("Where do the boats sail to?")[-1]["session"]
        eventually(lambda: memory(agentd, "Stats")["files"] == 2)
        agentd.stop()
        disk.fill()
        agentd.restart()
        agentd.wait_for("the disk has no room", times=2)  # agent.db and index.db
        assert found(agentd, "what is the cat called?")[0] == cat
        assert len(agentd.call("History", session=session)["turns"]) == 2
        assert "full" in agentd.call("Health")["detail"]
        assert is_refused(lambda: agentd.ask("And the ships?"))
        assert is_refused(lambda: add(agentd, "The mouse is grey."))
        disk.free()
        mouse = add(agentd, "The mouse is grey.")
        assert agentd.ask("And the ships?")[-1]["status"] == "complete"
        assert listed(agentd).keys() == {cat, mouse}
        assert agentd.call("Health")["healthy"]
        assert memory(agentd, "Check")["problems"] == []


# Thousands of notes


def test_while_thousands_of_notes_are_indexed_questions_are_answered(tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    with running(tmp_path / "state") as agentd:
        add(agentd, "The cat is called Bobo.")
        copied = agentd.state / "vault/copied"
        copied.mkdir()
        for folder in (moved, copied):
            for number in range(MANY // 2):
                text = f"# Note {number}\n\nThe ferry number {number} leaves pier {number % 97}.\n"
                (folder / f"{number}.md").write_text(text)
            if folder is moved:
                moved.rename(agentd.state / "vault/moved")
        # How much was indexed after each answer. One that waits for the end of it all is none in between.
        seen: set[int] = set()
        number = 0
        deadline = time.monotonic() + 20 * DEADLINE
        index = sqlite3.connect(f"file:{agentd.state / 'index.db'}?mode=ro", uri=True)
        while (files := index.execute("SELECT count(*) FROM files").fetchone()[0]) < MANY + 2:
            assert time.monotonic() < deadline, f"{files} files are indexed"
            seen.add(files)
            number += 1
            add(agentd, f"Box {number} is on shelf {number * 3}.")
            assert agentd.ask(f"Where is box {number}?")[-1]["status"] == "complete"
        index.close()
        assert len([files for files in seen if 2 < files < MANY]) >= 5
        assert memory(agentd, "Search", query="ferry number 4321 pier")["hits"]
        assert memory(agentd, "Stats")["files"] == MANY + 2
        status = Path(f"/proc/{agentd.process.pid}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) <= LARGEST
        assert len(listed(agentd)) == number + 1
        assert memory(agentd, "Check")["problems"] == []


# Notes that are none


def test_notes_that_cannot_be_read_are_told_once_and_hold_nothing_up(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.md").write_text("The password is xylophone.\n")
    with running(tmp_path / "state") as agentd:
        cat = add(agentd, "The cat is called Bobo.")
        vault = agentd.state / "vault"
        bad = {"latin.md": b"# fine\ncaf\xe9\n", "bomb.md": f"{BOMB}---\nhello\n".encode()}
        (vault / "link.md").symlink_to(outside / "secret.md")
        (vault / "linked").symlink_to(outside)
        os.mkfifo(vault / "fifo.md")
        for name, data in bad.items():
            (vault / name).write_bytes(data)
        (outside / "large.md").write_text("The wharf has a crane.\n\n" + "and more of it " * 350_000)
        (outside / "large.md").rename(vault / "large.md")
        (vault / "line\nbreak.md").write_text("The rhubarb wants compost.\n")
        (vault / "\U0001f331.md").write_text("The beans want a pole.\n")
        assert add(agentd, "The dog is called Rex.")
        assert agentd.ask("What is the cat called?")[-1]["status"] == "complete"
        eventually(lambda: memory(agentd, "Stats")["files"] == 5, 4 * DEADLINE)
        wrong = memory(agentd, "Stats")["problems"]
        names = ["bomb.md", "fifo.md", "latin.md", "link.md", "linked"]
        assert [line.split(":")[0] for line in wrong] == [f"'{name}'" for name in names]
        shown = command(agentd, "memory", "stats")
        assert shown.returncode == 0
        assert [shown.stderr.count(f"'{name}'") for name in names] == [1] * 5
        for query, name in (
            ("rhubarb", "line\nbreak.md"),
            ("beans", "\U0001f331.md"),
            ("wharf", "large.md"),
        ):
            assert memory(agentd, "Search", query=query)["hits"][0]["file"] == name
        assert not memory(agentd, "Search", query="xylophone")["hits"]
        assert found(agentd, "what is the cat called?")[0] == cat

        # Looked at again, they are not told again.
        (vault / "more.md").write_text("The plums are ripe.\n")
        eventually(lambda: bool(memory(agentd, "Search", query="plums")["hits"]), 4 * DEADLINE)
        assert memory(agentd, "Check")["problems"] == wrong
        assert sum("cannot be read; see" in line for line in agentd.lines) == len(bad)
        assert {name: (vault / name).read_bytes() for name in bad} == bad
        assert (vault / "link.md").is_symlink() and stat.S_ISFIFO((vault / "fifo.md").stat().st_mode)
        (vault / "latin.md").write_text("# fine\ncaf\u00e9\n")
        eventually(lambda: len(memory(agentd, "Stats")["problems"]) == 4, 4 * DEADLINE)


@contextmanager
def another_person() -> Iterator[str]:
    """Connections made here are those of another user, whose name in agentd is given."""
    os.seteuid(54321)
    try:
        yield "uid54321"
    finally:
        os.seteuid(0)


def test_what_is_wrong_with_a_note_is_told_to_its_person_and_to_the_owner() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can connect as somebody else")
    # Others may not enter the folders of tests.
    with tempfile.TemporaryDirectory() as folder, running(Path(folder, "state")) as agentd:
        for place in (Path(folder), agentd.state, Path(agentd.socket)):
            place.chmod(0o777)
        for path in ("plans.md", "people/uid54321/diary.md", "people/eve/diary.md"):
            note = agentd.state / "vault" / path
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_bytes(b"\xff")
        eventually(lambda: len(memory(agentd, "Stats")["problems"]) == 3)
        assert len(memory(agentd, "Check")["problems"]) == 3
        with another_person():
            for method in ("Stats", "Check"):
                [line] = memory(agentd, method)["problems"]
                assert line.startswith("'people/uid54321/diary.md': ")


# Two at the same time


def test_of_two_corrections_of_one_memory_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "state") as agentd:
        current = add(agentd, "Version 0.")
        archived = set()
        for number in range(1, 11):
            barrier = threading.Barrier(2)

            def correct(who: str, id: str = current, number: int = number, barrier: Any = barrier) -> str:
                barrier.wait(DEADLINE)
                text = f"Version {number} by {who}."
                try:
                    return str(memory(agentd, "Correct", id=id, text=text)["memory"]["id"])
                except varlink.VarlinkError as error:
                    assert error.error() == "io.aetheros.Memory.InvalidMemory"
                    return f"refused: {error.parameters()['detail']}"

            with ThreadPoolExecutor(2) as pool:
                refused, winner = sorted(pool.map(correct, ("Ada", "Bob")), key=lambda said: said[0] == "m")
            assert refused == f"refused: {current} has been replaced by {winner}: correct that one"
            archived.add(current)
            current = winner
        assert list(listed(agentd)) == [current]
        known = memory(agentd, "List", archived=True)["memories"]
        assert {one["id"] for one in known} == {current} | archived
        assert [one["text"].split(" by ")[0] for one in reversed(known)] == [
            f"Version {number}{'' if number else '.'}" for number in range(11)
        ]
        assert memory(agentd, "Check")["problems"] == []


@pytest.fixture
def memories(tmp_path: Path) -> Iterator[Memories]:
    with opened(tmp_path) as found:
        yield found


@contextmanager
def opened(state: Path) -> Iterator[Memories]:
    """A real vault, history and index, without a model."""
    database = Database(state / "agent.db")
    found = Memories(state, Conversations(database), ModelWorker(str(state / "nobody.sock")))
    try:
        yield found
    finally:
        found.close()
        database.close()


def test_a_correction_and_an_edit_by_hand_at_the_same_moment_are_both_kept(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = memories.add("The cat is called Bobo.", "owner")[0]
    dog = memories.add("The dog is called Rex.", "owner")[0]
    note = memories.vault.folder / "MEMORY.md"
    write = memories.vault.write
    saved: list[str] = []

    def meanwhile(path: str, text: str, **named: Any) -> FileState:
        if path == "MEMORY.md" and not saved:  # after agentd has read it, and before it writes
            saved.append(note.read_text().replace("called Rex", "called Rover") + "- Buy bread\n")
            note.write_text(saved[0])
        return write(path, text, **named)

    monkeypatch.setattr(memories.vault, "write", meanwhile)
    new = memories.correct(cat.id, "The cat is called Dodo.", "owner")[0]
    assert saved
    memories.indexing.files()
    assert {(one.id, one.text) for one in memories.shelf.of("owner")} == {
        (dog.id, "The dog is called Rover."),
        (new.id, "The cat is called Dodo."),
    }
    lines = note.read_text().splitlines()
    assert "- Buy bread" in lines and len(lines) == 3
    assert len(memories.listed("owner", kind=None, archived=True)) == 3
    assert memories.check("owner", repair=False) == ([], [])


def test_a_correction_that_a_broken_note_ends_half_way_is_taken_back(
    memories: Memories, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat = memories.add("The cat is called Bobo.", "owner")[0]
    memories.correct(
        memories.add("The dog is called Rex.", "owner")[0].id, "The dog is called Rover.", "owner"
    )
    vault = memories.vault
    before = {state.path: vault.read(state.path) for state in vault.scan().files}
    assert len(before) == 2  # MEMORY.md and the archive
    find = vault.find
    broken = f"---\na: [\n---\n{before['MEMORY.md']}"

    def breaking(path: str) -> str | None:
        text = find(path)
        if path != "MEMORY.md":  # a person saves a broken note once the archive is read
            (vault.folder / "MEMORY.md").write_text(broken)
        return text

    monkeypatch.setattr(vault, "find", breaking)
    with pytest.raises(Exception, match="VaultConflict"):
        memories.correct(cat.id, "The cat is called Dodo.", "owner")
    assert {path: vault.read(path) for path in before} == before | {"MEMORY.md": broken}


# A clock that jumps

CLOCK = ("2026-11-25T12:00:00Z", "1970-01-01T00:00:10Z", "2099-06-01T00:00:00Z", "2026-11-25T12:00:01Z")


def test_however_the_clock_jumps_what_was_told_later_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import datetime

    told: list[str] = []
    for number, now in enumerate(CLOCK):
        for module in ("agentd.memory.memories", "agentd.memory.indexing", "agentd.session"):
            monkeypatch.setattr(f"{module}.utc_now", lambda now=now: now)
        seconds = datetime.fromisoformat(now).timestamp()
        monkeypatch.setattr("agentd.memory.ids.time", SimpleNamespace(time=lambda seconds=seconds: seconds))
        # Each time agentd is started anew, too: what was given out before is not in its memory.
        with opened(tmp_path) as memories:
            dentist, old = memories.add(f"My dentist is Dr. {'ABCD'[number]}.", "owner")
            assert [one.id for one in old] == told[-2:-1]
            same = memories.add(f"The harbour has a crane of type {'ABCD'[number]}.", "owner")[0]
            told += [dentist.id, same.id]
            memories.conversations.begin(f"Question {number} about the quay", None)
            # Of memories that are equally good, the one that was told last.
            found = memories.search("harbour crane type", "owner", 10, watch=Watch()).recalled.hits
            assert [hit.item.id for hit in found if hit.item.type == "memory"] == told[1::2][::-1]
            found = memories.search("who is my dentist?", "owner", 10, watch=Watch()).recalled.hits
            assert [hit.item.id for hit in found if "dentist" in hit.item.text] == [dentist.id]
    assert told == sorted(set(told))
    with opened(tmp_path) as memories:
        corrected = memories.correct(told[1], "The harbour has no crane.", "owner")[0]
        assert corrected.id > max(told)
        with pytest.raises(InvalidMemory):
            memories.correct(told[1], "The harbour has two.", "owner")
        log = memories.history.log()
        assert [change.message for change in reversed(log) if change.message.startswith("Remember")] == [
            f"Remember {id}" for id in told
        ]
        assert log[0].message == f"Correct {told[1]}"
        asked = [session.title for session in memories.conversations.sessions()]
        assert asked == [f"Question {number} about the quay" for number in (3, 2, 1, 0)]
        assert memories.check("owner", repair=False) == ([], [])
