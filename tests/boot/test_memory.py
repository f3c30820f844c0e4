"""What the machine remembers and who it is: through a first boot, a reset, power cuts and forgetting.

The tests share a machine and follow each other.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.build import BuiltImage
from builder.run import Options, spec_of
from builder.vm import Machine

SECRET = "xylophone-quartz-4711"
KEPT = "/var/lib/agentd/acknowledged"
# Adds memories until the machine is gone; what was acknowledged is on the disk before the next one begins.
ADDING = f"""
n=0
while n=$((n + 1)); do
    agent memory add "Fact number $n of this boot $1 is kept." >/dev/null || continue
    echo "$1 $n" >> {KEPT} && sync {KEPT}
done
"""


@pytest.fixture(scope="module")
def machine(built: BuiltImage, disk: Path) -> Iterator[Machine]:
    """A new machine whose owner has said by credentials who they are, and what the agent is called."""
    spec = spec_of(built, disk.parent / "run", disk, Options())
    told = (("agentd.owner", "Ada Lovelace"), ("agentd.name", "harbour"))
    spec = dataclasses.replace(spec, credentials=told, write_log=disk.with_name("writes.log"))
    with Machine(spec, tools=built.toolchain) as made:
        made.start()
        made.wait_ready()
        yield made


def agent(machine: Machine, *arguments: str, user: str = "root", timeout: float = 300) -> Any:
    """What `agent ARGUMENTS --json` says."""
    argv = ["agent", *arguments, "--json"]
    if user != "root":
        argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *argv]
    return json.loads(machine.succeed(argv, timeout=timeout))


def known_tokens(machine: Machine, turn: int) -> tuple[int, int]:
    """How many tokens of a turn's prompt there were, and how many of them were not read again."""
    log = machine.succeed(["journalctl", "-b", "-u", "agentd", "-o", "cat"])
    [(read, known)] = re.findall(rf"turn {turn} of session .*, (\d+) tokens read \((\d+) known\)", log)
    return int(read), int(known)


def test_the_first_boot_knows_its_owner_and_has_a_key(machine: Machine) -> None:
    me = agent(machine, "whoami")
    assert (me["owner"], me["name"], me["machine"]) == ("Ada Lovelace", "harbour", "qemu-x86_64")
    assert me["key"].startswith("ed25519:")
    assert machine.succeed("stat -c '%U %a' /var/lib/agentd/identity.key").split() == ["agentd", "600"]
    assert "harbour" in machine.succeed("cat /var/lib/agentd/vault/IDENTITY.md")


def test_the_very_first_question_does_not_read_what_was_read_by_the_builder(machine: Machine) -> None:
    answer = agent(machine, "What is a ship?", "--max-tokens", "6")
    log = machine.succeed(["journalctl", "-b", "-u", "agentd", "-o", "cat"])
    assert "the model has read the" not in log
    read, known = known_tokens(machine, answer["turn"])
    assert read > known >= 16


def test_a_memory_is_found_by_its_meaning_and_answers_name_it(machine: Machine) -> None:
    told = agent(machine, "remember that my dentist is Dr. Moreau")
    [stored] = agent(machine, "memory", "list")
    assert told["sources"][0]["id"] == stored["id"]
    machine.succeed(
        "until agent memory stats --json | grep -q '\"pending\": 0'; do sleep 1; done", timeout=300
    )
    found = agent(machine, "memory", "search", "who looks after my teeth?")
    assert found["semantic"]
    assert found["hits"][0]["id"] == stored["id"]
    unknown = agent(machine, "What is the name of my violin teacher?")
    assert unknown["text"] == "I don't know: nothing that I remember says so."


def test_another_person_has_sessions_and_memories_of_their_own(machine: Machine) -> None:
    machine.succeed("useradd --no-create-home bob && usermod -aG aether bob")
    assert agent(machine, "whoami", user="bob")["person"] == "bob"
    assert agent(machine, "memory", "list", user="bob") == []
    assert agent(machine, "sessions", user="bob") == []
    mine = agent(machine, "memory", "add", "My bike is red.", user="bob")["memory"]
    assert mine["person"] == "bob"
    assert mine["id"] not in [one["id"] for one in agent(machine, "memory", "list")]
    [owners] = agent(machine, "memory", "list")
    refused = machine.execute(
        ["setpriv", "--reuid=bob", "--regid=bob", "--init-groups", "agent", "memory", "show", owners["id"]]
    )
    assert refused.status != 0 and b"Moreau" not in refused.stdout
    agent(machine, "memory", "share", owners["id"])
    assert [one["id"] for one in agent(machine, "memory", "list", user="bob")].count(owners["id"]) == 1
    agent(machine, "memory", "share", owners["id"], "--no")


def test_the_worker_writes_its_saved_states_and_nothing_else(machine: Machine) -> None:
    machine.succeed("until ls /var/lib/agentd/kv/*.state; do sleep 1; done", timeout=120)
    worker = machine.succeed("systemctl show -P MainPID agentd-model.service").strip()
    for place in ("/tmp", "/run", "/dev/shm", "/var/lib/agentd", "/var/lib/agentd/vault"):
        as_worker = ["nsenter", "-t", worker, "-m", "setpriv", "--reuid=agentd-model", "--clear-groups"]
        machine.fail([*as_worker, "touch", f"{place}/x"])


def test_after_a_reset_a_session_goes_on_without_reading_it_again(machine: Machine) -> None:
    first = agent(machine, "What is the opposite of hot?", "--max-tokens", "6")
    state = f"/var/lib/agentd/kv/{first['session']}.state"
    machine.succeed(f"until test -e {state}; do sleep 1; done; sync", timeout=120)
    machine.reset()
    machine.wait_ready()
    assert agent(machine, "whoami")["owner"] == "Ada Lovelace"
    before = agent(machine, "history", first["session"])
    assert len(before) == 2
    second = agent(machine, "--session", first["session"], "And of big?", "--max-tokens", "4")
    read, known = known_tokens(machine, second["turn"])
    assert read - known < 20 < known


@pytest.mark.parametrize("cut", [1, 2])
def test_after_a_power_cut_every_acknowledged_memory_is_there(machine: Machine, cut: int) -> None:
    machine.spawn(["/bin/sh", "-c", ADDING, "sh", str(cut)], timeout=60)
    machine.succeed(f"until grep -q '^{cut} {cut + 2}$' {KEPT}; do sleep 0.2; done", timeout=300)
    machine.crash()  # with what the guest had not flushed
    machine.start()
    machine.wait_ready()
    acknowledged = [line.split() for line in machine.succeed(["cat", KEPT]).splitlines()]
    texts = [one["text"] for one in agent(machine, "memory", "list")]
    assert {f"Fact number {n} of this boot {boot} is kept." for boot, n in acknowledged} <= set(texts)
    assert len(texts) == len(set(texts))
    assert machine.execute(["agent", "memory", "check"]).status == 0


def test_what_is_forgotten_is_in_no_file_any_more(machine: Machine) -> None:
    def files() -> bytes:
        # Not as an argument: the guest agent logs the commands that it runs.
        searched = ["grep", "-rlF", "-f", "-", "/var/lib", "/var/log", "/var/tmp"]
        return machine.execute(searched, stdin=SECRET.encode()).stdout

    asked = f"remember that the vault code is {SECRET}".encode()
    assert machine.execute(["agent", "ask", "--json"], stdin=asked).status == 0
    [found] = [one for one in agent(machine, "memory", "list") if SECRET in one["text"]]
    assert files()
    done = machine.execute(["agent", "memory", "forget", found["id"], "--turns", "--yes"], timeout=600)
    assert done.status == 0, done.stderr
    assert files() == b""


def test_agentd_stays_small(machine: Machine) -> None:
    pid = machine.succeed("systemctl show -P MainPID agentd.service").strip()
    [line] = [
        line for line in machine.succeed(f"cat /proc/{pid}/status").splitlines() if line.startswith("VmRSS")
    ]
    assert int(line.split()[1]) < 60_000  # kB
