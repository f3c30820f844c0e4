"""A PC with Secure Boot on, as it comes from the shop, starts the generic image."""

import dataclasses
from pathlib import Path

from three_machines import GENERIC_SECONDS

from builder import vmdisk
from builder.build import BuiltImage
from builder.qemu_command import memory_bytes
from builder.run import Options, spec_of
from builder.vm import Machine

# Four bytes of attributes, then the value (UEFI 3.3, "Globally Defined Variables").
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"


def test_secure_boot_lets_the_generic_image_start(generic: BuiltImage, tmp_path: Path) -> None:
    disk = vmdisk.prepare(generic.image, generic.layout, tmp_path, memory_bytes("4G"))
    spec = dataclasses.replace(spec_of(generic, tmp_path / "run", disk, Options()), secure_boot=True)
    with Machine(spec, tools=generic.toolchain) as machine:
        machine.start()
        machine.wait_ready(GENERIC_SECONDS)
        assert machine.succeed(f"od -An -t u1 {SECURE_BOOT}").split()[-1] == "1"
        assert "[integrity]" in machine.succeed("cat /sys/kernel/security/lockdown")
        machine.powerdown(600)
