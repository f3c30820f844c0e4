"""One machine's life: boot, answers, trouble, reset, power cut, shutdown, another way to boot.

The tests share a machine and follow each other; what hurts it comes last.
"""

import dataclasses
import re
from pathlib import Path

from conversation import ask_and_kill_worker, begin_turn, call, kept_turns

from builder import boot_phases
from builder.build import BuiltImage
from builder.qemu_process import ShutdownReason
from builder.vm import Machine

PROMISED: dict[int, str] = {}  # every acknowledged turn's text, by id: nothing may ever take one away
MACHINE_IDS: set[str] = set()


def promise(machine: Machine) -> None:
    """Remember every finished turn and every question that the agent has acknowledged so far."""
    for number, turn in kept_turns(machine).items():
        if turn["role"] == "person" or turn["status"] == "complete":
            PROMISED[number] = turn["text"]


def assert_nothing_is_lost(machine: Machine) -> None:
    kept = kept_turns(machine)
    assert PROMISED
    assert {number: kept[number]["text"] for number in PROMISED if number in kept} == PROMISED


def partition(built: BuiltImage, label: str) -> tuple[int, int]:
    """Offset and size in bytes of a partition of the image."""
    [found] = [part for part in built.layout["partitions"] if part["label"] == label]
    return found["offset"], found["size"]


def bytes_of(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def test_uefi_boots_the_disk_until_the_agent_is_ready(machine: Machine) -> None:
    ready = machine.wait_ready()
    assert ready.boot_id == machine.succeed("cat /proc/sys/kernel/random/boot_id").strip()
    machine.succeed("test -d /sys/firmware/efi")
    assert machine.succeed("cat /proc/1/comm").strip() == "systemd"
    assert machine.succeed(["agent", "health"]) is not None
    MACHINE_IDS.add(machine.succeed("cat /etc/machine-id"))


def test_the_boot_has_no_failed_unit(machine: Machine) -> None:
    assert machine.succeed("systemctl is-system-running --wait").strip() == "running"
    assert machine.succeed("systemctl list-units --failed --plain --no-legend") == ""
    assert "FAILED" not in machine.serial()


def test_the_boots_phases_are_told_and_add_up(machine: Machine) -> None:
    ready = machine.wait_ready()
    boot = machine.read_boot()
    assert boot is not None
    assert boot.kernel == machine.succeed("uname -r").strip()
    assert set(boot.seconds) == {*boot_phases.PHASES, boot_phases.READY, boot_phases.FINISHED}
    assert boot.seconds["ready"] == round(ready.seconds, 3)
    assert all(boot.seconds[phase] > 0.05 for phase in boot_phases.PHASES), boot
    total = sum(boot.seconds[phase] for phase in boot_phases.PHASES)
    assert abs(total - ready.seconds) < 0.01


def test_the_guests_commands_give_status_output_and_take_input(machine: Machine) -> None:
    done = machine.execute(["/bin/sh", "-c", "cat; echo trouble >&2; exit 7"], stdin=b"\0\xff bytes")
    assert (done.status, done.stdout, done.stderr) == (7, b"\0\xff bytes", b"trouble\n")
    assert machine.execute(["/bin/sh", "-c", "kill -9 $$"]).status == -9


def test_the_system_partition_cannot_be_written(built: BuiltImage, machine: Machine) -> None:
    for place in ("/usr/lib/aetheros/x", "/x", "/usr/lib/aetheros/models/x"):
        assert "Read-only file system" in machine.fail(["touch", place])
    assert "Read-only" in machine.fail("mount -o remount,rw / && touch /usr/x")
    assert machine.succeed("findmnt -n -o FSTYPE /").strip() == "erofs"


def test_the_data_partition_was_grown_to_the_disk(built: BuiltImage, machine: Machine) -> None:
    device = machine.succeed("findmnt -n -o SOURCE /var").strip()
    assert int(machine.succeed(["blockdev", "--getsize64", device])) > 1.5 * 2**30
    assert (
        int(machine.succeed("stat -f -c %b /var")) * int(machine.succeed("stat -f -c %S /var")) > 1.4 * 2**30
    )


def test_a_question_gets_an_answer_from_the_real_model(machine: Machine) -> None:
    answer = machine.ask("Who are you?", max_tokens=12)
    assert answer.status == 0
    assert answer.raw["status"] == "complete"
    assert len(answer.text.split()) >= 3
    worker = machine.succeed("systemctl show -P MainPID agentd-model.service").strip()
    assert ".gguf" in machine.succeed(f"cat /proc/{worker}/maps")
    promise(machine)


def test_a_paused_machine_goes_on_where_it_was(machine: Machine) -> None:
    before = machine.succeed("cat /proc/sys/kernel/random/boot_id")
    machine.pause()
    assert machine.status() == "paused"
    machine.resume()
    assert machine.succeed("cat /proc/sys/kernel/random/boot_id") == before


def test_the_balloon_takes_memory_and_gives_it_back(machine: Machine) -> None:
    def total() -> int:
        text = machine.succeed("cat /proc/meminfo")
        return int(text.split("MemTotal:")[1].split()[0]) * 1024

    whole = machine.spec.memory
    full = total()
    machine.balloon(whole - (256 << 20))
    # With deflate-on-oom the guest counts the balloon as used; without, MemTotal shrinks.
    available = int(machine.succeed("cat /proc/meminfo").split("MemFree:")[1].split()[0]) * 1024
    assert total() < full or available < full - (256 << 20)
    machine.balloon(whole)
    assert total() == full


def test_a_worker_killed_in_mid_answer_costs_that_answer_and_no_more(machine: Machine) -> None:
    daemon = machine.succeed("systemctl show -P MainPID agentd.service")
    for signal in ("SEGV", "KILL"):  # the second time it is the next question that is being answered
        replies = ask_and_kill_worker(machine, "Tell me a long story about the sea.", signal)
        assert any(reply.get("delta") for reply in replies)  # it was answering
        assert not any(reply.get("done") for reply in replies)
        assert [("error" in reply) for reply in replies].count(True) == 1, replies
        assert "worker" in replies[-1]["error"]
        assert machine.succeed("systemctl show -P MainPID agentd.service") == daemon
    assert machine.ask("What is a ship?", max_tokens=6).raw["status"] == "complete"
    promise(machine)


def test_after_a_reset_during_a_turn_every_acknowledged_turn_is_there(machine: Machine) -> None:
    begun = begin_turn(machine, "Tell me everything about the moon.")
    PROMISED[begun["turn"]] = "Tell me everything about the moon."
    machine.reset()
    machine.wait_ready()
    assert_nothing_is_lost(machine)
    MACHINE_IDS.add(machine.succeed("cat /etc/machine-id"))


def test_after_a_power_cut_during_a_turn_every_acknowledged_turn_is_there(machine: Machine) -> None:
    begun = begin_turn(machine, "Tell me everything about the sun.")
    PROMISED[begun["turn"]] = "Tell me everything about the sun."
    machine.crash()  # with what the guest had not flushed
    machine.start()
    machine.wait_ready()
    assert_nothing_is_lost(machine)
    MACHINE_IDS.add(machine.succeed("cat /etc/machine-id"))


def test_a_later_boot_is_the_same_machine_with_the_same_disk(machine: Machine) -> None:
    assert len(MACHINE_IDS) == 1
    assert len(MACHINE_IDS.pop().strip()) == 32
    assert (
        int(machine.succeed("stat -f -c %b /var")) * int(machine.succeed("stat -f -c %S /var")) > 1.4 * 2**30
    )
    assert machine.succeed("systemctl list-units --failed --plain --no-legend") == ""


def test_powerdown_is_the_guests_own_clean_shutdown(built: BuiltImage, machine: Machine, disk: Path) -> None:
    assert machine.powerdown() is ShutdownReason.GUEST_SHUTDOWN
    offset, _ = partition(built, "aetheros-data")
    place = f"{disk}?offset={offset}"
    head = built.toolchain.output(["debugfs", "-R", "stats -h", place], readable=[disk])
    assert re.search(r"Filesystem state: +clean$", head, re.MULTILINE)
    assert "needs_recovery" not in head
    built.toolchain.output(["e2fsck", "-f", "-n", place], readable=[disk])


def test_nothing_of_the_system_was_changed_by_all_this(
    built: BuiltImage, machine: Machine, disk: Path
) -> None:
    for label in ("aetheros-system", "aetheros-models"):
        offset, size = partition(built, label)
        assert bytes_of(disk, offset, size) == bytes_of(built.image, offset, size)


def test_a_direct_boot_reaches_the_agent_too_and_it_knows_everything(
    built: BuiltImage, machine: Machine, disk: Path
) -> None:
    machine.close()
    spec = dataclasses.replace(
        machine.spec, firmware="direct", folder=disk.parent / "direct", write_log=None
    )
    with Machine(spec, tools=built.toolchain) as direct:
        direct.start()
        ready = direct.wait_ready()
        assert ready.seconds > 0
        direct.fail("test -d /sys/firmware/efi")
        assert_nothing_is_lost(direct)
        assert call(direct, "Status", {})["turns"] >= len(PROMISED)
        assert direct.powerdown() is ShutdownReason.GUEST_SHUTDOWN
