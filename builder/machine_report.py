"""What came of a machine, in figures, beside `generic-x86_64`: `aether report`.

Sizes and files are read from the finished images, symbols and hardening from the kernels' configurations,
boot phases from what past runs kept (boot_record.py). The generic image starts Debian's own stock kernel,
so it is the comparison with that too. Not for: what a machine is made of in hardware (report_file.py
and the other report_*.py), booting (measure_boots.py), printing (machine_report_text.py).
"""

import dataclasses
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder import (
    boot_record,
    driver_database,
    esp,
    hardening,
    image,
    image_files,
    kernel_source,
)
from builder.boot_phases import FINISHED, PHASES, READY
from builder.boot_record import Record
from builder.build import BuiltImage
from builder.cache import cache_dir
from builder.errors import AetherError
from builder.machine_drivers import Bound, Driver, bound, drivers_of
from builder.qemu_command import without_missing_devices
from builder.run import Options, spec_of
from builder.toolchain import Toolchain

GENERIC = "generic-x86_64"
LARGEST = 10  # packages that are shown of each image


@dataclass(frozen=True)
class Figure:
    """One quantity of both systems, in `bytes`, `s`, `symbols` or `checks`; None is not known, or none."""

    key: str
    title: str
    unit: str
    machine: float | None
    generic: float | None = None

    @property
    def ratio(self) -> float | None:
        """The machine's divided by the generic one's; None where one is missing or the latter is 0."""
        if self.machine is None or not self.generic:
            return None
        return self.machine / self.generic


@dataclass(frozen=True)
class Section:
    """Figures that belong together; `note` says how to read them."""

    key: str
    title: str
    figures: Sequence[Figure]
    note: str = ""

    def figure(self, key: str) -> Figure:
        """A figure by its key."""
        return next(one for one in self.figures if one.key == key)


@dataclass(frozen=True)
class System:
    """A built system: its image's folder, its kernel's version and where that lies."""

    machine: str
    folder: Path
    kernel: Path
    initramfs: Path | None
    config: str | None  # the text of the kernel's .config, if it is known
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The image's key."""
        return self.folder.name

    @property
    def kernel_version(self) -> str:
        """As `uname -r` says it."""
        return str(self.manifest["kernel"])


@dataclass(frozen=True)
class Report:
    """Everything there is to tell; `generic` is None where it is not built, or is the machine itself."""

    machine: System
    generic: System | None
    sections: Sequence[Section]
    drivers: Sequence[Driver]  # that the profile names
    bound: Sequence[Bound] = ()  # devices of the virtual machine, as last measured
    boots: Mapping[str, Sequence[Record]] = field(default_factory=dict)  # by machine, newest last
    notes: Sequence[str] = ()

    def section(self, key: str) -> Section:
        """A section by its key."""
        return next(one for one in self.sections if one.key == key)


def report(built: BuiltImage) -> Report:
    """The figures of a built machine, and beside them those of the generic image as it was last built."""
    notes: list[str] = []
    machine = own_system(built)
    generic = None
    if built.machine.name != GENERIC:
        generic = last_generic(built.toolchain, notes)
    pair = [machine] if generic is None else [machine, generic]
    boots = recorded(built, pair)
    sections = [
        kernel_section(built.toolchain, pair, notes),
        image_section(built.toolchain, pair),
        packages_section(built.toolchain, pair),
        boot_section(built.machine.name, boots),
    ]
    seen = bound(built.machine.name, {one.machine: one.key for one in pair})
    return Report(machine, generic, sections, drivers_of(built, notes), seen, boots, notes)


# ---- the two systems


def own_system(built: BuiltImage) -> System:
    """The machine, from its build."""
    stock = built.given.kernel is None
    config = None if stock else (built.kernel.parent / "config").read_text()
    manifest = _manifest(built.folder)
    if stock:
        config = stock_config(built.toolchain, str(manifest["kernel"]), [])
    return System(built.machine.name, built.folder, built.kernel, built.initrd, config, manifest)


def last_generic(toolchain: Toolchain, notes: list[str]) -> System | None:
    """The generic image as it was last built here; None, and a note, if it was not."""
    try:
        known = json.loads((cache_dir() / "machines" / f"{GENERIC}.json").read_text())["images"]
        folder = next(path for path in (cache_dir() / "image" / name for name in known) if path.is_dir())
        manifest = _manifest(folder)
    except (OSError, ValueError, KeyError, StopIteration):
        notes.append(f"{GENERIC} is not built here: aether build {GENERIC}")
        return None
    config = stock_config(toolchain, str(manifest["kernel"]), notes)
    return System(GENERIC, folder, folder / "vmlinuz", folder / "initrd.img", config, manifest)


def stock_config(toolchain: Toolchain, version: str, notes: list[str]) -> str | None:
    """Debian's configuration of its kernel of a version (`uname -r`); None, and a note, if not here."""
    try:
        source = kernel_source.ensure(toolchain)
        here = driver_database.stock_package(source.package.version).name.removeprefix("linux-image-")
        if here == version:
            return driver_database.ensure(toolchain, source).stock_config.read_text()
    except AetherError as error:
        notes.append(f"the configuration of Debian's kernel is not known: {error.message}")
        return None
    notes.append(
        f"the image has Debian's kernel {version}, the configuration here is that of {here}: build it again"
    )
    return None


def _manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


# ---- figures


def figures(rows: Mapping[str, tuple[str, str]], values: Sequence[Mapping[str, float]]) -> list[Figure]:
    """A figure for each of `rows` (key: title and unit) that any system has a value of."""
    machine, generic = values[0], values[1] if len(values) > 1 else {}
    return [
        Figure(key, title, unit, machine.get(key), generic.get(key))
        for key, (title, unit) in rows.items()
        if key in machine or key in generic
    ]


def kernel_section(toolchain: Toolchain, systems: Sequence[System], notes: list[str]) -> Section:
    """Kernel, initramfs, modules, symbols, hardening."""
    values = [kernel_values(toolchain, system, notes) for system in systems]
    checks = {int(one[key]) for one in values for key in ("checks",) if key in one}
    words = {int(one[key]) for one in values for key in ("words",) if key in one}
    of_checks, of_words = (f" of {counts.pop()}" if len(counts) == 1 else "" for counts in (checks, words))
    rows = {
        "kernel": ("kernel", "bytes"),
        "initramfs": ("initramfs", "bytes"),
        "modules": ("modules", "bytes"),
        "fallback": ("the fallback: Debian's kernel, its initramfs and modules", "bytes"),
        "firmware": ("firmware of devices", "bytes"),
        "symbols_y": ("symbols =y", "symbols"),
        "symbols_m": ("symbols =m", "symbols"),
        "hardening": (f"hardening checks passed{of_checks}, more is better", "checks"),
        "hardening_words": (f"and of the command line{of_words}", "checks"),
    }
    return Section("kernel", "Kernel", figures(rows, values))


def kernel_values(toolchain: Toolchain, system: System, notes: list[str]) -> dict[str, float]:
    """What a system's kernel weighs and how it is configured."""
    files = image_files.files_in(toolchain, system.folder, "aetheros-system", "erofs")
    modules = sum(
        size for path, size in files.items() if re.match(r"/usr/lib/modules/.*\.ko(\.\w+)?$", path)
    )
    found: dict[str, float] = {"kernel": system.kernel.stat().st_size, "modules": modules}
    if system.initramfs is not None:
        found["initramfs"] = system.initramfs.stat().st_size
    if (system.folder / "aetheros.efi").exists():  # a kernel of its own
        on_esp = image_files.files_in(toolchain, system.folder, "aetheros-esp", "vfat")
        if fallback := image_files.total(on_esp, f"/{esp.STOCK}/"):
            found |= {"fallback": fallback + modules, "modules": 0}
    found["firmware"] = image_files.total(files, "/usr/lib/firmware/")
    if system.config is not None:
        values = configuration(system.config)
        found |= {f"symbols_{value}": list(values.values()).count(value) for value in "ym"}
        found |= hardness(toolchain, system, values, notes)
    return found


def configuration(text: str) -> dict[str, str]:
    """The symbols that a .config sets, without CONFIG_, and their values."""
    return dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))


def hardness(
    toolchain: Toolchain, system: System, values: Mapping[str, str], notes: list[str]
) -> dict[str, float]:
    """How many hardening checks pass; reported, not judged: the gate is the build's."""
    assert system.config is not None
    words = hardening.full_command_line(system.manifest["command_line"], values)
    try:
        checks = hardening.examine(toolchain, hardening.ensure(toolchain), system.config, words)
    except AetherError as error:
        if error.message not in notes:
            notes.append(error.message)
        return {}
    kinds = {"kconfig": ("hardening", "checks"), "cmdline": ("hardening_words", "words")}
    found: dict[str, float] = {}
    for kind, (passed, every) in kinds.items():
        of_kind = [one for one in checks if one.kind == kind]
        found |= {passed: sum(one.passed for one in of_kind), every: len(of_kind)}
    return found


def image_section(toolchain: Toolchain, systems: Sequence[System]) -> Section:
    """What lies in the partitions."""
    values: list[dict[str, float]] = []
    for system in systems:
        raw = system.folder / "image.raw"
        files = image_files.files_in(toolchain, system.folder, "aetheros-system", "erofs")
        on_esp = image_files.files_in(toolchain, system.folder, "aetheros-esp", "vfat")
        offset = image_files.offset_of(system.folder, "aetheros-system")
        values.append(
            {
                "boot": sum(on_esp.values()),
                "system": image.erofs_size(raw, offset),
                "files": image_files.total(files),
                **{
                    kind: int(system.manifest[kind]["size"])
                    for kind in ("model", "embedder")
                    if kind in system.manifest
                },
            }
        )
    rows = {
        "boot": ("boot partition: loader, kernels, initramfs", "bytes"),
        "system": ("system partition, compressed", "bytes"),
        "files": ("its files, before compression", "bytes"),
        "model": ("model", "bytes"),
        "embedder": ("embedder", "bytes"),
    }
    return Section("image", "Image", figures(rows, values))


def packages_section(toolchain: Toolchain, systems: Sequence[System]) -> Section:
    """The largest packages of each image, by the bytes of those of their files that are in it."""
    sizes = [
        image_files.packages_of(toolchain, system.folder, "aetheros-system", "erofs") for system in systems
    ]
    names = {name for one in sizes for name in image_files.largest(one, LARGEST)}
    order = sorted(names, key=lambda name: [-one.get(name, 0) for one in sizes])
    rows = {name: (name, "bytes") for name in order}
    title = f"The {LARGEST} largest packages of each, files before compression"
    return Section("packages", title, figures(rows, sizes))


# ---- boots


def recorded(built: BuiltImage, systems: Sequence[System]) -> dict[str, list[Record]]:
    """The kept boots of each system's present image on the machine's virtual hardware, by its name.

    All under the accelerator of the newest of them.
    """
    hardware = hardware_of(built)
    places = {system.machine: boot_record.place(system.machine) for system in systems}
    records = [one for place in places.values() for one in boot_record.read(place)]
    records.sort(key=lambda one: one.at)
    found: dict[str, list[Record]] = {}
    accelerator = ""
    for system in systems:
        for kind in (accelerator,) if accelerator else _accelerators(records, system):
            found[system.machine] = boot_record.chosen(
                records,
                machine=system.machine,
                image=system.key,
                kernel=system.kernel_version,
                hardware=hardware,
                accelerator=kind,
            )
            if found[system.machine]:
                accelerator = kind
                break
    return {machine: boots for machine, boots in found.items() if boots}


def hardware_of(built: BuiltImage) -> str:
    """The key of the virtual machine that `aether run` without options starts here."""
    spec = spec_of(built, built.folder, built.image, Options())
    devices, _ = without_missing_devices(spec.devices)
    return boot_record.hardware_key(dataclasses.replace(spec, devices=devices))


def _accelerators(records: Sequence[Record], system: System) -> list[str]:
    """Those that the system was booted with, the last one first."""
    own = [one.accelerator for one in records if one.machine == system.machine]
    return list(dict.fromkeys(reversed(own)))


def boot_section(machine: str, boots: Mapping[str, Sequence[Record]]) -> Section:
    """Medians of the phases, in seconds; a figure for each phase, whether or not one is known."""
    other = next((name for name in boots if name != machine), None)
    rows = {
        **{name: (title, "s") for name, title in PHASES.items()},
        READY: ("power-on to agent-ready", "s"),
        FINISHED: ("power-on to everything started", "s"),
    }
    values = [medians(boots.get(machine, ())), medians(boots.get(other, ())) if other else {}]
    note = f"not measured: aether report {machine} --measure"
    if boots:
        counts = [
            f"{name}: {_count(boots[name])}" if name in boots else f"{name}: none"
            for name in [machine, *([other] if other else [])]
        ]
        kind = next(iter(boots.values()))[0].accelerator
        note = f"Medians of the last boots under {kind.upper()}: {', '.join(counts)}."
    shown = figures(rows, values)
    return Section("boot", "Boot", shown, note)


def medians(boots: Sequence[Record]) -> dict[str, float]:
    """The median of each phase over the boots that know it."""
    names = [*PHASES, READY, FINISHED]
    known = {name: [one.seconds[name] for one in boots if name in one.seconds] for name in names}
    return {name: statistics.median(samples) for name, samples in known.items() if samples}


def _count(boots: Sequence[Record]) -> str:
    first = ", of a new disk" if boots[0].first else ""
    return f"{len(boots)}{first}"
