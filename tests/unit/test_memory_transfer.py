"""A person's own archive on another machine: notes and turns as they were, also when time has passed there.

Archives that are damaged are test_memory_archive.py's concern, turns row by row test_turns_archive.py's.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import varlink
from agentd_process import DEADLINE, Agentd, environment, eventually, running
from memory_calls import exported, members, memory, send, tar_of, texts

from agentd import import_files
from agentd.errors import AgentError
from agentd.memory import transfer


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Agentd]:
    with running(tmp_path / "here") as agentd:
        yield agentd


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Agentd]:
    """The new machine, which has introduced itself."""
    with running(tmp_path / "there") as agentd:
        eventually((agentd.state / "vault/IDENTITY.md").is_file)
        yield agentd


def vault(agentd: Agentd) -> dict[str, bytes]:
    folder = agentd.state / "vault"
    return {str(note.relative_to(folder)): note.read_bytes() for note in folder.rglob("*.md")}


def turns(agentd: Agentd) -> bytes:
    return members(exported(agentd))["turns.jsonl"]


def background_has_had_its_time(agentd: Agentd, word: str) -> None:
    """What is said is noticed in its order: when this is, so is all that came before."""
    agentd.ask(f"My vet is Dr. {word}.")
    eventually(lambda: f"My vet is Dr. {word}." in texts(agentd))


def a_life(agentd: Agentd) -> None:
    """Memories that were asked for, noticed, corrected, replaced and forgotten, a note, and a fork."""
    agentd.call("Introduce", owner="Ada Lovelace", name="harbour")
    agentd.ask("remember that the spare key is under the blue pot")
    first = agentd.ask("I moved to Porto. My dentist is Dr. Lee.")[-1]
    agentd.ask("I am allergic to peanuts.", session=first["session"])
    agentd.ask("My dentist is now Dr. Moreau.")
    agentd.call("Fork", session=first["session"])
    eventually(lambda: "My dentist is now Dr. Moreau." in texts(agentd))
    by_text = {one["text"]: one["id"] for one in memory(agentd, "List")["memories"]}
    memory(agentd, "Correct", id=by_text["I moved to Porto."], text="I moved to Porto in May.")
    preview = memory(agentd, "Preview", id=by_text["I am allergic to peanuts."])
    memory(agentd, "Forget", token=preview["token"])
    note = agentd.state / "vault/notes/garden.md"
    note.parent.mkdir(exist_ok=True)
    note.write_bytes(b"# Garden\r\n\r\nThe rhubarb wants compost.\r\n")
    eventually(lambda: bool(memory(agentd, "Search", query="rhubarb compost")["hits"]))


def test_an_archive_brings_notes_and_turns_as_they_were_and_they_stay_so(
    here: Agentd, there: Agentd
) -> None:
    a_life(here)
    archive = exported(here)
    send(there, archive, "archive")
    notes, said = vault(here), members(archive)["turns.jsonl"]
    assert (vault(there), turns(there)) == (notes, said)
    there.kill()
    there.restart()
    assert (vault(there), turns(there)) == (notes, said)
    background_has_had_its_time(there, "Moss")
    # But for what was said there just now.
    [noticed] = [one for one in memory(there, "List")["memories"] if one["text"] == "My vet is Dr. Moss."]
    memory(there, "Forget", token=memory(there, "Preview", id=noticed["id"])["token"])
    assert vault(there) == notes
    assert set(said.splitlines()) < set(turns(there).splitlines())
    assert "I am allergic to peanuts." not in texts(there)


def test_an_archive_that_is_imported_again_changes_nothing(here: Agentd, there: Agentd) -> None:
    there.ask("The rows of the archive's turns are taken here.")
    a_life(here)
    archive = exported(here)
    first = send(there, archive, "archive")
    notes, said = vault(there), turns(there)
    again = send(there, archive, "archive")
    assert (again["sessions"], again["turns"], again["memories"], again["files"]) == (0, 0, 0, 0)
    assert again["known"] == first["turns"] + len(vault(here))
    background_has_had_its_time(there, "Moss")
    assert "I am allergic to peanuts." not in texts(there)
    assert {**vault(there), "MEMORY.md": b""} == {**notes, "MEMORY.md": b""}
    assert set(said.splitlines()) < set(turns(there).splitlines())


def test_what_was_said_before_and_after_an_import_is_noticed(here: Agentd, there: Agentd) -> None:
    here.ask("I moved to Porto.")
    archive = exported(here)
    there.ask("My cat is called Tiger.")
    send(there, archive, "archive")
    there.ask("My dog is called Rex.")
    eventually(lambda: "My dog is called Rex." in texts(there))
    assert sorted(texts(there)) == ["I moved to Porto.", "My cat is called Tiger.", "My dog is called Rex."]


def test_an_export_has_what_was_said_a_moment_ago_and_what_came_of_it(here: Agentd) -> None:
    for number in range(30):
        here.ask(f"I have {number} boats.")
    files = members(exported(here))
    assert files["turns.jsonl"].count(b'{"turn"') == 60
    assert [b"I have %d boats." % number in files["vault/MEMORY.md"] for number in range(30)] == [True] * 30


def test_an_import_that_a_power_cut_ended_is_done_again_and_stays_as_it_was(
    here: Agentd, there: Agentd
) -> None:
    a_life(here)
    archive = exported(here)
    there.kill()
    imports = there.state / "imports"
    imports.mkdir(exist_ok=True)
    (imports / "0123.part").write_bytes(archive)
    order = {"person": "owner", "format": "archive", "source": "archive", "skip": False}
    (imports / "0123.json").write_text(json.dumps(order))
    there.restart()
    eventually(lambda: not list(imports.iterdir()))
    assert vault(there) == vault(here)
    background_has_had_its_time(there, "Moss")
    assert "I am allergic to peanuts." not in texts(there)


def said_by_import(agentd: Agentd, *arguments: str) -> list[str]:
    """What `agent memory import` writes for a person when it fails: its errors, line by line."""
    command = [sys.executable, "-m", "agentd.cli", "memory", "import", "--socket", agentd.socket, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1, done
    return done.stderr.splitlines()


def test_the_hint_names_skip_only_where_it_helps(here: Agentd, tmp_path: Path) -> None:
    (tmp_path / "talk.jsonl").write_text('{"id": "a", "text": "first"}\nrubbish\n')
    assert "--skip" in said_by_import(here, str(tmp_path / "talk.jsonl"))[-1]
    (tmp_path / "talk.json").write_text("rubbish")
    assert "--skip" not in said_by_import(here, str(tmp_path / "talk.json"), "--format", "claude")[-1]
    files = members(exported(here))
    (tmp_path / "mine.tar").write_bytes(tar_of({**files, "turns.jsonl": b"another"}))
    for arguments in ([], ["--skip"]):
        *_, detail, hint = said_by_import(here, str(tmp_path / "mine.tar"), *arguments)
        assert detail == "  turns.jsonl is not as it was written: its sha256 differs"
        assert hint.endswith("nothing was imported")


def test_only_an_archive_may_be_larger_than_what_fits_into_memory(here: Agentd, tmp_path: Path) -> None:
    data = b" " * (transfer.LARGEST + 1)
    with pytest.raises(varlink.VarlinkError) as caught:
        send(here, data, "jsonl")
    assert caught.value.parameters()["detail"] == "the file is larger than 64 MiB"
    with pytest.raises(varlink.VarlinkError) as caught:
        send(here, data, "archive")
    assert caught.value.error().endswith("BadImport")
    assert not list((here.state / "imports").iterdir())


def test_the_command_says_so_before_it_sends_a_file_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    with file.open("wb") as holes:
        holes.truncate(import_files.LARGEST + 1)
    with pytest.raises(AgentError, match="larger than 64 MiB"):
        import_files.open_import(file, None)
    import_files.open_import(file, "archive").file.close()
    with file.open("ab") as holes:
        holes.truncate(import_files.LARGEST_ARCHIVE + 1)
    with pytest.raises(AgentError, match="larger than 1024 MiB"):
        import_files.open_import(file, "archive")
    folder = tmp_path / "notes"
    folder.mkdir()
    file.rename(folder / "large.md")
    with pytest.raises(AgentError, match="more than 64 MiB of notes"):
        import_files.open_import(folder, None)


def test_the_command_and_agentd_have_the_same_limits() -> None:
    assert import_files.LARGEST == transfer.LARGEST
    assert import_files.LARGEST_ARCHIVE == transfer.LARGEST_ARCHIVE
