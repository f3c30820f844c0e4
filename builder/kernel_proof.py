"""The proof after compiling: the drivers that a profile names are in the kernel that came out.

Two lists of the build tree are kept beside the kernel. `modules.builtin` is kbuild's own and names what
says MODULE_LICENSE; code that can never be a module says none (pcieportdrv). So `modules.linked` is written
too: kbuild gives every compilation the name of the module that it is a part of (KBUILD_MODFILE, kernel:
scripts/Makefile.lib), and the names of all objects that were linked are what the kernel is made of.
Not for: the proof of the configuration (kconfig_proof.py).
"""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from builder.drivers import Named
from builder.errors import Mistake, Mistakes
from builder.kbuild_symbols import module_name
from builder.toolchain import Toolchain

BUILTIN, LINKED = "modules.builtin", "modules.linked"
FILES = (BUILTIN, LINKED)

_MODFILE = re.compile(r"-DKBUILD_MODFILE='\"([^\"]*)\"'")


def record(toolchain: Toolchain, output: Path, folder: Path) -> None:
    """Keep both lists of a compiled build tree in the kernel's folder."""
    shutil.copy2(output / BUILTIN, folder / BUILTIN)
    members = toolchain.output(["ar", "t", output / "vmlinux.a"], readable=[output])
    # A thin archive: its members are the files themselves, by their paths below the build tree.
    names = linked(output, members.splitlines())
    (folder / LINKED).write_text("".join(f"{name}\n" for name in names))


def linked(output: Path, objects: Iterable[str]) -> list[str]:
    """The modules, `drivers/nvme/host/nvme`, that the objects of a build tree are parts of, sorted.

    The command that made an object is kept beside it: `.NAME.o.cmd` (kernel: scripts/Kbuild.include).
    """
    found: set[str] = set()
    for one in objects:
        path = output / one
        command = path.with_name(f".{path.name}.cmd")
        if command.is_file() and (match := _MODFILE.search(command.read_text(errors="replace"))):
            found.update(match[1].split())  # a part of several modules names them all
    return sorted(found)


def modules(folder: Path) -> set[str]:
    """The names of all modules that a kernel of the cache has built in, written with `_`."""
    return {module_name(line) for name in FILES for line in (folder / name).read_text().splitlines()}


def missing(drivers: Sequence[Named], folder: Path) -> list[Mistake]:
    """The drivers that a compiled kernel does not have."""
    there = modules(folder)
    return [
        Mistake(
            one.file,
            one.line,
            f"the driver {one.name} is not in the compiled kernel",
            "its configuration is proven, so this is a fault of the driver database: leave the driver out",
        )
        for one in drivers
        if module_name(one.name) not in there
    ]


def prove(drivers: Sequence[Named], folder: Path) -> None:
    """Raise Mistakes over every named driver that a compiled kernel does not have."""
    if lost := missing(drivers, folder):
        raise Mistakes(f"the compiled kernel, whose modules are listed in {folder / LINKED}", lost)
