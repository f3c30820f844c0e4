"""A hardware report -> a profile of that machine, every device with a comment of what became of it.

The drivers are tried against this kernel before they are written: one that Kconfig refuses stands among the
devices without a driver, with the reason. Nothing of the report is dropped in silence.
Not for: reading reports (hardware/), choosing drivers (driver_choice.py), the profile's schema (profile.py).
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder import (
    cpu_names,
    detected_firmware,
    detected_qemu,
    driver_choice,
    driver_database,
    driver_rules,
    drivers,
    firmware_choice,
    kconfig,
)
from builder.build import wanted as decided_by
from builder.driver_choice import KINDS, Verdict
from builder.driver_database import Database
from builder.driver_proof import Trial
from builder.drivers import Resolution
from builder.errors import AetherError
from builder.kconfig import Configuration, Wanted
from builder.kconfig_needs import Impossible, Needs
from builder.kernel_source import Source
from builder.profile import NAME, load
from builder.toolchain import Toolchain
from hardware.report import Device, Report

BASE = "pc"
LONGEST_NAME = 100  # of a machine; it names files, and a virtual machine
NOT_TEXT = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # in one YAML or another
LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
ROLES = ("server", "laptop", "desktop", "vm")  # fragments of kernel-config/


@dataclass(frozen=True)
class Detected:
    """A machine's profile as text, and what it was made of."""

    name: str
    text: str
    verdicts: tuple[Verdict, ...]
    role: str  # the fragment for its kind of machine
    settings: Mapping[str, tuple[str, str]]  # symbol -> value and reason, of the machine as a whole
    resolution: Resolution
    configuration: Configuration  # that the kernel of this profile has

    @property
    def counts(self) -> dict[str, int]:
        """How many devices have each kind of verdict."""
        return dict(Counter(one.kind for one in self.verdicts))


def make(name: str, report: Report, tools: Toolchain, tree: Source, *, base: str = BASE) -> Detected:
    """The profile of a report's machine, its drivers proven against this kernel; 20 s, less from the cache.

    Raises AetherError for a name that no profile can have, or a report that has nothing to go by.
    """
    need_name(name)
    if report.architecture not in ("", "x86_64"):
        raise AetherError(
            f"the report is of a machine of the architecture {report.architecture}",
            hint="AetherOS builds for x86_64",
        )
    if not report.devices:
        raise AetherError(
            "the report names no devices", hint="make it anew with `aether detect` on the machine"
        )
    database = driver_database.ensure(tools, tree)
    book = driver_rules.load()
    role = role_of(report)
    fragments = _with_role(decided_by(load(base)), role)
    below = kconfig.configure(tools, tree, fragments)

    place = Path(f"{name}.yaml")
    settings = _settings(report, book, below, fragments, place)
    decided = [
        *fragments,
        *(
            Wanted(symbol, value, reason, place, 0, kconfig.USER_LAYER)
            for symbol, (value, reason) in settings.items()
        ),
    ]
    verdicts = driver_choice.choose(report, database, book)
    extra = _file_systems(report, database) + _machine_drivers(report, book)
    proven = Trial(tools, tree, database, book, decided, place).prove(
        [*driver_choice.modules(verdicts), *extra]
    )
    refused, resolution, configuration = proven.refused, proven.resolution, proven.configuration
    verdicts = [_without(one, refused) for one in verdicts]
    extra = [one for one in extra if one not in refused]
    built_in = firmware_choice.built_in(database, configuration.values)
    firmware = detected_firmware.lines(report, role, built_in, verdicts)
    text = _text(name, report, base, verdicts, extra, role, settings, resolution, firmware)
    on = {symbol for symbol, value in configuration.values.items() if value == "y"}
    text += "\n".join([*detected_qemu.section(report, detected_qemu.driven(database, on)), ""])
    return Detected(name, text, tuple(verdicts), role, settings, resolution, configuration)


def need_name(name: str) -> None:
    """AetherError for a name that no profile can have."""
    if not re.fullmatch(NAME, name) or len(name) > LONGEST_NAME:
        raise AetherError(
            f"'{clean(name, 60)}' is not a profile's name",
            hint="small letters, digits, dots, dashes: thinkpad-x1",
        )


def role_of(report: Report) -> str:
    """The role whose fragment fits the machine; a real one that does not tell its kind is a desktop."""
    if report.kind == "vm" or report.virtualisation not in ("none", "unknown"):
        return "vm"
    return report.kind if report.kind in ROLES else "desktop"


def _with_role(below: Sequence[Wanted], role: str) -> list[Wanted]:
    """The base profile's layers with the role's fragments after its own, as a build puts them together."""
    names = [role, *detected_firmware.fragments(role)]
    more = [one for name in names for one in kconfig.load_fragment(kconfig.FRAGMENTS / f"{name}.config")]
    return drivers.between(below, more)


def _without(verdict: Verdict, refused: Mapping[str, str]) -> Verdict:
    """The verdict without the modules that this kernel refuses."""
    left = tuple(one for one in verdict.modules if one not in refused)
    if left == verdict.modules:
        return verdict
    why = "; ".join(f"{one}: {refused[one]}" for one in verdict.modules if one in refused)
    if left:
        return replace(verdict, modules=left, also="; ".join(filter(None, [verdict.also, f"without {why}"])))
    return replace(verdict, kind="kconfig", modules=(), reason=why)


def _facts(report: Report) -> dict[str, str]:
    return {
        "virtualisation": report.virtualisation,
        "vendor": report.cpu.vendor,
        "kind": report.kind,
    }


def _settings(
    report: Report,
    book: driver_rules.Book,
    below: Configuration,
    fragments: Sequence[Wanted],
    place: Path,
) -> dict[str, tuple[str, str]]:
    """Symbols that the machine as a whole wants, with what they depend on, that the base does not have."""
    off = {one.symbol: one.reason for one in kconfig.effective(fragments).values() if one.value == "n"}
    needs = Needs(below.symbols, off)
    found: dict[str, tuple[str, str]] = {}
    for rule in book.machine(_facts(report)):
        for symbol in rule.want:
            try:
                added = needs.add(symbol)
            except Impossible:
                continue  # this base is not for it: a fragment says so
            for one in added:
                if needs.symbols[one.symbol].prompts:
                    reason = f"{one.needed_by} depends on it" if one.symbol != symbol else rule.reason
                    found.setdefault(one.symbol, ("y", reason))
    threads = report.cpu.threads or 0
    if threads > int(below.values.get("NR_CPUS", "64")):
        found["NR_CPUS"] = (str(threads), "as many processors as the machine has")
    return found


def _file_systems(report: Report, database: Database) -> list[str]:
    return [one for one in report.file_systems if database.module(one)]


def _machine_drivers(report: Report, book: driver_rules.Book) -> list[str]:
    return [name for rule in book.machine(_facts(report)) for name in rule.drivers]


def clean(text: str, most: int = 100) -> str:
    """Text of a report as one line of a comment: no control characters, not too long."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def title(device: Device) -> str:
    """What a device is, in one line."""
    ids = re.match(r"pci:v0000(\w{4})d0000(\w{4})|usb:v(\w{4})p(\w{4})|virtio:d0*(\w+)v", device.modalias)
    numbers = ":".join(part.lower() for part in ids.groups() if part) if ids else ""
    what = clean(device.name or device.kind or device.modalias or "a device", 70)
    where = " ".join(filter(None, [clean(device.bus, 12), numbers]))
    return f"{what} ({where})" if where else what


def _quoted(text: str) -> str:
    return json.dumps(clean(text, 200), ensure_ascii=False)


def _text(
    name: str,
    report: Report,
    base: str,
    verdicts: Sequence[Verdict],
    extra: Sequence[str],
    role: str,
    settings: Mapping[str, tuple[str, str]],
    resolution: Resolution,
    firmware: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> str:
    driven = sum(bool(one.modules) for one in verdicts)
    machine = clean(report.name or "a machine without a name")
    memory = f"{report.memory_bytes / (1 << 30):.0f} GiB of memory" if report.memory_bytes else ""
    facts = [report.kind, report.cpu.model_name, memory, f"firmware {report.firmware.kind}"]
    lines = [
        f"# {machine}",
        f"# {clean(', '.join(fact for fact in facts if fact))}",
        "#",
        "# Written from a hardware report, and yours to change. Each driver stands below the devices that",
        f"# it is for. {driven} of {len(verdicts)} devices have one; the others are at the end.",
        "",
        f"name: {_word(name)}",
        f"extends: {base}",
        f"description: {_quoted(machine)}",
        "",
        *_processor(report),
        "kernel:",
        f"  fragments: [{', '.join([role, *detected_firmware.fragments(role)])}]" + _why_role(report, role),
        "  drivers:",
        *_drivers(verdicts),
    ]
    if extra:
        lines += ["    # the machine's file systems and bus", *(f"    - {_word(one)}" for one in extra)]
    lines += firmware[0]
    if settings:
        lines += ["  config:"]
        lines += [
            f"    {symbol}: {{value: {value}, reason: {_quoted(why)}}}"
            for symbol, (value, why) in settings.items()
        ]
    lines += [*_packages(resolution), *_remarks(resolution), *firmware[1]]
    lines += _without_driver(verdicts)
    return "\n".join(lines) + "\n"


def _why_role(report: Report, role: str) -> str:
    """A comment, where the report does not say what kind of machine it is."""
    return "" if role == "vm" or report.kind == role else "  # the report does not tell; or laptop, server"


def _word(text: str) -> str:
    """A name as YAML: in quotes where it would be taken for a number or a value."""
    is_plain = re.fullmatch(r"[a-z_][a-z0-9._-]*", text) and text not in NOT_TEXT
    return text if is_plain else _quoted(text)


def _processor(report: Report) -> list[str]:
    entries = []
    if report.cpu.level in LEVELS:
        entries.append(f"march: {report.cpu.level}")
    if report.cpu.threads:
        entries.append(f"threads: {report.cpu.threads}")
    lines = [f"cpu: {{{', '.join(entries)}}}"] if entries else []
    cpu = report.cpu
    if lines and (name := cpu_names.name(cpu.vendor, cpu.family, cpu.model, cpu.flags)):
        lines[0] += f"  # or march: {name}, for this kind of CPU alone"
    if memory := report.memory_bytes:
        gigabytes = round(memory / (1 << 30))
        lines.append(f"memory: {gigabytes}G" if gigabytes else f"memory: {max(1, memory >> 20)}M")
    return [*lines, ""] if lines else []


def _drivers(verdicts: Sequence[Verdict]) -> list[str]:
    """The list of drivers, each below its devices."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for one in verdicts:
        if one.modules:
            groups.setdefault(one.modules, []).append(one)
    lines: list[str] = []
    named: set[str] = set()
    for modules, members in groups.items():
        said = Counter(
            f"{title(one.device)}: {', '.join(modules)}; {clean(one.reason)}"
            + (f" ({clean(one.also, 300)})" if one.also else "")
            for one in members
        )
        lines += [f"    # {f'{count} x ' if count > 1 else ''}{text}" for text, count in said.items()]
        lines += [f"    - {_word(one)}" for one in modules if one not in named]
        named.update(modules)
    return lines or ["    []"]


def _packages(resolution: Resolution) -> list[str]:
    """What the running system needs for these drivers, of Debian's packages."""
    if not resolution.packages:
        return []
    entries = [
        (f"    # {clean(why, 100)}", f"    - {name}") for name, why in sorted(resolution.packages.items())
    ]
    return ["", "image:", "  packages:", *(line for entry in entries for line in entry)]


def _remarks(resolution: Resolution) -> list[str]:
    lines: list[str] = []
    if resolution.left:
        lines += ["", "# What would go well with these drivers and this kernel cannot have:"]
        lines += [f"#   {one.symbol}: {clean(one.why, 160)}" for one in resolution.left]
    return lines


def _without_driver(verdicts: Iterable[Verdict]) -> list[str]:
    lines: list[str] = []
    left = [one for one in verdicts if not one.modules]
    for kind, meaning in KINDS.items():
        said = Counter(f"{title(one.device)}: {clean(one.reason, 300)}" for one in left if one.kind == kind)
        if said:
            lines += ["", f"# Without a driver: {meaning}"]
            lines += [f"#   {f'{count} x ' if count > 1 else ''}{text}" for text, count in said.items()]
    return lines
