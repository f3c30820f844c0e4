"""Debian packages for the build, through apt's signed index and the host's own mirrors.

A private apt state in the cache asks the host's mirrors for Debian trixie, and one of its own for each
other suite that a package is taken from; the host's own package database is never touched. Not for:
installing anything on the host (the Makefile does that).
"""

import json
import os
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder import network
from builder.cache import cache_dir, file_sha256, lock, write_atomically
from builder.errors import AetherError

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Package:
    """A package as the signed index names it."""

    name: str
    version: str
    sha256: str


def mirrors() -> tuple[str, str]:
    """The host's mirrors for Debian and for its security updates, from apt's own configuration."""
    if not shutil.which("apt-get"):
        raise AetherError("there is no apt-get here", hint="AetherOS builds on Debian 12 or 13")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split("\n")
    main = security = ""
    for line in listed:
        uri, _, release = line.partition(" ")
        if re.fullmatch(r"(stable|bookworm|trixie)(-updates)?", release):
            main = main or uri
        elif re.fullmatch(r"(stable|bookworm|trixie)-security", release):
            security = security or uri
    if not main:
        raise AetherError(
            "apt knows no Debian mirror",
            hint="AetherOS builds on Debian 12 or 13; see /etc/apt/sources.list.d/debian.sources",
        )
    return main.rstrip("/"), (security or re.sub(r"/debian/?$", "/debian-security", main)).rstrip("/")


def sources() -> str:
    """The deb822 text that names trixie with its updates, on the host's mirrors."""
    main, security = mirrors()
    # non-free-firmware: files that devices run themselves, and the processors' microcode.
    entry = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main non-free-firmware\nSigned-By: {}\n"
    return "\n".join(
        [
            entry.format(main, f"{SUITE} {SUITE}-updates", KEYRING),
            entry.format(security, f"{SUITE}-security", KEYRING),
        ]
    )


@dataclass(frozen=True)
class Archive:
    """A suite of Debian, with an apt state of its own in the cache; `keyring` verifies its index."""

    suite: str = SUITE
    keyring: Path = KEYRING

    @property
    def state(self) -> Path:
        """The folder of its index and of the versions that the cache settled on."""
        return cache_dir() / ("apt" if self.suite == SUITE else f"apt-{self.suite}")

    @property
    def sources_file(self) -> Path:
        """What apt is told to read, written whenever it has read it."""
        return self.state / f"{self.suite}.sources"

    def sources(self) -> str:
        """The deb822 text that names the suite on the host's mirrors."""
        if self.suite == SUITE:
            return sources()
        where = f"URIs: {mirrors()[0]}\nSuites: {self.suite}\nComponents: main\nArchitectures: amd64\n"
        return f"Types: deb\n{where}Signed-By: {self.keyring}\n"


TRIXIE = Archive()


def _options(archive: Archive) -> list[str]:
    state = archive.state
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": archive.sources_file,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": state / "state",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::PDiffs": "false",
        "Acquire::Retries": "3",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _apt(archive: Archive, *words: str, cwd: Path | None = None) -> str:
    command = [words[0], *_options(archive), *words[1:]]
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        reason = [line for line in done.stderr.splitlines() if line.startswith(("E:", "Err:", "W:"))]
        raise AetherError(
            f"{' '.join(words)}: {reason[0] if reason else f'exit status {done.returncode}'}",
            hint="this step needs the network; an earlier build's cache works without it",
        )
    return done.stdout


def refresh(archive: Archive = TRIXIE) -> None:
    """Read a suite's signed index anew from the host's mirror."""
    network.need("Debian's package index")
    with lock(cache_dir() / "apt.lock", wait=True, busy="the package index is in use"):
        write_atomically(archive.sources_file, archive.sources())
        _apt(archive, "apt-get", "update", "-qq", "--error-on=any")


def _need_index(archive: Archive) -> None:
    """Read the index if it is not there yet, or is one of fewer sources than are wanted now."""
    listed = archive.sources_file
    is_there = listed.exists() and any((archive.state / "state/lists").glob("*Packages*"))
    if not is_there or (listed.read_text() != archive.sources() and not network.is_forbidden()):
        refresh(archive)


def resolve(name: str, archive: Archive = TRIXIE) -> Package:
    """The newest version of a package in the suite's index, read first if it is not there yet."""
    _need_index(archive)
    text = _apt(archive, "apt-cache", "show", "--no-all-versions", name)
    fields = dict(re.findall(r"^(\w+): (\S+)$", text, re.MULTILINE))
    return Package(name, fields["Version"], fields["SHA256"])


def search(pattern: str) -> list[str]:
    """The names of the packages in trixie's index that match a regular expression, read first if need be."""
    _need_index(TRIXIE)
    found = _apt(TRIXIE, "apt-cache", "search", "--names-only", pattern)
    return sorted(line.partition(" - ")[0] for line in found.splitlines())


def locked(name: str, archive: Archive = TRIXIE) -> Package:
    """The package that this cache settled on when it was first asked for; `update` forgets it."""
    record = archive.state / f"{name}.lock.json"
    if record.exists():
        return Package(**json.loads(record.read_text()))
    package = resolve(name, archive)
    write_atomically(record, json.dumps(asdict(package)))
    return package


def update() -> None:
    """Forget the settled versions and read the index anew: the next build takes the newest.

    The index of a suite other than trixie is read when a package of it is asked for.
    """
    refresh()
    for other in cache_dir().glob("apt-*/*.sources"):
        other.unlink()
    for record in (*(cache_dir() / "apt").glob("*.lock.json"), *cache_dir().glob("apt-*/*.lock.json")):
        record.unlink()
    write_atomically(cache_dir() / "apt/updated", datetime.now(UTC).isoformat(timespec="seconds"))


def updated() -> str:
    """When `update` last ran, in ISO 8601, or "": what an image's packages are keyed by."""
    record = cache_dir() / "apt/updated"
    return record.read_text() if record.exists() else ""


def fetch(package: Package, folder: Path, archive: Archive = TRIXIE) -> Path:
    """Download a package, checked against the index's sha256; returns the .deb."""
    network.need(f"the package {package.name} {package.version}")
    _apt(archive, "apt-get", "download", "-qq", f"{package.name}={package.version}", cwd=folder)
    [deb] = folder.glob(f"{package.name}_*.deb")
    if file_sha256(deb) != package.sha256:
        raise AetherError(f"{deb.name} does not have the sha256 of the signed index: {package.sha256}")
    return deb
