"""How the machine is: for real on this host, and on machines that have more or less than it."""

import json
import os
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from private_bus import DAEMON, PrivateBus
from recorded_systemd import PATH, RecordedSystemd

from agentd.tools import boot, machine, processes
from agentd.tools.bus import Bus
from agentd.tools.registry import FAMILIES, tools
from agentd.tools.tool import Answer, Context, Lacking, Level, Unfit

needs_bus = pytest.mark.skipif(DAEMON is None, reason="there is no dbus-daemon here")


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    bus = Bus(f"unix:path={tmp_path}/no-bus")
    yield Context(bus, "ada")
    bus.close()


def fit_for_json(answer: Answer) -> Answer:
    json.dumps(answer.facts)
    assert answer.sources
    assert all(line.isprintable() for line in answer.text.splitlines())
    return answer


def test_this_hosts_status_has_its_memory_and_uptime(context: Context) -> None:
    answer = fit_for_json(machine.status(context, {}))
    memory = answer.facts["memory"]
    assert 0 < memory["available_bytes"] < memory["total_bytes"]
    assert abs(answer.facts["uptime_seconds"] - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    assert "available" in answer.text


def test_a_laptop_tells_its_battery_and_temperatures(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    Sensor = namedtuple("Sensor", "label current high critical")
    found = {
        "coretemp": [Sensor("Core 0", 61.0, 80.0, 100.0), Sensor("Package", 72.4, 80.0, 100.0)],
        "acpitz": [Sensor("", 0.0, None, None)],
        "nvme\x1b": [Sensor("Composite", 40.0, None, None)],
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found)
    battery = SimpleNamespace(percent=41.7, secsleft=5400, power_plugged=False)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery)
    answer = fit_for_json(machine.status(context, {}))
    assert "Temperature  72 °C coretemp Package (critical at 100 °C)" in answer.text
    assert "40 °C nvme\\x1b Composite" in answer.text
    assert "Battery      42 %, not plugged in, 1 hour 30 minutes left" in answer.text
    assert "acpitz" not in answer.text  # 0 degrees is no reading
    assert "This machine has no" not in answer.text


@pytest.mark.parametrize(
    ("secsleft", "plugged", "words"),
    [
        (psutil.POWER_TIME_UNLIMITED, True, "80 %, plugged in"),
        (psutil.POWER_TIME_UNKNOWN, False, "80 %, not plugged in"),
        (psutil.POWER_TIME_UNKNOWN, None, "80 %"),
    ],
)
def test_a_battery_without_an_end_has_none(
    context: Context, monkeypatch: pytest.MonkeyPatch, secsleft: int, plugged: bool | None, words: str
) -> None:
    battery = SimpleNamespace(percent=80, secsleft=secsleft, power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery)
    lines = machine.status(context, {}).text.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith("Battery")] == [words]


def test_what_a_machine_has_not_is_one_line(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    answer = machine.status(context, {})
    assert answer.text.splitlines()[-1] == "This machine has no battery and no temperature sensors."
    assert answer.facts["battery"] is None


def test_a_hidden_proc_is_one_line(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", missing)
    with pytest.raises(Lacking, match="the kernel shows no /proc/meminfo here"):
        machine.status(context, {})


def test_a_process_that_works_is_among_those_that_use_most(context: Context) -> None:
    answer = fit_for_json(processes.show(context, {"by": "memory", "count": 100}))
    mine = [one for one in answer.facts["processes"] if one["pid"] == os.getpid()]
    assert mine
    assert mine[0]["memory_bytes"] > 1e6
    used = [one["memory_bytes"] for one in answer.facts["processes"]]
    assert used == sorted(used, reverse=True)


def test_the_use_of_processors_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(seconds: float) -> None:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass

    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=time.monotonic, sleep=work))
    mine = next(one for one in processes.measure() if one.pid == os.getpid())
    assert mine.cpu_percent > 5


def test_a_process_is_told_by_its_name_and_never_by_its_arguments(context: Context) -> None:
    with subprocess.Popen(["sleep", "54321.0"]) as sleeping:
        answer = processes.show(context, {"by": "memory", "count": 10**6})
        sleeping.kill()
    assert "54321" not in json.dumps(answer.facts) + answer.text


@pytest.mark.parametrize("count", [0, -1, True, "ten\x1b", 1.5, [1]])
def test_no_number_of_processes_is_unfit(context: Context, count: object) -> None:
    with pytest.raises(Unfit) as caught:
        processes.show(context, {"count": count})
    assert caught.value.message.isprintable()


def test_a_million_processes_are_a_hundred(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [processes.Process(number, "x", "root", 0.0, number) for number in range(500)]
    monkeypatch.setattr(processes, "measure", lambda: list(many))
    assert len(processes.show(context, {"count": 10**6}).facts["processes"]) == processes.MOST
    assert len(processes.show(context, {}).facts["processes"]) == processes.COUNT


def test_another_order_is_unfit(context: Context) -> None:
    with pytest.raises(Unfit, match="not ordered by luck"):
        processes.show(context, {"by": "luck"})


def test_no_processes_are_one_line(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "process_iter", lambda: iter(()))
    with pytest.raises(Lacking, match="the kernel shows no processes here"):
        processes.show(context, {})


def test_this_hosts_hardware_has_its_processor(context: Context) -> None:
    answer = fit_for_json(machine.hardware(context, {}))
    assert answer.facts["processor"] in answer.text
    assert answer.facts["memory_bytes"] > 0


FIRMWARE_BOOT = {
    "FirmwareTimestampMonotonic": 7_500_000,
    "LoaderTimestampMonotonic": 2_000_000,
    "KernelTimestamp": 1_700_000_000_000_000,
    "InitRDTimestampMonotonic": 1_000_000,
    "UserspaceTimestampMonotonic": 1_500_000,
    "FinishTimestampMonotonic": 4_000_000,
}


def test_phases_of_a_machine_with_firmware_add_up_to_the_boot() -> None:
    assert boot.phases(FIRMWARE_BOOT) == {
        "firmware": 5.5,
        "loader": 2.0,
        "kernel": 1.0,
        "initrd": 0.5,
        "userspace": 2.5,
    }


def test_phases_that_are_not_known_are_left_out() -> None:
    without = {"FirmwareTimestampMonotonic": 0, "LoaderTimestampMonotonic": 0, "InitRDTimestampMonotonic": 0}
    assert boot.phases({**FIRMWARE_BOOT, **without}) == {"kernel": 1.5, "userspace": 2.5}
    assert boot.phases({**FIRMWARE_BOOT, **without, "KernelTimestamp": 0}) == {"userspace": 2.5}
    assert boot.phases({}) == {}


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[tuple[RecordedSystemd, Context]]:
    private, systemd = PrivateBus(tmp_path), RecordedSystemd()
    private.start()
    service = systemd.start(private.address)
    bus = Bus(private.address)
    yield systemd, Context(bus, "ada")
    bus.close()
    service.close()
    private.stop()


@needs_bus
def test_the_slowest_units_of_a_recorded_boot_are_told(recorded: tuple[RecordedSystemd, Context]) -> None:
    _, context = recorded
    answer = fit_for_json(boot.show(context, {}))
    assert answer.text.startswith("The last boot took 1.5 seconds.\n")
    assert answer.facts["phases"] == {"userspace": 1.516}
    slowest = answer.facts["slowest"]
    assert slowest[0] == {"unit": "systemd-hwdb-update.service", "seconds": 0.535}
    assert len(slowest) == boot.MOST_UNITS
    # It was started again and again until after the boot.
    assert "console-getty.service" not in answer.text


@needs_bus
def test_a_unit_that_does_its_work_and_ends_is_measured_too(
    recorded: tuple[RecordedSystemd, Context],
) -> None:
    systemd, context = recorded
    path = next(unit[6] for unit in systemd.units if unit[0] == "systemd-hwdb-update.service")
    finish = systemd.objects[PATH]["org.freedesktop.systemd1.Manager"]["FinishTimestampMonotonic"][1]
    systemd.set(path, "Unit", InactiveExitTimestampMonotonic=finish - 900_000)
    systemd.set(
        path, "Unit", ActiveEnterTimestampMonotonic=0, InactiveEnterTimestampMonotonic=finish - 100_000
    )
    assert boot.slowest(context.bus, finish / 1e6)[0] == ("systemd-hwdb-update.service", 0.8)


@needs_bus
def test_a_boot_that_is_not_finished_is_said_not_to_be(recorded: tuple[RecordedSystemd, Context]) -> None:
    systemd, context = recorded
    systemd.set(PATH, "Manager", FinishTimestampMonotonic=0)
    answer = fit_for_json(boot.show(context, {}))
    assert answer.text == "The boot is not finished: something still starts."


def test_the_boot_of_a_machine_without_a_bus_is_one_line(context: Context) -> None:
    with pytest.raises(Lacking, match="the system bus does not answer"):
        boot.show(context, {})


def test_all_tools_are_known_by_their_own_names() -> None:
    found = tools()
    assert {name.partition(".")[0] for name in found} >= {"machine", "services", "logs"}
    assert all(tool.name == name and tool.purpose for name, tool in found.items())
    assert all((tool.run is None) != (tool.plan is None) for tool in found.values())
    assert all(tool.run for tool in found.values() if tool.level is Level.READ)
    assert len(set(FAMILIES)) == len(FAMILIES)


def test_the_declarations_alone_load_neither_psutil_nor_d_bus() -> None:
    code = "import sys; from agentd.tools import logs, machine, services; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"psutil", "dbus_fast", "asyncio"} & set(done.stdout.split())
