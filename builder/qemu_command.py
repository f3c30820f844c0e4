"""What a virtual machine is made of, and the QEMU command line that makes it.

The options are those of qemu-system-x86_64(1), QEMU 10.0. Nothing is taken from the host or from
QEMU's own defaults (`-nodefaults -no-user-config`). Not for: starting QEMU (vm.py), choosing the
accelerator (accel.py), the single devices (qemu_devices.py), or the disk's contents (vmdisk.py).
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import UUID

from builder.errors import AetherError
from builder.qemu_devices import DEVICES, MachineType, device_words, mistake, of_kind

READY_PORT = "io.aetheros.ready"  # the guest writes one JSON line here when agentd is healthy
GUEST_AGENT_PORT = "org.qemu.guest_agent.0"  # qemu-ga(8)
# A guest without virtio has serial lines instead, and looks for its host there when it is given this
# credential: ttyS1 is the guest agent's, ttyS2 takes the ready line. The firmware writes its messages to
# the first two, never to the third.
SERIAL_CREDENTIAL = "aetheros.serial-channels"
READY_LINE = "index=2,irq=5"  # an interrupt of its own: the third line shares the first one's by tradition
OVMF = Path("/usr/share/OVMF")  # in the tools tree
# The firmware and its variables as new: without Secure Boot, and with it and the keys that PCs have.
FIRMWARE = {
    False: ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
    True: ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
}
TPM_SOCKET = "/tmp/tpm.sock"  # in the sandbox of a machine that a person starts by its script


@dataclass(frozen=True)
class MachineSpec:
    """A virtual machine, before it exists.

    `folder` holds its logs and firmware variables and is made when the machine starts. `accel` is
    "auto" (builder/accel.py decides), "kvm" or "tcg". With `icount` the guest's time counts instructions
    while it is not idle (one virtual CPU, TCG): what a boot computes costs the same on every host.
    `network` True gives the guest the host's network by user-mode NAT; otherwise its network card has a
    cable that ends in QEMU.
    `on_panic` "reboot" leaves it to the guest what happens after a kernel panic (its `panic=` words);
    otherwise a panic is the machine's end.
    `write_log` records every write, so that a power cut can lose what was not flushed (powercut.py).
    """

    name: str
    folder: Path
    disk: Path | None = None
    firmware: Literal["uefi", "direct"] = "uefi"
    secure_boot: bool = False
    kernel: Path | None = None
    initrd: Path | None = None
    command_line: str = ""
    memory: int = 2 << 30  # bytes
    cpus: int = 2
    cpu: str = "max"
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    icount: bool = False
    devices: tuple[str, ...] = ("disk", "net", "console", "rng", "balloon")
    network: bool = False
    machine: MachineType = "q35"
    on_panic: Literal["end", "reboot"] = "end"
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
        if self.disk is not None and (found := mistake(self.devices)):
            raise AetherError(f"machine {self.name}: {found[0]}", hint=found[1])
        if self.secure_boot and (self.firmware, self.machine) != ("uefi", "q35"):
            raise AetherError(
                f"machine {self.name}: Secure Boot needs UEFI firmware and q35",
                hint="take qemu.secure_boot away, or --direct",
            )
        if self.firmware == "direct" and self.kernel is None:
            raise AetherError(f"machine {self.name}: a direct boot needs a kernel", hint="name the kernel")
        if self.icount and self.accel == "kvm":
            raise AetherError("instructions cannot be counted under KVM", hint="use --accel tcg")

    @property
    def has_tpm(self) -> bool:
        """True if a TPM is emulated beside QEMU."""
        return bool(of_kind(self.devices, "tpm"))

    @property
    def has_ports(self) -> bool:
        """True if the guest is spoken to through virtio ports, False if through serial lines."""
        return "console" in self.devices


@dataclass(frozen=True)
class Channels:
    """How QEMU's character devices reach us: numbers of inherited sockets, all None by hand."""

    qmp: int | None = None
    ready: int | None = None
    guest_agent: int | None = None  # a listening socket
    serial: int | None = None  # None: the serial line goes to its log alone
    tpm: int | None = None  # leads to the emulated TPM


@dataclass(frozen=True)
class Files:
    """The files of one start of a machine, all in its folder."""

    serial_log: Path
    qemu_log: Path
    variables: Path
    tpm: Path  # folder with what the TPM keeps
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
    if spec.secure_boot:
        # The variables are written in system management mode alone, or the guest could change the keys.
        words[-1] += ",smm=on"
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
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
    if spec.on_panic == "reboot":
        words += ["-action", "panic=none"]
    words += channel_words(spec, files, channels)
    words += disk_words(spec)
    words += device_words(
        spec.machine,
        spec.devices,
        disk=spec.disk is not None,
        first=spec.firmware == "uefi",  # a direct boot's kernel is first
        network=spec.network,
        cid=vsock_cid(spec),
    )
    words += firmware_words(spec, files, kernel_words(spec, accel))
    words += spec.extra
    if spec.has_tpm and channels.qmp is None:
        # By hand its TPM goes ahead of it and ends with it.
        start = shlex.join([*tpm_argv(files), "--daemon"])
        return ["sh", "-c", f'{start} && exec "$@"', "sh", *words]
    return words


def tpm_argv(files: Files, channel: int | None = None) -> list[str]:
    """The words of swtpm(8) for the machine's TPM; `channel` is a socket whose other end QEMU has."""
    control = f"clientfd={channel}" if channel is not None else f"path={TPM_SOCKET}"
    words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={escaped(files.tpm)}"]
    return [*words, "--ctrl", f"type=unixio,{control}", "--terminate"]


def channel_words(spec: MachineSpec, files: Files, channels: Channels) -> list[str]:
    """The monitor, the TPM, the serial line, and the two lines that the guest's programs speak through."""
    log = f"logfile={escaped(files.serial_log)},logappend=off"
    words: list[str] = []
    if spec.has_tpm:
        end = f"fd={channels.tpm}" if channels.tpm is not None else f"path={TPM_SOCKET}"
        words += ["-chardev", f"socket,id=tpm,{end}"]
    if spec.has_ports:
        words += ["-device", "virtio-serial-pci,id=ports"]
    if channels.qmp is None:
        return [*words, "-serial", "mon:stdio"]
    words += ["-S", "-chardev", f"socket,id=qmp,fd={channels.qmp}", "-mon", "chardev=qmp,mode=control"]
    serial = f"socket,id=serial,fd={channels.serial}" if channels.serial is not None else "null,id=serial"
    words += ["-chardev", f"{serial},{log}", "-device", "isa-serial,chardev=serial,index=0"]
    for name, port, line, fd, more in (
        ("ready", READY_PORT, READY_LINE, channels.ready, ""),
        ("agent", GUEST_AGENT_PORT, "index=1", channels.guest_agent, ",server=on,wait=off"),
    ):
        if fd is not None:
            words += ["-chardev", f"socket,id={name},fd={fd}{more}", "-device"]
            if spec.has_ports:
                words.append(f"virtserialport,bus=ports.0,chardev={name},name={port}")
            else:
                words.append(f"isa-serial,chardev={name},{line}")
    if not spec.has_ports:
        words += credential_words(SERIAL_CREDENTIAL, "yes")
    return words


def disk_words(spec: MachineSpec) -> list[str]:
    """The block node `disk`, which one of the machine's devices carries."""
    if spec.disk is None:
        return []
    words: list[str] = []
    # Write-back: a flush of the guest reaches the host's disk, everything else its page cache.
    file = {"driver": "file", "node-name": "disk-file", "filename": str(spec.disk), "discard": "unmap"}
    disk: dict[str, object] = {"driver": "raw", "node-name": "disk", "file": "disk-file"}
    if spec.disk.suffix == ".qcow2":
        disk["driver"] = "qcow2"
    if spec.write_log is None:
        return ["-blockdev", json.dumps(file), "-blockdev", json.dumps({**disk, "discard": "unmap"})]
    # Every write and flush, in the format of the kernel's dm-log-writes.
    log = {"driver": "file", "filename": str(spec.write_log)}
    words += ["-blockdev", json.dumps(file)]
    words += ["-blockdev", json.dumps({**disk, "node-name": "disk-raw"})]
    disk = {"driver": "blklogwrites", "node-name": "disk", "file": "disk-raw", "log": log}
    return [*words, "-blockdev", json.dumps(disk)]


def credential_words(name: str, value: str) -> list[str]:
    """A systemd credential for the guest (systemd.system-credentials(7))."""
    return ["-smbios", f"type=11,value=io.systemd.credential:{name}={escaped(value)}"]


def kernel_words(spec: MachineSpec, accel: str) -> list[str]:
    """What is said to the guest's kernel beyond the image's own command line."""
    # Linux counts timer interrupts against a clock. On a busy host an emulated processor misses them, and a
    # kernel that was not made for it panics: "IO-APIC + timer doesn't work".
    return [*spec.extra_kernel_words, *(["no_timer_check"] if accel == "tcg" else [])]


def firmware_words(spec: MachineSpec, files: Files, kernel_words: Sequence[str]) -> list[str]:
    """How the machine starts: UEFI firmware with its own variables, or a kernel put in memory by QEMU."""
    words: list[str] = []
    for name, value in spec.credentials:
        words += credential_words(name, value)
    if spec.firmware == "uefi":
        file = OVMF / FIRMWARE[spec.secure_boot][0]
        code = f"if=pflash,format=raw,unit=0,readonly=on,file={file}"
        words += ["-drive", code]
        words += ["-drive", f"if=pflash,format=raw,unit=1,file={escaped(files.variables)}"]
        line = escaped(" ".join(kernel_words))
        # Unified kernel images and other entries: systemd-stub(7), systemd-boot(7).
        for reader in ("stub", "boot") if line else ():
            words += ["-smbios", f"type=11,value=io.systemd.{reader}.kernel-cmdline-extra={line}"]
    else:
        line = " ".join([spec.command_line, *kernel_words])
        words += ["-kernel", str(spec.kernel), "-append", line]
        if spec.initrd is not None:
            words += ["-initrd", str(spec.initrd)]
    return words


def vsock_cid(spec: MachineSpec) -> int:
    """The machine's vsock address: made from its UUID, so that two machines do not meet (0-2 are taken)."""
    return 3 + (spec.uuid.int % (2**31 - 8) if spec.uuid else 0)


def visible_files(spec: MachineSpec, files: Files) -> tuple[list[Path], list[Path], list[Path]]:
    """What QEMU may read, may write, and the devices it may open; everything else is hidden from it."""
    readable = [path for path in (spec.kernel, spec.initrd) if spec.firmware == "direct" and path]
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
