"""Firmware for drivers that are built in, and the processor's microcode: fetched, chosen, packed.

A kernel without modules asks for its drivers' files before any file system is there. They come in an
initramfs that holds nothing else, beside the kernel in the unified kernel image: without an /init in it the
kernel goes on to mount its root (kernel: init/main.c, kernel_init_freeable), and whoever asks for firmware
waits until it is unpacked (drivers/base/firmware_loader/main.c). The same files go into the system partition
for drivers that ask later, after the root has covered the initramfs. Microcode comes in an archive of its
own, which the kernel reads where it lies (kernel: Documentation/arch/x86/microcode.rst).

Not for: which files (firmware_choice.py), the unified kernel image (image.py).
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from builder import apt, firmware_choice, firmware_table
from builder.cache import cache_dir, digest, product, write_atomically
from builder.driver_database import Module
from builder.firmware_choice import Chosen
from builder.progress import Step, step
from builder.toolchain import Toolchain

FRAGMENT = "firmware"  # a profile with this fragment gets the files
# Where packages have their files; the second until /lib became a link everywhere.
_PLACES = ("usr/lib/firmware", "lib/firmware")
_MICROCODE = {"intel-ucode": "GenuineIntel.bin", "amd-ucode": "AuthenticAMD.bin"}
# Every file has this date, so that equal files make an equal archive. 2025-11-01, as in the image.
_DATE = 1761955200

# One compressor a processor; a file's result does not depend on the others'. Level 19 takes twice the time
# for 2 %.
_COMPRESS = 'find "$1" -type f -print0 | xargs -0 -r -n 8 -P "$(nproc)" zstd -q -17 --rm'
_PACK = (
    'cd "$1"; find . -mindepth 1 -print0 | sort -z'
    ' | cpio -0 -o --quiet -H newc --reproducible -R 0:0 -F "$2"'
)


@dataclass(frozen=True)
class Firmware:
    """A machine's firmware in the cache.

    `initrd` is for the drivers, `microcode` (None where there is none) comes before it. `tree` is to be laid
    over the system: usr/lib/firmware with the compressed files, usr/share/doc with each package's licence.
    """

    folder: Path
    initrd: Path
    microcode: Path | None
    together: Path  # both in one file, for a loader that takes one
    tree: Path
    files: tuple[str, ...]  # as drivers ask for them
    packages: Mapping[str, str]  # name -> version
    missing: Mapping[str, tuple[str, ...]]  # module -> what no package has
    size_bytes: int  # of both archives: what the unified kernel image grows by

    @property
    def record(self) -> dict[str, object]:
        """For the manifest."""
        return {
            "key": self.folder.name,
            "packages": dict(self.packages),
            "files": len(self.files),
            "size": self.size_bytes,
        }


def package(name: str) -> Path:
    """A firmware package unpacked in the cache, fetched if it is not there; returns its root."""
    wanted = apt.locked(name)

    def make(folder: Path) -> None:
        with step(f"Fetch {wanted.name} {wanted.version}", wanted.name):
            deb = apt.fetch(wanted, folder)
            subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)
            deb.unlink()

    key = f"{wanted.name}_{wanted.version.replace(':', '.')}_{wanted.sha256[:8]}"
    return product("firmware-packages", key, make) / "root"


@lru_cache(maxsize=64)
def listing(root: Path) -> Mapping[str, Path]:
    """Every name below /usr/lib/firmware of an unpacked package, those through links to folders too."""
    found = {}
    for place in _PLACES:
        for folder, _, names in os.walk(root / place, followlinks=True):
            for name in names:
                path = Path(folder, name)
                if path.is_file():  # not where a link leads out of the package
                    found[str(path.relative_to(root / place))] = path
    return found


def ensure(
    tools: Toolchain,
    modules: Iterable[Module],
    *,
    microcode: Sequence[str] = (),
    only: Mapping[str, Sequence[str]] | None = None,
) -> Firmware:
    """The firmware of the modules that are built in, and the microcode files that fit these patterns.

    Packages (up to 40 MB each) are fetched where something of theirs may be asked for. What no package
    has is told and left out: the driver, or the processor, does without.
    """
    table = firmware_table.load()
    asks = firmware_choice.asked(modules, table, only)
    names = dict.fromkeys([name for some in asks.values() for name in some] + list(microcode))
    holders = firmware_table.packages_of(names, table)
    needed = sorted({one for some in holders.values() for one in some})
    roots = {name: package(name) for name in needed}
    there: dict[str, tuple[str, str]] = {}
    for name, root in roots.items():
        listed = listing(root)
        there |= {file: (name, file) for file in listed}
        there |= {
            ours: (name, theirs)
            for ours, theirs in table.packages[name].names.items()
            if theirs in listed and ours not in listed
        }
    chosen = firmware_choice.choose(asks, there)
    early = firmware_choice.choose({"microcode": microcode}, there)
    missing = {**chosen.missing, **early.missing}
    used = sorted({holder for holder, _ in (*chosen.files.values(), *early.files.values())})
    versions = {name: apt.locked(name).version for name in used}
    key = digest(
        Path(__file__),
        tools.key,
        versions,
        {name: list(place) for name, place in chosen.files.items()},
        {name: list(place) for name, place in early.files.items()},
        {name: list(names) for name, names in missing.items()},
    )

    def make(folder: Path) -> None:
        with step("Pack the drivers' firmware", "firmware") as progress:
            tree, log = folder / "tree", cache_dir() / "logs/firmware.log"
            _lay(chosen, roots, tree / "usr/lib/firmware")
            _lay_licences(used, roots, tree / "usr/share/doc")
            place = tree / "usr/lib/firmware"
            tools.run(
                ["sh", "-euc", _COMPRESS, "sh", place],
                what="compressing firmware",
                log=log,
                writable=[folder],
            )
            _link_compressed(place)
            work = folder / "work"
            shutil.copytree(place, work / "firmware/lib/firmware", symlinks=True)
            _pack(tools, work / "firmware", folder / "firmware.cpio")
            if early.files:
                _lay_microcode(early, roots, work / "microcode/kernel/x86/microcode")
                _pack(tools, work / "microcode", folder / "microcode.cpio")
            shutil.rmtree(work)
            with (folder / "initrd.img").open("wb") as file:
                for name in ("microcode.cpio", "firmware.cpio"):  # the kernel wants them in this order
                    if (folder / name).exists():
                        file.write((folder / name).read_bytes())
            record = {
                "files": list(chosen.files),
                "packages": versions,
                "missing": {name: list(names) for name, names in missing.items()},
            }
            write_atomically(folder / "firmware.json", json.dumps(record, indent=1))
            _tell(progress, load(folder), {**asks, "microcode": microcode})

    return load(product("firmware", key, make))


def load(folder: Path) -> Firmware:
    """A machine's firmware that the cache holds, from its folder."""
    record = json.loads((folder / "firmware.json").read_text())
    archives = [folder / "firmware.cpio", folder / "microcode.cpio"]
    return Firmware(
        folder=folder,
        initrd=archives[0],
        microcode=archives[1] if archives[1].exists() else None,
        together=folder / "initrd.img",
        tree=folder / "tree",
        files=tuple(record["files"]),
        packages=record["packages"],
        missing={name: tuple(names) for name, names in record["missing"].items()},
        size_bytes=sum(one.stat().st_size for one in archives if one.exists()),
    )


def _tell(progress: Step, made: Firmware, asks: Mapping[str, Sequence[str]]) -> None:
    """Say what was packed, and each driver that gets fewer files than it may ask for."""
    packages = ", ".join(made.packages) or "no package"
    progress.note(f"{len(made.files)} files, {made.size_bytes / 1e6:.1f} MB, of {packages}")
    for module, names in made.missing.items():
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        progress.note(f"{module}: no package has {len(names)} of {len(asks[module])}: {shown}")


def _lay(chosen: Chosen, roots: Mapping[str, Path], place: Path) -> None:
    """The chosen files, each content once: other names of it are links."""
    place.mkdir(parents=True)
    first: dict[bytes, Path] = {}
    for name, (holder, path) in chosen.files.items():
        content = listing(roots[holder])[path].read_bytes()
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        known = first.setdefault(hashlib.sha256(content).digest(), target)
        if known == target:
            target.write_bytes(content)
            target.chmod(0o644)
        else:
            target.symlink_to(os.path.relpath(known, target.parent))


def _link_compressed(place: Path) -> None:
    """Give the links the ending that their files have got: a driver's name is looked up with it."""
    for path in sorted(place.rglob("*")):
        if path.is_symlink():
            target = path.readlink()
            path.unlink()
            path.with_name(f"{path.name}.zst").symlink_to(f"{target}.zst")


def _lay_licences(packages: Iterable[str], roots: Mapping[str, Path], place: Path) -> None:
    for name in packages:
        copy = place / name / "copyright"
        copy.parent.mkdir(parents=True)
        shutil.copyfile(roots[name] / "usr/share/doc" / name / "copyright", copy)


def _lay_microcode(early: Chosen, roots: Mapping[str, Path], place: Path) -> None:
    """One file a maker, in which the kernel looks for its processor's part; equal files are taken once."""
    place.mkdir(parents=True)
    contents: dict[str, list[bytes]] = {}
    for name, (holder, path) in early.files.items():
        known = contents.setdefault(_MICROCODE[Path(name).parts[0]], [])
        content = listing(roots[holder])[path].read_bytes()
        if content not in known:
            known.append(content)
    for maker, parts in contents.items():
        (place / maker).write_bytes(b"".join(parts))


def _pack(tools: Toolchain, root: Path, archive: Path) -> None:
    """An archive of a folder as the kernel unpacks it; equal folders, equal archives."""
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (_DATE, _DATE), follow_symlinks=False)
    tools.run(
        ["sh", "-euc", _PACK, "sh", root, archive],
        what="packing firmware",
        log=cache_dir() / "logs/firmware.log",
        writable=[root, archive.parent],
    )
