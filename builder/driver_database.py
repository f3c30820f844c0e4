"""The drivers of a kernel version: modalias -> module -> CONFIG symbols, and what /sys calls each driver.

Made once for each kernel version from Debian's stock kernel package of the same source (its modules know
their aliases and firmware) and from the Makefiles and C files of the source tree (symbols, drivers' names),
then kept in the cache as JSON. The package is unpacked, never installed.
Not for: which driver a device gets (driver_choice.py), what else it needs (drivers.py).
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from builder import apt, kbuild_symbols, modalias
from builder.cache import cache_dir, digest, product, write_atomically
from builder.errors import AetherError
from builder.kbuild_symbols import module_name
from builder.kernel_source import Source
from builder.modalias import AliasIndex
from builder.progress import step
from builder.toolchain import Toolchain

# Reads every module's .modinfo section; six seconds for Debian's 4,230 modules.
_MODINFO = 'find "$1" -name "*.ko*" -print0 | sort -z | xargs -0 modinfo -0 > "$2"'


@dataclass(frozen=True)
class Module:
    """A module of the tree, or code that is linked into the kernel under a module's name.

    `symbols`: any of them makes it; `inside`: the folders' symbols, all needed. `firmware`: files that it
    may ask for, relative to /usr/lib/firmware. `stock`: `m`, `y` or `` (not built) in Debian's kernel.
    """

    name: str
    path: str
    symbols: tuple[str, ...]
    inside: tuple[str, ...]
    description: str = ""
    firmware: tuple[str, ...] = ()
    stock: str = ""


@dataclass(frozen=True)
class Database:
    """Everything known about one kernel version's drivers."""

    version: str  # of the source package
    modules: Mapping[str, Module]
    aliases: AliasIndex
    drivers: Mapping[str, tuple[tuple[str, str], ...]]  # name in /sys -> (bus, module)...
    stock_config: Path  # Debian's own .config

    def module(self, name: str) -> Module | None:
        """A module by its name, written with `-` or `_`."""
        return self.modules.get(module_name(name))

    def of_driver(self, driver: str, bus: str) -> list[str]:
        """The modules that register a driver of this name: those of the bus, else of any."""
        known = self.drivers.get(driver, ())
        found = [module for its_bus, module in known if its_bus == bus]
        if not found:
            # Most drivers are called as their module is; what Debian builds is likelier than the rest.
            named = [module_name(driver)] if self.module(driver) else []
            found = [*(module for _, module in known), *named]
            found.sort(key=lambda name: name not in self.modules or not self.modules[name].stock)
        return list(dict.fromkeys(found))


def stock_package(version: str) -> apt.Package:
    """Debian's own kernel for PCs, made from the source package of this version (6.12.117-1)."""
    upstream = re.escape(version.rpartition("-")[0])
    names = apt.search(rf"^linux-image-{upstream}\+deb[0-9.]+-amd64$")
    for name in names:
        package = apt.locked(name)
        if package.version == version:
            return package
    raise AetherError(
        f"Debian's index has no kernel package of the version {version} that the source has",
        hint="settle on the newest versions of both: aether build MACHINE --update",
    )


def parse_modinfo(text: str) -> dict[str, dict[str, list[str]]]:
    """What `modinfo -0` printed for many modules: by module name, the values of each field."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in re.split(r"(?:^|(?<=\0))filename:\s*", text)[1:]:
        file, *fields = one.split("\0")
        values = found.setdefault(module_name(file), {})
        for entry in fields:
            key, _, value = entry.partition("=")
            values.setdefault(key, []).append(value)
    return found


def parse_builtin_modinfo(text: str) -> dict[str, dict[str, list[str]]]:
    """modules.builtin.modinfo: `name.field=value`, each ended by a zero byte."""
    found: dict[str, dict[str, list[str]]] = {}
    for entry in text.split("\0"):
        if match := re.match(r"([\w-]+)\.(\w+)=(.*)", entry, re.DOTALL):
            found.setdefault(module_name(match[1]), {}).setdefault(match[2], []).append(match[3])
    return found


def collect(
    tree: Path,
    loadable: Mapping[str, Mapping[str, list[str]]],
    builtin: Mapping[str, Mapping[str, list[str]]],
    builtin_names: Iterable[str],
) -> dict[str, object]:
    """The database as JSON values, from a source tree and what modinfo says."""
    sources = kbuild_symbols.read_tree(tree)
    in_kernel = set(builtin_names)
    modules: list[Module] = []
    for name, objects in sources.objects.items():
        said = loadable.get(name) or builtin.get(name) or {}
        # One name, several makers: other processors have drivers of the same name.
        modules.append(
            Module(
                name=name,
                path=objects[0].path,
                symbols=tuple(dict.fromkeys(symbol for one in objects for symbol in one.symbols)),
                inside=objects[0].inside if len(objects) == 1 else (),
                description=next(iter(said.get("description", [])), ""),
                firmware=tuple(said.get("firmware", ())),
                stock="m" if name in loadable else "y" if name in in_kernel else "",
            )
        )
    aliases = {
        (pattern, name)
        for said in (builtin, loadable)
        for name, values in said.items()
        for pattern in values.get("alias", ())
        # Names of ciphers, file systems and the like belong to no device.
        if re.match(r"[\w*-]+:", pattern) and not pattern.startswith(("devname:", "crypto:", "net-pf"))
    }
    drivers: dict[str, list[tuple[str, str]]] = {}
    for one in kbuild_symbols.read_drivers(tree, sources.owners):
        drivers.setdefault(one.name, []).append((one.bus, one.module))
    return {"modules": [asdict(one) for one in modules], "aliases": sorted(aliases), "drivers": drivers}


def ensure(toolchain: Toolchain, source: Source) -> Database:
    """The database of a source's version; made now (100 MB fetched, about 30 s) if it is not there."""
    version = source.package.version
    code = [Path(module.__file__ or "") for module in (kbuild_symbols, modalias)]
    key = digest(source.key, *code, Path(__file__))

    def make(folder: Path) -> None:
        package = stock_package(version)
        with step(f"Read the drivers of Linux {version} (Debian {package.name})", "drivers"):
            deb = apt.fetch(package, folder)
            root = folder / "root"
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
            [places] = (root / "usr/lib/modules").iterdir()
            output = folder / "modinfo"
            toolchain.run(
                ["sh", "-euc", _MODINFO, "sh", places, output],
                what="reading the modules of Debian's kernel",
                log=cache_dir() / "logs/drivers.log",
                writable=[folder],
            )
            names = (places / "modules.builtin").read_text().split()
            values = collect(
                source.folder,
                parse_modinfo(output.read_text(errors="replace")),
                parse_builtin_modinfo((places / "modules.builtin.modinfo").read_text(errors="replace")),
                map(module_name, names),
            )
            record = {"version": version, "package": asdict(package), **values}
            write_atomically(folder / "drivers.json", json.dumps(record))
            [config] = (root / "boot").glob("config-*")
            shutil.copy2(config, folder / "stock.config")
            shutil.rmtree(root)
            deb.unlink()
            output.unlink()

    return load(product("drivers", key, make))


@lru_cache(maxsize=2)
def load(folder: Path) -> Database:
    """A database that the cache holds, from its folder; a tenth of a second."""
    record = json.loads((folder / "drivers.json").read_text())
    modules: list[Module] = []
    for one in record["modules"]:
        for key in ("symbols", "inside", "firmware"):
            one[key] = tuple(one[key])
        modules.append(Module(**one))
    return Database(
        version=record["version"],
        modules={one.name: one for one in modules},
        aliases=AliasIndex((pattern, module) for pattern, module in record["aliases"]),
        drivers={
            name: tuple((bus, module) for bus, module in known) for name, known in record["drivers"].items()
        },
        stock_config=folder / "stock.config",
    )
