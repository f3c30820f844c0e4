"""A virtual machine with the real QEMU and UEFI firmware, and no system on it.

Everything that needs a guest with an agent is in tests/boot.
"""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder import accel, powercut, toolchain
from builder.errors import AetherError
from builder.qemu_command import MachineSpec
from builder.qemu_devices import DEVICES, DISKS, MACHINES, TPMS, MachineType
from builder.qemu_process import ShutdownReason
from builder.vm import Machine, MachineFailed

pytestmark = pytest.mark.native

REPOSITORY = Path(__file__).parents[2]
BOOT_MENU = r"BdsDxe: .*UEFI|BdsDxe: .*Shell"  # what OVMF writes when it looks for something to boot
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tools() -> toolchain.Toolchain:
    return toolchain.ensure()


def spec(folder: Path, **more: object) -> MachineSpec:
    known: dict[str, object] = {"memory": 256 << 20, "cpus": 1, "devices": ("vga",)}
    return MachineSpec("firmware", folder, **{**known, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def machine(tools: toolchain.Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine that its tests leave running in its firmware."""
    with Machine(spec(tmp_path_factory.mktemp("machine")), tools=tools) as made:
        made.start()
        made.wait_serial(BOOT_MENU)
        yield made


def test_the_choice_of_accelerator_agrees_with_a_real_boot() -> None:
    chosen = accel.choose()
    if chosen.kind == "kvm":
        assert accel.short_boot("kvm") == ""
    else:
        assert chosen.reason
        assert accel.short_boot("tcg") == ""


def test_an_accelerator_that_cannot_run_a_guest_fails_its_proof() -> None:
    assert accel.short_boot("nonsense").startswith("QEMU ended")


def test_a_paused_machine_stands_still_and_goes_on(machine: Machine) -> None:
    machine.pause()
    assert machine.status() == "paused"
    machine.resume()
    assert machine.status() == "running"


def test_a_screendump_is_a_picture(machine: Machine, tmp_path: Path) -> None:
    assert machine.screendump(tmp_path / "screen.png").read_bytes().startswith(PNG)


def test_a_reset_boots_again_with_its_event(machine: Machine) -> None:
    mark = machine.events_seen
    before = len(re.findall(BOOT_MENU, machine.serial()))
    machine.reset()
    event = machine.wait_event("RESET", since=mark)
    assert event == {"guest": False, "reason": "host-qmp-system-reset"}
    machine.wait_serial(rf"(?:{BOOT_MENU})[\s\S]*" * (before + 1))


def test_a_command_that_qemu_refuses_says_what_qemu_said(machine: Machine) -> None:
    with pytest.raises(AetherError, match="nonsense has not been found"):
        machine.qmp("nonsense")


def test_a_wait_that_fails_keeps_what_is_known_and_how_to_repeat_it(machine: Machine) -> None:
    with pytest.raises(MachineFailed, match="its agent to be ready") as found:
        machine.wait_ready(timeout=0.2)
    kept = found.value.folder
    assert str(kept) in found.value.message
    assert str(kept / "repeat.sh") in found.value.hint
    assert "BdsDxe" in (kept / "serial-1.log").read_text()
    assert json.loads((kept / "status.json").read_text())["status"] == "running"
    assert (kept / "screen.png").read_bytes().startswith(PNG)
    assert "RESUME" in (kept / "events.json").read_text()
    assert "guest agent does not answer" in (kept / "error.txt").read_text()


def test_the_kept_script_boots_the_same_machine_by_hand(machine: Machine) -> None:
    machine.crash()  # the firmware's variables have one user at a time
    try:
        with subprocess.Popen(
            ["sh", machine.repeat_script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as hand:
            seen = b""
            deadline = time.monotonic() + 30
            assert hand.stdout is not None
            while b"BdsDxe" not in seen and time.monotonic() < deadline:
                chunk = os.read(hand.stdout.fileno(), 4096)
                assert chunk, seen
                seen += chunk
            hand.kill()
        assert b"BdsDxe" in seen
    finally:
        machine.start()
        machine.wait_serial(BOOT_MENU)


def test_a_cut_power_is_not_a_shutdown_and_the_machine_can_start_again(machine: Machine) -> None:
    machine.crash()
    assert not machine.running
    assert machine.wait_end() is ShutdownReason.KILLED
    machine.start()
    assert machine.status() == "running"
    machine.wait_serial(BOOT_MENU)


def test_the_end_of_the_machine_ends_every_wait_at_once(machine: Machine) -> None:
    started = time.monotonic()
    os.kill(machine.process_id, signal.SIGKILL)
    with pytest.raises(MachineFailed, match=r"QEMU ended \(vanished"):
        machine.wait_ready(timeout=100)
    assert time.monotonic() - started < 10
    machine.start()
    machine.wait_serial(BOOT_MENU)


def test_quitting_by_monitor_has_its_own_reason(machine: Machine) -> None:
    machine.qmp("quit")
    assert machine.wait_end() is ShutdownReason.HOST_QMP_QUIT
    machine.start()
    machine.wait_serial(BOOT_MENU)


def test_a_power_button_that_nobody_hears_ends_in_the_deadline(machine: Machine) -> None:
    with pytest.raises(MachineFailed, match="waited 1 s for it to power down"):
        machine.powerdown(timeout=1)
    assert machine.running


def test_a_command_line_that_qemu_does_not_take_says_why(tools: toolchain.Toolchain, tmp_path: Path) -> None:
    with Machine(spec(tmp_path, extra=("-device", "no-such-thing")), tools=tools) as made:
        with pytest.raises(MachineFailed, match="no-such-thing"):
            made.start()
        assert not made.running


def test_a_disk_has_one_machine_at_a_time(tools: toolchain.Toolchain, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(1 << 20)
    one = spec(tmp_path / "one", disk=disk, devices=("disk",))
    two = spec(tmp_path / "two", disk=disk, devices=("disk",))
    with Machine(one, tools=tools) as first, Machine(two, tools=tools) as second:
        first.start()
        with pytest.raises(AetherError, match=f"in use by a running machine .process {os.getpid()}"):
            second.start()
        # A QEMU that took no lock of ours is caught by QEMU's own.
        disk.with_name("disk.raw.lock").rename(tmp_path / "aside")
        with pytest.raises(AetherError, match="in use by another QEMU"):
            second.start()


@pytest.mark.parametrize("machine", MACHINES)
def test_every_device_is_one_that_qemu_gives_both_machine_types(
    tools: toolchain.Toolchain, tmp_path: Path, machine: MachineType
) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    other = [name for name, one in DEVICES.items() if one.kind not in ("disk", "tpm") and name != "vsock"]
    for number, name in enumerate(DISKS):
        devices = [name, TPMS[number % len(TPMS)], *(other if number == 0 else [])]
        described = spec(tmp_path / name, disk=disk, machine=machine, devices=tuple(devices))
        with Machine(described, tools=tools) as made:
            made.start()
            assert made.status() == "running"


def test_the_emulated_tpm_ends_with_its_machine_and_keeps_its_state(
    tools: toolchain.Toolchain, tmp_path: Path
) -> None:
    with Machine(spec(tmp_path, devices=("tpm-crb", "vga")), tools=tools) as made:
        made.start()
        made.wait_serial(BOOT_MENU)
        made.crash()
        kept = tmp_path / "tpm/tpm2-00.permall"
        assert kept.stat().st_size > 0
        made.start()  # a TPM that still held its state would refuse
        assert made.status() == "running"
        made.wait_serial(BOOT_MENU)


def test_a_machine_with_a_tpm_can_be_started_by_its_script(
    tools: toolchain.Toolchain, tmp_path: Path
) -> None:
    with Machine(spec(tmp_path, devices=("tpm-tis",)), tools=tools) as made:
        made.start()
        made.crash()
        with subprocess.Popen(
            ["sh", made.repeat_script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as hand:
            assert hand.stdout is not None
            seen = b""
            deadline = time.monotonic() + 60
            while b"BdsDxe" not in seen and time.monotonic() < deadline:
                assert select.select([hand.stdout], [], [], 60)[0]
                chunk = os.read(hand.stdout.fileno(), 4096)
                assert chunk, seen
                seen += chunk
            os.killpg(hand.pid, signal.SIGKILL)
        assert b"BdsDxe" in seen


def test_a_disk_that_is_not_there_is_a_mistake(tools: toolchain.Toolchain, tmp_path: Path) -> None:
    with Machine(spec(tmp_path, disk=tmp_path / "none.raw", devices=("disk",)), tools=tools) as made:
        with pytest.raises(AetherError, match=r"none.raw does not exist"):
            made.start()


ORPHAN = """
import sys, time
from pathlib import Path
from builder.qemu_command import MachineSpec
from builder.vm import Machine
with Machine(MachineSpec("orphan", Path(sys.argv[1]), memory=128 << 20, devices=())) as machine:
    machine.start()
    print(machine.process_id, flush=True)
    machine.wait_ready(timeout=600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_qemu_outlives_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as parent:
        assert parent.stdout is not None
        qemu = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.send_signal(number)
            assert select.select([qemu], [], [], 20)[0], "QEMU is still there"
            parent.wait(timeout=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(qemu, signal.SIGKILL)
            os.close(qemu)


INTERACT = """
import sys
from pathlib import Path
from builder.qemu_command import MachineSpec
from builder.vm import Machine
spec = MachineSpec("tty", Path(sys.argv[1]), memory=256 << 20, devices=())
with Machine(spec, on_terminal=True) as machine:
    machine.start()
    print("ended:", machine.interact())
"""


def test_the_terminal_shows_the_machine_and_is_as_it_was_afterwards(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-c", INTERACT, tmp_path],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ) as child:
        seen = b""

        def read_until(text: bytes, seconds: float) -> None:
            nonlocal seen
            deadline = time.monotonic() + seconds
            while text not in seen:
                left = deadline - time.monotonic()
                assert left > 0, seen
                if select.select([ours], [], [], left)[0]:
                    seen += os.read(ours, 4096)

        read_until(b"BdsDxe", 60)
        assert termios.tcgetattr(theirs) != before
        os.write(ours, b"\x01h")
        read_until(b"power down", 10)
        os.write(ours, b"\x03")  # Ctrl-C is the guest's
        os.write(ours, b"\x01x")
        read_until(b"pressing the power button", 10)
        os.write(ours, b"\x01x")
        read_until(b"ended: killed", 20)
        assert child.wait(timeout=20) == 0
    assert termios.tcgetattr(theirs) == before
    assert "BdsDxe" in (tmp_path / "serial-1.log").read_text()  # and it was logged all the same
    os.close(ours)
    os.close(theirs)


def test_a_log_that_qemu_wrote_gives_back_what_was_flushed(
    tools: toolchain.Toolchain, tmp_path: Path
) -> None:
    disk, log = tmp_path / "disk.raw", tmp_path / "log"
    disk.write_bytes(b"." * (1 << 20))
    powercut.begin(disk, log)
    target = (
        f"driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename={disk},"
        f"log.driver=file,log.filename={log}"
    )
    steps = ["write -P 0x61 0 4k", "discard 64k 64k", "write -z 128k 4k", "flush"]
    steps += ["write -P 0x62 0 4k", "write -P 0x62 8k 4k", "abort"]
    words = ["qemu-io", "--image-opts", "-t", "writeback", target]
    subprocess.run(
        tools.argv([*words, *(word for text in steps for word in ("-c", text))], writable=[tmp_path]),
        check=False,
        capture_output=True,
    )
    assert disk.read_bytes()[:1] == b"b"  # the host's page cache lost nothing
    powercut.lose_unflushed(disk, log)
    after = disk.read_bytes()
    assert after[: 4 << 10] == b"a" * (4 << 10)
    assert after[8 << 10 : 12 << 10] == b"." * (4 << 10)
    assert after[64 << 10 : 128 << 10] == bytes(64 << 10)
    assert after[128 << 10 : 132 << 10] == bytes(4 << 10)
    assert after[132 << 10 :] == b"." * ((1 << 20) - (132 << 10))
