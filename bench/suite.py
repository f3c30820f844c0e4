"""The benchmark's order: build both images, weigh them, boot them in turns.

The two systems are booted one after the other, again and again, so that a host that is slow for a while
is slow for both. Not for: how one boot is measured (boots.py), or how figures are shown (table.py).
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import baseline, boots, detection, host, recall, routing, sizes, states
from bench.boots import Sample, Subject
from bench.native_worker import prepared
from bench.table import Row, Section, rows_of
from builder import accel, image, image_files
from builder.build import BuiltImage, build
from builder.cache import cache_dir
from builder.progress import durations, step
from builder.qemu_command import memory_bytes
from builder.run import Options, spec_of

# Steps of a build in their order: name in progress.durations(), and what it is.
STEPS = {
    "mkosi": "fetch mkosi",
    "tools": "tools tree",
    "source": "fetch and unpack the kernel's source",
    "kernel-config": "kernel configuration and its proof",
    "kernel": "kernel",
    "llama-sdist": "fetch llama.cpp",
}
MANY_STEPS = {"llama-": "llama.cpp for ", "model ": "fetch "}  # how their names begin; what they are


@dataclass(frozen=True)
class Report:
    """What was measured, and on what."""

    facts: Mapping[str, Any]
    sections: list[Section]

    def heading(self) -> list[str]:
        """What a person should know before reading a figure."""
        run = self.facts["run"]
        return [
            f"{self.facts['machine']} ({self.facts['build']}) against a stock Debian image"
            f" ({self.facts['baseline']})",
            *host.lines(self.facts["host"]),
            f"medians of {run['repeat']} boots each, in turns (smallest-largest); ratio = ours / baseline;"
            " MB = 10^6 bytes",
        ]


def measure(name: str, *, repeat: int, tokens: int, quick: bool) -> Report:
    """Measure a machine against the baseline.

    Each system boots once unmeasured but for the time to agent-ready (its first boot makes its machine id
    and grows its disk), then `repeat` times. `quick` leaves out instructions and image rebuilds.
    """
    found = host.facts(accel.choose())
    built = build(name)
    stock = baseline.ensure(built)
    steps = dict(durations())
    sections = [build_section(steps, None if quick else rebuild_times(built)), detection.section(steps)]
    sections += sizes.sections(built, stock)
    sections += memory_sections(name, repeat)
    before = host.processors()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=_work()) as folder:
        ours, theirs = subjects(built, stock, Path(folder))
        sections += boot_sections(ours, theirs, repeat=repeat, tokens=tokens, counted=not quick)
    found |= host.processors().shares_since(before, found["cores"])
    facts = {
        "machine": built.machine.name,
        "build": built.key,
        "baseline": stock.folder.name,
        "host": found,
        "run": {"repeat": repeat, "tokens": tokens, "quick": quick, "question": boots.QUESTION},
    }
    return Report(facts, sections)


def memory_sections(name: str, repeat: int) -> list[Section]:
    """What memory and routing find, and what saved states save, by the machine's worker on this host."""
    routes = routing.file_of(name)
    with prepared(name) as place:
        with place.worker() as worker:
            found = [recall.section("test", recall.Kept(worker) if place.has_embedder else None)]
            if routes:
                found.append(routing.section("test", routing.router_of(routes), routing.encoder_of(worker)))
        return [*found, *states.measure(place, repeat)]


def subjects(built: BuiltImage, stock: baseline.Baseline, folder: Path) -> tuple[Subject, Subject]:
    """The two systems, each with a fresh disk below `folder` and the same virtual hardware."""
    pairs = [("AetherOS", built.folder), ("baseline", stock.folder)]
    size = memory_bytes(built.machine.qemu.disk)
    made = []
    for name, source in pairs:
        spec = spec_of(built, folder / name, folder / name / "disk.raw", Options())
        subject = Subject(name, spec, built.toolchain)
        made.append(boots.new_disk(subject, source / "image.raw", image_files.layout_of(source), size))
    return made[0], made[1]


def boot_sections(
    ours: Subject, theirs: Subject, *, repeat: int, tokens: int, counted: bool
) -> list[Section]:
    """Boot both in turns and lay out what came of it."""
    pair = (ours, theirs)
    first = [boots.first_boot(subject) for subject in pair]
    clock: tuple[list[Sample], list[Sample]] = ([], [])
    instructions: tuple[list[Sample], list[Sample]] = ([], [])
    for _ in range(repeat):
        for subject, kept in zip(pair, clock, strict=True):
            kept.append(boots.boot(subject, tokens=tokens))
        if counted:
            for subject, kept in zip(pair, instructions, strict=True):
                kept.append(boots.boot(subject, icount=True))
    first_row = Row(
        "first_boot_power_to_ready",
        "the very first boot: power-on to agent-ready",
        "s",
        [first[0]["power_to_ready"]],
        [first[1]["power_to_ready"]],
    )
    sections = [Section("Boot, by the clock", [*rows_of(boots.TIMES, *clock), first_row])]
    if counted:
        note = "One processor. From the kernel on, the guest's waiting (timers, disk) is left out."
        sections.append(Section("Boot, in instructions", rows_of(boots.INSTRUCTIONS, *instructions), note))
    sections.append(Section("One question after the boot", rows_of(boots.ANSWER, *clock)))
    note = "Proportional figures need a kernel with CONFIG_PROC_PAGE_MONITOR."
    return [*sections, Section("Memory, before the question", rows_of(boots.MEMORY, *clock), note)]


def build_section(steps: Mapping[str, float], rebuilt: tuple[float, float] | None) -> Section:
    """How long the steps of a build took when they last ran, from progress.durations()."""
    rows = [Row(f"step {key}", title, "s", [steps[key]]) for key, title in STEPS.items() if key in steps]
    rows += [
        Row(f"step {key}", title + key.removeprefix(start), "s", [took])
        for start, title in MANY_STEPS.items()
        for key, took in sorted(steps.items())
        if key.startswith(start) and key not in STEPS
    ]
    last = [[steps[key]] if key in steps else [] for key in ("image", "baseline")]
    rows.append(Row("step image", "image", "s", *last))
    if rebuilt:
        rows.append(Row("rebuild", "image again, its packages installed", "s", *([one] for one in rebuilt)))
    note = "Each as it last ran, by whoever; the compiler's cache and mkosi's may have been full."
    return Section("Build", rows, note)


def rebuild_times(built: BuiltImage) -> tuple[float, float]:
    """Seconds to assemble each image once more, mkosi's cache of installed packages being full."""

    def timed(make: Callable[[Path], None]) -> float:
        with tempfile.TemporaryDirectory(prefix="rebuild-", dir=_work()) as folder:
            began = time.monotonic()
            make(Path(folder))
            return time.monotonic() - began

    with step("Assemble both images again"):
        return (
            timed(lambda folder: image.make(built.toolchain, built.given, folder, built.key)),
            timed(lambda folder: baseline.make(built.toolchain, built.given, folder, "rebuild")),
        )


def _work() -> Path:
    folder = cache_dir() / "work"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
