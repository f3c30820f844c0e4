"""What the host of a measurement is, and whether anything else was running on it."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from builder.accel import Accel


def facts(accel: Accel) -> dict[str, Any]:
    """Processor, cores, memory (bytes), kernel, accelerator, and the load average at this moment."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.processor() or "?",
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "accel": accel.kind,
        "accel_reason": accel.reason,
        "load_before": round(os.getloadavg()[0], 2),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The host in two lines for a person, and a third if it was not quiet."""
    said = [
        f"{found['cpu']}, {found['cores']} cores, {found['memory'] / 2**30:.0f} GiB,"
        f" Linux {found['kernel']}",
        f"virtual machines by {found['accel'].upper()}: {found['accel_reason']}",
    ]
    if is_loaded(found):
        said.append(f"NOT QUIET: load average {found['load_before']} at the start; measure again alone")
    return said


def is_loaded(found: dict[str, Any]) -> bool:
    """Whether something else was computing when the measurement began."""
    return bool(found["load_before"] > 0.5)
