"""Files are found, read and measured in a person's own folders, and nothing leads out of them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_tools import Folders
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentd.tools import files, places, reach
from agentd.tools.reach import Spot
from agentd.tools.tool import Lacking, Unfit


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    monkeypatch.setattr(places, "_places", None)
    made = Folders(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield made
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def found_names(folders: Folders, name: str, **more: str) -> list[str]:
    return [Path(one["path"]).name for one in folders.read("find", name=name, **more).facts["files"]]


# ---- where


def test_on_an_image_the_folders_are_the_vault_and_the_console_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_places", None)
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}:/elsewhere")
    assert places.vault() == tmp_path / "vault"
    assert places.roots("bob") == ()
    (tmp_path / "vault").mkdir()
    assert tmp_path / "vault" in places.roots()
    monkeypatch.delenv("STATE_DIRECTORY")
    assert places.roots() == ()  # nobody said where agentd's own folder is, so nothing is safe to read


def test_a_home_that_is_agentds_own_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_places", None)
    (tmp_path / "vault").mkdir()
    places.configure(tmp_path, tmp_path)
    assert places.roots() == (tmp_path / "vault",)


def test_a_relative_path_is_looked_for_in_every_folder(folders: Folders) -> None:
    (folders.vault / "garden.md").write_text("vault")
    assert folders.read("read", path="garden.md").text == "vault"
    (folders.home / "garden.md").write_text("home")
    assert folders.read("read", path="garden.md").text == "home"
    assert folders.read("read", path="~/garden.md").text == "home"
    assert folders.read("read", path=str(folders.vault / "garden.md")).text == "vault"


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "../outside/secret.txt",
            "notes/../../outside/secret.txt",
            "~/../outside/secret.txt",
        ),
        *(".ssh/id_ed25519", "notes/.git/config", "/", "//etc/passwd", "agent/key", "people/bob/MEMORY.md"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(folders: Folders, path: str) -> None:
    (folders.vault / "people/bob/MEMORY.md").write_text("bob's secret")
    (folders.home / "notes").mkdir()
    for verb in ("read", "space"):
        with pytest.raises(Lacking) as caught:
            folders.read(verb, **{"path" if verb == "read" else "folder": path})
        assert "\n" not in caught.value.message


def test_agentds_own_files_are_out_of_reach_by_every_name(folders: Folders) -> None:
    for path in (folders.state / "key", "agent/key", "~/agent/key"):
        with pytest.raises(Lacking, match="is agentd's own"):
            folders.read("read", path=str(path))
    assert found_names(folders, "key") == []
    with pytest.raises(Lacking, match="is agentd's own"):
        folders.read("space", folder="agent")


def test_another_person_reaches_their_own_notes_alone(folders: Folders) -> None:
    (folders.home / "mine.txt").write_text("the owner's")
    (folders.vault / "MEMORY.md").write_text("the owner's")
    (folders.vault / "people/bob/todo.md").write_text("bob's")
    assert folders.read("read", "bob", path="todo.md").text == "bob's"
    assert folders.read("find", "bob", name="*").facts["found"] == 1
    for path in ("mine.txt", "MEMORY.md", str(folders.vault / "MEMORY.md"), "../../MEMORY.md", "~/mine.txt"):
        with pytest.raises(Lacking):
            folders.read("read", "bob", path=path)
    with pytest.raises(Lacking, match="agentd reaches no folder of yours"):
        folders.read("find", "eve", name="*")
    assert "todo.md" not in found_names(folders, "*")


PARTS = st.sampled_from(
    ["..", ".", "", "~", "agent", "vault", "people", "bob", "link", "notes", "outside", ".git"]
)
ANY_PATH = st.one_of(
    st.lists(st.one_of(PARTS, st.text(max_size=8)), max_size=8).map("/".join),
    st.text(max_size=60),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=ANY_PATH, prefix=st.sampled_from(["", "~/", "HOME/", "VAULT/", "OUTSIDE/"]))
@example(path="link/secret.txt", prefix="HOME/")
@example(path="../outside/secret.txt", prefix="HOME/")
def test_no_path_whatever_reads_what_is_not_the_persons(folders: Folders, path: str, prefix: str) -> None:
    if not (folders.home / "link").is_symlink():
        (folders.home / "link").symlink_to(folders.outside)
        (folders.vault / "people/bob/secret.txt").write_text("secret")
    for name in ("home", "vault", "outside"):
        prefix = prefix.replace(name.upper(), str(getattr(folders, name)))
    whole = prefix + path
    if "\0" in whole:
        return
    for person in ("owner", "bob"):
        own = (folders.vault / "people/bob",) if person == "bob" else (folders.home, folders.vault)
        try:
            spots = reach.spots(whole, person)
        except Lacking as lacking:
            assert "\n" not in lacking.message
            continue
        for spot in spots:
            assert spot.root in own
            assert not any(name.startswith(".") or "/" in name for name in spot.names)
        if person == "owner":
            try:
                data, _ = reach.read(spots[0], 100)
            except Lacking:
                continue
            assert b"secret" not in data


# ---- reading


def test_a_text_is_shown_as_it_is(folders: Folders) -> None:
    (folders.home / "a.txt").write_bytes("# Täg\r\n\tindented  \n    more\n".encode())
    found = folders.read("read", path="a.txt")
    assert found.text == "# Täg\n\tindented  \n    more"
    assert found.facts["cut"] is False
    assert found.sources == (str(folders.home / "a.txt"),)
    (folders.home / "empty.txt").touch()
    assert folders.read("read", path="empty.txt").text.endswith("empty.txt is empty.")


def test_what_would_steer_a_terminal_is_shown_by_its_code(folders: Folders) -> None:
    (folders.home / "a.txt").write_text("red \x1b[31m bell \x07 turn \u202e next\u2028line\x0bfeed")
    assert folders.read("read", path="a.txt").text == (
        "red \\x1b[31m bell \\x07 turn \\u202e next\\u2028line\\x0bfeed"
    )


def test_a_long_text_is_cut_and_says_so(folders: Folders) -> None:
    (folders.home / "lines.txt").write_text("".join(f"{number}\n" for number in range(1000)))
    found = folders.read("read", path="lines.txt")
    assert found.text.splitlines()[files.MOST_LINES - 1] == "199"
    assert found.text.splitlines()[-1] == "... cut after 200 lines of a file of 3.9 kB."
    assert found.facts["cut"] is True
    # 10 MB in one line of two-byte letters: the cut goes through one of them.
    (folders.home / "big.txt").write_text("x" + "ä" * 5_000_000)
    found = folders.read("read", path="big.txt")
    assert found.text.startswith("xä")
    assert len(found.text) < 40_000
    assert found.text.endswith("... cut after 1 line of a file of 10.0 MB.")


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", b"caf\xe9", b"ok\0"])
def test_what_is_no_text_is_said(folders: Folders, data: bytes) -> None:
    (folders.home / "a.bin").write_bytes(data)
    with pytest.raises(Lacking, match="is no text file"):
        folders.read("read", path="a.bin")


def test_what_is_no_file_is_neither_opened_nor_waited_for(folders: Folders) -> None:
    os.mkfifo(folders.home / "fifo")
    (folders.home / "link.txt").symlink_to(folders.outside / "secret.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folders.home / "socket"))
    for name, kind in (
        ("fifo", "FIFO"),
        ("link.txt", "symbolic link"),
        ("socket", "socket"),
        ("agent", "folder"),
    ):
        with pytest.raises(Lacking, match=f"is a {kind}, not a file"):
            folders.read("read", path=name)
    if os.geteuid() == 0:
        os.mknod(folders.home / "zero", 0o600 | 0o020000, os.makedev(1, 5))
        with pytest.raises(Lacking, match="is a device, not a file"):
            folders.read("read", path="zero")
    with pytest.raises(Lacking, match="there is no such file or folder"):
        folders.read("read", path="none.txt")
    with pytest.raises(Lacking, match="one of its folders is a file or a symbolic link"):
        folders.read("read", path="link.txt/more")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_agentd_may_not_read_is_said(folders: Folders) -> None:
    (folders.home / "a.txt").touch(mode=0o000)
    with pytest.raises(Lacking, match="agentd has no permission"):
        folders.read("read", path="a.txt")


# ---- finding


def test_files_are_found_by_a_part_of_their_name_or_a_pattern(folders: Folders) -> None:
    for name in ("Tax Return 2025.PDF", "deep/er/tax.txt", "deep/other.pdf", ".hidden/tax.txt", ".tax"):
        path = folders.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert found_names(folders, "tax") == ["Tax Return 2025.PDF", "tax.txt"]
    assert found_names(folders, "*.pdf") == ["Tax Return 2025.PDF", "other.pdf"]
    assert found_names(folders, "TAX", folder="deep") == ["tax.txt"]
    assert found_names(folders, "er", folder="~/deep") == ["er", "other.pdf"]
    nothing = folders.read("find", name="zebra")
    assert nothing.text == f"No file of that name, zebra, is in {folders.home} or {folders.vault}."


def test_odd_names_are_found_and_shown_on_one_line(folders: Folders) -> None:
    (folders.home / "odd\nname\x1b[2J.txt").touch()
    (folders.home / os.fsdecode(b"odd-caf\xe9.txt")).touch()
    found = folders.read("find", name="odd")
    assert [Path(one["path"]).name for one in found.facts["files"]] == [
        "odd\nname\x1b[2J.txt",
        "odd-caf\\xe9.txt",
    ]
    assert "odd\\nname\\x1b[2J.txt" in found.text
    assert len(found.text.splitlines()) == 3
    assert folders.read("read", path="odd\nname\x1b[2J.txt").text.endswith(
        "odd\\nname\\x1b[2J.txt is empty."
    )


def test_many_files_are_cut_and_a_walk_that_is_too_long_says_so(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(files.MOST_FOUND + 5):
        (folders.home / f"a{number}").touch()
    found = folders.read("find", name="a*")
    assert found.text.endswith("... and 5 more.")
    assert found.facts["complete"] is True
    monkeypatch.setattr(reach, "MOST_ENTRIES", 10)
    cut = folders.read("find", name="a*")
    assert cut.facts["complete"] is False
    assert cut.text.endswith(files._PART)


def test_a_very_deep_folder_ends_the_walk_there(folders: Folders) -> None:
    path = folders.home.joinpath(*["d"] * 100)
    path.mkdir(parents=True)
    (path / "needle").touch()
    found = folders.read("find", name="needle")
    assert (found.facts["found"], found.facts["complete"]) == (0, False)


def test_only_a_folder_can_be_looked_into(folders: Folders) -> None:
    (folders.home / "a.txt").touch()
    with pytest.raises(Lacking, match="is a file, not a folder"):
        folders.read("find", name="a", folder="a.txt")
    with pytest.raises(Unfit, match=r"it works with files in .*home and .*vault"):
        folders.read("find", name="a", folder="/etc")


# ---- space


def test_space_is_told_by_what_takes_it(folders: Folders) -> None:
    (folders.home / "films/old").mkdir(parents=True)
    (folders.home / "films/old/a.mkv").write_bytes(bytes(range(256)) * 4000)
    os.link(folders.home / "films/old/a.mkv", folders.home / "films/b.mkv")
    (folders.home / "small.txt").write_bytes(b"x" * 10_000)
    found = folders.read("space", folder="~")
    sizes = {Path(one["path"]).name: one["bytes"] for one in found.facts["entries"]}
    assert list(sizes) == ["films", "small.txt"]
    assert 1_000_000 < sizes["films"] < 1_200_000  # the two names are one file
    assert found.facts["bytes"] == sum(sizes.values())
    assert found.facts["free"] > 0
    assert found.text.splitlines()[1].split() == ["path", "size", "share"]


def test_a_folder_without_anything_takes_nothing(folders: Folders) -> None:
    (folders.home / "empty").mkdir()
    assert folders.read("space", folder="empty").text.startswith("0 B in ")


def test_a_folder_of_the_persons_is_a_root_and_no_name_leads_above_it(folders: Folders) -> None:
    assert reach.spots("~", "owner") == (Spot(folders.home, ()),)
    with pytest.raises(Lacking, match="which agentd leaves where it is"):
        with reach.parent(Spot(folders.home, ())):
            pass
