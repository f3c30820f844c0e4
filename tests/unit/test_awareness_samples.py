"""What is looked at now and then: the clock, power, disk space, pressure."""

import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agentd_process import eventually

from agentd.awareness import sampling
from agentd.awareness.clock import Clock
from agentd.awareness.event import Event, Severity
from agentd.awareness.power import Power
from agentd.awareness.pressure import Pressure
from agentd.awareness.sampling import Sampling
from agentd.awareness.space import Space
from agentd.tools.disks import Mounted
from agentd.tools.tool import Lacking

NOON = 1795608000.0


class Clocks:
    """Two clocks that a test moves."""

    def __init__(self) -> None:
        self.real, self.steady = NOON, 100.0

    def tick(self, seconds: float, jump: float = 0.0) -> None:
        self.steady += seconds
        self.real += seconds + jump


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 2.5, -86400.0 * 365])
def test_a_clock_that_was_set_is_told_once(jump: float) -> None:
    clocks = Clocks()
    clock = Clock(lambda: clocks.real, lambda: clocks.steady)
    clocks.tick(10, jump)
    [event] = clock.look()
    assert event.facts["seconds"] == pytest.approx(jump)
    assert ("forward" in event.detail) is (jump > 0)
    clocks.tick(10)
    assert not [*clock.look()]


@pytest.mark.parametrize("drift", [0.0, 0.005, -1.9])
def test_a_clock_that_is_slewed_or_slept_through_was_not_set(drift: float) -> None:
    clocks = Clocks()
    clock = Clock(lambda: clocks.real, lambda: clocks.steady)
    clocks.tick(10_000, drift)  # CLOCK_BOOTTIME goes on in sleep
    assert not [*clock.look()]


def supply(folder: Path, name: str, **values: object) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for key, value in values.items():
        (folder / name / key).write_text(f"{value}\n")


def test_the_power_line_and_each_battery_are_told_when_they_change(tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online=1)
    supply(tmp_path, "BAT0", type="Battery", capacity=90, status="Charging")
    supply(tmp_path, "mouse", type="Battery", capacity=1, status="Discharging", scope="Device")
    power = Power(tmp_path)
    assert not [*power.look()]
    supply(tmp_path, "AC", online=0)
    supply(tmp_path, "BAT0", capacity=20, status="Discharging")
    found = [*power.look()]
    assert sorted((one.kind, one.severity) for one in found) == [
        ("power.battery", "warning"),
        ("power.line", "warning"),
    ]
    assert not [*power.look()]
    supply(tmp_path, "BAT0", capacity=5)
    [event] = power.look()
    assert (event.subject, event.detail, event.severity) == ("BAT0", "5 % left", Severity.CRITICAL)
    supply(tmp_path, "AC", online=1)
    supply(tmp_path, "BAT0", status="Charging")
    [event] = power.look()
    assert event.facts == {"online": True}


def test_what_was_off_when_agentd_ended_and_is_back_is_told(tmp_path: Path) -> None:
    supply(tmp_path, "AC", type="Mains", online=1)
    assert [one.kind for one in Power(tmp_path, off={"power line"}).look()] == ["power.line"]


def test_a_machine_without_power_supplies_says_nothing(tmp_path: Path) -> None:
    assert not [*Power(tmp_path / "nothing").look()]


def disk(place: str, *, kind: str = "ext4", read_only: bool = False) -> Mounted:
    return Mounted(place, kind, "/dev/vda", "253:1", read_only, (), "data partition")


def space_of(full: float) -> os.statvfs_result:
    blocks = 1_000_000
    free = round(blocks * (1 - full))
    return os.statvfs_result((4096, 4096, blocks, free, free, 0, 0, 0, 0, 255))


def test_a_disk_that_fills_up_is_told_at_each_level_and_when_it_has_room_again() -> None:
    full = {"/var": 0.5}
    space = Space(lambda: [disk("/var")], lambda place: space_of(full[place]))
    kinds = []
    for share in (0.5, 0.91, 0.95, 0.985, 1.0, 0.95, 0.89, 0.80, 0.91):
        full["/var"] = share
        kinds.append([(one.kind, one.severity.value) for one in space.look()])
    nearly, filled, room = ("disk.full", "warning"), ("disk.full", "critical"), ("disk.free", "info")
    assert kinds == [[], [nearly], [], [filled], [], [], [], [room], [nearly]]


def test_only_what_can_be_written_and_looked_at_can_fill_up() -> None:
    def statvfs(place: str) -> os.statvfs_result:
        if place == "/gone":
            raise OSError(5, "Input/output error")
        return space_of(1.0)

    places = [disk("/", kind="erofs"), disk("/ro", read_only=True), disk("/gone"), disk("/var")]
    assert [one.subject for one in Space(lambda: places, statvfs).look()] == ["/var"]


def test_a_full_disk_that_is_unmounted_is_no_longer_full() -> None:
    places = [disk("/mnt")]
    space = Space(lambda: places, lambda place: space_of(1.0))
    assert [one.kind for one in space.look()] == ["disk.full"]
    places.clear()
    assert [one.kind for one in space.look()] == ["disk.free"]
    assert not [*space.look()]


def averages(folder: Path, name: str, some: float, full: float = 0.0) -> None:
    folder.mkdir(exist_ok=True)
    tail = "avg60=0.00 avg300=0.00 total=1"
    (folder / name).write_text(f"some avg10={some:.2f} {tail}\nfull avg10={full:.2f} {tail}\n")


def test_pressure_is_told_when_it_begins_and_when_it_is_over(tmp_path: Path) -> None:
    now = 0.0
    pressure = Pressure(tmp_path, now=lambda: now)
    averages(tmp_path, "memory", 2)
    assert not [*pressure.look()]
    averages(tmp_path, "memory", 40, 25)
    [event] = pressure.look()
    assert (event.kind, event.subject, event.severity) == ("pressure.memory", "memory", Severity.CRITICAL)
    averages(tmp_path, "memory", 1)
    assert not [*pressure.look()]  # averages lag behind
    now = 30.0
    [event] = pressure.look()
    assert (event.kind, event.subject) == ("pressure.over", "memory")
    assert not [*pressure.look()]


def test_a_trigger_tells_once_and_the_averages_end_it(tmp_path: Path) -> None:
    now = 0.0
    averages(tmp_path, "memory", 0)
    pressure = Pressure(tmp_path, now=lambda: now)
    [descriptor] = pressure.open()  # a plain file takes the trigger's words
    averages(tmp_path, "memory", 2)
    assert [one.kind for one in pressure.triggered(descriptor)] == ["pressure.memory"]
    assert not [*pressure.triggered(descriptor)]
    now = 30.0
    assert [one.kind for one in pressure.look()] == ["pressure.over"]
    pressure.close()


def test_a_kernel_without_psi_says_nothing(tmp_path: Path) -> None:
    pressure = Pressure(tmp_path / "nothing")
    assert pressure.open() == []
    assert not [*pressure.look()]


@pytest.mark.skipif(not os.access("/proc/pressure/memory", os.W_OK), reason="no PSI triggers here")
def test_this_kernel_takes_the_trigger() -> None:
    pressure = Pressure()
    assert len(pressure.open()) == 1
    pressure.close()


class Samples:
    """A sample that a test tells what to say."""

    def __init__(self) -> None:
        self.says: list[Event | Exception] = []
        self.looks = 0

    def look(self) -> Iterator[Event]:
        self.looks += 1
        for one in self.says:
            if isinstance(one, Exception):
                raise one
            yield one


def test_a_sample_that_fails_is_told_once_and_the_others_are_looked_at(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken, well = Samples(), Samples()
    broken.says, well.says = [Lacking("no /proc here")], [Event("sleep")]
    found: list[Event] = []
    every = Sampling({"disks": broken, "sleep": well}, Pressure(tmp_path), found.append)
    every.look()
    every.look()
    assert len(found) == 2
    assert capfd.readouterr().err.count("no /proc here") == 1
    broken.says = []
    every.look()
    broken.says = [OSError("it broke")]
    every.look()
    assert "it broke" in capfd.readouterr().err


def test_the_thread_looks_again_and_again_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "EVERY", 0.01)
    sample, stop = Samples(), os.eventfd(0)
    source = Sampling({"it": sample}, Pressure(tmp_path), lambda event: None)
    thread = threading.Thread(target=source.run, args=(stop,))
    thread.start()
    eventually(lambda: sample.looks > 3)
    os.eventfd_write(stop, 1)
    thread.join(5)
    assert not thread.is_alive()
    assert select.select([stop], [], [], 0)[0]
    os.close(stop)
