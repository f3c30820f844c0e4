"""What the broker takes as arguments, and what it does not."""

from typing import Any

import pytest

from agentd.exec.verbs import VERBS, WrongStep, check
from agentd.tools.tool import Step

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("unit.start", {"unit": "nginx.service"}),
    ("unit.stop", {"unit": "getty@tty2.service"}),
    ("unit.enable", {"unit": "systemd-timesyncd.service"}),
    ("unit.restart", {"unit": r"openvpn@my\x2dnet.service"}),
    ("unit.disable", {"unit": "apt-daily.timer"}),
    ("power.off", {}),
    ("link.up", {"link": "enp0s31f6"}),
    ("link.down", {"link": "wlan0.10"}),
    ("zone.set", {"zone": "Europe/Berlin"}),
    ("zone.set", {"zone": "UTC"}),
    ("host_name.set", {"name": "kitchen-2.home.example"}),
    ("locale.set", {"locale": "C.UTF-8"}),
    ("locale.set", {"locale": "sr_RS.UTF-8@latin"}),
    ("keyboard.set", {"layout": "de-latin1-nodeadkeys"}),
    ("brightness.set", {"device": "intel_backlight", "level": 40}),
    ("timer.set", {"id": "a1b2", "when": "2026-11-25T09:02:35Z"}),
    ("timer.set", {"id": "a1-b2", "schedule": "Mon..Fri 07:30"}),
    ("timer.set", {"id": "a", "schedule": "Sat,Sun *-*-1..7 10:00:30"}),
    ("timer.set", {"id": "a", "schedule": "*:0/15"}),
    ("timer.set", {"id": "a", "schedule": "2027-12-24 18:00"}),
    ("timer.set", {"id": "a", "schedule": "monthly"}),
    ("timer.remove", {"id": "a1b2"}),
]

UNITS = [
    *("", "nginx", "nginx.service;reboot", "nginx.service --now", "--now", "-x.service", "nginx.service\n"),
    *("\nnginx.service", "a b.service", "../../etc/x.service", "a/b.service", "/etc/x.service", "..service"),
    *("a..b.service", "*.service", "ngin?.service", "$(id).service", "nginx.service\0", "ngïnx.service"),
    *(r"a\x2.service", r"a\n.service", "a" * 300 + ".service", "nginx.SERVICE"),
    # By another kind of unit the system itself can be stopped.
    *("poweroff.target", "rescue.target", "var.mount", "system.slice", "init.scope", "dev-sda.swap"),
]
KEPT_UNITS = [
    *(
        "agentd.service",
        "agentd.socket",
        "agentd-exec.service",
        "agentd-exec.socket",
        "agentd-model.service",
    ),
    *("agentd-console@tty1.service", "agentd-reminder-x.timer", "agentd-reminder@x.service"),
    *("aetheros-ready.service", "dbus.service", "dbus.socket", "dbus-broker.service"),
    *("systemd-journald.service", "systemd-journald.socket"),
    *("systemd-journald-dev-log.socket", "systemd-poweroff.service", "systemd-reboot.service"),
    *("systemd-networkd-evil.service", "debug-shell.service", "emergency.service", "rescue.service"),
    "modprobe@evil.service",
]
WRONG: list[tuple[str, Any]] = [
    ("unit.start", {}),
    ("unit.start", {"unit": "nginx.service", "mode": "isolate"}),
    ("unit.start", {"unit": ["nginx.service"]}),
    ("unit.start", {"unit": None}),
    ("unit.start", {"unit": 5}),
    ("unit.mask", {"unit": "nginx.service"}),
    ("unit", {"unit": "nginx.service"}),
    ("__class__", {}),
    ("power.off", {"force": True}),
    ("link.up", {"link": "eth0 up; reboot"}),
    ("link.up", {"link": "../x"}),
    ("link.up", {"link": "a" * 16}),
    ("link.up", {"link": "-a"}),
    ("link.down", {"link": "lo"}),
    ("zone.set", {"zone": "Mars/Olympus"}),
    ("zone.set", {"zone": "../../etc/passwd"}),
    ("zone.set", {"zone": "posix/UTC"}),
    ("zone.set", {"zone": "Europe/Berlin\n"}),
    ("host_name.set", {"name": "-a"}),
    ("host_name.set", {"name": "a..b"}),
    ("host_name.set", {"name": "a_b"}),
    ("host_name.set", {"name": "a" * 64}),
    ("host_name.set", {"name": "host\n"}),
    ("host_name.set", {"name": ".".join(["abcdefghij"] * 7)}),
    ("locale.set", {"locale": "de_DE.UTF-8 LC_ALL=x"}),
    ("locale.set", {"locale": "/tmp/x"}),
    ("locale.set", {"locale": ""}),
    ("keyboard.set", {"layout": "../x"}),
    ("keyboard.set", {"layout": "de,us"}),
    ("brightness.set", {"device": "../leds/x", "level": 5}),
    ("brightness.set", {"device": "..", "level": 5}),
    ("brightness.set", {"device": "x", "level": -1}),
    ("brightness.set", {"device": "x", "level": 1 << 31}),
    ("brightness.set", {"device": "x", "level": True}),
    ("brightness.set", {"device": "x", "level": "5"}),
    ("brightness.set", {"device": "x", "level": 5.5}),
    ("timer.set", {"id": "a"}),
    ("timer.set", {"when": "2026-11-25T09:02:35Z"}),
    ("timer.set", {"id": "a", "when": "2026-11-25T09:02:35Z", "schedule": "daily"}),
    ("timer.set", {"id": "../a", "schedule": "daily"}),
    ("timer.set", {"id": "a-", "schedule": "daily"}),
    ("timer.set", {"id": "A", "schedule": "daily"}),
    ("timer.set", {"id": "a", "when": "2026-11-25 09:02:35"}),
    ("timer.set", {"id": "a", "when": "2026-13-25T09:02:35Z"}),
    ("timer.set", {"id": "a", "when": "2026-1-5T09:02:35Z"}),
    ("timer.set", {"id": "a", "schedule": "daily\nUnit=evil.service"}),
    ("timer.set", {"id": "a", "schedule": "*:*:*"}),
    ("timer.set", {"id": "a", "schedule": "07:30 UTC"}),
    ("timer.set", {"id": "a", "schedule": "%H:30"}),
    ("timer.set", {"id": "a", "schedule": ""}),
    ("timer.set", {"id": "a", "schedule": "daily", "text": "the dentist"}),
]


@pytest.mark.parametrize(("verb", "given"), GOOD)
def test_what_is_well_formed_is_taken(verb: str, given: dict[str, Any]) -> None:
    check(Step(verb, given))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.startswith("unit.")])
@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_what_is_no_name_of_a_unit_is_refused(verb: str, unit: str) -> None:
    with pytest.raises(WrongStep, match="is no full name"):
        check(Step(verb, {"unit": unit}))


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.startswith("unit.")])
@pytest.mark.parametrize("unit", KEPT_UNITS)
def test_the_agents_units_and_what_carries_them_are_refused(verb: str, unit: str) -> None:
    with pytest.raises(WrongStep, match="belongs to the agent, or to what carries it"):
        check(Step(verb, {"unit": unit}))


@pytest.mark.parametrize(("verb", "given"), WRONG, ids=ascii)
def test_what_is_not_in_the_table_is_refused(verb: str, given: dict[str, Any]) -> None:
    with pytest.raises(WrongStep):
        check(Step(verb, given))


def test_every_verb_has_an_example_here() -> None:
    families = {verb for verb, _ in GOOD}
    assert VERBS.keys() - families == {"power.reboot", "power.suspend"}


def test_what_is_wrong_is_told_in_one_short_line() -> None:
    with pytest.raises(WrongStep) as caught:
        check(Step("unit.start", {"unit": "\n" * 100_000}))
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)
