"""The kernel's source: Debian's `linux-source-*` package, unpacked in the cache.

Security updates come from Debian. Not for: configuring (kconfig.py) or compiling (kernel.py).
"""

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder import apt
from builder.cache import cache_dir, product, write_atomically
from builder.errors import AetherError
from builder.progress import step
from builder.toolchain import Toolchain

SUITE = "trixie"
PACKAGE = "linux-source-6.12"


@dataclass(frozen=True)
class Source:
    """An unpacked kernel tree; `date` is when Debian packed it, for reproducible builds."""

    folder: Path
    package: apt.Package
    date: str

    @property
    def key(self) -> list[str]:
        """What identifies the source in a product's key."""
        return [self.package.name, self.package.version, self.package.sha256]


def ensure(toolchain: Toolchain, *, suite: str = SUITE, package: str = PACKAGE) -> Source:
    """The kernel's source, fetched (150 MB) and unpacked (1.7 GB) if the cache does not have it."""
    if (suite, package) != (SUITE, PACKAGE):
        raise AetherError(
            f"kernel.source: {suite}/{package} is not supported", hint=f"use {SUITE}/{PACKAGE}"
        )
    wanted = apt.locked(package)

    def make(folder: Path) -> None:
        with step(f"Fetch and unpack the kernel source, Debian {wanted.name} {wanted.version}", "source"):
            deb = apt.fetch(wanted, folder)
            subprocess.run(["dpkg-deb", "-x", deb, folder / "deb"], check=True)
            [tar] = (folder / "deb/usr/src").glob("*.tar.xz")
            packed = datetime.fromtimestamp(tar.stat().st_mtime, UTC)
            toolchain.run(
                ["tar", "-C", folder, "-xf", tar],
                what="unpacking the kernel source",
                log=cache_dir() / "logs/kernel-source.log",
                writable=[folder],
            )
            [tree] = folder.glob("linux-source-*/Makefile")
            tree.parent.rename(folder / "linux")
            subprocess.run(["rm", "-r", folder / "deb", deb], check=True)
            record = {**vars(wanted), "date": packed.strftime("%a, %d %b %Y %H:%M:%S +0000")}
            write_atomically(folder / "lock.json", json.dumps(record))

    place = product("linux-source", f"{wanted.name}_{wanted.version}_{wanted.sha256[:8]}", make)
    record = json.loads((place / "lock.json").read_text())
    return Source(place / "linux", wanted, record["date"])
