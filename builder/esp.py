"""The EFI system partition: the boot loader and the entries that it can start.

A kernel made for the machine is a unified kernel image. Debian's own kernel is an entry with its
initramfs: alone, or as the fallback of the other, which then counts its tries (systemd-boot(7), "Boot
Counting") and is marked good by systemd-bless-boot when the agent is healthy. Not for: the partition
itself (image/repart), making kernel or initramfs (kernel.py, image/stock).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from builder.toolchain import Toolchain

# Starts of the machine's own kernel that may fail before the fallback is taken.
TRIES = 3
STOCK = "aetheros"  # folder of Debian's kernel and its initramfs; image/stock/prepare.chroot fills it


def lay_loader(esp: Path, boot_files: Path | None, toolchain: Toolchain) -> None:
    """systemd-boot as what the firmware starts: with `boot_files` (bootloader.py) signed, behind shim."""
    for folder in ("EFI/BOOT", "EFI/Linux", "loader/entries"):
        (esp / folder).mkdir(parents=True)
    # No menu: the newest image at once; holding a key at power-on still shows it.
    (esp / "loader/loader.conf").write_text("timeout 0\neditor no\n")
    if boot_files is None:
        boot = toolchain.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
        shutil.copy(boot, esp / "EFI/BOOT/BOOTX64.EFI")
    else:
        shutil.copytree(boot_files, esp / "EFI/BOOT", dirs_exist_ok=True)


def lay_unified(
    toolchain: Toolchain,
    tree: Path,
    *,
    kernel: Path,
    kernel_version: str,
    command_line: Sequence[str],
    version: str,
    counted: bool,
    microcode: Path | None = None,
    initrd: Path | None = None,
) -> Path:
    """The machine's own kernel as a unified kernel image below `tree`/efi; its tries counted or not.

    With firmware for its drivers (`initrd`) and the processor's microcode, where the machine has them.
    """
    name = f"aetheros_{version}+{TRIES}.efi" if counted else f"aetheros_{version}.efi"
    place = tree / "efi/EFI/Linux" / name
    toolchain.output(
        [
            "ukify",
            "build",
            f"--linux={kernel}",
            f"--cmdline={' '.join(command_line)}",
            f"--os-release=@{tree / 'usr/lib/os-release'}",
            f"--uname={kernel_version}",
            *([f"--microcode={microcode}"] if microcode else []),
            *([f"--initrd={initrd}"] if initrd else []),
            f"--output={place}",
        ],
        readable=[path for path in (kernel, microcode, initrd) if path],
        writable=[tree],
    )
    return place


def lay_stock_entry(esp: Path, *, version: str, title: str, command_line: Sequence[str]) -> None:
    """The entry of Debian's own kernel (Boot Loader Specification, type 1), after any unified image."""
    lines = [
        f"title {title}",
        f"version {version}",
        # The others' key is the os-release's ID, aetheros: this one comes after them.
        "sort-key aetheros-stock",
        f"linux /{STOCK}/vmlinuz",
        f"initrd /{STOCK}/initrd.img",
        f"options {' '.join(command_line)}",
    ]
    (esp / "loader/entries/aetheros-stock.conf").write_text("\n".join(lines) + "\n")
