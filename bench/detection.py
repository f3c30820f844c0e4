"""From a machine to its kernel's configuration: how long `aether detect` takes.

Measured through the command, as a person runs it. Configurations that the cache holds would be found and not
made, so a cache is laid out beside it that shares everything but those. Not for: the kernel's compilation.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.table import Row, Section
from builder.cache import cache_dir
from builder.errors import StepFailed
from builder.progress import step

REPORTS = Path(__file__).parent.parent / "tests/data/hardware"
# Two laptops, a server with 318 devices, a virtual machine.
MACHINES = (
    "lenovo-20l6s6ru00-thinkpad-t480",
    "framework-laptop-13-amd-ryzen-7040series",
    "dell-inc-poweredge-r760",
    "qemu-standard-pc-i440fx-piix-1996",
)
NOT_SHARED = ("kernel-config", "kconfig-program", "logs", "durations.json")


def section(steps: Mapping[str, float]) -> Section:
    """The report of this machine, and the way from four saved reports to a proven configuration.

    `steps` are progress.durations(): the database of drivers is made once for a kernel version.
    """
    with (
        step("Detect machines and configure their kernels"),
        tempfile.TemporaryDirectory(prefix="detection-", dir=cache_dir() / "work") as folder,
    ):
        rows = measured(Path(folder))
    made = [steps["drivers"]] if "drivers" in steps else []
    rows.append(Row("driver_database", "the drivers' database, once for a kernel version", "s", made))
    note = "Limits: 2 s, 20 s, 300 s. The database as it last was made, by whoever."
    return Section("Detection", rows, note)


def measured(folder: Path) -> list[Row]:
    """The rows that are measured now; three times the first, each machine of the second once."""
    reports = [REPORTS / f"{name}.json" for name in MACHINES]
    cache = shared_cache(folder / "cache")
    detect = [seconds(["detect", "--json"], cache) for _ in range(3)]
    # The program of the tree's Kconfig is made for a place; it is there before the measurement.
    seconds(["kernel", "pc"], cache)
    configured = [
        seconds(["detect", "--report", str(report), "--profile", f"bench-{number}"], cache)
        for number, report in enumerate(reports)
    ]
    return [
        Row("detect", "aether detect: the report of this machine", "s", detect),
        Row("report_to_configuration", "a saved report to a proven configuration", "s", configured),
    ]


def shared_cache(folder: Path) -> Path:
    """A cache with everything that the real one has, as links, but for configurations of kernels."""
    folder.mkdir()
    for path in cache_dir().iterdir():
        if path.name not in NOT_SHARED:
            (folder / path.name).symlink_to(path)
    (folder / "machines-of-the-bench").mkdir()
    return folder


def seconds(words: Sequence[str], cache: Path) -> float:
    """How long `aether WORDS` takes with this cache; raises StepFailed where it fails."""
    argv = [sys.executable, "-m", "builder.cli", *words]
    env = {**os.environ, "AETHER_CACHE": str(cache), "AETHER_MACHINES": str(cache / "machines-of-the-bench")}
    log = cache / "log"
    began = time.monotonic()
    with log.open("w") as file:
        done = subprocess.run(argv, env=env, stdout=file, stderr=subprocess.STDOUT, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise StepFailed(f"aether {' '.join(words)}: {log.read_text().strip()[-300:]}", log=log)
    return took
