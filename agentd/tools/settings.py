"""How the machine is set up: its name, language, keyboard, screen, clock; and the plans to change it.

Asked of hostnamed, localed, timedated (org.freedesktop.hostname1(5) and so on) and the kernel's backlights.
Not for: reminders and timers.
"""

import re
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agentd.tools.bus import Bus
from agentd.tools.render import pairs, visible
from agentd.tools.tool import (
    Answer,
    Argument,
    Arguments,
    Context,
    Kind,
    Lacking,
    Level,
    Plan,
    Step,
    Tool,
    Unfit,
)

HOSTNAMED, LOCALED, TIMEDATED = (
    "org.freedesktop.hostname1",
    "org.freedesktop.locale1",
    "org.freedesktop.timedate1",
)
# https://docs.kernel.org/gpu/backlight.html: a folder for each, with brightness and max_brightness.
BACKLIGHTS = Path("/sys/class/backlight")
# Where localed looks for the console's keymaps; without kbd, which brings them, no layout can be set.
KEYMAPS = (Path("/usr/share/keymaps"), Path("/usr/share/kbd/keymaps"), Path("/usr/lib/kbd/keymaps"))
# sethostname(2) takes 64 bytes.
LONGEST_HOST_NAME = 64
# A screen that is dark shows no way back.
LEAST_BRIGHTNESS = 1


def show(context: Context, arguments: Arguments) -> Answer:
    """Host name, time zone, locale and keyboard as they are set; what does not answer is said."""
    facts: dict[str, Any] = {}
    silent = []
    for name, read in (
        ("host_name", _host_name),
        ("time_zone", _time_zone),
        ("locale", _language),
        ("keyboard", _layout),
    ):
        try:
            facts[name] = read(context.bus) or None
        except Lacking as lacking:
            facts[name] = None
            silent.append(lacking.message)
    rows = [
        (title, visible(str(facts[name] or "not set")))
        for title, name in (
            ("Host name", "host_name"),
            ("Time zone", "time_zone"),
            ("Locale", "locale"),
            ("Keyboard", "keyboard"),
        )
    ]
    if len(silent) == len(facts):
        raise Lacking(silent[0])
    lines = [pairs(rows), *(f"Not known: {why}." for why in dict.fromkeys(silent))]
    return Answer("\n".join(lines), facts, (HOSTNAMED, TIMEDATED, LOCALED))


def host_name(context: Context, arguments: Arguments) -> Plan:
    """Rename the machine."""
    name = arguments["name"]
    if len(name) > LONGEST_HOST_NAME or ":" in name or re.fullmatch(r"[\d.]+", name):
        raise Unfit(f"{visible(name, 80)} is no host name: at most 64 letters, digits and '-', no address")
    old = str(context.bus.get(HOSTNAMED, *_at(HOSTNAMED), "StaticHostname"))
    if old == name:
        raise Lacking(f"this machine is named {name} already")
    effects = (
        f"Its name is now {_host_name(context.bus)}.",
        "Other machines that know it by its old name no longer find it; open shells show the old one.",
    )
    return Plan(
        f"Rename the machine to {name}",
        (Step("host_name.set", {"name": name}),),
        effects,
        (Step("host_name.set", {"name": old}),) if old else (),
        f"the machine is named {old or 'nothing of its own'}",
        f"The machine is named {name}.",
    )


def locale(context: Context, arguments: Arguments) -> Plan:
    """Set language and formats of the system."""
    wanted = arguments["locale"]
    installed = _locales()
    if _plain(wanted) not in {_plain(one) for one in installed}:
        raise Unfit(f"the locale {wanted} is not on this machine; there {_among(installed)}")
    old = _language(context.bus)
    if _plain(wanted) == _plain(old):
        raise Lacking(f"the locale is {old} already")
    effect = "Programs that are started from now on use it."
    return _setting("locale", "locale.set", "locale", wanted, old, effect, old)


def keyboard(context: Context, arguments: Arguments) -> Plan:
    """Set the keyboard's layout."""
    wanted = arguments["layout"]
    known = sorted({path.name.partition(".")[0] for folder in KEYMAPS for path in folder.rglob("*.map*")})
    if not known:
        raise Lacking("this machine has no keyboard layouts: kbd, which brings them, is not installed")
    if wanted not in known:
        near = get_close_matches(wanted, known, n=5, cutoff=0.5)
        raise Unfit(f"there is no keyboard layout {wanted}{f'; near it: {_joined(near)}' if near else ''}")
    old = _layout(context.bus)
    if wanted == old:
        raise Lacking(f"the keyboard layout is {old} already")
    effect = "Keys give other letters at once: a password may be typed differently."
    back = old if old in known else ""
    return _setting("keyboard layout", "keyboard.set", "layout", wanted, old, effect, back)


def now(context: Context, arguments: Arguments) -> Answer:
    """Date, time, time zone, and whether the clock is set by NTP."""
    try:
        found = context.bus.get_all(TIMEDATED, *_at(TIMEDATED))
    except Lacking as lacking:
        found, why = {}, lacking.message
    moment = time.time()
    zone = str(found.get("Timezone") or time.strftime("%Z"))
    local = _local(moment, str(found.get("Timezone") or ""))
    facts = {
        "time": local.isoformat(timespec="seconds"),
        "weekday": local.strftime("%A"),
        "zone": zone,
        "ntp": found.get("NTP"),
        "synchronized": found.get("NTPSynchronized"),
    }
    lines = [f"{local:%A}, {local.day} {local:%B %Y}, {local:%H:%M:%S} ({zone}, UTC{local:%z})."]
    if not found:
        lines.append(f"Whether the clock is right is not known: {why}.")
    elif found.get("NTPSynchronized"):
        lines.append("The clock is set by NTP.")
    elif found.get("NTP"):
        lines.append("NTP is on, but has not set the clock yet.")
    else:
        lines.append("NTP is off: nothing sets the clock but the machine's own.")
    return Answer("\n".join(lines), facts, (TIMEDATED,) if found else ("clock_gettime",))


def time_zone(context: Context, arguments: Arguments) -> Plan:
    """Set the time zone, by its name or its city's."""
    known = [str(zone) for zone in context.bus.call(TIMEDATED, *_at(TIMEDATED), "ListTimezones")[0]]
    zone = _zone(arguments["zone"], known)
    old = _time_zone(context.bus)
    if old == zone:
        raise Lacking(f"the time zone is {zone} already")
    moment = time.time()
    then, before = (_local(moment, name).strftime("%H:%M") for name in (zone, old))
    return Plan(
        f"Set the time zone to {zone}",
        (Step("zone.set", {"zone": zone}),),
        (f"It is {then} there; here it was {before} ({old or 'no zone is set'}).",),
        (Step("zone.set", {"zone": old}),) if old else (),
        f"the time zone is {old or 'not set'}",
        f"The time zone is {zone}.",
    )


def brightness(context: Context, arguments: Arguments) -> Plan:
    """Set the screen's brightness, in percent or by steps of percent."""
    lights = sorted(BACKLIGHTS.iterdir()) if BACKLIGHTS.is_dir() else []
    if not lights:
        raise Lacking("this machine has no screen whose brightness can be set")
    light, level = lights[0], arguments["level"]
    try:
        most, raw = (int((light / name).read_text()) for name in ("max_brightness", "brightness"))
    except (OSError, ValueError) as error:
        raise Lacking(f"the brightness of {visible(light.name)} cannot be read: {error}") from error
    old = round(100 * raw / most)
    wanted = int(level) if level[0] not in "+-" else old + int(level)
    wanted = min(100, max(LEAST_BRIGHTNESS, wanted))
    target = max(1, round(most * wanted / 100))
    if target == raw or wanted == old:
        raise Lacking(f"the brightness is {old} % already")
    return Plan(
        f"Set the brightness to {wanted} %",
        (Step("brightness.set", {"device": light.name, "level": target}),),
        (f"It is {old} % now ({visible(light.name)}).",),
        (Step("brightness.set", {"device": light.name, "level": raw}),),
        f"the brightness of {light.name} is {raw} of {most}",
        f"The brightness is {wanted} %.",
    )


def volume(context: Context, arguments: Arguments) -> Plan:
    """Set how loud the sound is: there is nothing yet that could."""
    raise Lacking("this machine has no sound server whose volume could be set")


# ---- what the services say


def _at(service: str) -> tuple[str, str]:
    """The path of a service's one object, and its interface, which is named like the service."""
    return f"/{service.replace('.', '/')}", service


def _host_name(bus: Bus) -> str:
    found = bus.get_all(HOSTNAMED, *_at(HOSTNAMED))
    # One that the network gave, where its owner gave none.
    return str(found.get("StaticHostname") or found.get("Hostname") or "")


def _time_zone(bus: Bus) -> str:
    return str(bus.get(TIMEDATED, *_at(TIMEDATED), "Timezone"))


def _language(bus: Bus) -> str:
    """LANG of localed's assignments."""
    assigned = bus.get(LOCALED, *_at(LOCALED), "Locale")
    return dict(str(one).partition("=")[::2] for one in assigned).get("LANG", "")


def _layout(bus: Bus) -> str:
    """The console's keymap, or X11's layout with its variant, as Kind.LAYOUT has it: "us-intl"."""
    found = bus.get_all(LOCALED, *_at(LOCALED))
    layout = "-".join(filter(None, (found.get("X11Layout"), found.get("X11Variant"))))
    return str(found.get("VConsoleKeymap") or layout)


def _local(moment: float, zone: str) -> datetime:
    """A moment in a time zone, in the process's own where the zone is not known."""
    try:
        return datetime.fromtimestamp(moment, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.fromtimestamp(moment, UTC).astimezone()


def _zone(wanted: str, known: Sequence[str]) -> str:
    """A zone by its name or its last part, of either case. Raises Unfit with those that are near."""
    plain = wanted.casefold().replace(" ", "_")
    for zone in known:
        if zone.casefold() == plain:
            return zone
    cities = [zone for zone in known if zone.rpartition("/")[2].casefold() == plain]
    if len(cities) == 1:
        return cities[0]
    if cities:
        raise Unfit(f"there are several time zones of that name: {_joined(cities)}")
    by_city = {zone.rpartition("/")[2].casefold(): zone for zone in reversed(known)}
    near = [by_city[one] for one in get_close_matches(plain.rpartition("/")[2], by_city, n=3, cutoff=0.6)]
    more = f"; near it: {_joined(near)}" if near else "; they are named by the largest city: Europe/Berlin"
    raise Unfit(f"there is no time zone {visible(wanted, 60)}{more}")


def _setting(name: str, verb: str, argument: str, wanted: str, old: str, effect: str, back: str) -> Plan:
    return Plan(
        f"Set the {name} to {wanted}",
        (Step(verb, {argument: wanted}),),
        (f"It is {old or 'not set'} now.", effect),
        (Step(verb, {argument: back}),) if back else (),
        f"the {name} is {old or 'not set'}",
        f"The {name} is {wanted}.",
    )


# ---- what is installed


def _locales() -> list[str]:
    try:
        told = subprocess.run(["locale", "-a"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Lacking("which locales this machine has is not known: 'locale -a' does not answer") from error
    return told.stdout.decode(errors="replace").split()


def _plain(locale: str) -> str:
    """C.UTF-8 and C.utf8 are the same locale."""
    return locale.casefold().replace("utf-8", "utf8")


def _among(names: list[str]) -> str:
    shown = sorted(set(names))[:8]
    return f"{'is' if len(shown) == 1 else 'are'} {_joined(shown)}" if shown else "is none"


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names)


TOOLS = (
    Tool("settings.show", "host name, time zone, locale, keyboard as they are set", Level.READ, run=show),
    Tool(
        "settings.host_name",
        "rename the machine",
        Level.CHANGE,
        plan=host_name,
        arguments=(Argument("name", Kind.HOST, "the new name"),),
        reversible=True,
    ),
    Tool(
        "settings.locale",
        "set language and formats of the system",
        Level.CHANGE,
        plan=locale,
        arguments=(Argument("locale", Kind.LOCALE, "the locale, like de_DE.UTF-8"),),
        reversible=True,
    ),
    Tool(
        "settings.keyboard",
        "set the keyboard layout",
        Level.CHANGE,
        plan=keyboard,
        arguments=(Argument("layout", Kind.LAYOUT, "the layout, like de or us-intl"),),
        reversible=True,
    ),
    Tool(
        "settings.brightness",
        "set the brightness of the screen",
        Level.CHANGE,
        plan=brightness,
        arguments=(Argument("level", Kind.LEVEL, "percent, or +10 and -10"),),
        reversible=True,
    ),
    Tool(
        "settings.volume",
        "set how loud the sound is",
        Level.CHANGE,
        plan=volume,
        arguments=(Argument("level", Kind.LEVEL, "percent, or +10 and -10"),),
    ),
    Tool("time.now", "date and time", Level.READ, run=now),
    Tool(
        "time.zone",
        "set the time zone",
        Level.CHANGE,
        plan=time_zone,
        arguments=(Argument("zone", Kind.ZONE, "the zone, or its city: Europe/Berlin, Berlin"),),
        reversible=True,
    ),
)
