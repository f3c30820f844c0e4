"""What a virtual machine is made of, and the QEMU command line that makes it.

The options are those of qemu-system-x86_64(1), QEMU 10.0. Nothing is taken from the host or from
QEMU's own defaults (`-nodefaults -no-user-config`). Not for: starting QEMU (vm.py), choosing the
accelerator (accel.py), or the disk's contents (vmdisk.py).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import UUID

from builder.errors import AetherError

DEVICES = ("disk", "net", "console", "rng", "balloon", "vsock", "vga")
READY_PORT = "io.aetheros.ready"  # the guest writes one JSON line here when agentd is healthy
GUEST_AGENT_PORT = "org.qemu.guest_agent.0"  # qemu-ga(8)
OVMF = Path("/usr/share/OVMF")  # in the tools tree


@dataclass(frozen=True)
class MachineSpec:
    """A virtual machine, before it exists.

    `folder` holds its logs and firmware variables and is made when the machine starts. `accel` is
    "auto" (builder/accel.py decides), "kvm" or "tcg". With `icount` the guest's time counts instructions
    while it is not idle (one virtual CPU, TCG): what a boot computes costs the same on every host.
    `network` True gives the guest the host's network by user-mode NAT; otherwise its network card has a
    cable that ends in QEMU.
    `write_log` records every write, so that a power cut can lose what was not flushed (powercut.py).
    """

    name: str
    folder: Path
    disk: Path | None = None
    firmware: Literal["uefi", "direct"] = "uefi"
    kernel: Path | None = None
    command_line: str = ""
    memory: int = 2 << 30  # bytes
    cpus: int = 2
    cpu: str = "max"
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    icount: bool = False
    devices: tuple[str, ...] = ("disk", "net", "console", "rng", "balloon")
    network: bool = False
    machine: str = "q35"
    uuid: UUID | None = None
    credentials: tuple[tuple[str, str], ...] = ()  # systemd.system-credentials(7)
    extra_kernel_words: tuple[str, ...] = ()  # after the image's own, if not under Secure Boot
    write_log: Path | None = None
    extra: tuple[str, ...] = ()  # more words for QEMU, last; it sees the files named by absolute path

    def __post_init__(self) -> None:
        if unknown := [name for name in self.devices if name not in DEVICES]:
            raise AetherError(
                f"unknown device {unknown[0]!r} of machine {self.name}", hint=f"one of {', '.join(DEVICES)}"
            )
        if self.firmware == "direct" and self.kernel is None:
            raise AetherError(f"machine {self.name}: a direct boot needs a kernel", hint="name the kernel")
        if self.icount and self.accel == "kvm":
            raise AetherError("instructions cannot be counted under KVM", hint="use --accel tcg")


@dataclass(frozen=True)
class Channels:
    """How QEMU's character devices reach us: numbers of inherited sockets, all None by hand."""

    qmp: int | None = None
    ready: int | None = None
    guest_agent: int | None = None  # a listening socket
    serial: int | None = None  # None: the serial line goes to its log alone


@dataclass(frozen=True)
class Files:
    """The files of one start of a machine, all in its folder."""

    serial_log: Path
    qemu_log: Path
    variables: Path
    extra_writable: tuple[Path, ...] = field(default=())


def memory_bytes(text: str) -> int:
    """Bytes of a size as people write it: `2G`, `512M`, `1.5G`, `1073741824`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise AetherError(f"{text!r} is not an amount of memory", hint="write it like 2G or 512M")
    return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def qemu_argv(spec: MachineSpec, accel: str, files: Files, channels: Channels) -> list[str]:
    """The words of qemu-system-x86_64 for one start of `spec`.

    `accel` is "kvm" or "tcg". With a QMP channel the machine starts paused; without one, by hand, it
    runs at once with its serial line and QEMU's monitor on the terminal (Ctrl-A C changes between them).
    """
    words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    words += ["-name", f"{escaped(spec.name)},debug-threads=on", "-machine", f"{spec.machine},hpet=off"]
    words += ["-cpu", spec.cpu, "-m", f"size={spec.memory >> 20}M"]
    if spec.icount:
        # Not sleep=off: an idle guest would jump to its next timer while the host reads its disk, and meet
        # time limits of a minute and a half within a boot of seconds.
        words += ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on", "-smp", "1"]
    else:
        words += ["-accel", "tcg,thread=multi" if accel == "tcg" else accel, "-smp", str(spec.cpus)]
    if spec.uuid:
        words += ["-uuid", str(spec.uuid)]
    words += ["-device", "pvpanic-pci"]
    words += channel_words(files, channels)
    words += device_words(spec)
    words += firmware_words(spec, files)
    return [*words, *spec.extra]


def channel_words(files: Files, channels: Channels) -> list[str]:
    """The monitor, the serial line, and the two ports that the guest's programs speak through."""
    log = f"logfile={escaped(files.serial_log)},logappend=off"
    if channels.qmp is None:
        return ["-serial", "mon:stdio", "-device", "virtio-serial-pci,id=ports"]
    words = ["-S", "-chardev", f"socket,id=qmp,fd={channels.qmp}", "-mon", "chardev=qmp,mode=control"]
    serial = f"socket,id=serial,fd={channels.serial}" if channels.serial is not None else "null,id=serial"
    words += ["-chardev", f"{serial},{log}", "-device", "isa-serial,chardev=serial"]
    words += ["-device", "virtio-serial-pci,id=ports"]
    for name, port, fd, more in (
        ("ready", READY_PORT, channels.ready, ""),
        ("agent", GUEST_AGENT_PORT, channels.guest_agent, ",server=on,wait=off"),
    ):
        if fd is not None:
            words += ["-chardev", f"socket,id={name},fd={fd}{more}"]
            words += ["-device", f"virtserialport,bus=ports.0,chardev={name},name={port}"]
    return words


def device_words(spec: MachineSpec) -> list[str]:
    """The disk and the devices that the machine's description names."""
    words: list[str] = []
    if spec.disk is not None and "disk" in spec.devices:
        # Write-back: a flush of the guest reaches the host's disk, everything else its page cache.
        file = {"driver": "file", "node-name": "disk-file", "filename": str(spec.disk), "discard": "unmap"}
        disk: dict[str, object] = {"driver": "raw", "node-name": "disk", "file": "disk-file"}
        if spec.disk.suffix == ".qcow2":
            disk["driver"] = "qcow2"
        if spec.write_log is not None:
            # Every write and flush, in the format of the kernel's dm-log-writes.
            log = {"driver": "file", "filename": str(spec.write_log)}
            words += ["-blockdev", json.dumps(file)]
            words += ["-blockdev", json.dumps({**disk, "node-name": "disk-raw"})]
            disk = {"driver": "blklogwrites", "node-name": "disk", "file": "disk-raw", "log": log}
            words += ["-blockdev", json.dumps(disk)]
        else:
            words += ["-blockdev", json.dumps(file), "-blockdev", json.dumps({**disk, "discard": "unmap"})]
        first = ",bootindex=0" if spec.firmware == "uefi" else ""  # a direct boot's kernel is first
        words += ["-device", f"virtio-blk-pci,drive=disk,serial=aetheros{first}"]
    if "net" in spec.devices:
        # Isolated: a cable that leads to QEMU's own DHCP and nothing else.
        words += ["-netdev", "user,id=net" + ("" if spec.network else ",restrict=on")]
        words += ["-device", "virtio-net-pci,netdev=net,romfile="]
    if "rng" in spec.devices:
        words += ["-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"]
    if "balloon" in spec.devices:
        words += ["-device", "virtio-balloon-pci,id=balloon,deflate-on-oom=on,free-page-reporting=on"]
    if "vsock" in spec.devices:
        words += ["-device", f"vhost-vsock-pci,guest-cid={vsock_cid(spec)}"]
    if "vga" in spec.devices:
        words += ["-device", "VGA,id=vga"]
    return words


def firmware_words(spec: MachineSpec, files: Files) -> list[str]:
    """How the machine starts: UEFI firmware with its own variables, or a kernel put in memory by QEMU."""
    words: list[str] = []
    for name, value in spec.credentials:
        words += ["-smbios", f"type=11,value=io.systemd.credential:{name}={escaped(value)}"]
    if spec.firmware == "uefi":
        code = f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"
        words += ["-drive", code]
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={escaped(files.variables)}"]
        if spec.extra_kernel_words:  # systemd-stub(7)
            line = escaped(" ".join(spec.extra_kernel_words))
            words += ["-smbios", f"type=11,value=io.systemd.stub.kernel-cmdline-extra={line}"]
    else:
        line = " ".join([spec.command_line, *spec.extra_kernel_words])
        words += ["-kernel", str(spec.kernel), "-append", line]
    return words


def vsock_cid(spec: MachineSpec) -> int:
    """The machine's vsock address: made from its UUID, so that two machines do not meet (0-2 are taken)."""
    return 3 + (spec.uuid.int % (2**31 - 8) if spec.uuid else 0)


def visible_files(spec: MachineSpec, files: Files) -> tuple[list[Path], list[Path], list[Path]]:
    """What QEMU may read, may write, and the devices it may open; everything else is hidden from it."""
    readable = [spec.kernel] if spec.firmware == "direct" and spec.kernel else []
    writable = [files.serial_log.parent]
    writable += [path for path in (spec.disk, spec.write_log) if path is not None]
    named = (Path(text) for word in spec.extra for text in re.findall(r"(?:^|[=,])(/[^,]+)", word))
    writable += [path for path in named if path.exists() and not path.is_relative_to("/dev")]
    devices = [Path("/dev/kvm"), Path("/dev/vhost-vsock"), Path("/dev/vhost-net")]
    return readable, [*writable, *files.extra_writable], devices


def escaped(value: str | Path) -> str:
    """A value inside a comma-separated QEMU option, where a comma is written twice."""
    return str(value).replace(",", ",,")


def without_missing_devices(devices: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The devices this host can give, and a line for each that it cannot."""
    kept, lines = list(devices), []
    if "vsock" in kept and not Path("/dev/vhost-vsock").exists():
        kept.remove("vsock")
        lines.append("no vsock: this host has no /dev/vhost-vsock (modprobe vhost_vsock)")
    return tuple(kept), lines
