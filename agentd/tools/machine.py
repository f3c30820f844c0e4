"""How this machine is and what it is made of: status and hardware, and the family's declarations.

Read from /proc and /sys through psutil, without root. What a machine has not is left out, and said in one
line. Not for: disks (disks.py, disk_health.py), processes (processes.py), the boot (boot.py).
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from agentd.tools import boot, disk_health, disks, processes
from agentd.tools.render import pairs, percent, size, span, visible
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool

# Seconds over which the use of the processors is measured.
SAMPLE = 0.3
# Temperatures in a table: the hottest of these many chips.
MOST_CHIPS = 8
# psutil's words for "no end in sight" and "not known" are negative.
_MINUTE = 60


def status(context: Context, arguments: Arguments) -> Answer:
    """Load, memory, temperatures, battery, uptime."""
    import psutil  # here, as in all of the family: an agentd that is not asked does without

    try:
        facts: dict[str, Any] = {
            "load": [round(value, 2) for value in psutil.getloadavg()],
            "cpus": psutil.cpu_count() or 1,
            "cpu_percent": psutil.cpu_percent(interval=SAMPLE),
            "memory": _memory(psutil.virtual_memory()),
            "swap": _swap(psutil.swap_memory()),
            "uptime_seconds": round(time.clock_gettime(time.CLOCK_BOOTTIME)),
        }
    except OSError as error:
        place = error.filename or "/proc"
        raise Lacking(f"the kernel shows no {place} here", "agentd.service needs ProcSubset=all") from error
    facts["temperatures"] = _temperatures(psutil.sensors_temperatures())
    # psutil fails where the kernel has no power supplies at all.
    supplies = Path("/sys/class/power_supply").is_dir()
    facts["battery"] = _battery(psutil.sensors_battery()) if supplies else None
    missing = [
        what
        for what, found in (("battery", facts["battery"]), ("temperature sensors", facts["temperatures"]))
        if not found
    ]
    lines = [_sentence(facts), pairs(_status_pairs(facts))]
    if missing:
        lines.append(f"This machine has no {' and no '.join(missing)}.")
    sources: tuple[str, ...] = ("/proc/loadavg", "/proc/stat", "/proc/meminfo", "/proc/uptime")
    sources += ("/sys/class/hwmon",) if facts["temperatures"] else ()
    sources += ("/sys/class/power_supply",) if facts["battery"] else ()
    return Answer("\n".join(lines), facts, sources)


def hardware(context: Context, arguments: Arguments) -> Answer:
    """What this machine is made of, from the hardware report."""
    from hardware.probe import probe

    report = probe()
    cpu = report.cpu
    facts: dict[str, Any] = {
        "machine": report.name,
        "kind": report.kind,
        "virtualisation": report.virtualisation,
        "firmware": report.firmware.kind,
        "processor": cpu.model_name or cpu.vendor,
        "processor_level": cpu.level,
        "cores": cpu.cores,
        "threads": cpu.threads,
        "memory_bytes": report.memory_bytes,
        "graphics": [one.name or one.driver for one in report.graphics],
        "disks": [
            {"model": one.model, "kind": one.kind, "size_bytes": one.size_bytes} for one in report.blocks
        ],
        "networks": [{"kind": one.kind, "driver": one.driver} for one in report.networks],
        "devices": len(report.devices),
        "devices_without_driver": sum(not one.driver for one in report.devices),
        "kernel": report.kernel,
    }
    below = "" if report.virtualisation in ("none", "unknown") else f" in {report.virtualisation}"
    kind = "" if report.kind == "unknown" else f"{report.kind}{below}"
    threads = f"{cpu.cores or '?'} cores, {cpu.threads} threads" if cpu.threads else ""
    disk_words = [
        ", ".join(part for part in (one.model, one.kind, size(one.size_bytes or 0)) if part)
        for one in report.blocks
    ]
    network_words = [f"{one.kind} ({one.driver})" if one.driver else one.kind for one in report.networks]
    rows = [
        ("Machine", ", ".join(part for part in (report.name, kind) if part)),
        ("Processor", ", ".join(part for part in (facts["processor"], cpu.level, threads) if part)),
        ("Memory", size(report.memory_bytes) if report.memory_bytes else ""),
        ("Graphics", _counted(facts["graphics"])),
        ("Disks", _counted(disk_words)),
        ("Network", _counted(network_words)),
        ("Firmware", "" if report.firmware.kind == "unknown" else report.firmware.kind.upper()),
        ("Kernel", report.kernel),
        ("Devices", f"{facts['devices']}, {facts['devices_without_driver']} without a driver"),
    ]
    text = pairs((name, visible(value)) for name, value in rows)
    return Answer(f"{text}\nAll of it: agent hardware", facts, ("/sys", "/proc/cpuinfo", "/proc/meminfo"))


def _memory(found: Any) -> dict[str, int]:
    return {"total_bytes": found.total, "available_bytes": found.available}


def _swap(found: Any) -> dict[str, int]:
    return {"total_bytes": found.total, "used_bytes": found.used}


def _temperatures(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The hottest sensor of each chip, the hottest first."""
    hottest = []
    for chip, sensors in found.items():
        # A sensor without a reading says 0 or less.
        if told := [sensor for sensor in sensors if sensor.current and sensor.current > 0]:
            top = max(told, key=lambda sensor: float(sensor.current))
            hottest.append(
                {
                    "sensor": visible(f"{chip} {top.label or ''}", 40),
                    "celsius": round(top.current, 1),
                    "critical_celsius": top.critical or None,
                }
            )
    return sorted(hottest, key=lambda one: -float(one["celsius"]))


def _battery(found: Any) -> dict[str, Any] | None:
    if found is None:
        return None
    left = found.secsleft if isinstance(found.secsleft, int) and found.secsleft > 0 else None
    return {
        "percent": round(found.percent),
        "plugged_in": found.power_plugged,
        "seconds_left": None if found.power_plugged else left,
    }


def _sentence(facts: dict[str, Any]) -> str:
    load, cpus, memory = facts["load"][0], facts["cpus"], facts["memory"]
    is_busy = load > cpus or facts["cpu_percent"] > 90
    is_short = memory["available_bytes"] < memory["total_bytes"] / 10
    state = "short of memory" if is_short else "busy" if is_busy else "not busy"
    return f"This machine is {state}; it has been up for {span(facts['uptime_seconds'])}."


def _status_pairs(facts: dict[str, Any]) -> list[tuple[str, object]]:
    memory, swap, battery = facts["memory"], facts["swap"], facts["battery"]
    available, total = memory["available_bytes"], memory["total_bytes"]
    one, five, fifteen = facts["load"]
    cpus = f"{facts['cpus']} processor{'' if facts['cpus'] == 1 else 's'}"
    rows: list[tuple[str, object]] = [
        ("Processor", f"{facts['cpu_percent']:.0f} % of {cpus} in use"),
        ("Load", f"{one} over 1 minute, {five} over 5, {fifteen} over 15"),
        ("Memory", f"{size(available)} of {size(total)} available ({percent(available, total)})"),
        ("Swap", _of(swap["used_bytes"], swap["total_bytes"]) if swap["total_bytes"] else "none"),
    ]
    for index, sensor in enumerate(facts["temperatures"][:MOST_CHIPS]):
        critical = sensor["critical_celsius"]
        limit = f" (critical at {critical:.0f} °C)" if critical else ""
        words = f"{sensor['celsius']:.0f} °C {sensor['sensor']}{limit}"
        rows.append(("" if index else "Temperature", words))
    if battery:
        left = battery["seconds_left"]
        power = {True: ", plugged in", False: ", not plugged in"}.get(battery["plugged_in"], "")
        rest = f", {span(left)} left" if left and left >= _MINUTE else ""
        rows.append(("Battery", f"{battery['percent']} %{power}{rest}"))
    return rows


def _of(used: int, total: int) -> str:
    return f"{size(used)} of {size(total)} used ({percent(used, total)})"


def _counted(names: list[str]) -> str:
    found = Counter(name for name in names if name)
    return "; ".join(f"{name} (x{times})" if times > 1 else name for name, times in found.items())


TOOLS = (
    Tool("machine.status", "load, memory, temperatures, battery, uptime", Level.READ, status),
    Tool("machine.disks", "space used and free on each disk", Level.READ, disks.show),
    Tool(
        "machine.disk_health",
        "what the disks say of their health (SMART/NVMe, errors)",
        Level.READ,
        disk_health.show,
    ),
    Tool(
        "machine.processes",
        "the processes that use most",
        Level.READ,
        processes.show,
        arguments=(
            Argument(
                "by", Kind.CHOICE, "most of what", required=False, default="cpu", choices=("cpu", "memory")
            ),
            Argument("count", Kind.COUNT, "how many", required=False, default=10),
        ),
    ),
    Tool("machine.hardware", "what this machine is made of", Level.READ, hardware),
    Tool("machine.boot", "how long the last boot took, phases and slowest units", Level.READ, boot.show),
)
