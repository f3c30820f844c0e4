"""What the two images weigh, side by side: kernel, initrd, system, its packages, the model.

Not for: weighing one image (builder/image_files.py), or what may be in it.
"""

import re
from collections.abc import Mapping

from bench.baseline import Baseline
from bench.table import Row, Section
from builder import image
from builder.build import BuiltImage
from builder.image_files import by_package, files_in, largest, offset_of, owners, total

LARGEST = 10  # packages that are shown


def sections(built: BuiltImage, baseline: Baseline) -> list[Section]:
    """Sizes in MB (10^6 bytes)."""
    ours = files_in(built.toolchain, built.folder, "aetheros-system", "erofs")
    theirs = files_in(built.toolchain, baseline.folder, "baseline-root", "ext4")
    model = built.model.stat().st_size
    on_disk = image.erofs_size(built.image, offset_of(built.folder, "aetheros-system"))
    root = f"{baseline.image}?offset={offset_of(baseline.folder, 'baseline-root')}"
    said = built.toolchain.output(["debugfs", "-R", "stats -h", root], readable=[baseline.image])
    uki = (built.folder / "aetheros.efi").stat().st_size
    pairs: list[tuple[str, str, float | None, float | None]] = [
        ("kernel", "kernel", built.kernel.stat().st_size, baseline.kernel.stat().st_size),
        ("initrd", "initrd", None, baseline.initrd.stat().st_size),
        ("uki", "unified kernel image", uki, baseline.uki.stat().st_size),
        ("system_disk", "system on the disk, without the model", on_disk, ext4_used(said) - model),
        ("system_files", "system's files, before compression", total(ours), total(theirs)),
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


def ext4_used(header: str) -> int:
    """Bytes that the files of an ext4 file system use, from what `stats -h` of debugfs(8) prints.

    Its journal and its inode tables (its overhead) are left out, as statfs(2) leaves them out.
    """
    fields = "Block count|Overhead clusters|Free blocks|Block size"
    numbers = {name: int(n) for name, n in re.findall(rf"^({fields}):\s+(\d+)$", header, re.MULTILINE)}
    blocks = numbers["Block count"] - numbers["Overhead clusters"] - numbers["Free blocks"]
    return blocks * numbers["Block size"]


def _mb(size: float | None) -> list[float]:
    return [] if size is None else [size / 1e6]
