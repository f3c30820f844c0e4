"""The processes that use most of the processors or of memory.

The use of processors is measured over a short while; 100 % is one processor. A process is told by its name
alone: its arguments can hold secrets. Not for: services (services.py).
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from agentd.tools.render import count as counted
from agentd.tools.render import size, table, visible
from agentd.tools.tool import Answer, Arguments, Context, Lacking, Unfit

# Seconds over which the use of processors is measured.
SAMPLE = 0.5
COUNT, MOST = 10, 100
ORDERS = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Process:
    """A process and what it uses."""

    pid: int
    name: str
    user: str
    cpu_percent: float  # of one processor
    memory_bytes: int  # resident


def show(context: Context, arguments: Arguments) -> Answer:
    """The processes that use most."""
    by = arguments.get("by") or "cpu"
    if by not in ORDERS:
        raise Unfit(f"processes are not ordered by {visible(str(by), 40)}", f"by {' or '.join(ORDERS)}")
    most = _count(arguments.get("count"))
    found = measure()
    found.sort(key=lambda one: (one.cpu_percent, one.memory_bytes), reverse=True)
    if by == "memory":
        found.sort(key=lambda one: one.memory_bytes, reverse=True)
    shown = found[:most]
    words = "of the processors" if by == "cpu" else "memory"
    head = f"{counted(len(found), 'process', 'processes')}; those that use most {words}:"
    rows = [
        (one.pid, one.name, one.user, f"{one.cpu_percent:.1f} %", size(one.memory_bytes)) for one in shown
    ]
    text = table(("Process", "Name", "User", "Processor", "Memory"), rows)
    facts = {"by": by, "all": len(found), "processes": [asdict(one) for one in shown]}
    return Answer(f"{head}\n{text}", facts, ("/proc",))


def measure(seconds: float = SAMPLE) -> list[Process]:
    """All processes that agentd may see, kernel threads left out. Raises Lacking without /proc."""
    import psutil

    try:
        before = {one.pid: _used(one) for one in psutil.process_iter()}
    except OSError as error:
        raise Lacking("the kernel shows no processes here") from error
    began = time.monotonic()
    time.sleep(seconds)
    found = []
    for process in psutil.process_iter():
        passed = time.monotonic() - began
        try:
            with process.oneshot():
                created, used = _used(process)
                memory = process.memory_info().rss
                was, used_before = before.get(process.pid, (created, used))
                # A kernel thread has no memory; a number can be given to another process meanwhile.
                if memory and was == created:
                    cpu = max(0.0, 100 * (used - used_before) / passed)
                    user = visible(process.username(), 32)
                    name = visible(process.name(), 40)
                    found.append(Process(process.pid, name, user, round(cpu, 1), memory))
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or is not agentd's to see
    if not found:
        raise Lacking("the kernel shows no processes here")
    return found


def _used(process: Any) -> tuple[float, float]:
    """When a process began, and the seconds of processor that it has used; zeros if it has ended."""
    import psutil

    try:
        times = process.cpu_times()
        return process.create_time(), times.user + times.system
    except psutil.Error:
        return 0.0, 0.0


def _count(value: Any) -> int:
    if value is None:
        return COUNT
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Unfit(f"{visible(str(value), 20)} is not a number of processes", f"1 to {MOST}")
    return min(value, MOST)
