"""What the two images weigh: kernel, initrd, system, its packages, the model.

Read from the finished disks, the way the machine would read them. Not for: what may be in them.
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

from bench.baseline import Baseline
from bench.table import Row, Section
from builder import image
from builder.build import BuiltImage
from builder.cache import cache_dir, product, write_atomically
from builder.toolchain import Toolchain

LARGEST = 10  # packages that are shown
MODELS = "/usr/lib/aetheros/models/"
UNPACKAGED = "(in no package: byte code, agentd, llama.cpp ...)"


def sections(built: BuiltImage, baseline: Baseline) -> list[Section]:
    """Sizes in MB (10^6 bytes)."""
    ours = files_in(built.toolchain, built.folder, "aetheros-system", "erofs")
    theirs = files_in(built.toolchain, baseline.folder, "baseline-root", "ext4")
    model = built.model.stat().st_size
    on_disk = image.erofs_size(built.image, _partition(built.folder, "aetheros-system"))
    root = f"{baseline.image}?offset={_partition(baseline.folder, 'baseline-root')}"
    said = built.toolchain.output(["debugfs", "-R", "stats -h", root], readable=[baseline.image])
    uki = (built.folder / "aetheros.efi").stat().st_size
    pairs: list[tuple[str, str, float | None, float | None]] = [
        ("kernel", "kernel", built.kernel.stat().st_size, baseline.kernel.stat().st_size),
        ("initrd", "initrd", None, baseline.initrd.stat().st_size),
        ("uki", "unified kernel image", uki, baseline.uki.stat().st_size),
        ("system_disk", "system on the disk, without the model", on_disk, ext4_used(said) - model),
        ("system_files", "system's files, before compression", _total(ours), _total(theirs)),
        ("model", "model", model, model),
    ]
    rows = [Row(key, title, "MB", _mb(mine), _mb(other)) for key, title, mine, other in pairs]
    return [Section("Sizes", rows), packages_section(built, baseline, ours, theirs)]


def packages_section(
    built: BuiltImage, baseline: Baseline, ours: Mapping[str, int], theirs: Mapping[str, int]
) -> Section:
    """The ten largest packages of each image, by the bytes of those of their files that are in it."""
    mine = by_package(ours, owners(built.folder / "packages.json"))
    other = by_package(theirs, owners(baseline.folder / "packages.json"))
    names = {*largest(mine, LARGEST), *largest(other, LARGEST)}
    order = sorted(names, key=lambda name: (-mine.get(name, 0), -other.get(name, 0)))
    rows = [Row(f"package {name}", name, "MB", _mb(mine.get(name)), _mb(other.get(name))) for name in order]
    return Section(f"The {LARGEST} largest packages of each, files before compression", rows)


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


def owners(manifest: Path) -> dict[str, str]:
    """Which package each file comes from, by the packages that mkosi's manifest names.

    The packages themselves are read, from mkosi's cache: an image need not carry dpkg's database.
    """
    archives = cache_dir() / "packages/cache/apt/archives"
    found: dict[str, str] = {}
    for package in json.loads(manifest.read_text())["packages"]:
        version = package["version"].replace(":", "%3a")
        deb = archives / f"{package['name']}_{version}_{package['architecture']}.deb"
        if not deb.exists():
            continue  # its files then count as in no package
        listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], capture_output=True, check=True).stdout
        for path in tar_names(listing):
            found[path] = package["name"]
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


def files_in(toolchain: Toolchain, folder: Path, label: str, kind: str) -> dict[str, int]:
    """Path and size in bytes of every regular file of a partition of `folder`'s image.raw; a hard link once.

    Kept in the cache by the image's key.
    """

    def make(made: Path) -> None:
        raw, offset = folder / "image.raw", _partition(folder, label)
        with tempfile.TemporaryDirectory(dir=made) as name:
            scratch = Path(name)
            command: list[str | Path]
            if kind == "erofs":
                command = ["fsck.erofs", f"--extract={scratch}", f"--offset={offset}", "--no-preserve", raw]
            else:
                command = ["debugfs", "-R", f"rdump / {scratch}", f"{raw}?offset={offset}"]
            toolchain.output(command, readable=[raw], writable=[made])
            listed = {
                "/" + str(PurePosixPath(path.relative_to(scratch))): path.lstat().st_size
                for path in sorted(scratch.rglob("*"))
                if path.is_file() and not path.is_symlink()
            }
        write_atomically(made / "files.json", json.dumps(listed, indent=1))

    kept = product("bench-files", f"{kind}-{folder.name}", make)
    listed: dict[str, int] = json.loads((kept / "files.json").read_text())
    return listed


def ext4_used(header: str) -> int:
    """Bytes that the files of an ext4 file system use, from what `stats -h` of debugfs(8) prints.

    Its journal and its inode tables (its overhead) are left out, as statfs(2) leaves them out.
    """
    fields = "Block count|Overhead clusters|Free blocks|Block size"
    numbers = {name: int(n) for name, n in re.findall(rf"^({fields}):\s+(\d+)$", header, re.MULTILINE)}
    blocks = numbers["Block count"] - numbers["Overhead clusters"] - numbers["Free blocks"]
    return blocks * numbers["Block size"]


def layout_of(folder: Path) -> dict[str, Any]:
    """What image.json says of the disk image beside it: key, size, partitions."""
    layout: dict[str, Any] = json.loads((folder / "image.json").read_text())
    return layout


def _partition(folder: Path, label: str) -> int:
    """The offset of a partition in the disk image that `folder` holds."""
    [offset] = [part["offset"] for part in layout_of(folder)["partitions"] if part["label"] == label]
    return int(offset)


def _total(files: Mapping[str, int]) -> int:
    return sum(size for path, size in files.items() if not path.startswith(MODELS))


def _size(path: Path) -> int:
    return path.stat().st_size


def _mb(size: float | None) -> list[float]:
    return [] if size is None else [size / 1e6]
