"""The phases of a virtual machine's boot: firmware, boot loader, kernel, userspace, agent.

Two clocks tell them. The host's begins at power-on and sees when the firmware names what it starts and
when the agent is ready; the guest's begins with its kernel and has everything after. They meet where the
guest told its host that the agent is ready. (systemd-boot notes times for systemd, but none in a virtual
machine.) Not for: keeping them (boot_record.py), or comparing machines (machine_report.py).
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import QMPError

from builder.errors import AetherError
from builder.guest import GuestAgent
from builder.qemu_process import Gone, QemuProcess

# In their order; together they are the time from power-on to agent-ready.
PHASES = {
    "firmware": "firmware",
    "loader": "boot loader",
    "kernel": "kernel, until its first process",
    "userspace": "userspace, until the agent starts",
    "agent": "agent, until it is ready",
}
READY = "ready"  # all of them
FINISHED = "finished"  # power-on to nothing left to start

# What OVMF (EDK II, BdsDxe) writes on the serial line when it hands over.
LOADER_STARTS = re.compile(rb"BdsDxe: starting Boot")
LOOK_SECONDS = 0.05

# Waits until the boot is over, so that it takes nothing from it; every line is told by what it begins with.
READ = """\
timeout "$1" systemctl is-system-running --wait >/dev/null
echo "kernel $(uname -r)"
dmesg | grep -m1 ' as init process$'
systemctl show -p Id,FinishTimestampMonotonic
systemctl show -p Id,ExecMainStartTimestampMonotonic agentd.service
systemctl show -p Id,ExecMainExitTimestampMonotonic aetheros-ready.service
"""
ANSWER_SECONDS = 30.0  # for the rest
_STARTED, _TOLD, _FINISHED = (
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "FinishTimestampMonotonic",
)


@dataclass(frozen=True)
class Boot:
    """One boot: the kernel that came up (`uname -r`), and seconds by the names above.

    A time that is not known is left out.
    """

    kernel: str
    seconds: Mapping[str, float]


class Starts:
    """Finds in the pieces of a serial line where the firmware starts something."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> int:
        """How many such lines were whole with this piece."""
        self._rest += piece
        ends = [match.end() for match in LOADER_STARTS.finditer(self._rest)]
        # What follows the last one may be the beginning of the next.
        self._rest = self._rest[max(ends, default=0) :][-64:]
        return len(ends)


async def watch_loader(process: QemuProcess, log: Path) -> None:
    """Note in `process.loader_starts` when the firmware starts something, until the process ends.

    `log` is the serial line's; a file has no event, so it is looked at until the agent is ready.
    """
    loop = asyncio.get_running_loop()
    read, starts = 0, Starts()
    while not process.exited:
        boot = process.started

        def reset(began: float = boot) -> bool | None:
            return True if process.started != began else None

        while not (process.exited or reset() or _is_ready(process)):
            if log.exists() and log.stat().st_size > read:
                with log.open("rb") as file:
                    file.seek(read)
                    piece = file.read()
                read += len(piece)
                process.loader_starts += [loop.time()] * starts.take(piece)
            await asyncio.sleep(LOOK_SECONDS)
        with contextlib.suppress(Gone):
            await process.wait_for(reset, 365 * 86400.0)


def _is_ready(process: QemuProcess) -> bool:
    return any(at >= process.started for at, _ in process.ready_lines)


async def read(process: QemuProcess, agent: GuestAgent, patience: float = 60.0) -> Boot | None:
    """The boot that came up last, asked of the guest; None if it does not say.

    Up to `patience` seconds are given to what still starts.
    """
    began, loaders = process.started, list(process.loader_starts)
    ready = next((at for at, _ in process.ready_lines if at >= began), None)
    if ready is None:
        return None
    argv = ["/usr/bin/nice", "-n", "19", "/bin/sh", "-c", READ, "sh", f"{patience}"]
    try:
        done = await process.race(agent.execute(argv), patience + ANSWER_SECONDS)
    except (AetherError, Gone, QMPError, TimeoutError, OSError, EOFError):
        return None
    if process.started != began:
        return None
    return phases(done.text, ready - began, [at - began for at in loaders if at >= began])


def phases(said: str, ready: float, loader_starts: list[float] | None = None) -> Boot | None:
    """The phases of a boot whose agent was ready `ready` seconds after power-on, from what READ printed.

    `loader_starts` are the seconds after power-on at which the firmware started something; the last one
    before the kernel counts. Without it firmware and boot loader are one phase, `firmware`. None if the
    guest said nothing of use.
    """
    kernel = re.search(r"^kernel (\S+)$", said, re.MULTILINE)
    init = re.search(r"^\[\s*([\d.]+)\] Run \S+ as init process$", said, re.MULTILINE)
    clock = {
        name: int(value) / 1e6
        for name, value in re.findall(r"^(\w+TimestampMonotonic)=(\d+)$", said, re.MULTILINE)
        if int(value)
    }
    if not kernel:
        return None
    found = {READY: ready}
    told, started = clock.get(_TOLD), clock.get(_STARTED)
    if told is not None and told <= ready:
        power_to_kernel = ready - told
        loader = max((at for at in loader_starts or () if at <= power_to_kernel), default=None)
        found["firmware"] = power_to_kernel if loader is None else loader
        if loader is not None:
            found["loader"] = power_to_kernel - loader
        if _FINISHED in clock:
            found[FINISHED] = power_to_kernel + clock[_FINISHED]
    if init:
        found["kernel"] = float(init[1])
    # An agent that was started anew since then was started later than it had been ready.
    if told is not None and started is not None and started <= told:
        found["agent"] = told - started
        if init:
            found["userspace"] = started - float(init[1])
    order = [*PHASES, READY, FINISHED]
    return Boot(kernel[1], {name: round(found[name], 3) for name in order if name in found})
