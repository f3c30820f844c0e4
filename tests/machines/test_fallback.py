"""A machine whose own kernel does not come up is up all the same: with Debian's, after some tries."""

import re
from pathlib import Path

import pytest
from three_machines import GENERIC_SECONDS, THREE, Hardware, Way, spec

from builder.build import build
from builder.esp import TRIES
from builder.image import FALLBACK_WORD
from builder.qemu_devices import DEVICES
from builder.vm import Machine

PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs"
TRY_SECONDS = 240.0  # firmware, 30 s until the kernel gives its disk up, 10 s until it restarts


@pytest.mark.parametrize("hardware", [THREE[0]], indirect=True, ids=[THREE[0].name])
def test_a_kernel_without_the_driver_of_its_disk_gives_way_to_debians_after_its_tries(
    way: Way, hardware: Hardware, tmp_path: Path
) -> None:
    driver = DEVICES[hardware.devices[0]].drivers[-1]
    name = f"{hardware.name}-broken"
    text, count = re.subn(rf"^    - {driver}\n", "", way.profile.read_text(), flags=re.MULTILINE)
    assert count == 1
    profile = tmp_path / f"{name}.yaml"
    profile.write_text(text.replace(f"name: {hardware.name}\n", f"name: {name}\n"))
    built = build(str(profile))
    with Machine(spec(hardware, built, tmp_path / "disk"), tools=built.toolchain) as machine:
        machine.start()
        machine.wait_ready(TRIES * TRY_SECONDS + GENERIC_SECONDS)
        assert machine.serial().count(PANIC) == TRIES
        assert machine.succeed("uname -r").strip() == way.report.kernel
        # Only the entry of the fallback has this word.
        assert FALLBACK_WORD in machine.succeed("cat /proc/cmdline").split()
        assert "this is the fallback" in machine.succeed("cat /run/motd.d/aetheros-fallback")
        [tried] = machine.succeed("ls /efi/EFI/Linux").split()
        assert tried.endswith(f"+0-{TRIES}.efi")
        machine.powerdown(600)
