"""Which drivers each device of a hardware report gets, or why it gets none.

The driver that was bound when the report was written decides; without one, the modules whose aliases match
the device; beside both, the device rules of driver-rules.yaml. Nothing is dropped: every device has a
verdict. Not for: symbols (drivers.py), or the text of a profile (detected_profile.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from builder.driver_database import Database
from builder.driver_rules import Book, matches
from builder.kbuild_symbols import module_name
from builder.modalias import flaw, normalized
from hardware.report import Device, Report

Kind = Literal["driven", "core", "out-of-tree", "no-driver", "unnamed", "kconfig"]

# What each verdict without a driver means, for people.
KINDS: dict[Kind, str] = {
    "core": "handled by the kernel's core, the firmware or a program",
    "out-of-tree": "the driver that was bound is not in this kernel's source",
    "no-driver": "no driver of this kernel knows it",
    "unnamed": "neither a modalias nor a driver says what it is",
    "kconfig": "its driver cannot be built into this kernel",
}


@dataclass(frozen=True)
class Verdict:
    """What becomes of a device: modules, or a kind without; `also`: what was passed over."""

    device: Device
    kind: Kind
    modules: tuple[str, ...]
    reason: str
    also: str = ""


def choose(report: Report, database: Database, book: Book) -> list[Verdict]:
    """A verdict for each device of the report, and for each disk's and interface's driver, in its order."""
    known: dict[tuple[object, ...], Verdict] = {}

    def verdict_on(device: Device) -> Verdict:
        # Many devices of a machine are alike: ports, memory, network functions.
        key = (device.bus, device.modalias, device.driver, device.modules)
        if key not in known:
            known[key] = judge(device, database, book)
        return replace(known[key], device=device)

    verdicts = [verdict_on(device) for device in report.devices]
    taken = {module for one in verdicts for module in one.modules}
    behind = [
        *(
            Device(bus=one.kind, kind="disk", name=one.model, driver=driver)
            for one in report.blocks
            for driver in (one.driver, *one.chain)
        ),
        *(Device(bus="net", kind=one.kind, driver=one.driver) for one in report.networks),
        *(Device(bus=one.bus, kind=one.kind, name=one.name, driver=one.driver) for one in report.inputs),
        *(
            Device(bus=one.bus, name=f"what is above {one.name or one.modalias}", driver=driver)
            for one in report.devices
            for driver in one.chain
        ),
    ]
    for device in behind:
        if device.driver:
            verdict = verdict_on(device)
            if verdict.kind == "driven" and not taken.issuperset(verdict.modules):
                verdicts.append(verdict)
                taken.update(verdict.modules)
    return verdicts


def judge(device: Device, database: Database, book: Book) -> Verdict:
    """The verdict on one device."""
    bound = _bound(device, database)
    ruled, rules = _ruled(device, book)
    if bound:
        modules = tuple(dict.fromkeys([*bound, *ruled]))
        return Verdict(device, "driven", modules, f"{device.driver or bound[0]} drove it")
    alias, also = _matching(device, database, book)
    modules = tuple(dict.fromkeys([*alias, *ruled]))
    if modules:
        reason = f"its modalias says so: {', '.join(alias)}" if alias else "; ".join(rules)
        if device.driver:
            also = f"{device.driver}, which drove it, is not in this kernel's source" + (
                f"; {also}" if also else ""
            )
        elif len(alias) > 1:
            also = "several drivers know it and look at the device before they take it" + (
                f"; {also}" if also else ""
            )
        return Verdict(device, "driven", modules, reason, also)
    if device.driver:
        return Verdict(device, "out-of-tree", (), f"{device.driver} is not in this kernel's source")
    if core := _core(device, book):
        return Verdict(device, "core", (), core)
    if not device.modalias:
        return Verdict(device, "unnamed", (), KINDS["unnamed"])
    if why := flaw(device.modalias):
        return Verdict(device, "no-driver", (), why)
    return Verdict(device, "no-driver", (), also or KINDS["no-driver"])


def _bound(device: Device, database: Database) -> list[str]:
    """The modules of the driver that was bound, where this kernel has them."""
    if not device.driver:
        return []
    reported = [module_name(one) for one in device.modules if database.module(one)]
    registered = database.of_driver(device.driver, device.bus)
    if len(registered) > 1:
        # Several modules register a driver of this name: the one that knows the device.
        known = {one.module for one in database.aliases.matches(device.modalias)}
        registered = [one for one in registered if one in known or one in reported] or (
            [] if reported else registered[:1]
        )
    return list(dict.fromkeys([*reported, *registered]))


def _ruled(device: Device, book: Book) -> tuple[list[str], list[str]]:
    text = normalized(device.modalias)
    if not text or flaw(text):
        return [], []
    rules = [rule for rule in book.rules.devices if matches(text, map(normalized, rule.match))]
    return [module_name(name) for rule in rules for name in rule.drivers], [rule.reason for rule in rules]


def _matching(device: Device, database: Database, book: Book) -> tuple[list[str], str]:
    """The modules whose aliases match, without those that the rules pass over; and what was passed over."""
    names = [one.module for one in database.aliases.matches(device.modalias)]
    said: list[str] = []
    for preference in book.rules.prefer:
        if preference.take in names:
            dropped = [one for one in names if one != preference.take and matches(one, preference.over)]
            said += [f"{preference.take} instead of {one}: {preference.reason}" for one in dropped]
            names = [one for one in names if one not in dropped]
    for rule in book.rules.needless:
        dropped = [one for one in names if matches(one, rule.modules)]
        said += [f"without {one}: {rule.reason}" for one in dropped]
        names = [one for one in names if one not in dropped]
    return names, "; ".join(said)


def _core(device: Device, book: Book) -> str:
    text = normalized(device.modalias)
    if not text or flaw(text):
        return ""
    return next((rule.reason for rule in book.rules.core if matches(text, map(normalized, rule.match))), "")


def modules(verdicts: Iterable[Verdict]) -> list[str]:
    """Every module that was chosen, each once, in the order of the devices."""
    return list(dict.fromkeys(module for one in verdicts for module in one.modules))
