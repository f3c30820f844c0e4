"""The hardening gate: kernel-hardening-checker over a machine's final configuration, before it is compiled.

The checker is a program of its own (GPL-3), taken from Debian and run in the tools tree. A check that fails
is accepted by an exception with a reason (hardening_exceptions.py), or the build stops.
Not for: which symbols harden a kernel (kernel-config/security.config), printing a verdict
(hardening_text.py).
"""

import difflib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import apt, hardening_exceptions
from builder.cache import digest, product, write_atomically
from builder.errors import AetherError, Mistake, Mistakes
from builder.hardening_exceptions import KINDS, Entry, Kind
from builder.kbuild_symbols import module_name
from builder.kconfig import Configuration, Wanted, effective
from builder.kconfig_symbols import Symbol
from builder.progress import step
from builder.toolchain import Toolchain
from builder.yamlfile import Place

PACKAGE = "kernel-hardening-checker"
SUITE = "sid"  # no release of Debian has it yet
SKIP = "--no-hardening-gate"

# What the checker says of a word that is not on the command line. Any other failure is a word that is there
# and makes the machine weaker, which no exception covers.
_ABSENT = ("is not found", "is not present", "is off, not found")


@dataclass(frozen=True)
class Checker:
    """kernel-hardening-checker, unpacked."""

    package: apt.Package
    root: Path

    @property
    def version(self) -> str:
        """Debian's version of it."""
        return self.package.version


@dataclass(frozen=True)
class Check:
    """One check and how it went: `wants` and `found` in the checker's own words."""

    kind: Kind
    name: str  # a symbol without CONFIG_, or a word of the command line
    wants: str  # `y`, `is not set`, `65536`, `*selinux*`
    passed: bool
    found: str  # `OK`, `FAIL: "y"`, `FAIL: is not found`

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What an exception names it by."""
        return self.kind, self.name, self.wants

    def __str__(self) -> str:
        return f"CONFIG_{self.name}" if self.kind == "kconfig" else self.name

    @property
    def failure(self) -> str:
        """How it failed, for a person."""
        return f"wanted `{self.wants}`, found {self.found.removeprefix('FAIL: ')}"


@dataclass(frozen=True)
class Verdict:
    """What the checks of one machine's kernel come to.

    `accepted` are the failing checks that an exception covers, `refused` those that none does, `stale` the
    exceptions for this machine whose check passes, `unknown` those whose check the checker does not have.
    A kernel that is not `gated`, Debian's own, has a score alone.
    """

    machine: str
    checker: str  # its version
    least: int  # kconfig checks that have to pass
    checks: tuple[Check, ...]
    accepted: Mapping[Check, Entry]
    refused: tuple[Check, ...]
    stale: tuple[Entry, ...]
    unknown: tuple[Entry, ...]
    gated: bool = True

    def count(self, kind: Kind, *, passed: bool) -> int:
        """How many checks of a kind passed, or failed."""
        return sum(one.kind == kind and one.passed is passed for one in self.checks)

    @property
    def passed(self) -> int:
        """The kconfig checks that pass: the machine's score."""
        return self.count("kconfig", passed=True)

    @property
    def failed(self) -> int:
        """The kconfig checks that fail."""
        return self.count("kconfig", passed=False)

    @property
    def holds(self) -> bool:
        """Whether the gate lets the machine through."""
        return self.passed >= self.least and not (self.refused or self.stale or self.unknown)

    @property
    def record(self) -> dict[str, Any]:
        """What an image's manifest keeps of it."""
        return {"passed": self.passed, "failed": self.failed, "checker": self.checker}

    @property
    def score(self) -> str:
        """The score as a line."""
        said = f"{self.passed} of {self.passed + self.failed} hardening checks pass"
        return f"{said}, {self.least} have to" if self.gated else said


def ensure(toolchain: Toolchain) -> Checker:
    """The checker, fetched and unpacked if the cache does not have it; AetherError if it cannot be had."""
    # Hosts' keyrings differ; the tools tree's is trixie's, itself verified, and knows who signs sid.
    keyring = toolchain.root / "usr/share/keyrings/debian-archive-keyring.gpg"
    archive = apt.Archive(SUITE, keyring)
    try:
        package = apt.locked(PACKAGE, archive)

        def make(folder: Path) -> None:
            with step(f"Fetch {PACKAGE} {package.version}"):
                deb = apt.fetch(package, folder, archive)
                subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)

        place = product(PACKAGE, f"{package.version}_{package.sha256[:8]}", make)
    except AetherError as error:
        raise AetherError(
            f"the hardening gate has no {PACKAGE}: {error.message}",
            hint=f"it comes from Debian {SUITE}, on the host's mirror, once; {SKIP} builds without the gate",
        ) from error
    return Checker(package, place / "root")


def full_command_line(words: Sequence[str], values: Mapping[str, str]) -> str:
    """The command line as the kernel will see it: the configuration's own words come first."""
    own = values.get("CMDLINE", "").strip('"').split() if values.get("CMDLINE_BOOL") == "y" else []
    return " ".join(own if own and values.get("CMDLINE_OVERRIDE") == "y" else [*own, *words])


def examine(toolchain: Toolchain, checker: Checker, config: str, command_line: str) -> tuple[Check, ...]:
    """Every check over the text of a `.config` and a command line (0.3 s, then cached)."""

    def make(folder: Path) -> None:
        config_file, words_file = folder / "config", folder / "cmdline"
        config_file.write_text(config)
        words_file.write_text(f"{command_line}\n")
        program = checker.root / "usr/bin/kernel-hardening-checker"
        modules = checker.root / "usr/lib/python3/dist-packages"
        command: list[str | Path] = ["env", f"PYTHONPATH={modules}", "python3", program]
        command += ["-c", config_file, "-l", words_file, "-m", "json"]
        told = toolchain.output(command, readable=[checker.root, folder])
        parse(told)
        write_atomically(folder / "checks.json", told)
        config_file.unlink()

    key = digest(checker.package.sha256, config, command_line, toolchain.key)
    return parse((product("hardening", key, make) / "checks.json").read_text())


def parse(told: str) -> tuple[Check, ...]:
    """The checks from the checker's `-m json`; AetherError if it is not that."""
    try:
        found = [
            Check(
                kind=one["type"],
                name=one["option_name"].removeprefix("CONFIG_"),
                wants=one["desired_val"],
                passed=one["check_result_bool"],
                found=one["check_result"],
            )
            for one in json.loads(told)
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AetherError(
            f"{PACKAGE} said what this builder does not understand: {type(error).__name__}: {error}",
            hint="`aether build --update` takes the newest checker; otherwise take a newer AetherOS",
        ) from error
    if not all(any(one.kind == kind for one in found) for kind in KINDS):
        raise AetherError(f"{PACKAGE} made no checks of {' and '.join(KINDS)}")
    return tuple(found)


def judge(
    machine: str,
    checker: str,
    checks: Sequence[Check],
    entries: Sequence[Entry],
    values: Mapping[str, str],
    least: int,
    drivers: Iterable[str] = (),
) -> Verdict:
    """What the checks come to under the exceptions; `values` are the configuration's."""
    modules = {module_name(name) for name in drivers}
    here = [one for one in entries if one.rule.holds(machine, modules, values)]
    by_check = {one.key: one for one in here}
    known = {one.key: one for one in checks}
    accepted: dict[Check, Entry] = {}
    refused = []
    for one in checks:
        if one.passed:
            continue
        entry = by_check.get(one.key)
        if entry is not None and (one.kind == "kconfig" or one.found.removeprefix("FAIL: ") in _ABSENT):
            accepted[one] = entry
        else:
            refused.append(one)
    return Verdict(
        machine=machine,
        checker=checker,
        least=least,
        checks=tuple(checks),
        accepted=accepted,
        refused=tuple(refused),
        stale=tuple(one for one in here if (found := known.get(one.key)) is not None and found.passed),
        unknown=tuple(one for one in entries if one.key not in known),
    )


def verdict(
    machine: str,
    toolchain: Toolchain,
    configuration: Configuration,
    command_line: Sequence[str],
    least: int,
    drivers: Iterable[str] = (),
    exceptions: Path = hardening_exceptions.EXCEPTIONS,
) -> Verdict:
    """The verdict over a machine's proven configuration; `command_line` are the image's words.

    Raises Mistakes for what is wrong in the exceptions, AetherError where the checker cannot be had.
    """
    entries = hardening_exceptions.load(exceptions)
    checker = ensure(toolchain)
    words = full_command_line(command_line, configuration.values)
    checks = examine(toolchain, checker, configuration.text, words)
    return judge(machine, checker.version, checks, entries, configuration.values, least, drivers)


def score(
    machine: str, toolchain: Toolchain, configuration: Configuration, command_line: Sequence[str]
) -> Verdict:
    """The same of a kernel that others made: which checks pass, without a limit or exceptions."""
    checker = ensure(toolchain)
    words = full_command_line(command_line, configuration.values)
    checks = examine(toolchain, checker, configuration.text, words)
    return Verdict(machine, checker.version, 0, checks, {}, (), (), (), gated=False)


def refuse(
    found: Verdict,
    wanted: Sequence[Wanted],
    configuration: Configuration,
    limit: Place,
    exceptions: Path = hardening_exceptions.EXCEPTIONS,
) -> None:
    """Raise Mistakes with everything that stands against the machine, if the gate does not hold.

    `limit` is where the least number of checks is written.
    """
    if found.holds:
        return
    last, symbols = effective(wanted), configuration.symbols
    mistakes = [
        _refused(one, last.get(one.name), symbols.get(one.name), exceptions) for one in found.refused
    ]
    mistakes += [
        Mistake(
            one.place.path,
            one.place.line,
            f"{one.name} ({one.kind}) passes on {found.machine}, its exception is stale",
            "take it away, or say with `where:` where it holds",
        )
        for one in found.stale
    ]
    mistakes += [
        Mistake(
            one.place.path,
            one.place.line,
            f"no check of {PACKAGE} {found.checker} wants {one.name} ({one.kind}): {one.wants}",
            _known(one, found.checks),
        )
        for one in found.unknown
    ]
    if found.passed < found.least:
        mistakes.append(
            Mistake(
                limit.path,
                limit.line,
                f"{found.score} (kernel.hardening.least)",
                f"`aether kernel {found.machine} --hardening` lists those that fail",
            )
        )
    raise Mistakes(
        f"the hardening gate of {found.machine} ({PACKAGE} {found.checker})",
        mistakes,
        hint=f"nothing was compiled; correct these, or build without the gate: {SKIP}",
    )


def _refused(check: Check, wanted: Wanted | None, symbol: Symbol | None, exceptions: Path) -> Mistake:
    """A failing check that no exception covers, told where the symbol got its value."""
    hint = f"or accept it with a reason in {exceptions.name}"
    if check.kind == "cmdline":
        message = f"{check.name} on the kernel's command line fails: {check.failure}"
        return Mistake(exceptions, 0, message, f"change kernel.command_line, {hint}")
    message = f"{check} fails: {check.failure}"
    if wanted is not None:
        return Mistake(wanted.file, wanted.line, f"{message}; {wanted.reason}", f"change it, {hint}")
    why = _why(check, symbol)
    return Mistake(exceptions, 0, message + (f"; {why}" if why else ""), f"change it in a fragment, {hint}")


def _why(check: Check, symbol: Symbol | None) -> str:
    """What Kconfig says about a symbol that nobody asked for."""
    if symbol is None:
        return "this kernel does not have it"
    what, by = "it depends on", symbol.unmet
    if check.wants == "is not set":
        what, by = "it is selected by", symbol.selectors
    return f"{what} {' and '.join(map(str, by[:3]))}" if by else ""


def _known(entry: Entry, checks: Sequence[Check]) -> str:
    same = [one.wants for one in checks if one.kind == entry.kind and one.name == entry.name]
    if same:
        return f"it wants: {' or '.join(same)}"
    near = difflib.get_close_matches(
        entry.name, [one.name for one in checks if one.kind == entry.kind], 1, 0.5
    )
    return f"did you mean {near[0]}?" if near else "take it away"
