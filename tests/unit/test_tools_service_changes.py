"""What is told before a service is started, stopped, restarted, enabled or disabled."""

import pytest
from recorded_bus import RUNNING, RecordedBus, for_the_broker

from agentd.tools import service_changes
from agentd.tools.tool import Context, Lacking, Plan, Step, Unfit

NGINX = {"Description": "A web server", "UnitFileState": "enabled", "Requires": ["sysinit.target"]}
SYSINIT = {**RUNNING, "UnitFileState": "static"}
TOOLS = {tool.name: tool for tool in service_changes.TOOLS}


def plan(bus: RecordedBus, verb: str, unit: str) -> Plan:
    """The plan, made twice as acting.py does; it has to be the same."""
    make = TOOLS[f"services.{verb}"].plan
    assert make is not None
    context = Context(bus, "owner")
    first = make(context, {"unit": unit})
    assert make(context, {"unit": unit}) == first
    return for_the_broker(first)


def step(verb: str, unit: str) -> Step:
    return Step(f"unit.{verb}", {"unit": unit})


def test_a_start_tells_what_it_is_and_what_comes_with_it() -> None:
    bus = RecordedBus(
        units={
            "nginx.service": {
                **NGINX,
                "Wants": ["gone.service", "php.service"],
                "Conflicts": ["apache.service", "shutdown.target"],
            },
            "sysinit.target": SYSINIT,
            "php.service": {},
            "apache.service": RUNNING,
            "shutdown.target": {},
        }
    )
    found = plan(bus, "start", "nginx.service")
    assert found.effects == (
        "nginx.service: A web server",
        "Started with it: php.service.",
        "Stopped by it: apache.service.",
    )
    assert found.steps == (step("start", "nginx.service"),)
    assert found.undo == (step("stop", "nginx.service"), step("start", "apache.service"))
    assert found.basis == "nginx.service is inactive (dead), enabled"
    assert (found.summary, found.done) == ("Start nginx.service", "nginx.service was started.")


def test_a_stop_tells_what_goes_with_it_and_the_way_back_starts_all_of_it() -> None:
    bus = RecordedBus(
        units={
            "db.service": {
                **RUNNING,
                "UnitFileState": "enabled",
                "RequiredBy": ["app.service", "idle.service"],
                "BoundBy": ["db-backup.service"],
                "WantedBy": ["multi-user.target", "rescue.target"],
                "TriggeredBy": ["db.socket", "db.timer"],
            },
            "app.service": {**RUNNING, "ConsistsOf": ["app-worker.service", "db.service"]},
            "app-worker.service": RUNNING,
            "db-backup.service": RUNNING,
            "idle.service": {},
            "multi-user.target": {**RUNNING, "SubState": "active"},
            "rescue.target": {},
            "db.socket": {"ActiveState": "active", "SubState": "listening"},
            "db.timer": {},
        }
    )
    found = plan(bus, "stop", "db.service")
    together = ["app-worker.service", "app.service", "db-backup.service"]
    assert found.effects == (
        "db.service: no description",
        f"Stopped with it: {', '.join(together)}.",
        "Wanted by, which go on without it: multi-user.target.",
        "db.socket is active and starts it again when it is triggered.",
        "It starts again at the next boot.",
    )
    assert found.undo == (step("start", "db.service"), *(step("start", name) for name in together))
    assert found.basis == "db.service is active (running), enabled"


def test_dependencies_that_go_in_a_circle_or_are_many_end() -> None:
    many = [f"u{number}.service" for number in range(500)]
    bus = RecordedBus(
        units={
            "a.service": {**RUNNING, "RequiredBy": ["b.service", *many]},
            "b.service": {**RUNNING, "RequiredBy": ["a.service"]},
            **dict.fromkeys(many, RUNNING),
        }
    )
    found = plan(bus, "stop", "a.service")
    assert found.effects[1].endswith(" other units.")
    assert len(found.effects[1]) < 200
    assert len(bus.asked) < 1000


@pytest.mark.parametrize(
    ("verb", "unit", "why"),
    [
        ("start", RUNNING, "x.service runs already"),
        ("start", {"ActiveState": "activating"}, "x.service is starting already"),
        ("start", {"RefuseManualStart": True}, "x.service cannot be started by hand"),
        ("stop", {}, "x.service is stopped already"),
        ("stop", {"ActiveState": "failed"}, r"x.service is stopped already \(it failed\)"),
        ("stop", {**RUNNING, "RefuseManualStop": True}, "x.service cannot be stopped by hand"),
        (
            "restart",
            {**RUNNING, "RefuseManualStop": True},
            "cannot be stopped by hand, and so not restarted",
        ),
        ("enable", {"UnitFileState": "enabled"}, "x.service is enabled already"),
        (
            "enable",
            {"UnitFileState": "static"},
            r"neither enabled nor disabled: it has no \[Install\] section",
        ),
        ("enable", {"UnitFileState": ""}, "neither enabled nor disabled: it has no file"),
        ("disable", {}, "x.service is disabled already"),
        ("disable", {"UnitFileState": "generated"}, "its file was generated at boot"),
    ],
)
def test_what_needs_or_can_have_no_change_is_said_in_one_line(
    verb: str, unit: dict[str, object], why: str
) -> None:
    with pytest.raises(Lacking, match=why) as caught:
        plan(RecordedBus(units={"x.service": unit}), verb, "x.service")
    assert not caught.value.hint


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "enable", "disable"])
def test_a_unit_that_is_not_there_or_not_to_be_used_is_said(verb: str) -> None:
    bus = RecordedBus(
        units={
            "nginx.service": NGINX,
            "chrony.service": {},
            "off.service": {"LoadState": "masked"},
            "odd.service": {"LoadState": "bad-setting", "LoadError": ["x.Error", "no ExecStart=\x1b[2J"]},
        }
    )
    with pytest.raises(Unfit, match=r"there is no ngnix.service .*did you mean nginx.service\?"):
        plan(bus, verb, "ngnix.service")
    with pytest.raises(Unfit, match=r"did you mean chrony.service\?"):
        plan(bus, verb, "chronyd.service")
    with pytest.raises(Unfit, match=r"there is no zzz\.service on this machine$"):
        plan(bus, verb, "zzz.service")
    with pytest.raises(Lacking, match=r"off\.service is masked") as caught:
        plan(bus, verb, "off.service")
    assert caught.value.hint == "systemctl unmask off.service"
    with pytest.raises(Lacking, match=r"odd.service cannot be loaded: no ExecStart=\\x1b\[2J$"):
        plan(bus, verb, "odd.service")
    with pytest.raises(Lacking):
        plan(bus, verb, "getty@.service")


def test_a_restart_has_no_way_back_but_where_it_started_what_was_stopped() -> None:
    bus = RecordedBus(
        units={"a.service": {**RUNNING, "RequiredBy": ["b.service"]}, "b.service": RUNNING, "c.service": {}}
    )
    running = plan(bus, "restart", "a.service")
    assert running.undo == ()
    assert running.effects[1:] == ("What it does is interrupted.", "Restarted with it: b.service.")
    stopped = plan(bus, "restart", "c.service")
    assert stopped.undo == (step("stop", "c.service"),)
    assert stopped.done == "c.service was restarted."


def test_enabling_and_disabling_leave_what_runs_now_and_are_each_others_way_back() -> None:
    bus = RecordedBus(
        units={
            "a.service": {},
            "b.service": {**RUNNING, "UnitFileState": "enabled", "RequiredBy": ["c.service"]},
        }
    )
    enabled = plan(bus, "enable", "a.service")
    assert enabled.effects[1:] == (
        "It is started at every boot.",
        "Now it stays as it is: it does not run.",
    )
    assert (enabled.steps, enabled.undo) == ((step("enable", "a.service"),), (step("disable", "a.service"),))
    disabled = plan(bus, "disable", "b.service")
    assert disabled.effects[1:] == (
        "It is no longer started at boot.",
        "Now it stays as it is: it runs.",
        "Still required by: c.service.",
    )
    assert disabled.undo == (step("enable", "b.service"),)


def test_what_carries_the_agent_is_left_and_what_comes_by_itself_is_not_started_again() -> None:
    bus = RecordedBus(
        units={
            "agentd.service": RUNNING,
            "multi-user.target": RUNNING,
            "base.service": {**RUNNING, "RequiredBy": ["agentd.service"]},
            "db.service": {**RUNNING, "RequiredBy": ["app.target", "app.service"]},
            "app.target": RUNNING,
            "app.service": RUNNING,
        }
    )
    for unit, why in (
        ("agentd.service", "it belongs to the agent"),
        ("multi-user.target", "it is no full name of a service"),
        ("base.service", r"agentd\.service would be stopped with it"),
    ):
        with pytest.raises(Lacking, match=why):
            plan(bus, "restart", unit)
    found = plan(bus, "stop", "db.service")
    assert found.effects[1] == "Stopped with it: app.service, app.target."
    assert found.undo == (step("start", "db.service"), step("start", "app.service"))


def test_an_alias_is_planned_by_the_units_own_name() -> None:
    bus = RecordedBus(units={"ssh.service": {}, "sshd.service": {"Id": "ssh.service"}})
    assert plan(bus, "start", "sshd.service").steps == (step("start", "ssh.service"),)


def test_a_change_of_state_is_another_basis() -> None:
    bus = RecordedBus(units={"a.service": {}})
    before = plan(bus, "restart", "a.service")
    bus.units["a.service"] = dict(RUNNING)
    assert plan(bus, "restart", "a.service").basis != before.basis


def test_without_systemd_nothing_is_planned() -> None:
    with pytest.raises(Lacking):
        plan(RecordedBus(), "start", "a.service")
