"""What is in a finished image, and what it weighs: the files of its partitions, by package.

Read from the finished disk, the way the machine would read it; kept in the cache by the image's key.
Not for: what may be in an image (image.py), or comparing two (machine_report.py, bench/sizes.py).
"""

import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from builder.cache import cache_dir, digest, product, write_atomically
from builder.progress import step
from builder.toolchain import Toolchain

MODELS = "/usr/lib/aetheros/models/"
UNPACKAGED = "(in no package: byte code, agentd, llama.cpp ...)"
KINDS = ("erofs", "ext4", "vfat")


def layout_of(folder: Path) -> dict[str, Any]:
    """What image.json says of the disk image beside it: key, size, partitions."""
    layout: dict[str, Any] = json.loads((folder / "image.json").read_text())
    return layout


def offset_of(folder: Path, label: str) -> int:
    """The offset of a partition in the disk image that `folder` holds, in bytes."""
    [offset] = [part["offset"] for part in layout_of(folder)["partitions"] if part["label"] == label]
    return int(offset)


def files_in(toolchain: Toolchain, folder: Path, label: str, kind: str) -> dict[str, int]:
    """Path and size in bytes of every regular file of a partition of `folder`'s image.raw; a hard link once.

    `kind` is the file system, one of KINDS.
    """
    if kind not in KINDS:
        raise ValueError(f"no file system {kind}")

    def make(made: Path) -> None:
        raw, offset = folder / "image.raw", offset_of(folder, label)
        with (
            step(f"List the files of {label}", f"list {kind}"),
            tempfile.TemporaryDirectory(dir=made) as name,
        ):
            scratch = Path(name)
            command: list[str | Path]
            if kind == "erofs":
                command = ["fsck.erofs", f"--extract={scratch}", f"--offset={offset}", "--no-preserve", raw]
            elif kind == "ext4":
                command = ["debugfs", "-R", f"rdump / {scratch}", f"{raw}?offset={offset}"]
            else:
                command = ["mcopy", "-s", "-i", f"{raw}@@{offset}", "::/", scratch]
            toolchain.output(command, readable=[raw], writable=[made])
            listed = {
                "/" + str(PurePosixPath(path.relative_to(scratch))): path.lstat().st_size
                for path in sorted(scratch.rglob("*"))
                if path.is_file() and not path.is_symlink()
            }
        write_atomically(made / "files.json", json.dumps(listed, indent=1))

    kept = product("image-files", f"{kind}-{folder.name}", make)
    listed: dict[str, int] = json.loads((kept / "files.json").read_text())
    return listed


def packages_of(toolchain: Toolchain, folder: Path, label: str, kind: str) -> dict[str, int]:
    """Bytes by package of the files that a partition of `folder`'s image has, the model left out."""
    return by_package(files_in(toolchain, folder, label, kind), owners(folder / "packages.json"))


def largest(sizes: Mapping[str, int], count: int) -> list[str]:
    """The names with the largest sizes, largest first."""
    return sorted(sizes, key=lambda name: (-sizes[name], name))[:count]


def by_package(files: Mapping[str, int], owner: Mapping[str, str]) -> dict[str, int]:
    """Bytes by package of `files` (path: size), the model left out; what nobody owns has its own line."""
    found: dict[str, int] = {}
    for path, size in files.items():
        if not path.startswith(MODELS):
            name = owner.get(path, UNPACKAGED)
            found[name] = found.get(name, 0) + size
    return found


def total(files: Mapping[str, int], below: str = "/") -> int:
    """Bytes of the files below a folder (`/usr/lib/modules/`), the model left out."""
    return sum(
        size for path, size in files.items() if path.startswith(below) and not path.startswith(MODELS)
    )


def owners(manifest: Path) -> dict[str, str]:
    """Which package each file comes from, by the packages that mkosi's manifest names.

    The packages themselves are read, from mkosi's cache: an image need not carry dpkg's database. The
    files of a package that is no longer there count as in no package.
    """
    archives = cache_dir() / "packages/cache/apt/archives"
    debs: dict[str, Path] = {}
    for package in json.loads(manifest.read_text())["packages"]:
        version = package["version"].replace(":", "%3a")
        deb = archives / f"{package['name']}_{version}_{package['architecture']}.deb"
        if deb.exists():
            debs[package["name"]] = deb

    def make(made: Path) -> None:
        found: dict[str, str] = {}
        with step("Read whose files are whose", "owners") as progress:
            for at, (name, deb) in enumerate(debs.items()):
                progress.progress(at, len(debs), "packages")
                command: list[str | Path] = ["dpkg-deb", "--fsys-tarfile", deb]
                listing = subprocess.run(command, capture_output=True, check=True).stdout
                found |= dict.fromkeys(tar_names(listing), name)
        write_atomically(made / "owners.json", json.dumps(found))

    kept = product("package-files", digest(sorted(deb.name for deb in debs.values())), make)
    found: dict[str, str] = json.loads((kept / "owners.json").read_text())
    return found


def tar_names(data: bytes) -> Iterable[str]:
    """The absolute paths of a package's regular files, as the image has them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            if member.isfile() or member.islnk():
                yield placed(member.name.removeprefix("."))


def placed(path: str) -> str:
    """Where a package's file is on the disk.

    `/bin/x`, `/sbin/x` and `/lib*/x` are below /usr (file-hierarchy(7)); mkosi keeps kernels with their
    modules.
    """
    if match := re.fullmatch(r"/boot/vmlinuz-(.+)", path):
        return f"/usr/lib/modules/{match[1]}/vmlinuz"
    return f"/usr{path}" if re.match(r"/(bin|sbin|lib(?:32|64|x32)?)/", path) else path
