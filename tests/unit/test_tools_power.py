"""What is told before the machine is switched off, started anew or sent to sleep."""

from typing import Any

import pytest
from recorded_bus import RecordedBus, for_the_broker

from agentd.tools import power
from agentd.tools.tool import Context, Lacking, Level, Plan, Step

LOGIND = "org.freedesktop.login1"
DELAY = ["shutdown:sleep", "Unattended Upgrades", "Stop ongoing upgrades", "delay", 0, 511]
BLOCK = ["sleep", "Backup", "It runs\x1b[2J", "block", 1000, 612]


def logind(**more: Any) -> RecordedBus:
    return RecordedBus(
        methods={
            f"{LOGIND} CanPowerOff": ["challenge"],
            f"{LOGIND} CanReboot": ["yes"],
            f"{LOGIND} CanSuspend": ["na"],
            f"{LOGIND} ListSessions": [[]],
            f"{LOGIND} ListInhibitors": [[]],
            "org.freedesktop.systemd1 ListJobs": [[]],
            **{f"{LOGIND} {member}": found for member, found in more.items()},
        }
    )


def plan(bus: RecordedBus, verb: str) -> Plan:
    make = {tool.name: tool for tool in power.TOOLS}[f"power.{verb}"].plan
    assert make is not None
    first = make(Context(bus, "owner"), {})
    assert make(Context(bus, "owner"), {}) == first
    assert not first.undo
    return for_the_broker(first)


def test_switching_off_is_danger_and_sleep_a_change() -> None:
    levels = {tool.name: tool.level for tool in power.TOOLS}
    assert levels == {
        "power.off": Level.DANGER,
        "power.reboot": Level.DANGER,
        "power.suspend": Level.CHANGE,
    }


def test_whoever_is_logged_in_and_whatever_runs_is_told() -> None:
    sessions = [
        ["2", 1000, "ada", "seat0", "/s/2"],
        ["5", 0, "root", "", "/s/5"],
        ["7", 0, "root", "", "/s/7"],
    ]
    bus = logind(ListSessions=[sessions], ListInhibitors=[[DELAY, BLOCK]])
    bus.methods["org.freedesktop.systemd1 ListJobs"] = [
        [[31, "apt-daily.service", "start", "running", "/job/31", "/unit/apt"]]
    ]
    found = plan(bus, "off")
    assert found.effects == (
        "Logged in: ada, root.",
        "Unattended Upgrades asks to wait: Stop ongoing upgrades.",
        "1 job of systemd not done yet: start apt-daily.service.",
        "Everything that runs is ended.",
    )
    assert (found.steps, found.undo) == ((Step("power.off", {}),), ())
    assert found.basis == "logged in: ada, root; against it: nobody"


def test_nobody_is_told_as_well() -> None:
    assert plan(logind(), "reboot").effects == ("Nobody is logged in.", "Everything that runs is ended.")


def test_what_is_against_sleep_is_told_on_one_line_and_part_of_the_basis() -> None:
    found = plan(logind(CanSuspend=["yes"], ListInhibitors=[[DELAY, BLOCK]]), "suspend")
    assert "Backup asks to leave it: It runs\\x1b[2J." in found.effects
    assert found.basis == "logged in: nobody; against it: Backup"
    assert found.steps == (Step("power.suspend", {}),)


def test_jobs_come_and_go_without_another_basis_but_people_do_not() -> None:
    bus = logind()
    before = plan(bus, "off")
    bus.methods["org.freedesktop.systemd1 ListJobs"] = [[[1, "a.service", "stop", "waiting", "/j", "/u"]]]
    assert plan(bus, "off").basis == before.basis
    bus.methods[f"{LOGIND} ListSessions"] = [[["2", 1000, "ada", "seat0", "/s/2"]]]
    assert plan(bus, "off").basis != before.basis


def test_what_the_machine_cannot_is_one_line() -> None:
    with pytest.raises(Lacking, match="this machine cannot do that: logind says so of suspend"):
        plan(logind(), "suspend")
    with pytest.raises(Lacking, match="does not answer"):
        plan(RecordedBus(), "off")


def test_a_machine_whose_systemd_is_stuck_can_be_restarted() -> None:
    bus = logind()
    del bus.methods["org.freedesktop.systemd1 ListJobs"]
    assert "What systemd does at the moment is not known" in plan(bus, "reboot").effects[1]
