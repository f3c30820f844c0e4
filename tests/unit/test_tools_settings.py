"""Settings as they are shown, and the plans that change them and know the old value."""

import json
from pathlib import Path
from typing import Any

import pytest
from recorded_bus import RecordedBus, for_the_broker

from agentd.tools import arguments, settings
from agentd.tools.tool import Answer, Context, Lacking, Plan, Step, Unfit

HOSTNAMED, LOCALED, TIMEDATED = (
    "org.freedesktop.hostname1",
    "org.freedesktop.locale1",
    "org.freedesktop.timedate1",
)
ZONES = [
    *("Africa/Abidjan", "America/Kentucky/Louisville", "America/Louisville", "America/New_York"),
    *("Europe/Berlin", "Europe/Bern", "Europe/London", "UTC"),
]
# What hostnamed, localed and timedated of a running systemd answer, but for what no tool reads.
RECORDED: dict[str, dict[str, Any]] = {
    HOSTNAMED: {
        "Hostname": "heron",
        "StaticHostname": "heron",
        "PrettyHostname": "",
        "HostnameSource": "static",
    },
    LOCALED: {
        "Locale": ["LANG=C.UTF-8", "LC_TIME=C"],
        "X11Layout": "us",
        "X11Variant": "intl",
        "VConsoleKeymap": "",
    },
    TIMEDATED: {
        "Timezone": "Europe/Berlin",
        "LocalRTC": False,
        "CanNTP": True,
        "NTP": True,
        "NTPSynchronized": True,
    },
}
TOOLS = {tool.name: tool for tool in settings.TOOLS}


@pytest.fixture
def bus() -> RecordedBus:
    return RecordedBus({f"{TIMEDATED} ListTimezones": [ZONES]}, RECORDED)


def plan(bus: RecordedBus, name: str, /, **given: str) -> Plan:
    make = TOOLS[name].plan
    assert make is not None
    checked = arguments.check(TOOLS[name], given)
    first = make(Context(bus, "owner"), checked)
    assert make(Context(bus, "owner"), checked) == first
    assert TOOLS[name].reversible or not first.undo
    return for_the_broker(first)


def show(bus: RecordedBus, name: str) -> Answer:
    run = TOOLS[name].run
    assert run is not None
    found = run(Context(bus, "owner"), {})
    json.dumps(found.facts)
    return found


def test_all_settings_are_shown(bus: RecordedBus) -> None:
    found = show(bus, "settings.show")
    assert found.facts == {
        "host_name": "heron",
        "time_zone": "Europe/Berlin",
        "locale": "C.UTF-8",
        "keyboard": "us-intl",
    }
    assert found.text.splitlines()[0].split() == ["Host", "name", "heron"]


def test_a_service_that_does_not_answer_is_said_beside_what_is_known(bus: RecordedBus) -> None:
    del bus.properties[LOCALED]
    bus.properties[HOSTNAMED]["StaticHostname"] = ""
    found = show(bus, "settings.show")
    assert found.facts["host_name"] == "heron"
    assert "Keyboard   not set" in found.text
    assert found.text.count("Not known: org.freedesktop.locale1 does not answer") == 1
    with pytest.raises(Lacking):
        show(RecordedBus(), "settings.show")


def test_the_name_changes_with_a_way_back(bus: RecordedBus) -> None:
    found = plan(bus, "settings.host_name", name="Alba")
    assert found.steps == (Step("host_name.set", {"name": "alba"}),)
    assert found.undo == (Step("host_name.set", {"name": "heron"}),)
    assert found.effects[0] == "Its name is now heron."
    with pytest.raises(Lacking, match="is named heron already"):
        plan(bus, "settings.host_name", name="heron")
    bus.properties[HOSTNAMED]["StaticHostname"] = ""
    assert plan(bus, "settings.host_name", name="alba").undo == ()


@pytest.mark.parametrize("name", ["a" * 60 + "." + "b" * 10, "10.0.0.1", "::1"])
def test_an_address_or_a_long_name_is_no_host_name(bus: RecordedBus, name: str) -> None:
    with pytest.raises(Unfit, match="is no host name"):
        plan(bus, "settings.host_name", name=name)


def test_a_locale_that_is_installed_can_be_set(bus: RecordedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_locales", lambda: ["C", "C.utf8", "de_DE.utf8", "POSIX"])
    found = plan(bus, "settings.locale", locale="de_DE.UTF-8")
    assert found.steps == (Step("locale.set", {"locale": "de_DE.UTF-8"}),)
    assert found.undo == (Step("locale.set", {"locale": "C.UTF-8"}),)
    with pytest.raises(Lacking, match=r"the locale is C.UTF-8 already"):
        plan(bus, "settings.locale", locale="C.UTF-8")
    with pytest.raises(
        Unfit, match=r"fr_FR.UTF-8 is not on this machine; there are C, C.utf8, POSIX, de_DE"
    ):
        plan(bus, "settings.locale", locale="fr_FR.UTF-8")


def test_this_machines_own_locales_are_found() -> None:
    assert "C" in settings._locales()


def test_a_keyboard_layout_is_one_that_the_console_has(
    bus: RecordedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "KEYMAPS", (tmp_path / "none", tmp_path))
    with pytest.raises(Lacking, match="this machine has no keyboard layouts: kbd"):
        plan(bus, "settings.keyboard", layout="de")
    for name in ("qwerty/us.map.gz", "qwertz/de.map.gz", "qwertz/de-latin1.map"):
        path = tmp_path / "i386" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = plan(bus, "settings.keyboard", layout="de-latin1")
    assert found.steps == (Step("keyboard.set", {"layout": "de-latin1"}),)
    assert found.basis == "the keyboard layout is us-intl"
    assert found.undo == ()  # the console has no such keymap
    bus.properties[LOCALED].update(VConsoleKeymap="us")
    assert plan(bus, "settings.keyboard", layout="de").undo == (Step("keyboard.set", {"layout": "us"}),)
    with pytest.raises(Lacking, match="the keyboard layout is us already"):
        plan(bus, "settings.keyboard", layout="us")
    with pytest.raises(Unfit, match="no keyboard layout dee; near it: de"):
        plan(bus, "settings.keyboard", layout="dee")


@pytest.mark.parametrize(
    ("wanted", "zone"),
    [
        ("America/New_York", "America/New_York"),
        ("america/new_york", "America/New_York"),
        ("new_york", "America/New_York"),
        ("London", "Europe/London"),
        ("utc", "UTC"),
    ],
)
def test_a_zone_is_found_by_its_name_or_its_city(bus: RecordedBus, wanted: str, zone: str) -> None:
    found = plan(bus, "time.zone", zone=wanted)
    assert found.steps == (Step("zone.set", {"zone": zone}),)
    assert found.undo == (Step("zone.set", {"zone": "Europe/Berlin"}),)
    assert found.basis == "the time zone is Europe/Berlin"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("Louisville", "several time zones of that name: America/Kentucky/Louisville, America/Louisville"),
        ("Berlim", "no time zone Berlim; near it: Europe/Berlin"),
        ("Zzz", "named by the largest city"),
        ("Berlin", "the time zone is Europe/Berlin already"),
    ],
)
def test_a_zone_that_is_none_or_set_is_said(bus: RecordedBus, wanted: str, why: str) -> None:
    with pytest.raises(Lacking, match=why):
        plan(bus, "time.zone", zone=wanted)


def test_the_time_is_told_with_its_zone_and_where_it_comes_from(bus: RecordedBus) -> None:
    found = show(bus, "time.now")
    assert "(Europe/Berlin, UTC+0" in found.text
    assert found.text.endswith("The clock is set by NTP.")
    assert found.facts["synchronized"] is True
    bus.properties[TIMEDATED].update(NTPSynchronized=False)
    assert "has not set the clock yet" in show(bus, "time.now").text
    bus.properties[TIMEDATED].update(NTP=False)
    assert "NTP is off" in show(bus, "time.now").text
    without = show(RecordedBus(), "time.now")
    assert "is not known: org.freedesktop.timedate1 does not answer" in without.text


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    light = tmp_path / "intel_backlight"
    light.mkdir()
    (light / "max_brightness").write_text("19200\n")
    (light / "brightness").write_text("9600\n")
    monkeypatch.setattr(settings, "BACKLIGHTS", tmp_path)
    return light


@pytest.mark.parametrize(
    ("level", "percent", "raw"),
    [
        ("40", 40, 7680),
        ("+10", 60, 11520),
        ("-20", 30, 5760),
        ("+90", 100, 19200),
        ("-90", 1, 192),
        ("0", 1, 192),
    ],
)
def test_brightness_is_set_as_the_number_that_the_kernel_takes(
    bus: RecordedBus, screen: Path, level: str, percent: int, raw: int
) -> None:
    found = plan(bus, "settings.brightness", level=level)
    assert found.summary == f"Set the brightness to {percent} %"
    assert found.steps == (Step("brightness.set", {"device": "intel_backlight", "level": raw}),)
    assert found.undo == (Step("brightness.set", {"device": "intel_backlight", "level": 9600}),)


def test_brightness_that_is_set_or_cannot_be_is_said(
    bus: RecordedBus, screen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Lacking, match="50 % already"):
        plan(bus, "settings.brightness", level="50")
    (screen / "brightness").write_text("odd")
    with pytest.raises(Lacking, match="cannot be read"):
        plan(bus, "settings.brightness", level="40")
    monkeypatch.setattr(settings, "BACKLIGHTS", screen / "none")
    with pytest.raises(Lacking, match="no screen whose brightness"):
        plan(bus, "settings.brightness", level="40")


def test_a_small_range_of_brightness_never_goes_dark(bus: RecordedBus, screen: Path) -> None:
    (screen / "max_brightness").write_text("7")
    (screen / "brightness").write_text("4")
    assert plan(bus, "settings.brightness", level="0").steps[0].arguments["level"] == 1


def test_there_is_no_volume(bus: RecordedBus) -> None:
    with pytest.raises(Lacking, match="no sound server"):
        plan(bus, "settings.volume", level="40")
