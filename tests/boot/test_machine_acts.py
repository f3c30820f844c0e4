"""What the agent does on a real machine, and what it notices there: one machine, asked many things.

Under emulation each command of the guest takes a second or more, so that a test asks all that it can in one.
The tests share the machine and follow each other; its power is cut only near the end.
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

OWNER = "Ada Lovelace"
# Runs the commands on its standard input, $1 at once; what each wrote, its errors and status end with NUL.
EACH = r"""
place=$(mktemp -d /run/asked-XXXXXX); count=0
while read -r line; do
    count=$((count + 1))
    { sh -c "$line" >"$place/$count" 2>"$place/$count.error" </dev/null; echo $? >"$place/$count.status"; } &
    [ $((count % $1)) -ne 0 ] || wait
done
wait
for number in $(seq $count); do
    for part in "$number" "$number.error" "$number.status"; do cat "$place/$part"; printf '\0'; done
done
rm -r "$place"
"""
HARMLESS = """
[Unit]
Description=A harmless unit
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
# Changes what a statement says in agentd's database while agentd runs, as somebody who is root might.
TAMPER = """
import sqlite3, sys
with sqlite3.connect("/var/lib/agentd/agent.db", timeout=20) as database:
    changed = [database.execute(statement).rowcount for statement in sys.argv[1:]]
database.close()
assert all(changed), changed
"""
# Asks, and leaves each reply in a file as it comes.
WAITING = "agent ask --json --stream --max-tokens 2 -- 'What is a ship?' >/run/replies"
# The keys of a keyboard (QKeyCode of QEMU) that are not named as what they write.
KEYS = {"\n": "ret"}


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command of the guest wrote, and its exit status."""

    text: str
    error: str
    status: int

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.text)
        except ValueError:
            raise AssertionError(f"no JSON: {self}") from None


@pytest.fixture(scope="module")
def machine(built: BuiltImage, disk: Path) -> Iterator[Machine]:
    """A machine that knows its owner, with a write log and two free PCI Express ports, up and at rest."""
    ports = [f"pcie-root-port,id=port{number},chassis={number},slot={number}" for number in (1, 2)]
    spec = dataclasses.replace(
        spec_of(built, disk.parent / "run", disk, Options()),
        credentials=(("agentd.owner", OWNER), ("agentd.name", "harbour")),
        write_log=disk.with_name("writes.log"),
        extra=tuple(word for port in ports for word in ("-device", port)),
    )
    with Machine(spec, tools=built.toolchain) as made:
        made.start()
        made.wait_ready()
        # What is plugged in before the boot has ended is no news.
        assert made.succeed("systemctl is-system-running --wait", timeout=120).strip() == "running"
        yield made


def each(machine: Machine, commands: list[str], *, at_once: int = 2, timeout: float = 240) -> list[Said]:
    """What each of these commands of the guest's shell did, in one call of the guest."""
    given = "".join(f"{command}\n" for command in commands).encode()
    done = machine.execute(["/bin/sh", "-c", EACH, "sh", str(at_once)], stdin=given, timeout=timeout)
    parts = done.text.split("\0")[:-1]
    assert len(parts) == 3 * len(commands), done
    return [Said(parts[index], parts[index + 1], int(parts[index + 2])) for index in range(0, len(parts), 3)]


def agent(machine: Machine, *commands: str, at_once: int = 2) -> list[Any]:
    """What `agent COMMAND --json` says, for each."""
    return [one.json for one in each(machine, [f"agent {one} --json" for one in commands], at_once=at_once)]


def wait_until(machine: Machine, command: str, seconds: float = 60) -> None:
    """Wait until a command of the guest's shell ends well."""
    loop = f"until {command}; do sleep 0.2; done"
    machine.succeed(["timeout", str(seconds), "sh", "-c", loop], timeout=seconds + 20)


def notices(machine: Machine, *, all: bool = False) -> dict[tuple[str, str], Any]:
    """The newest notice of each kind and subject."""
    [found] = agent(machine, f"notices{' --all' if all else ''}")
    return {(one["kind"], one["subject"]): one for one in reversed(found)}


def wait_for_notice(
    machine: Machine, kind: str, subject: str, *, open: bool = True, seconds: int = 60
) -> Any:
    """The notice, once it is open (or over)."""
    pattern = f'"kind": "{kind}", "subject": "{subject}"'
    wait_until(machine, f"{'' if open else '! '}agent notices --json | grep -qF '{pattern}'", seconds)
    return notices(machine, all=True)[kind, subject]


def press(machine: Machine, text: str) -> None:
    """Type on the machine's own keyboard."""
    for letter in text:
        key = {"type": "qcode", "data": KEYS.get(letter, letter)}
        machine.qmp("send-key", keys=[key], hold_time=20)


def process_of(machine: Machine, unit: str) -> str:
    return machine.succeed(f"systemctl show -P MainPID {unit}").strip()


def numbers(pattern: str, text: str) -> list[int]:
    return [int(found) for found in re.findall(pattern, text, re.MULTILINE)]


# ---- reading


def test_the_tools_read_this_machine_as_it_is(machine: Machine) -> None:
    machine.succeed("systemd-run --quiet --unit=bad false")
    machine.succeed("printf 'evil \\033[31m red line\\n' | logger -p err -t wicked")
    wait_until(machine, "systemctl is-failed --quiet bad.service", 20)
    tools = (
        *("machine.status", "machine.disks", "machine.processes by=memory", "machine.boot"),
        *("services.list", "services.status unit=bad", "services.failed"),
        *("logs.errors", "logs.search words=red"),
        *("network.addresses", "network.links", "network.ports"),
        *("files.find name=IDENTITY*", "files.read path=IDENTITY.md", "settings.show", "time.now"),
    )
    told = dict(zip(tools, agent(machine, *(f"tool {one}" for one in tools)), strict=True))
    assert {one: said["state"] for one, said in told.items()} == dict.fromkeys(tools, "done"), told
    facts = {one.split()[0]: said["facts"] for one, said in told.items()}
    text = {one.split()[0]: said["text"] for one, said in told.items()}

    [total] = numbers(r"^MemTotal: +(\d+) kB", machine.succeed("cat /proc/meminfo"))
    assert facts["machine.status"]["memory"]["total_bytes"] == total << 10
    assert facts["machine.status"]["cpus"] == machine.spec.cpus
    assert "free on the data partition" in text["machine.disks"]
    by_name = {one["name"] for one in facts["machine.processes"]["processes"]}
    assert {"systemd", "agentd", "agentd-model"} <= by_name
    assert facts["machine.boot"]["phases"]["kernel"] > 0
    assert "qemu-guest-agent.service" in {one["unit"] for one in facts["services.list"]["found"]}
    assert "exit status 1" in text["services.status"]
    assert [one["unit"] for one in facts["services.failed"]["found"]] == ["bad.service"]
    for family in ("logs.errors", "logs.search"):
        # An escape sequence reaches nobody's terminal.
        assert "evil \\x1b[31m red line" in text[family] and "\x1b" not in text[family]
    for family in ("network.addresses", "network.links"):
        assert "`systemctl enable --now systemd-networkd` turns it on" in text[family]
    assert text["network.ports"] == "Nothing listens on any port."
    assert "harbour" in text["files.read"]
    assert facts["settings.show"]["host_name"] == "aether"
    assert facts["time.now"]["zone"] == "Etc/UTC"


def test_a_sentence_is_answered_by_a_tool_and_talk_by_the_model(machine: Machine) -> None:
    asked = ('"which services failed?"', '"how full is my disk"', '"what time is it"')
    failed, full, time = agent(machine, *asked, at_once=len(asked))
    assert "bad.service" in failed["text"]
    assert "data partition" in full["text"]
    assert "UTC" in time["text"]
    for answer in (failed, full, time):
        assert answer["outcome"]["state"] == "done"
        assert answer["text"] == answer["outcome"]["text"]
    talk = machine.ask("Who wrote the play Hamlet?", max_tokens=4)
    assert talk.raw["status"] == "complete" and talk.text.strip()
    assert "outcome" not in talk.raw


# ---- acting


def test_changes_are_done_by_the_broker_and_taken_back(machine: Machine) -> None:
    machine.execute(["tee", "/run/systemd/system/harmless.service"], stdin=HARMLESS.encode())
    machine.succeed("systemctl daemon-reload && systemctl start harmless")
    state = "systemctl is-active harmless; systemctl is-enabled harmless"
    said = each(
        machine,
        [
            "agent tool services.stop unit=harmless.service --json",
            *("agent tool services.stop unit=harmless.service --yes --json", state),
            *("agent tool services.start unit=harmless --yes --json", state),
            *("agent tool services.enable unit=harmless --yes --json", state),
            *("agent undo --yes --json", state),
            "journalctl -b -u agentd-exec -o cat",
            "agent log --limit 20 --json",
        ],
        at_once=1,
    )
    asks, stopped, first, started, second, enabled, third, undone, fourth, journal, log = said
    assert (asks.json["state"], asks.status) == ("asks", 1)
    assert [one.json["state"] for one in (stopped, started, enabled, undone)] == ["done"] * 4
    states = [one.text.split() for one in (first, second, third, fourth)]
    assert states == [
        *(["inactive", "disabled"], ["active", "disabled"]),
        *(["active", "enabled"], ["active", "disabled"]),
    ]
    began = re.findall(r"^began (\w+) by person:owner, .*\"(unit\.\w+)\"", journal.text, re.MULTILINE)
    assert [verb for _, verb in began] == ["unit.stop", "unit.start", "unit.enable", "unit.disable"]
    for nonce, verb in began:
        assert f"done {nonce}: 1 of 1, {verb}" in journal.text
    newest = [(one["what"], one["about"]["tool"]) for one in log.json[:4]]
    assert newest == [(what, "agent.undo") for what in ("done", "began", "approved", "asked")]
    assert log.json[0]["about"]["place"] == "socket"


def test_who_is_not_the_agent_or_not_at_the_console_is_refused(machine: Machine) -> None:
    verbs = "varlinkctl call /run/agentd/exec.sock io.aetheros.Exec.Verbs {}"
    others = f"systemd-run --quiet --collect --wait --pipe --uid=agentd {verbs}"
    root, agentd, own, broker, off, waiting = each(
        machine,
        [
            *(verbs, others),
            "agent tool services.restart unit=agentd.service --yes --json",
            "agent tool services.stop unit=agentd-exec.socket --yes --json",
            "agent tool power.off --yes --json",
            "agent approve --json",
        ],
        at_once=1,
    )
    for refused, why in ((root, "runs as user 0"), (agentd, "not in /system.slice/agentd.service")):
        assert refused.status != 0
        assert "io.aetheros.Exec.NotAllowed" in refused.error and why in refused.text
    for denied in (own, broker):
        assert (denied.json["state"], denied.json["verdict"]["rule"]) == ("denied", "the agent stays")
    assert off.status == 2
    assert "can be approved at the console only, not from socket" in off.json["error"]
    # It still waits, for somebody at the console.
    assert ("power.off", ["console"]) in [(one["tool"], one["approve"]) for one in waiting.json]


def test_the_audit_names_what_somebody_changed_in_it(machine: Machine) -> None:
    def tampered(*statements: str) -> Any:
        assert machine.execute(["python3", "-c", TAMPER, *statements]).status == 0
        found = each(machine, ["agent log --verify --json"])[0]
        assert found.status == (1 if found.json["wrong"] else 0)
        return found.json

    [whole] = agent(machine, "log --verify")
    assert (whole["wrong"], whole.get("problem")) == ([], None)
    assert whole["journal"] == whole["entries"] >= 16
    last = whole["entries"]
    changed = tampered("UPDATE audit SET about = replace(about, 'harmless', 'harmful') WHERE number = 2")
    assert changed["wrong"] == ["entry 2 was changed, or put in another place"]
    cut = tampered(
        "UPDATE audit SET about = replace(about, 'harmful', 'harmless') WHERE number = 2",
        "CREATE TABLE kept AS SELECT * FROM audit ORDER BY number DESC LIMIT 1",
        f"DELETE FROM audit WHERE number = {last}",
    )
    assert cut["wrong"] == [f"entry {last} is missing: the journal has it"]
    assert tampered("INSERT INTO audit SELECT * FROM kept", "DROP TABLE kept")["wrong"] == []


def test_settings_are_set_and_taken_back(machine: Machine) -> None:
    state = "hostnamectl --static; readlink /etc/localtime"
    name, zone, changed = each(
        machine,
        [
            "agent tool settings.host_name name=lighthouse --yes --json",
            "agent tool time.zone zone=Berlin --yes --json",
            state,
        ],
        at_once=1,
    )
    assert changed.text.split() == ["lighthouse", "../usr/share/zoneinfo/Europe/Berlin"]
    *_, back = each(
        machine,
        [f"agent undo {one.json['entry']} --yes --json" for one in (zone, name)] + [state],
        at_once=1,
    )
    host, place = back.text.split()
    assert host == "aether"
    assert place.endswith("/UTC")


def test_a_timer_rings_once_and_its_unit_knows_nothing_of_it(machine: Machine) -> None:
    said, unit = each(
        machine,
        ["agent tool time.timer duration=3 --yes --json", "cat /etc/systemd/system/agentd-reminder-*.timer"],
        at_once=1,
    )
    assert said.json["state"] == "done"
    assert "OnCalendar=" in unit.text and "3 seconds" not in unit.text
    [id] = re.findall(r"agentd-reminder@(\w+)\.service", unit.text)
    wait_until(machine, "agent reminders --unseen --json | grep -q '\"ring\"'", 30)
    again, journal, rung = each(
        machine,
        [
            f"systemctl start agentd-reminder@{id}",
            f"journalctl -b -u agentd-reminder@{id} -o cat",
            "agent reminders --unseen --json",
        ],
        at_once=1,
    )
    assert again.status == 0
    assert f"reminder {id} rings" in journal.text and f"reminder {id} rang for" in journal.text
    [one] = rung.json
    assert (one["id"], one["text"], one["state"], one["unseen"]) == (id, "Timer of 3 seconds", "rung", 1)


# ---- awareness


def test_a_unit_that_fails_and_recovers_is_noticed(machine: Machine) -> None:
    before = notices(machine)
    assert "exit status 1" in before["unit.failed", "bad.service"]["text"]
    assert before["unit.failed", "bad.service"]["proposal"]["tool"] == "services.restart"
    # What a program wrote is told, as its own words.
    [error] = [one for key, one in before.items() if key[0] == "error" and "red line" in one["text"]]
    assert error["trust"] == "untrusted" and "\x1b" not in error["text"]
    machine.succeed("systemctl reset-failed bad.service")
    assert wait_for_notice(machine, "unit.failed", "bad.service", open=False)["state"] == "gone"


def test_devices_that_are_plugged_in_are_noticed_by_their_names(machine: Machine) -> None:
    def names() -> set[str]:
        return set(machine.succeed("ls /sys/block /sys/class/net").split())

    before = names()
    machine.qmp("blockdev-add", driver="null-co", node_name="spare", size=64 << 20)
    machine.qmp("device_add", driver="virtio-blk-pci", id="spare-disk", drive="spare", bus="port1")
    machine.qmp("netdev_add", type="user", id="spare-net", restrict=True)
    machine.qmp("device_add", driver="virtio-net-pci", id="spare-card", netdev="spare-net", bus="port2")
    # The machine's kernel has no driver that would notice by itself.
    machine.succeed("echo 1 > /sys/bus/pci/rescan && udevadm settle")
    disk, card = sorted(names() - before, key=lambda name: not name.startswith("vd"))
    added = wait_for_notice(machine, "device.added", card)
    assert added["text"] == f"The network card {card} was added."
    assert notices(machine)["device.added", disk]["text"] == f"The disk {disk} (67.1 MB) was added."

    machine.succeed(f"ip link set {card} up")
    wait_until(machine, f"ip link show {card} | grep -q LOWER_UP", 20)
    machine.qmp("set_link", name="spare-card", up=False)
    down = wait_for_notice(machine, "link.down", card)
    assert down["text"] == f"The network link {card} is down: it has no carrier."
    machine.qmp("set_link", name="spare-card", up=True)
    assert wait_for_notice(machine, "link.down", card, open=False)["state"] == "gone"


def test_a_disk_that_fills_up_and_a_clock_that_is_set_are_noticed_and_remembered(machine: Machine) -> None:
    machine.succeed(
        "fallocate -l $(($(df --output=avail -B1 /var | tail -1) - 60000000)) /var/tmp/large"
        " && date -s '-2 hours'"
    )
    full = wait_for_notice(machine, "disk.full", "/var")
    assert full["severity"] in ("warning", "critical") and full["proposal"]["tool"] == "files.space"
    clock = notices(machine)["clock.changed", "clock"]
    assert clock["text"] == "The clock was set back by 2 hours."
    # Events become memories every half minute.
    wait_until(machine, "grep -qs 'The disk at /var' /var/lib/agentd/vault/journal/*.md", 60)
    [found] = agent(machine, "memory search 'disk full'")
    assert full["text"] in " ".join(hit["text"] for hit in found["hits"][:5])
    machine.succeed("rm /var/tmp/large")
    assert wait_for_notice(machine, "disk.full", "/var", open=False)["state"] == "gone"


def test_under_memory_pressure_the_model_rests_and_a_question_waits(machine: Machine) -> None:
    rests = "journalctl -b -u agentd-model -o cat | grep -q 'memory is short: model .* rests'"
    machine.balloon(320 << 20)
    try:
        wait_until(machine, rests, 30)
        asking = machine.spawn(["sh", "-c", WAITING])
        wait_until(machine, "grep -q 'waiting for memory' /run/replies", 60)
    finally:
        machine.balloon(machine.spec.memory)
    assert machine.wait_spawned(["agent"], asking, timeout=120).status == 0
    *_, last = machine.succeed("cat /run/replies").splitlines()
    answer = json.loads(last)
    assert answer["done"] and answer["status"] == "complete"
    kernel = machine.succeed("journalctl -b -k -o cat")
    assert not re.search(r"out of memory|oom-kill|killed process", kernel, re.IGNORECASE)


def test_agentd_stays_small_with_all_of_it(machine: Machine) -> None:
    pid = process_of(machine, "agentd.service")
    [size] = numbers(r"^VmRSS:\s+(\d+) kB", machine.succeed(f"cat /proc/{pid}/status"))
    print(f"agentd: {size / 1000:.1f} MB")
    assert size <= 60_000


# ---- ends and beginnings


def test_after_a_power_cut_it_is_told_and_what_was_due_meanwhile_was_missed_once(machine: Machine) -> None:
    # The clock is two hours behind; the machine's own clock, which its next boot reads, is not.
    [before] = agent(machine, "log --verify")
    soon = machine.succeed("date -u -d '+1 hour' +%FT%T+00:00").strip()
    [set_] = agent(machine, f"tool time.remind text=soup when={soon} --yes")
    assert set_["state"] == "done"
    machine.crash()  # with what the guest had not flushed
    machine.start()
    machine.wait_ready()
    wait_until(machine, 'agent reminders --unseen --json | grep -q \'"state": "missed"\'', 60)
    reminders, verified, brief, open_ = agent(machine, "reminders", "log --verify", "brief", "notices --all")
    [soup] = [one for one in reminders if one["text"] == "soup"]
    assert (soup["state"], soup["missed"], soup["unseen"]) == ("missed", True, 1)
    assert verified["wrong"] == [] and verified["entries"] >= before["entries"] + 4
    assert brief["boots"][0]["last_ended_cleanly"] is False
    [told] = [one for one in open_ if one["kind"] == "boot"]
    assert told["text"].startswith("The machine was not shut down cleanly")


def test_a_reboot_that_is_agreed_to_at_the_console_ends_the_boot_cleanly(machine: Machine) -> None:
    wait_until(machine, "grep -aq 'Ask it something' /dev/vcs1", 90)
    mark = machine.events_seen
    press(machine, "reboot\n")
    wait_until(machine, "grep -aq 'Restart the machine?' /dev/vcs1 && grep -aq 'Type yes' /dev/vcs1", 60)
    press(machine, "yes\n")
    machine.wait_event("RESET", timeout=120, since=mark)
    machine.ready = None
    machine.wait_ready()
    brief, log, all_notices = agent(machine, "brief", "log --limit 30", "notices --all")
    # The person was last here in the boot before, when they said "reboot".
    assert [one["last_ended_cleanly"] for one in brief["boots"]] == [True]
    assert len([one for one in all_notices if one["kind"] == "boot"]) == 1
    done = [one for one in log if (one["what"], one["about"].get("tool")) == ("approved", "power.reboot")]
    assert [one["about"]["place"] for one in done] == ["console"]
