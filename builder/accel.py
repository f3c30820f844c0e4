"""Can virtual machines use KVM here, or must QEMU emulate every instruction?

/dev/kvm existing and opening proves nothing: in a nested host it may open and then run no ordinary
guest. So the processor must say that it can (vmx or svm) and UEFI firmware must once have reached its
boot menu under KVM. QEMU's own `-accel kvm -accel tcg` does not help when KVM opens and then fails.
"""

import contextlib
import json
import os
import platform
import select
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder import toolchain
from builder.cache import cache_dir, digest, write_atomically
from builder.errors import AetherError
from builder.qemu_command import OVMF

PROOF_SECONDS = 20  # OVMF reaches its boot menu in 2-3 s under a KVM that works
PROOF_TEXT = b"BdsDxe:"  # what OVMF's boot device selection writes on the serial line


@dataclass(frozen=True)
class Accel:
    """How virtual machines run on this host, and why."""

    kind: Literal["kvm", "tcg"]
    reason: str
    proven: bool = True


def choose(wanted: str = "auto", *, prove: bool = True) -> Accel:
    """The accelerator for this host; `wanted` "kvm" or "tcg" is obeyed, or refused with an error.

    With `prove` false nothing is started or fetched: a KVM that looks usable is then "not proven".
    """
    if wanted == "tcg":
        return Accel("tcg", "asked for")
    if wanted not in ("auto", "kvm"):
        raise AetherError(f"unknown accelerator {wanted!r}", hint="one of auto, kvm, tcg")
    found = examine(prove=prove)
    if wanted == "kvm" and found.kind != "kvm":
        raise AetherError(f"KVM cannot be used: {found.reason}", hint="use --accel auto")
    return found


def examine(
    *,
    prove: bool,
    device: Path = Path("/dev/kvm"),
    cpuinfo: Path = Path("/proc/cpuinfo"),
    boots: Callable[[], str] | None = None,
) -> Accel:
    """What this host's device, processor and (kept) proof say; `boots` returns "" or what went wrong."""
    if not device.exists():
        return Accel("tcg", f"{device} does not exist")
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Accel("tcg", f"{device} cannot be opened: {error.strerror}")
    text = cpuinfo.read_text()
    flags = next(
        (line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith("flags")), []
    )
    extension = next((flag for flag in ("vmx", "svm") if flag in flags), None)
    if extension is None:
        return Accel("tcg", f"{device} opens, but the processor shows neither vmx nor svm")
    model = next((line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line), "?")
    key = digest(model, platform.release(), toolchain.PACKAGES)
    kept = cache_dir() / "kvm-proof.json"
    with contextlib.suppress(OSError, ValueError):
        proof = json.loads(kept.read_text())
        if proof["key"] == key:
            return verdict(proof["failure"], extension)
    if not prove:
        return Accel("kvm", f"{extension}; proven by a short boot when it is first used", proven=False)
    failure = (boots or short_boot)()
    write_atomically(kept, json.dumps({"key": key, "failure": failure}))
    return verdict(failure, extension)


def verdict(failure: str, extension: str) -> Accel:
    """The answer that a short boot gives."""
    if failure:
        return Accel("tcg", f"a short boot under KVM failed: {failure}")
    return Accel("kvm", f"{extension}, and a short boot worked")


def short_boot(accel: str = "kvm", seconds: float = PROOF_SECONDS) -> str:
    """Boot UEFI firmware with no disk until it looks for one; "" if it did, else what went wrong."""
    tools = toolchain.ensure()
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    command += ["-machine", "q35", "-accel", accel, "-cpu", "max", "-m", "256M", "-serial", "stdio"]
    command += ["-drive", f"if=pflash,format=raw,readonly=on,file={OVMF / 'OVMF_CODE_4M.fd'}"]
    command += ["-drive", f"if=pflash,format=raw,snapshot=on,file={OVMF / 'OVMF_VARS_4M.fd'}"]
    argv = tools.argv(command, devices=[Path("/dev/kvm")])
    seen = b""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                if not select.select([process.stdout], [], [], left)[0]:
                    break
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    last = seen.decode(errors="replace").strip().splitlines()[-1:]
                    return " ".join(["QEMU ended", *last])
                seen += chunk
                if PROOF_TEXT in seen:
                    return ""
            return f"the firmware said nothing in {seconds:.0f} s"
        finally:
            process.kill()
