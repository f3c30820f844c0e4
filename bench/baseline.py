"""The image that a user would otherwise make: Debian with its stock kernel, and the same agent on it.

The same pinned mkosi and tools tree, the same packages with Debian's kernel and boot loader added, the
same agentd, units, wheels and model; mkosi's default initrd, an ext4 root, Debian's own defaults for
everything else. Content-addressed like every product. Not for: measuring it (boots.py, sizes.py).
"""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import apt, image, network
from builder.build import BuiltImage
from builder.cache import cache_dir, digest, lock, product, write_atomically
from builder.image import ImageInput
from builder.progress import step
from builder.toolchain import Toolchain, run_mkosi

TEMPLATE = Path(__file__).with_name("baseline.conf.j2")

# What a stock image needs beside our packages.
STOCK_PACKAGES = ("kmod", "linux-image-amd64", "systemd-boot", "systemd-boot-efi")

# Of image/files, what belongs to the agent; the rest is how this project boots, which is not compared.
AGENT_FILES = (
    "usr/lib/aetheros/console-login",
    "usr/lib/sysusers.d/agentd*",
    "usr/lib/systemd/system/*getty@*",
    "usr/lib/systemd/system/aetheros-ready.service",
    "usr/lib/systemd/system/agentd*",
    "usr/lib/systemd/system/getty.target.wants/*",
    "usr/lib/udev/rules.d/60-aetheros.rules",
)

# The ESP as mkosi makes it by default; the root has room for what the agent keeps.
ESP = """\
[Partition]
Type=esp
Label=baseline-esp
Format=vfat
CopyFiles=/boot:/
CopyFiles=/efi:/
SizeMinBytes=512M
SizeMaxBytes=512M
"""
ROOT = """\
[Partition]
Type=root
Label=baseline-root
Format=ext4
CopyFiles=/
SizeMinBytes=3G
SizeMaxBytes=3G
"""


@dataclass(frozen=True)
class Baseline:
    """The finished baseline image; all files lie in `folder` and are never written to."""

    folder: Path

    @property
    def image(self) -> Path:
        """The whole disk, raw."""
        return self.folder / "image.raw"

    @property
    def kernel(self) -> Path:
        """Debian's kernel (vmlinuz)."""
        return self.folder / "image.vmlinuz"

    @property
    def initrd(self) -> Path:
        """mkosi's default initrd."""
        return self.folder / "image.initrd"

    @property
    def uki(self) -> Path:
        """The unified kernel image that holds both."""
        return self.folder / "image.efi"


def packages() -> list[str]:
    """The names of the packages that the baseline asks for."""
    return sorted({*image.base_packages()["packages"], *STOCK_PACKAGES})


def ensure(built: BuiltImage) -> Baseline:
    """The baseline image for a built machine, made now if the cache does not hold it."""
    given = built.given
    key = digest(
        built.toolchain.key,
        TEMPLATE,
        Path(__file__),
        image.REPOSITORY / "agentd",
        image.TEMPLATES / "files",
        packages(),
        str(given.python_tree),
        dict(given.model_card),
        [given.machine, given.version],
    )
    return Baseline(product("baseline", key, lambda folder: make(built.toolchain, given, folder, key)))


def make(toolchain: Toolchain, given: ImageInput, folder: Path, key: str) -> None:
    """Assemble the baseline image into `folder`, whether or not the cache holds it."""
    with step("Assemble the baseline image", "baseline"):
        work = cache_dir() / "work" / f"baseline-{given.machine}"
        with lock(work.with_suffix(".lock"), wait=True, busy="a baseline image is being built"):
            shutil.rmtree(work, ignore_errors=True)
            tree = work / "tree"
            stock = dataclasses.replace(given, kernel_version="Debian's own", command_line=[])
            image.lay_agent(toolchain, stock, tree, image.manifest_of(stock, key))
            _copy_files(image.TEMPLATES / "files", tree, AGENT_FILES)
            for path in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
                path.chmod(0o755)
            with step("Run mkosi", "mkosi-baseline"):
                output = _run_mkosi(toolchain, work, tree)
            layout = image.partitions(toolchain, output / "image.raw")
            write_atomically(
                folder / "image.json",
                json.dumps(
                    {"key": key, "size": (output / "image.raw").stat().st_size, "partitions": layout},
                    indent=1,
                ),
            )
            shutil.copy(output / "image.manifest", folder / "packages.json")
            for name in ("image.raw", "image.vmlinuz", "image.initrd", "image.efi"):
                # mkosi names some of them by links to others.
                (output / name).resolve().rename(folder / name)
            shutil.rmtree(work)


def _bootctl() -> Path:
    """The folder that holds bootctl: mkosi installs systemd-boot with it, and our images do without."""
    package = apt.locked("systemd-boot-tools")

    def make(folder: Path) -> None:
        deb = apt.fetch(package, folder)
        subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)

    return product("bootctl", digest(package.sha256), make) / "root/usr/bin"


def _copy_files(source: Path, tree: Path, patterns: Sequence[str]) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            place = tree / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


def _run_mkosi(toolchain: Toolchain, work: Path, tree: Path) -> Path:
    """Run mkosi on `tree`; the folder of what it made."""
    sources = work / "sandbox/etc/apt/sources.list.d/mkosi.sources"
    wanted = packages()
    incremental = cache_dir() / "mkosi" / digest("baseline", toolchain.key, wanted)
    packages_cache = cache_dir() / "packages"
    for place in (work / "repart", sources.parent, work / "workspace", work / "output", packages_cache):
        place.mkdir(parents=True, exist_ok=True)
    incremental.mkdir(parents=True, exist_ok=True)
    if not any(incremental.iterdir()):
        network.need("the baseline's Debian packages")
    (work / "repart/00-esp.conf").write_text(ESP)
    (work / "repart/10-root.conf").write_text(ROOT)
    sources.write_text(apt.sources())
    image.render(
        TEMPLATE,
        work / "mkosi.conf",
        cache_only="always" if network.is_forbidden() else "auto",
        suite=apt.SUITE,
        mirror=apt.mirrors()[0],
        output=work / "output",
        repart=work / "repart",
        tools=toolchain.root,
        bootctl=_bootctl(),
        cache=incremental,
        packages_cache=packages_cache,
        workspace=work / "workspace",
        sandbox=work / "sandbox",
        tree=tree,
        packages=wanted,
    )
    log = cache_dir() / "logs/baseline.log"
    run_mkosi(toolchain.mkosi, ["-C", work, "--force", "build"], what="mkosi", log=log)
    return work / "output"
