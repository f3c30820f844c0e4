"""Which firmware files a kernel's drivers ask for, and which of them there are.

Names are relative to /usr/lib/firmware, and may be shell patterns where a driver's module says so. Not for:
the table itself (firmware_table.py), fetching and packing (firmware.py).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from builder.driver_choice import Verdict
from builder.driver_database import Database, Module
from builder.driver_rules import matches
from builder.firmware_table import Case, Table, fixed_start
from builder.modalias import LONGEST, normalized

# iwlwifi's modules name the newest interface of each family; an older one does as well (iwl-drv.c).
_IWLWIFI = re.compile(r"(iwlwifi-.+-)(\d+)\.ucode")


@dataclass(frozen=True)
class Chosen:
    """The files that there are, by the name that is asked for: package and path in it.

    `missing`: what each module asks for and no package has.
    """

    files: Mapping[str, tuple[str, str]]
    missing: Mapping[str, tuple[str, ...]]


def built_in(database: Database, values: Mapping[str, str]) -> list[Module]:
    """The modules that a configuration builds in, from its values by symbol."""
    return [
        one
        for one in database.modules.values()
        if any(values.get(symbol) == "y" for symbol in one.symbols)
        and all(values.get(symbol) == "y" for symbol in one.inside)
    ]


def asked(
    modules: Iterable[Module], table: Table, only: Mapping[str, Sequence[str]] | None = None
) -> dict[str, tuple[str, ...]]:
    """What each module asks for, names and patterns; of a module in `only`, what fits its patterns."""
    only = only or {}
    found = {}
    for module in modules:
        names = list(dict.fromkeys(module.firmware))
        for more in table.more:
            if matches(module.name, more.when):
                names += [name for name in more.files if name not in names]
        if module.name in only:
            names = fitting(names, only[module.name])
        if names:
            found[module.name] = tuple(names)
    return found


def fitting(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The asked names that fit one of the patterns; of two patterns the narrower."""
    found: list[str] = []
    for name in names:
        if fixed_start(name) == name:
            if matches(name, patterns):
                found.append(name)
        elif any(fixed_start(name).startswith(fixed_start(one)) for one in patterns):
            found.append(name)
        else:
            found += [one for one in patterns if fixed_start(one).startswith(fixed_start(name))]
    return list(dict.fromkeys(found))


def choose(asks: Mapping[str, Sequence[str]], there: Mapping[str, tuple[str, str]]) -> Chosen:
    """What of the asked names there is; `there` has the package and the path in it of every name."""
    files: dict[str, tuple[str, str]] = {}
    missing: dict[str, list[str]] = {}
    for module, names in asks.items():
        for name in names:
            found = _resolve(name, there)
            files.update({one: there[one] for one in found})
            if not found:
                missing.setdefault(module, []).append(name)
    return Chosen(dict(sorted(files.items())), {one: tuple(names) for one, names in missing.items()})


def _resolve(name: str, there: Mapping[str, tuple[str, str]]) -> list[str]:
    if name in there:
        return [name]
    if fixed_start(name) != name:
        return [one for one in there if fnmatchcase(one, name)]
    if match := _IWLWIFI.fullmatch(name):
        # The newest that is not newer than the driver.
        start, newest = match[1], int(match[2])
        known = {
            int(older[2]): one
            for one in there
            if (older := _IWLWIFI.fullmatch(one)) and older[1] == start and int(older[2]) <= newest
        }
        if known:
            return [known[max(known)]]
    return []


def narrow(verdicts: Sequence[Verdict], table: Table) -> dict[str, tuple[str, ...]]:
    """The files that a machine's devices need of what their drivers ask for, by module: `only` of `asked`.

    A driver that has no device, or one that fits no case, is left out: it keeps everything.
    """
    found: dict[str, tuple[str, ...]] = {}
    for rule in table.narrow:
        # A network interface is the same device again, without a modalias of its own.
        devices = [one.device for one in verdicts if rule.driver in one.modules and one.device.bus != "net"]
        cases = [_case(one.modalias, rule.cases) for one in devices]
        if cases and all(cases):
            files = tuple(dict.fromkeys(name for case in cases if case for name in case.files))
            found |= dict.fromkeys(rule.modules, files)
    return found


def _case(text: str, cases: Iterable[Case]) -> Case | None:
    """The first case that a modalias fits."""
    if not text or len(text) > LONGEST:
        return None
    return next((one for one in cases if matches(normalized(text), map(normalized, one.match))), None)


def microcode(vendor: str, family: int | None, model: int | None) -> tuple[str, ...]:
    """The microcode files of a processor, by CPUID's vendor, family and model; () for other makers.

    Intel's files are named by family, model and stepping; every stepping is taken, since a report may come
    from a sister machine. AMD has a file for each family, and one for those before 15h.
    """
    if vendor == "GenuineIntel":
        is_known = family is not None and model is not None
        return (f"intel-ucode/{family:02x}-{model:02x}-*" if is_known else "intel-ucode/*",)
    if vendor == "AuthenticAMD":
        if family is None:
            return ("amd-ucode/*.bin",)
        return (f"amd-ucode/microcode_amd{f'_fam{family:x}h' if family >= 0x15 else ''}.bin",)
    return ()
