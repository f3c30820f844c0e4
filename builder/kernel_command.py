"""`aether kernel`: a machine's kernel configuration, proven, explained, compared, judged; compiled if asked.

Not for: making the configuration (kernel.py), or any of the answers (kernel_explain.py, kernel_diff.py,
kernel_layers.py, hardening_text.py).
"""

import argparse
import re
from typing import Any

from builder import build, hardening_text, kernel_diff, kernel_explain, kernel_layers, profile
from builder import kernel_subject as subjects
from builder.cache import cache_dir
from builder.commands import print_json
from builder.errors import AetherError, Mistakes
from builder.kconfig import Configuration
from builder.kernel_reasons import DEBIAN_LAYER
from builder.kernel_subject import Subject
from builder.profile import Profile


def command(given: argparse.Namespace) -> int:
    """What was asked of the machine's kernel; 0, or an error is raised."""
    machine = profile.load(given.machine)
    other = None if given.diff in (None, DEBIAN_LAYER) else profile.load(given.diff)
    if machine.kernel.stock and given.build:
        raise AetherError(
            f"the kernel of {machine.name} is Debian's own; there is nothing to compile",
            hint=f"aether build {machine.name} makes its image",
        )
    subject = subjects.of_machine(machine)
    if given.explain is not None:
        explained = kernel_explain.explain(given.explain, subject)
        if given.json:
            print_json(kernel_explain.values(explained))
        else:
            print("\n".join(kernel_explain.lines(explained)))
    elif given.diff is not None:
        there = subjects.of_machine(other) if other else subjects.debian()
        found = kernel_diff.compare(subject, there)
        if given.json:
            print_json(kernel_diff.values(subject, there, found))
        else:
            print("\n".join(kernel_diff.lines(subject, there, found)))
    elif subject.stock:
        _tell_stock(machine, subject, given)
    else:
        _tell(machine, subject, given)
    return 0


def facts(subject: Subject) -> dict[str, Any]:
    """What both kinds of kernels have, for another program: every symbol with who decided it, and why."""
    return {
        "contradictions": [
            {
                "won": kernel_layers.as_values(one.won),
                "lost": [kernel_layers.as_values(two) for two in one.lost],
            }
            for one in kernel_layers.contradictions(subject.wanted, subject.symbols)
        ],
        "symbols": {name: one.as_values() for name, one in subject.decided.items()},
    }


def _judged(machine: Profile, configuration: Configuration) -> tuple[dict[str, Any], str, list[str]]:
    """What the hardening checks say: for a program, in a line, and every failing check.

    Without the checker the configuration is as good; whoever compiles it is told then.
    """
    try:
        found = build.hardness(machine, subjects.parts()[0], configuration)
    except Mistakes:
        raise
    except AetherError as error:
        return {"error": error.message}, error.message, []
    return hardening_text.facts(found), hardening_text.summary(found), hardening_text.lines(found)


def _tell_stock(machine: Profile, subject: Subject, given: argparse.Namespace) -> None:
    about: dict[str, Any] = {
        "machine": subject.name,
        "stock": True,
        "source": subject.source,
        "fragments": [],
        "wanted": 0,
        "symbols_y": subject.count("y"),
        "symbols_m": subject.count("m"),
        "config": str(subject.config),
    }
    about["hardening"], score, failing = _judged(machine, Configuration("stock", subject.config))
    if given.json:
        print_json(about | {"contradictions": [], "symbols": facts(subject)["symbols"]})
        return
    print(f"{subject.source}: it is taken as it is, no configuration of ours is in it")
    print(f"{about['symbols_y']} symbols set to y, {about['symbols_m']} to m")
    print(subject.config)
    print(score)
    if given.hardening:
        print("\n".join(failing))


def _tell(machine: Profile, subject: Subject, given: argparse.Namespace) -> None:
    about: dict[str, Any] = {
        "machine": machine.name,
        "stock": False,
        "source": subject.source,
        "fragments": list(machine.kernel.fragments),
        "wanted": len(subject.wanted),
        "symbols_y": subject.count("y"),
        "config": str(subject.config),
    }
    about["hardening"], score, failing = _judged(machine, subject.configuration)
    if given.build:
        built, _ = build.own_kernel(machine, *subjects.parts(), gate=given.gate)
        about |= {"version": built.version, "size_bytes": built.size_bytes, "bzimage": str(built.bzimage)}
    if given.json:
        print_json(about | facts(subject))
        return
    print(f"{about['source']}, fragments {', '.join(about['fragments'])}")
    print(f"{about['wanted']} wanted symbols, every one proven; {about['symbols_y']} symbols set to y")
    if against := kernel_layers.contradictions(subject.wanted, subject.symbols):
        print(f"layers disagree on {len(against)}; the later one won:")
        print("\n".join(f"  {line}" for line in kernel_layers.lines(against)))
    print(about["config"])
    print(score)
    if given.hardening:
        print("\n".join(failing))
    if given.build:
        print(f"Linux {about['version']}, {about['size_bytes']:,} bytes")
        print(about["bzimage"])


def symbol_names(prefix: str) -> list[str]:
    """The symbols that the shell completes, from the newest configuration in the cache; 50 ms."""
    found = sorted(
        (cache_dir() / "kernel-config").glob("*/symbols.jsonl"), key=lambda one: one.stat().st_mtime
    )
    if not found:
        return []
    before = "CONFIG_" if prefix.startswith("CONFIG_") else ""
    begin = re.escape(prefix.removeprefix(before).upper())
    text = found[-1].read_text(errors="replace")
    return [before + name for name in re.findall(rf'^{{"name": "({begin}\w*)"', text, re.MULTILINE)]
