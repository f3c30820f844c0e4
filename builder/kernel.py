"""The kernel: from what is wanted to a proven, compiled and cached bzImage.

Configured and proven by kconfig.py before anything is compiled. The build tree stays in the cache, so
that an interrupted build goes on where it was; ccache serves what was compiled before.
Not for: fetching the source (kernel_source.py), the unified kernel image (image.py).
"""

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder import kconfig, kconfig_proof, kernel_proof
from builder.cache import cache_dir, digest, file_sha256, lock, product, write_atomically
from builder.drivers import Named
from builder.errors import AetherError, StepFailed
from builder.kconfig import Configuration, Wanted
from builder.kernel_source import Source
from builder.progress import Step, step
from builder.toolchain import Toolchain


@dataclass(frozen=True)
class Limits:
    """What a kernel may have at most: bytes of bzImage, symbols set to y."""

    kind: str  # of machine, for people
    size_bytes: int
    symbols_y: int


# A guest has few devices and starts often; graphics, sound and wireless of a real machine alone are 8 MB.
VM_LAYER = "vm"  # the fragment of all guests
VM = Limits("virtual machine", 5_000_000, 1_400)
PC = Limits("PC", 24_000_000, 2_500)

# Who built it, where and when is part of the kernel's banner: fixed, so that two builds are the same.
BUILD_METADATA = {
    "KBUILD_BUILD_USER": "aetheros",
    "KBUILD_BUILD_HOST": "aetheros",
    "KBUILD_BUILD_VERSION": "1",
}

# A line of kbuild's output that stands for one finished file: `  CC      kernel/fork.o`.
_FILE = re.compile(r"  (?:CC|AS|AR|LD|HOSTCC|HOSTLD|VDSO|GEN|UPD|WRAP|OBJCOPY)\s+\S")
# Measured: 700 symbols set to y made 1,978 files. Used until a first build has counted its own.
_FILES_PER_SYMBOL = 2.8


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel in the cache."""

    folder: Path
    bzimage: Path
    config: Path
    system_map: Path
    version: str  # as `uname -r` says it
    size_bytes: int  # of bzImage
    symbols_y: int
    seconds: float  # that compiling took


def configured(toolchain: Toolchain, tree: Source, wanted: Sequence[Wanted]) -> Configuration:
    """The proven configuration, without compiling.

    Raises Mistakes for every wanted symbol that does not have its value, AetherError for too many
    symbols.
    """
    configuration = kconfig.configure(toolchain, tree, wanted)
    if not kconfig_proof.holds(wanted, configuration.values):
        _explain(toolchain, tree, wanted, configuration)
    limits = limits_of(wanted)
    if configuration.symbols_y > limits.symbols_y:
        raise AetherError(
            f"the kernel has {configuration.symbols_y:,} symbols set to y,"
            f" {limits.symbols_y:,} are allowed for a {limits.kind}",
            hint=f"take drivers, fragments or symbols away; the configuration is {configuration.config}",
        )
    return configuration


def limits_of(wanted: Sequence[Wanted]) -> Limits:
    """The limits of a kernel with these layers: a guest's profile has the guests' fragment."""
    return VM if any(one.layer == VM_LAYER for one in wanted) else PC


def _explain(
    toolchain: Toolchain, tree: Source, wanted: Sequence[Wanted], configuration: Configuration
) -> None:
    """Raise Mistakes for each wanted symbol without its value; returns if a later layer overruled them."""
    if wrong := kconfig_proof.malformed(wanted, configuration.symbols):
        # Configured again without them, so that what is told as lost was not lost because of them.
        sound = [one for one in wanted if one not in wrong]
        symbols = kconfig.configure(toolchain, tree, sound).symbols
        kconfig_proof.raise_mistakes([*wrong.values(), *kconfig_proof.lost(sound, symbols)])
    kconfig_proof.raise_mistakes(kconfig_proof.lost(wanted, configuration.symbols))


def ensure(
    toolchain: Toolchain,
    tree: Source,
    wanted: Sequence[Wanted],
    drivers: Sequence[Named] = (),
    *,
    tune: str = "",
) -> Kernel:
    """The kernel with what is wanted: configured, proven, and compiled if the cache does not have it.

    `tune` is the CPU for which GCC orders the instructions; which ones it uses is not changed by it.
    Raises Mistakes or AetherError before compiling (see `configured`), StepFailed if compiling fails,
    AetherError if bzImage comes out larger than the limit, Mistakes for each of `drivers` that is not in it.
    """
    configuration = configured(toolchain, tree, wanted)
    key = digest(
        tree.key,
        configuration.text,
        toolchain.key,
        BUILD_METADATA,
        tree.date,
        kernel_proof.FILES,
        *make_words(tune),
    )

    def make(folder: Path) -> None:
        started = time.monotonic()
        with _compiled(toolchain, tree, configuration, tune) as output:
            seconds = time.monotonic() - started
            if (output / ".config").read_text() != configuration.text:
                raise StepFailed("the kernel's build changed its own configuration", log=_log(tree))
            bzimage = folder / "bzImage"
            shutil.copy2(output / "arch/x86/boot/bzImage", bzimage)
            shutil.copy2(output / "System.map", folder / "System.map")
            shutil.copy2(output / ".config", folder / "config")
            kernel_proof.record(toolchain, output, folder)
            record = {
                "version": (output / "include/config/kernel.release").read_text().strip(),
                "size_bytes": bzimage.stat().st_size,
                "symbols_y": configuration.symbols_y,
                "seconds": round(seconds, 1),
                "configuration": configuration.key,
                "tuned_for": tune or "generic",
                "config_sha256": file_sha256(folder / "config"),
                "bzimage_sha256": file_sha256(bzimage),
                "source": asdict(tree.package),
            }
            write_atomically(folder / "kernel.json", json.dumps(record, indent=1) + "\n")

    built = load(product("kernel", key, make))
    need_size(built, limits_of(wanted))
    kernel_proof.prove(drivers, built.folder)
    return built


def need_size(built: Kernel, limits: Limits) -> None:
    """AetherError for a bzImage above its limit; it stays in the cache, and the answer is at hand."""
    if built.size_bytes > limits.size_bytes:
        raise AetherError(
            f"bzImage has {built.size_bytes:,} bytes, {limits.size_bytes:,} are allowed for a {limits.kind}",
            hint="take drivers, fragments or symbols away; `aether show MACHINE` lists the machine's",
        )


def load(folder: Path) -> Kernel:
    """A kernel that the cache holds, from its folder."""
    record = json.loads((folder / "kernel.json").read_text())
    return Kernel(
        folder=folder,
        bzimage=folder / "bzImage",
        config=folder / "config",
        system_map=folder / "System.map",
        version=record["version"],
        size_bytes=record["size_bytes"],
        symbols_y=record["symbols_y"],
        seconds=record["seconds"],
    )


def _log(tree: Source) -> Path:
    return cache_dir() / "logs" / f"{tree.package.name}.log"


def make_words(tune: str) -> list[str]:
    """What make is told for a CPU, "" for any.

    The tree's own choices end with Core 2, K8 and the first Atom, so the name goes through KCFLAGS
    (Documentation/kbuild/kbuild.rst). Never -march: a kernel that meets an unknown instruction dies
    before it could say so, while one that is only tuned starts everywhere and lets the agent say it.
    """
    return [f"KCFLAGS=-mtune={tune}"] if tune else []


@contextlib.contextmanager
def _compiled(toolchain: Toolchain, tree: Source, configuration: Configuration, tune: str) -> Iterator[Path]:
    """The build tree, brought up to date. One build at a time has it, until it has taken what it made."""
    home = cache_dir() / "kernel-build" / digest(tree.key, toolchain.key)
    output, ccache = home / "output", cache_dir() / "ccache"
    with lock(home.with_suffix(".lock"), wait=True, busy="another kernel is being built"):
        output.mkdir(parents=True, exist_ok=True)
        ccache.mkdir(exist_ok=True)
        config = output / ".config"
        if not config.exists() or config.read_text() != configuration.text:
            write_atomically(config, configuration.text)
        with step(f"Compile Linux {tree.package.version}", "kernel") as progress:
            counter = Counter(progress, home / "files.json", output, configuration.symbols_y)
            # flock holds on for as long as any process of the build lives: after a kill -9 of this
            # process the next build waits for its orphans.
            command: list[str | Path] = ["flock", home / "output.lock", "make", "-C", tree.folder]
            command += [f"O={output}", f"-j{len(os.sched_getaffinity(0))}", *make_words(tune), "bzImage"]
            toolchain.run(
                command,
                what="compiling the kernel",
                log=_log(tree),
                on_line=counter.line,
                writable=[home, ccache],
                readable=[tree.folder],
                env={
                    **BUILD_METADATA,
                    "KBUILD_BUILD_TIMESTAMP": tree.date,
                    "PATH": "/usr/lib/ccache:/usr/bin:/usr/sbin",
                    "CCACHE_DIR": str(ccache),
                    "CCACHE_MAXSIZE": "5G",
                    # Measured: a miss costs 2 % more than gcc alone, with its own preprocessing 14 %.
                    "CCACHE_DEPEND": "1",
                },
            )
            counter.finished()
        yield output


class Counter:
    """How far a build is: files made, of those that a whole build of this tree has.

    The number is the last whole build's, at first an estimate. An interrupted build is resumed with the
    files that it made already counted.
    """

    def __init__(self, progress: Step, record: Path, output: Path, symbols: int) -> None:
        self.progress, self.record = progress, record
        last = json.loads(record.read_text()) if record.exists() else {}
        self.total = int(last.get("files") or symbols * _FILES_PER_SYMBOL)
        self.is_first = not last or not last["whole"]
        self.done = _files_made(output) if self.is_first else 0
        write_atomically(record, json.dumps({"files": last.get("files", 0), "whole": False}))

    def line(self, text: str) -> None:
        """Count a line of kbuild's output, if it stands for a finished file."""
        if _FILE.match(text):
            self.done += 1
            at_least = self.done + 1  # the end is said by whoever waits for it, not by a count
            self.progress.progress(self.done, max(self.total, at_least), "files")

    def finished(self) -> None:
        """Keep the number of files; a build that made only what had changed does not lower it."""
        known = json.loads(self.record.read_text())["files"]
        write_atomically(self.record, json.dumps({"files": max(known, self.done), "whole": True}))


def _files_made(output: Path) -> int:
    return sum(1 for path in output.rglob("*") if path.suffix in (".o", ".a"))
