"""From a machine's name to its finished image: the order of the parts.

First everything that needs the network is fetched, then everything is built without it. What the
cache already holds is taken from there. Not for: how any one part is made.
"""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder import (
    __version__,
    apt,
    catalogue,
    cpu_names,
    driver_database,
    drivers,
    firmware,
    firmware_choice,
    hardening,
    image,
    kconfig,
    kernel,
    kernel_source,
    models,
    profile,
    routing,
    toolchain,
    wheels,
)
from builder.cache import cache_dir, write_atomically
from builder.image import ImageInput
from builder.progress import step
from builder.toolchain import Toolchain

# Images of 200 MB each that the cache keeps of a machine: the newest, and two to go back to.
KEPT_IMAGES = 3


@dataclass(frozen=True)
class BuiltImage:
    """A machine's finished image and what a virtual machine needs to boot it."""

    machine: profile.Profile
    toolchain: Toolchain
    folder: Path
    image: Path  # the whole disk, raw; never written to
    layout: Mapping[str, Any]  # image.json: key, size, partitions with label, offset and size in bytes
    kernel: Path  # bzImage or vmlinuz, for direct boot
    initrd: Path | None  # of Debian's kernel, or the firmware of the machine's own
    command_line: str
    wheels: Path  # the folder that holds the Python package llama_cpp
    model: Path  # the GGUF file
    given: ImageInput  # what the image was made from

    @property
    def key(self) -> str:
        """The hash of everything that went in."""
        return self.folder.name


def wanted(machine: profile.Profile) -> list[kconfig.Wanted]:
    """Every kernel symbol that the machine's fragments and its own `kernel.config` ask for."""
    own = [
        kconfig.user_wanted(one.symbol, one.value, reason=one.reason, file=one.path, line=one.line)
        for one in machine.settings
    ]
    return kconfig.layers(machine.kernel.fragments, kconfig.FRAGMENTS, own)


def wanted_with_drivers(
    machine: profile.Profile, tools: Toolchain, source: kernel_source.Source
) -> list[kconfig.Wanted]:
    """Every kernel symbol that the machine asks for, those of its `kernel.drivers` too.

    Raises Mistakes for a driver that this kernel does not have or cannot build in.
    """
    return drivers.complete(named_drivers(machine), wanted(machine), tools, source)


def named_drivers(machine: profile.Profile) -> list[drivers.Named]:
    """The machine's `kernel.drivers`, each with its place."""
    named = []
    for index, driver in enumerate(machine.kernel.drivers):
        place = machine.place("kernel", "drivers", index)
        named.append(drivers.Named(driver, place.path, place.line))
    return named


def command_line(machine: profile.Profile) -> list[str]:
    """The words that the machine's own kernel is started with."""
    wait = image.WAIT_WITH_FALLBACK if machine.image.fallback else image.WAIT
    return [*image.command_line(machine.name), *wait, *machine.kernel.command_line]


def stock_command_line(machine: profile.Profile) -> list[str]:
    """The words that Debian's own kernel is started with on the machine."""
    told = () if machine.kernel.stock else (image.FALLBACK_WORD,)
    return [
        *image.command_line(machine.name),
        *image.STOCK_COMMAND_LINE,
        *machine.kernel.command_line,
        *told,
    ]


def hardness(
    machine: profile.Profile, tools: Toolchain, configuration: kconfig.Configuration
) -> hardening.Verdict:
    """What the hardening checks say of the machine's configuration; AetherError if there is no checker.

    Debian's own kernel (`kernel.stock`) is reported, not judged.
    """
    if machine.kernel.stock:
        return hardening.score(machine.name, tools, configuration, stock_command_line(machine))
    words, least = command_line(machine), machine.kernel.hardening.least
    return hardening.verdict(machine.name, tools, configuration, words, least, machine.kernel.drivers)


def own_kernel(
    machine: profile.Profile, tools: Toolchain, source: kernel_source.Source, *, gate: bool = True
) -> tuple[kernel.Kernel, dict[str, Any] | str]:
    """The machine's own kernel, once the hardening gate let it through; and what the gate's record is.

    Raises Mistakes or AetherError before anything is compiled. Without `gate` that it was skipped is said,
    and the record is `skipped`.
    """
    symbols = wanted_with_drivers(machine, tools, source)
    configuration = kernel.configured(tools, source, symbols)
    record: dict[str, Any] | str = "skipped"
    if gate:
        found = hardness(machine, tools, configuration)
        limit = machine.place("kernel", "hardening", "least")
        hardening.refuse(found, symbols, configuration, limit)
        record = found.record
    else:
        print(f"the hardening gate of {machine.name} is skipped: nothing was checked", file=sys.stderr)
    tune = cpu_names.tuning(machine.cpu.march)
    return kernel.ensure(tools, source, symbols, named_drivers(machine), tune=tune), record


def build(name: str, *, update: bool = False, gate: bool = True) -> BuiltImage:
    """Build a machine, or find it built; without `gate` its kernel's hardening is not checked.

    Raises Mistakes for what is wrong in its profile or kernel configuration, StepFailed for a step
    that failed; either leaves the previous image as it was.
    """
    machine = profile.load(name)
    wanted(machine)  # mistakes in it are told before anything is fetched
    if update:
        with step("Read the package index"):
            apt.update()
    tools = toolchain.ensure()
    wheels.fetch()
    model = models.ensure(machine.chat_model)
    encoder = machine.embedder_model
    embedder = models.ensure(encoder) if encoder else None
    choice = machine.kernel.source
    own: kernel.Kernel | None = None
    files: firmware.Firmware | None = None
    record: dict[str, Any] = {}
    if not machine.kernel.stock:
        source = kernel_source.ensure(tools, suite=choice.suite, package=choice.package)
        files = drivers_firmware(machine, tools, source)
        own, record["hardening"] = own_kernel(machine, tools, source, gate=gate)
        record["kernel"] = {"package": source.package.version, "symbols": own.symbols_y}
        if tune := cpu_names.tuning(machine.cpu.march):
            record["kernel"]["tuned_for"] = tune
        if files:
            record["firmware"] = files.record
    stock = stock_kernel(machine)
    if stock:
        record["kernel" if own is None else "fallback"] = {"package": stock}
    stock_line = stock_command_line(machine)
    built_wheels = wheels.ensure(tools, machine.cpu.march, variants=machine.cpu.variants)
    routes = None
    if encoder and embedder:
        routes = routing.ensure(tools, built_wheels.tree, embedder, encoder.name)
    else:
        print(f"{machine.name} has no embedder: no sentence is taken for a tool", file=sys.stderr)
    given = ImageInput(
        machine=machine.name,
        version=__version__,
        kernel=own.bzimage if own else None,
        kernel_version=own.version if own else stock.removeprefix("linux-image-"),
        command_line=command_line(machine) if own else stock_line,
        stock=stock,
        stock_command_line=stock_line,
        more_packages=machine.image.packages,
        firmware=files,
        python_tree=built_wheels.tree,
        model=model.path,
        model_card={
            **_card(machine.chat_model, model),
            "context": machine.agent.context,
            "chat_template": machine.chat_model.chat_template.text,
            "threads": machine.cpu.threads,
            "tools": machine.chat_model.tools,
        },
        embedder=embedder.path if embedder else None,
        embedder_card={**_card(encoder, embedder), "dimension": encoder.dimension}
        if encoder and embedder
        else {},
        routing=routes,
        profile=machine.model_dump(mode="json"),
        record={**record, "llama_cpp": built_wheels.record, "tools": tools.key},
    )
    folder = image.ensure(tools, given)
    result = BuiltImage(
        machine=machine,
        toolchain=tools,
        folder=folder,
        image=folder / "image.raw",
        layout=json.loads((folder / "image.json").read_text()),
        kernel=own.bzimage if own else folder / "vmlinuz",
        initrd=(files.together if files else None) if own else folder / "initrd.img",
        command_line=" ".join(given.command_line),
        wheels=built_wheels.tree,
        model=model.path,
        given=given,
    )
    _keep_newest(machine.name, folder)
    return result


def _card(model: catalogue.Model, file: models.ModelFile) -> dict[str, Any]:
    """What the manifest says of every model."""
    size = file.path.stat().st_size
    return {"name": model.name, "sha256": file.sha256, "size": size, "licence": model.licence}


def drivers_firmware(
    machine: profile.Profile, tools: Toolchain, source: kernel_source.Source
) -> firmware.Firmware | None:
    """The firmware of what the machine's own kernel builds in; None without the fragment for it."""
    if firmware.FRAGMENT not in machine.kernel.fragments:
        return None
    configuration = kernel.configured(tools, source, wanted_with_drivers(machine, tools, source))
    modules = firmware_choice.built_in(driver_database.ensure(tools, source), configuration.values)
    chosen = machine.kernel.firmware
    return firmware.ensure(tools, modules, microcode=chosen.microcode, only=chosen.only)


def stock_kernel(machine: profile.Profile) -> str:
    """Debian's own kernel package, if the machine's image carries it, alone or as the fallback; else ""."""
    if not (machine.kernel.stock or machine.image.fallback):
        return ""
    return driver_database.stock_package(apt.locked(machine.kernel.source.package).version).name


def _keep_newest(machine: str, newest: Path) -> None:
    """Record the machine's images, newest first, and remove those that are older than the last ones.

    A machine's own disk is a copy, so nothing that runs needs an old image.
    """
    record = cache_dir() / "machines" / f"{machine}.json"
    known = json.loads(record.read_text())["images"] if record.exists() else []
    if known[:1] == [newest.name]:
        return
    images = [newest.name, *(name for name in known if name != newest.name)]
    for old in images[KEPT_IMAGES:]:
        shutil.rmtree(newest.with_name(old), ignore_errors=True)
    write_atomically(record, json.dumps({"images": images[:KEPT_IMAGES]}))
