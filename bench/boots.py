"""One boot of a machine, measured: times, instructions, memory, one question.

Times come from the guest's own clocks (the kernel's log, systemd, agentd's unit); only the time from
power-on is the host's. Not for: making the images (baseline.py), or the order of boots (suite.py).
"""

import contextlib
import dataclasses
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import vmdisk
from builder.powercut import copy_sparse
from builder.progress import step
from builder.qemu_command import MachineSpec
from builder.qemu_process import Ready, ShutdownReason
from builder.toolchain import Toolchain
from builder.vm import Machine

QUESTION = "What is Linux?"
READY_SECONDS = 1800.0  # a stock kernel with its initrd, every instruction emulated and counted
ASK_SECONDS = 900.0

TIMES = {
    "power_to_ready": ("power-on to agent-ready (host's clock)", "s"),
    "firmware_to_kernel": ("power-on to kernel: firmware, boot loader, unpacking", "s"),
    "kernel_to_init": ("kernel to its first process", "s"),
    "kernel_to_systemd": ("kernel to the system's systemd", "s"),
    "kernel_to_ready": ("kernel to agent-ready", "s"),
    "kernel_to_model": ("kernel to model loaded", "s"),
    "kernel_to_finish": ("kernel to boot finished", "s"),
    "failed_units": ("units that failed", "units"),
}
INSTRUCTIONS = {
    "firmware_to_kernel": (TIMES["firmware_to_kernel"][0], "10^9"),
    "kernel_to_init": (TIMES["kernel_to_init"][0], "10^9"),
    "kernel_to_told": ("kernel to agent-ready, the host told", "10^9"),
}
ANSWER = {
    "first_token": ("question to first word", "s"),
    "tokens_per_second": ("writing", "tokens/s"),
}
MEMORY = {
    "memory_used": ("used after boot: MemTotal - MemAvailable", "MB"),
    "memory_kept": ("never given out by the kernel: machine - MemTotal", "MB"),
    "agentd_rss": ("agentd, resident", "MB"),
    "agentd_own": ("agentd, its own (anonymous)", "MB"),
    "agentd_pss": ("agentd, proportional", "MB"),
    "agentd_model_rss": ("agentd-model, resident", "MB"),
    "agentd_model_own": ("agentd-model, its own (anonymous)", "MB"),
    "agentd_model_pss": ("agentd-model, proportional", "MB"),
}

# Put into both systems before they are measured: notes how much had been computed when the host had been
# told that the agent is ready. An idle processor executes nothing, so what the guest waited for its disk,
# which is the host's time, is to be taken away.
NOTE_PLACE = "/run/bench-ready"
NOTE = f"""\
[Service]
ExecStartPost=/bin/sh -c 'cat /proc/uptime /proc/stat >{NOTE_PLACE}'
"""
INSTALL_NOTE = """
mkdir -p /etc/systemd/system/aetheros-ready.service.d
cat >/etc/systemd/system/aetheros-ready.service.d/bench.conf
"""

# In the guest: ask as a person does and note when each piece of the answer came, in seconds since the
# command was started, then let the worker count the answer's tokens.
ASK = """
import json, subprocess, sys, time
question, tokens = sys.argv[1:]
began, times, last = time.monotonic(), [], {}
command = ["agent", "--json", "ask", "--stream", "--max-tokens", tokens, "--", question]
with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as agent:
    for line in agent.stdout:
        now, last = time.monotonic(), json.loads(line)
        if last.get("delta"):
            times.append(now - began)
count = subprocess.run(
    ["varlinkctl", "--json=short", "call", "/run/agentd/model.sock", "io.aetheros.Model.Count",
     json.dumps({"texts": [last.get("text") or ""]})], capture_output=True, check=True).stdout
print(json.dumps({"times": times, "last": last, "tokens": json.loads(count)["tokens"][0]}))
"""

# The worker tells nobody when its model is loaded, so it is asked; the answer is good to a few tenths
# of a second.
WAIT_FOR_MODEL = """
until varlinkctl --json=short call /run/agentd/agent.sock io.aetheros.Agent.Status '{}' |
    grep -q '"state":"ready"'
do sleep 0.2; done
cut -d' ' -f1 /proc/uptime
"""

# How much time had passed when the kernel's clock began, in nanoseconds: the processor's time-stamp counter
# begins at power-on and, under -icount, counts instructions as the clock does. (systemd-boot, which
# tells systemd of the time before it, says nothing in a virtual machine.) The bytes are: rdtsc;
# shl rdx, 32; or rax, rdx; ret.
BEFORE_KERNEL = """
import ctypes, mmap, time
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
ticks = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print(ticks() - time.monotonic_ns())
"""

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Subject:
    """One of the two systems that are compared: how it boots, and with what."""

    name: str
    spec: MachineSpec
    tools: Toolchain


def new_disk(subject: Subject, image: Path, layout: Mapping[str, Any], size: int) -> Subject:
    """The subject with a fresh disk of `size` bytes, made from its image, in its machine's folder."""
    folder = subject.spec.folder
    if any(part["label"] == vmdisk.DATA_LABEL for part in layout["partitions"]):
        disk = vmdisk.prepare(image, layout, folder, size)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        disk = folder / "disk.raw"
        copy_sparse(image, disk)
    return dataclasses.replace(subject, spec=dataclasses.replace(subject.spec, disk=disk))


def boot(subject: Subject, *, tokens: int = 0, icount: bool = False) -> Sample:
    """Boot once to agent-ready, measure, ask for `tokens` tokens (0: do not ask), power down.

    Seconds, MB (10^6 bytes) and tokens a second, by the keys above; with `icount` INSTRUCTIONS alone, in
    10^9. MachineFailed if the machine does not come up or does not answer.
    """
    with _booted(subject, icount=icount) as (machine, ready):
        if icount:
            return _counted(machine)
        found = _timed(machine, ready.seconds) | _settled(machine)
        return found | (_ask(machine, tokens) if tokens else {})


@contextlib.contextmanager
def _booted(subject: Subject, *, icount: bool) -> Iterator[tuple[Machine, Ready]]:
    """The subject's machine from agent-ready on; it is powered down at the end."""
    with tempfile.TemporaryDirectory(prefix="boot-", dir=subject.spec.folder) as folder:
        spec = dataclasses.replace(subject.spec, folder=Path(folder), icount=icount)
        with (
            step(f"Boot {subject.name}{', counting' if icount else ''}", f"bench {subject.name}"),
            Machine(spec, tools=subject.tools) as machine,
        ):
            machine.start()
            yield machine, machine.wait_ready(READY_SECONDS)
            reason = machine.powerdown(READY_SECONDS)
            if reason is not ShutdownReason.GUEST_SHUTDOWN:
                raise machine.failure(f"{subject.name} did not shut down by itself: {reason}")


def first_boot(subject: Subject) -> Sample:
    """Boot a fresh disk for the first time; leaves NOTE in the system for the boots that follow."""
    with _booted(subject, icount=False) as (machine, ready):
        note = machine.execute(["/bin/sh", "-e", "-c", INSTALL_NOTE], stdin=NOTE.encode())
        if note.status:
            raise machine.failure(f"{subject.name} does not keep a unit: {note.stderr.decode()}")
        _wait_finished(machine)
        return {"power_to_ready": ready.seconds}


def _timed(machine: Machine, ready: float) -> dict[str, float]:
    """The times of a boot whose agent was ready `ready` seconds after power-on."""
    failed = _wait_finished(machine)
    told = ["systemctl", "show", "-P", "ExecMainExitTimestampMonotonic", "aetheros-ready.service"]
    before = ready - int(machine.succeed(told)) / 1e6
    found = {"power_to_ready": ready, "firmware_to_kernel": before, "failed_units": float(len(failed))}
    return found | _times(machine)


def _wait_finished(machine: Machine) -> list[str]:
    """Wait until nothing of the boot is left to do; the names of the units that failed."""
    # Its status says that units failed; a stock system on a slow host may well have some.
    machine.execute(["systemctl", "is-system-running", "--wait"], timeout=READY_SECONDS)
    listed = machine.succeed("systemctl list-units --failed --plain --no-legend")
    return [line.split()[0] for line in listed.splitlines()]


def _counted(machine: Machine) -> dict[str, float]:
    """The instructions of a boot."""
    machine.succeed("systemctl start aetheros-ready.service")  # waits until its note is written
    before = machine.succeed(["python3", "-I", "-c", BEFORE_KERNEL])
    return {
        "firmware_to_kernel": int(before) / 1e9,
        "kernel_to_init": _times(machine)["kernel_to_init"],
        "kernel_to_told": busy_seconds(machine.succeed(["cat", NOTE_PLACE])),
    }


def _settled(machine: Machine) -> dict[str, float]:
    """Wait until the model is loaded; when that was, and the memory then in use."""
    found = {"kernel_to_model": float(machine.succeed(WAIT_FOR_MODEL, timeout=READY_SECONDS))}
    meminfo = machine.succeed("cat /proc/meminfo")
    return found | used_memory(meminfo, machine.spec.memory) | _processes(machine)


def _processes(machine: Machine) -> dict[str, float]:
    found: dict[str, float] = {}
    for unit, key in (("agentd", "agentd"), ("agentd-model", "agentd_model")):
        pid = machine.succeed(["systemctl", "show", "-P", "MainPID", f"{unit}.service"]).strip()
        # A kernel without CONFIG_PROC_PAGE_MONITOR has no smaps_rollup.
        text = machine.succeed(f"cat /proc/{pid}/status; cat /proc/{pid}/smaps_rollup 2>/dev/null || true")
        found |= process_memory(text, key)
    return found


def _times(machine: Machine) -> dict[str, float]:
    names = [f"{name}TimestampMonotonic" for name in ("Userspace", "Finish")]
    manager = machine.succeed(["systemctl", "show", f"--property={','.join(names)}"])
    unit = machine.succeed("systemctl show -p ActiveEnterTimestampMonotonic agentd.service")
    return boot_times(machine.succeed("dmesg"), manager, unit)


def _ask(machine: Machine, tokens: int) -> dict[str, float]:
    argv = ["python3", "-I", "-c", ASK, QUESTION, str(tokens)]
    done = machine.execute(argv, timeout=ASK_SECONDS)
    try:
        said = json.loads(done.text)
        if said["last"]["status"] != "complete":
            raise ValueError
        return answer_speed(said["times"], said["tokens"])
    except (ValueError, KeyError, TypeError):
        raise machine.failure(
            f"{machine.spec.name} did not answer: {done.text}{done.stderr.decode()}"
        ) from None


# ---- what the guest's own words mean


def boot_times(dmesg: str, manager: str, unit: str) -> dict[str, float]:
    """Seconds since the kernel's start, from dmesg(1) and two outputs of `systemctl show`.

    What has not happened yet is left out.
    """
    found: dict[str, float] = {}
    if match := re.search(r"^\[\s*([\d.]+)\] Run \S+ as init process$", dmesg, re.MULTILINE):
        found["kernel_to_init"] = float(match[1])
    microseconds = {
        name: int(value) for name, value in re.findall(r"^(\w+)=(\d+)$", f"{manager}\n{unit}", re.MULTILINE)
    }
    for name, key in (
        ("UserspaceTimestampMonotonic", "kernel_to_systemd"),
        ("ActiveEnterTimestampMonotonic", "kernel_to_ready"),
        ("FinishTimestampMonotonic", "kernel_to_finish"),
    ):
        if microseconds.get(name):
            found[key] = microseconds[name] / 1e6
    return found


def busy_seconds(noted: str, ticks: int = 100) -> float:
    """Seconds that a machine's one processor computed since its kernel's start: neither idle nor waiting.

    `noted` is /proc/uptime and /proc/stat, which counts in `ticks` a second (proc_stat(5)).
    """
    uptime = float(noted.split()[0])
    _user, _nice, _system, idle, waiting = (int(n) for n in noted.split("cpu  ")[1].split()[:5])
    return uptime - (idle + waiting) / ticks


def used_memory(meminfo: str, memory: int) -> dict[str, float]:
    """What a machine of `memory` bytes has in use, in MB, from /proc/meminfo (proc_meminfo(5))."""
    sizes = {name: int(value) * 1024 for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.M)}
    return {
        "memory_used": (sizes["MemTotal"] - sizes["MemAvailable"]) / 1e6,
        "memory_kept": (memory - sizes["MemTotal"]) / 1e6,
    }


def process_memory(text: str, key: str) -> dict[str, float]:
    """A process's memory in MB, from its /proc/PID/status and, where there is one, smaps_rollup."""
    sizes = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    names = (("VmRSS", "rss"), ("RssAnon", "own"), ("Pss", "pss"))
    return {f"{key}_{end}": int(sizes[name]) * 1024 / 1e6 for name, end in names if name in sizes}


def answer_speed(times: list[float], tokens: int) -> dict[str, float]:
    """The wait for an answer's first piece, and its tokens a second after that.

    `times` are the seconds at which the pieces came. A rate needs two pieces.
    """
    if not times:
        raise ValueError("no answer")
    found = {"first_token": times[0]}
    if len(times) > 1 and tokens > 1:
        found["tokens_per_second"] = (tokens - 1) / (times[-1] - times[0])
    return found
