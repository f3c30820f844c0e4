"""A USB stick: the generic image flashed to it by the real command, and a PC that boots from it.

The stick is a plain file larger than the image, with an older system's table on it.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.build import BuiltImage, build
from builder.qemu_command import MachineSpec
from builder.qemu_process import ShutdownReason
from builder.vm import Machine

MACHINE = "generic-x86_64"
STICK = 6 << 30  # bytes
# Debian's kernel, its initrd and every module's udev event, each instruction emulated.
READY_SECONDS = 1200.0
AETHER = [sys.executable, "-c", "import sys; from builder.cli import main; sys.exit(main())"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture(scope="module")
def generic() -> BuiltImage:
    """The generic image; built now if it is not in the cache."""
    return build(MACHINE)


@pytest.fixture(scope="module")
def stick(generic: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stick with a partition table and its backup, of some other system."""
    path = tmp_path_factory.mktemp("stick") / "stick.raw"
    path.touch()
    os.truncate(path, STICK)
    argv = generic.toolchain.argv(["sfdisk", "--quiet", path], writable=[path])
    subprocess.run(argv, input="label: gpt\nsize=1GiB\nsize=2GiB\n", text=True, check=True)
    yield path
    path.unlink()  # pytest would keep 2 GB of each of the last runs


@pytest.fixture(scope="module")
def machine(generic: BuiltImage, stick: Path) -> Iterator[Machine]:
    """A PC with nothing but the stick: xHCI, usb-storage, OVMF."""
    devices = ("usb-storage", "net", "console", "rng", "balloon")
    spec = MachineSpec("stick", stick.parent / "run", stick, memory=2 << 30, devices=devices)
    with Machine(spec, tools=generic.toolchain) as made:
        yield made


def sfdisk(built: BuiltImage, *words: str | Path) -> subprocess.CompletedProcess[str]:
    argv = built.toolchain.argv(["sfdisk", *words], readable=[Path(words[-1])])
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_flash_leaves_a_stick_without_a_table(
    generic: BuiltImage, stick: Path, number: signal.Signals, status: int
) -> None:
    process = subprocess.Popen(
        [*AETHER, "flash", MACHINE, str(stick), "--yes"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = next(line for line in process.stderr if re.search(r"Write .* to", line))
    process.send_signal(number)
    _, rest = process.communicate(timeout=300)
    assert process.returncode == status, said + rest
    assert "stick.raw holds no usable system now" in rest
    assert sfdisk(generic, "--json", stick).returncode != 0


def test_the_flashed_stick_has_a_table_for_its_size(generic: BuiltImage, stick: Path) -> None:
    done = subprocess.run(
        [*AETHER, "flash", MACHINE, str(stick), "--yes", "--json"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert (told["machine"], told["device"], told["verified"]) == (MACHINE, str(stick), True)
    assert told["key"] == generic.key
    verified = sfdisk(generic, "--verify", stick)
    assert (verified.stderr, "No errors detected" in verified.stdout) == ("", True)
    table = json.loads(sfdisk(generic, "--json", stick).stdout)["partitiontable"]
    assert [part["name"] for part in table["partitions"]] == [
        part["label"] for part in generic.layout["partitions"]
    ]
    assert table["lastlba"] == STICK // 512 - 34


def test_a_pc_boots_from_the_stick_until_the_agent_is_ready(machine: Machine) -> None:
    machine.start()
    machine.wait_ready(READY_SECONDS)
    machine.succeed("test -d /sys/firmware/efi")
    device = machine.succeed("findmnt -n -o SOURCE /var").strip()
    assert "/usb" in machine.succeed(f"readlink -f /sys/class/block/{Path(device).name}")


def test_the_data_partition_grows_to_the_sticks_end(machine: Machine) -> None:
    blocks = machine.succeed("stat -f -c '%b %S' /var").split()
    assert int(blocks[0]) * int(blocks[1]) > STICK / 2
    assert not re.search(r"GPT:.*(Alt|Parted|not)", machine.succeed("dmesg"))


def test_a_stick_that_is_in_use_is_not_written(machine: Machine, stick: Path) -> None:
    assert "stick.raw is in use by a running machine" in refused(stick)
    # A QEMU that is not ours has QEMU's own lock and no other.
    stick.with_name("stick.raw.lock").rename(stick.with_name("kept.lock"))
    assert "stick.raw is in use by another program" in refused(stick)
    machine.succeed("sync -f /var")


def refused(stick: Path) -> str:
    """What the command says that ends with status 2."""
    argv = [*AETHER, "flash", MACHINE, str(stick), "--yes"]
    done = subprocess.run(argv, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    return done.stderr


def test_the_stick_carries_the_machines_report_home(
    machine: Machine, generic: BuiltImage, stick: Path
) -> None:
    # As docs/flash.md says it.
    machine.succeed("mount -o remount,rw /efi && agent hardware --json > /efi/machine.json && sync")
    assert machine.powerdown(600) is ShutdownReason.GUEST_SHUTDOWN
    offset = generic.layout["partitions"][0]["offset"]
    copy = stick.with_name("machine.json")
    argv = ["mcopy", "-i", f"{stick}@@{offset}", "::machine.json", str(copy)]
    generic.toolchain.output(argv, readable=[stick], writable=[stick.parent])
    report = subprocess.run(
        [*AETHER, "detect", "--report", copy], env=ENVIRONMENT, stdout=subprocess.PIPE, check=True
    )
    assert b"usb_storage" in report.stdout or b"usb-storage" in report.stdout


def test_the_stick_is_whole_after_its_first_boot(generic: BuiltImage, stick: Path) -> None:
    verified = sfdisk(generic, "--verify", stick)
    assert (verified.stderr, "No errors detected" in verified.stdout) == ("", True)
