"""The boot loader that a PC with Secure Boot starts: Debian's signed shim and systemd-boot.

shim carries Microsoft's signature and starts what Debian has signed: systemd-boot, and through it
Debian's own kernel. Fetched through the signed index, unpacked, never installed. Not for: what else lies
in the ESP (esp.py).
"""

import shutil
import subprocess
from pathlib import Path

from builder import apt
from builder.cache import digest, product
from builder.progress import step

# Package -> its file, and the name that the file has in /EFI/BOOT. shim starts its neighbour grubx64.efi.
FILES = {
    "shim-signed": ("usr/lib/shim/shimx64.efi.signed", "BOOTX64.EFI"),
    "shim-helpers-amd64-signed": ("usr/lib/shim/mmx64.efi.signed", "mmx64.efi"),
    "systemd-boot-efi-amd64-signed": (
        "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed",
        "grubx64.efi",
    ),
}


def ensure() -> Path:
    """A folder with the files of /EFI/BOOT, by their names there."""
    packages = [apt.locked(name) for name in FILES]

    def make(folder: Path) -> None:
        with step("Fetch the signed boot loader", "bootloader"):
            for package in packages:
                file, name = FILES[package.name]
                root = folder / package.name
                deb = apt.fetch(package, folder)
                subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
                (root / file).rename(folder / name)
                shutil.rmtree(root)
                deb.unlink()

    return product("bootloader", digest([package.sha256 for package in packages], FILES), make)
