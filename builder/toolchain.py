"""The pinned mkosi and the tools tree: everything is compiled, assembled and booted with these.

mkosi comes as Debian's package, unpacked in the cache; the tools tree is a Debian trixie root that
mkosi builds once. Commands run in it by mkosi's own sandbox: its /usr, the folders that they are
given, no network. The host's compilers and QEMU are never used.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import apt, network
from builder.cache import cache_dir, digest, product, write_atomically
from builder.errors import AetherError, StepFailed
from builder.progress import step

MKOSI_VERSION = "25.3"

# What is in the tools tree, and for what.
PACKAGES = {
    "apt": "mkosi installs packages with it",
    "bash": "build scripts",
    "bc": "kernel build",
    "binutils": "strip",
    "bison": "kernel build: Kconfig",
    "ca-certificates": "apt mirrors that speak TLS",
    "ccache": "rebuilds in seconds",
    "cmake": "llama.cpp build",
    "coreutils": "build scripts",
    "cpio": "kernel build",
    "debian-archive-keyring": "apt's signatures",
    "diffutils": "kernel build",
    "dosfstools": "systemd-repart: the ESP",
    "dpkg-dev": "unpacking packages",
    "e2fsprogs": "systemd-repart: the data partition",
    "erofs-utils": "systemd-repart: the system and model partitions",
    "fdisk": "sfdisk reads partition tables",
    "findutils": "build scripts",
    "flex": "kernel build: Kconfig",
    "g++": "llama.cpp build",
    "gcc": "kernel build",
    "git-core": "llama.cpp build",
    "kmod": "mkosi",
    "libelf-dev": "kernel build: objtool",
    "libssl-dev": "kernel build: certificates",
    "make": "kernel build",
    "mtools": "systemd-repart: files in the ESP",
    "ninja-build": "llama.cpp build",
    "openssl": "kernel build",
    "ovmf": "UEFI firmware for virtual machines",
    "pahole": "kernel build: type information",
    "patch": "kernel build",
    "perl": "kernel build",
    "python3": "mkosi's scripts; the agent run natively",
    "python3-dbus-fast": "agentd, run natively",
    "python3-dulwich": "agentd, run natively",
    "python3-inotify": "agentd, run natively",
    "python3-jinja2": "the model worker, run natively",
    "python3-nacl": "agentd, run natively",
    "python3-numpy": "the embedder made into a GGUF file; the router's training",
    "python3-parsedatetime": "agentd, run natively",
    "python3-pefile": "ukify",
    "python3-psutil": "agentd, run natively",
    "python3-safetensors": "the embedder made into a GGUF file",
    "python3-varlink": "agentd, run natively",
    "python3-yaml": "agentd, run natively; the embedder made into a GGUF file",
    "qemu-system-x86": "virtual machines",
    "qemu-utils": "qcow2 images",
    "rsync": "kernel build: headers",
    "swtpm-tools": "virtual TPM",
    "systemd": "mkosi: presets, sysusers, systemd-analyze",
    "systemd-boot-efi": "the boot loader and the UKI stub",
    "systemd-repart": "partitions and file systems",
    "systemd-ukify": "unified kernel images",
    "util-linux": "mkosi",
    "xz-utils": "kernel source",
    "zstd": "packages",
}

CONFIG = """\
[Distribution]
Distribution=debian
Release={suite}
Mirror={mirror}

[Output]
Format=directory
Output=tools
OutputDirectory={folder}
ManifestFormat=json

[Build]
BuildSources=
WithNetwork=yes
CacheOnly=auto
SandboxTrees={folder}/sandbox
PackageCacheDirectory={packages}
WorkspaceDirectory={folder}/workspace

[Content]
Bootable=no
CleanPackageMetadata=yes
WithDocs=no
WithRecommends=no
Packages=
{names}
"""


@dataclass(frozen=True)
class Toolchain:
    """mkosi and a tools tree, ready to run commands."""

    mkosi: Path  # the folder that holds the Python package `mkosi`
    root: Path  # the tools tree
    key: str

    def argv(
        self,
        command: Sequence[str | Path],
        *,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        devices: Sequence[Path] = (),
        network: bool = False,
    ) -> list[str]:
        """The command line that runs `command` in the tools tree, seeing only the named folders.

        Folders and files keep their own paths inside. The process that is started becomes the
        command itself (no process between), and inherited file descriptors reach it.
        """
        words: list[str | Path] = [sys.executable, "-SI", self.mkosi / "mkosi/sandbox.py"]
        words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--dir", "/var/tmp"]
        words += ["--dir", "/run", "--ro-bind", self.root / "usr", "/usr", "--unshare-ipc"]
        for link in ("bin", "sbin", "lib", "lib32", "lib64"):
            if (self.root / link).is_symlink():
                words += ["--symlink", (self.root / link).readlink(), f"/{link}"]
        for place in ("etc/alternatives", "etc/ld.so.cache", "etc/ssl", "etc/passwd", "etc/group"):
            words += ["--ro-bind-try", self.root / place, f"/{place}"]
        for path in readable:
            words += ["--ro-bind", path.absolute(), path.absolute()]
        for path in writable:
            words += ["--bind", path.absolute(), path.absolute()]
        for path in devices:
            if path.exists():
                # The sandbox makes a folder to mount a device on, unless a file is there already.
                words += ["--write", "", path, "--bind", path, path]
        # The environment is the command's own, not the person's: builds must not depend on it.
        settings = {"PATH": "/usr/bin:/usr/sbin", "LC_ALL": "C.UTF-8", "HOME": "/tmp", **(env or {})}
        for name in os.environ.keys() - settings.keys() - {"TERM"}:
            words += ["--unsetenv", name]
        for name, value in settings.items():
            words += ["--setenv", name, value]
        if not network:
            words.append("--unshare-net")
        words += ["--chdir", (cwd or Path("/")).absolute(), "--", *command]
        return [str(word) for word in words]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        what: str,
        log: Path,
        on_line: Callable[[str], None] | None = None,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a build command in the tools tree; StepFailed names its log and how to repeat it."""
        argv = self.argv(command, writable=writable, readable=readable, cwd=cwd, env=env)
        run_logged(argv, what=what, log=log, on_line=on_line)

    def output(
        self,
        command: Sequence[str | Path],
        *,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        cwd: Path | None = None,
    ) -> str:
        """What a short command in the tools tree prints on standard output."""
        argv = self.argv(command, writable=writable, readable=readable, cwd=cwd)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AetherError(f"{shlex.join(map(str, command))}: {done.stderr.strip()}")
        return done.stdout


def run_logged(
    argv: Sequence[str],
    *,
    what: str,
    log: Path,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command with its output in `log` and, line by line, to `on_line`.

    The command line is kept beside the log (`LOG.sh`). An interrupt ends the whole process group.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    script = log.with_suffix(".sh")
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in (env or {}).items())
    write_atomically(script, f"#!/bin/sh\n{exports}exec {shlex.join(argv)}\n")
    with log.open("w", buffering=1) as file:  # whoever looks at the log sees the last line
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                if on_line:
                    on_line(line.rstrip("\n"))
            status = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if status:
        raise StepFailed(f"{what} failed with exit status {status}", log=log, repeat=f"sh {script}")


def run_mkosi(mkosi: Path, words: Sequence[str | Path], *, what: str, log: Path) -> None:
    """Run the pinned mkosi on the host; everything it runs for the image runs in its tools tree."""
    argv = [sys.executable, "-m", "mkosi", *map(str, words)]
    run_logged(argv, what=what, log=log, env={"PYTHONPATH": str(mkosi), "PYTHONDONTWRITEBYTECODE": "1"})


def ensure_mkosi() -> Path:
    """The folder that holds the pinned mkosi; fetched and unpacked if the cache does not have it."""

    def make(folder: Path) -> None:
        with step(f"Fetch mkosi {MKOSI_VERSION}", "mkosi"):
            package = apt.resolve("mkosi")
            if not package.version.startswith(f"{MKOSI_VERSION}-"):
                raise AetherError(
                    f"Debian {apt.SUITE} has mkosi {package.version}, this builder wants {MKOSI_VERSION}",
                    hint="take a newer AetherOS",
                )
            deb = apt.fetch(package, folder)
            subprocess.run(["dpkg-deb", "-x", deb, folder / "root"], check=True)
            write_atomically(folder / "lock.json", json.dumps(vars(package)))

    return product("mkosi", MKOSI_VERSION, make) / "root/usr/lib/python3/dist-packages"


def key() -> str:
    """What identifies the tools tree in the cache."""
    return digest(PACKAGES, CONFIG, MKOSI_VERSION)


def ensure() -> Toolchain:
    """mkosi and the tools tree, made now (about 90 s and 400 MB of packages) if they are not there."""
    mkosi = ensure_mkosi()

    def make(folder: Path) -> None:
        network.need("the tools tree")
        with step("Build the tools tree (Debian trixie with compilers and QEMU)", "tools") as progress:
            packages = cache_dir() / "packages"
            for needed in (folder / "workspace", packages, folder / "sandbox/etc/apt/sources.list.d"):
                needed.mkdir(parents=True, exist_ok=True)
            # The file's name matters: with it mkosi does not write its own, which names more archives.
            (folder / "sandbox/etc/apt/sources.list.d/mkosi.sources").write_text(apt.sources())
            (folder / "mkosi.conf").write_text(
                CONFIG.format(
                    suite=apt.SUITE,
                    mirror=apt.mirrors()[0],
                    folder=folder,
                    packages=packages,
                    names="\n".join(f"\t{name}" for name in PACKAGES),
                )
            )
            log = cache_dir() / "logs/tools.log"
            try:
                run_mkosi(mkosi, ["-C", folder, "build"], what="building the tools tree", log=log)
            except StepFailed as error:
                if "Temporary failure" in error.message or "Could not" in error.message:
                    error.hint = "this step needs the network; " + error.hint
                raise
            shutil.rmtree(folder / "workspace")
            progress.note(f"{len(PACKAGES)} packages and what they need")

    place = product("tools", key(), make)
    return Toolchain(mkosi, place / "tools", key())
