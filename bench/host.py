"""What the host of a measurement is, and how much of it others used meanwhile."""

import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.accel import Accel

QUIET_SHARE = 0.05  # of all cores; below it a host counts as quiet


def facts(accel: Accel) -> dict[str, Any]:
    """Processor, cores, memory (bytes), kernel and accelerator."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.processor() or "?",
        "cores": os.cpu_count() or 1,
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "accel": accel.kind,
        "accel_reason": accel.reason,
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """The host in two lines for a person, and one that says whether it was quiet."""
    said = [
        f"{found['cpu']}, {found['cores']} cores, {found['memory'] / 2**30:.0f} GiB,"
        f" Linux {found['kernel']}",
        f"virtual machines by {found['accel'].upper()}: {found['accel_reason']}",
    ]
    others, stolen = found["others_share"], found["stolen_share"]
    used = f"other programs used {others:.0%} of the processors meanwhile, {stolen:.0%} were not given to us"
    if max(others, stolen) > QUIET_SHARE:
        return [*said, f"NOT QUIET: {used}; measure again when nothing else runs"]
    return [*said, used]


@dataclass(frozen=True)
class Processors:
    """What the processors have done up to a moment, in seconds of one core."""

    at: float
    busy: float
    stolen: float
    own: float

    def shares_since(self, before: "Processors", cores: int) -> dict[str, float]:
        """Of all processor time since `before`: what others on this host used, and what it did not get."""
        whole = max((self.at - before.at) * cores, 1e-9)
        others = (self.busy - before.busy) - (self.own - before.own)
        return {
            "others_share": round(max(others, 0.0) / whole, 3),
            "stolen_share": round((self.stolen - before.stolen) / whole, 3),
        }


def processors() -> Processors:
    """The counters now, from /proc/stat (proc_stat(5)) and times(2), where children that ended count."""
    counts = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(n) / os.sysconf("SC_CLK_TCK") for n in counts[:8])
    mine = os.times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    return Processors(time.monotonic(), user + nice + system + irq + softirq, steal, own)
