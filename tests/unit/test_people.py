"""Who is at the other end of a connection."""

import os
import pwd
import socket
import subprocess
import sys

import pytest

from agentd.people import Person, owner_uids, peer_uid, person_of

OWNERS = frozenset({0, 500, 501})


def named(name: str, uid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """The users that there are."""
    names: dict[int, str] = {}

    def getpwuid(uid: int) -> pwd.struct_passwd:
        return named(names[uid], uid)

    monkeypatch.setattr("agentd.people.pwd.getpwuid", getpwuid)
    return names


def test_root_agentd_itself_and_the_consoles_user_are_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.people.os.geteuid", lambda: 990)
    monkeypatch.setattr("agentd.people.pwd.getpwnam", lambda name: {"aether": named("aether", 991)}[name])
    assert owner_uids() == {0, 990, 991}
    assert [person_of(uid, owner_uids()) for uid in (0, 990, 991)] == [Person("owner", True)] * 3


def test_on_a_developers_host_who_runs_agentd_is_the_owner() -> None:
    assert person_of(os.geteuid(), owner_uids()) == Person("owner", True)


def test_others_have_their_user_name(names: dict[int, str]) -> None:
    names.update({1000: "anna", 1001: "www-data", 1002: "_chrony"})
    assert [person_of(uid, OWNERS) for uid in names] == [
        Person("anna", False),
        Person("www-data", False),
        Person("_chrony", False),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "owner",
        "Anna",
        "anna.lee",
        "änne",
        "../../etc",
        "-rf",
        "",
        ".",
        "uid7",
        "a" * 33,
        "anna\n",
        "a b",
        "a$",
    ],
)
def test_a_name_that_could_be_mistaken_for_another_is_a_number(names: dict[int, str], name: str) -> None:
    names[1000] = name
    assert person_of(1000, OWNERS) == Person("uid1000", False)


def test_an_unknown_user_is_a_number() -> None:
    assert person_of(3_999_999_999, OWNERS) == Person("uid3999999999", False)
    assert person_of(1 << 40, OWNERS) == Person(f"uid{1 << 40}", False)


def test_no_two_users_are_one_person(names: dict[int, str]) -> None:
    names.update(
        enumerate(
            ["anna", "Anna", "ANNA", "anna.", "uid1002", "uid1001", "owner", "OWNER", "anna-1001"], 1000
        )
    )
    persons = [person_of(uid, OWNERS).name for uid in names]
    assert len(set(persons)) == len(persons)
    assert "owner" not in persons


def test_the_kernel_says_who_connected() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert peer_uid(here) == os.geteuid()
    if os.geteuid() != 0:
        pytest.skip("only root can connect as somebody else")
    # An abstract name, since others may not enter the folders of tests.
    address = f"\0aether-test-people-{os.getpid()}"
    code = (
        "import os, socket, sys; os.setuid(54321);"
        " socket.socket(socket.AF_UNIX).connect('\\0' + sys.argv[1])"
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        listening.settimeout(10)
        connecting = subprocess.Popen([sys.executable, "-c", code, address[1:]])
        connection, _ = listening.accept()
        with connection:
            assert peer_uid(connection) == 54321
        assert connecting.wait(10) == 0


def test_who_connects_by_another_kind_of_socket_is_nobody() -> None:
    with socket.socket(socket.AF_INET) as other:
        assert person_of(peer_uid(other), OWNERS) == Person("uid4294967295", False)
