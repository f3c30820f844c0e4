"""llama.cpp with its Python bindings, compiled for one CPU or in variants: what agentd-model runs on.

The source distribution of llama-cpp-python is fetched on the host and checked; llama.cpp's own CMake
project in it is built in the tools tree, without a network. The result holds what runs: the ctypes
bindings of the C interface and the shared libraries. The package's Python classes are left out,
with the numpy, jinja2 and diskcache that they import: the agent uses the C interface.

With variants the code that computes is there once for each family of CPUs, as llama.cpp's own list has
them, and the worker loads the one that its machine runs best (agentd/model/processor.py).
Not for: what a CPU has (cpu_names.py), model files (models.py), or where the tree lies (image.py).
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder import cpu_names, network
from builder.cache import cache_dir, digest, file_sha256, lock, product, write_atomically
from builder.errors import AetherError
from builder.progress import Step, step
from builder.toolchain import Toolchain
from builder.yamlfile import nearest

NAME = "llama_cpp_python"
VERSION = "0.3.36"
SDIST = f"{NAME}-{VERSION}.tar.gz"
SDIST_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"

# Every instruction set that llama.cpp can be told about, so that nothing is left to its defaults, with the
# words of /proc/cpuinfo for it. GCC's own -march says the same for the code that is not written by hand,
# and more: what a CPU must have is cpu_names.py's.
INSTRUCTION_SETS = {
    "SSE42": "sse4_2",
    "AVX": "avx",
    "AVX_VNNI": "avx_vnni",
    "AVX2": "avx2",
    "BMI2": "bmi2",
    "FMA": "fma",
    "F16C": "f16c",
    "AVX512": "avx512f avx512bw avx512cd avx512dq avx512vl",
    "AVX512_VBMI": "avx512vbmi",
    "AVX512_VNNI": "avx512_vnni",
    "AVX512_BF16": "avx512_bf16",
    "AMX_TILE": "amx_tile",
    "AMX_INT8": "amx_int8",
    "AMX_BF16": "amx_bf16",
}

OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",
    "CMAKE_SHARED_LINKER_FLAGS": "-Wl,--as-needed -Wl,--build-id=none",
    # Nothing but the library: no programs, no server, no web pages, no downloads.
    "LLAMA_BUILD_COMMON": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_TOOLS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_SERVER": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_SUBPROCESS": "OFF",
    # Never this host's processor; the CPU backend linked in, not searched for in folders.
    "GGML_NATIVE": "OFF",
    "GGML_BACKEND_DL": "OFF",
    "GGML_CPU_ALL_VARIANTS": "OFF",
    "GGML_OPENMP": "ON",
    "GGML_CCACHE": "ON",
    **{f"GGML_{name}": "OFF" for name in ("BLAS", "CUDA", "HIP", "VULKAN", "OPENCL", "SYCL", "RPC")},
}

# The CPU's code in modules that are loaded while it runs, one for each family of CPUs.
VARIANTS = {
    "GGML_BACKEND_DL": "ON",
    "GGML_CPU_ALL_VARIANTS": "ON",
    "CMAKE_MODULE_LINKER_FLAGS": OPTIONS["CMAKE_SHARED_LINKER_FLAGS"],
    # What each variant was compiled with is read from there.
    "CMAKE_EXPORT_COMPILE_COMMANDS": "ON",
}

# What of the source distribution is unpacked: the rest is 90 % of it.
SOURCES = tuple(
    f"{NAME}-{VERSION}/{path}"
    for path in (
        "CHANGELOG.md",
        "LICENSE.md",
        "llama_cpp/_ctypes_extensions.py",
        "llama_cpp/llama_cpp.py",
        *(f"vendor/llama.cpp/{part}" for part in ("CMakeLists.txt", "LICENSE", "licenses/", "cmake/")),
        *(f"vendor/llama.cpp/{part}" for part in ("ggml/", "include/", "src/", "vendor/")),
    )
)
LIBRARIES = ("libggml-base.so.0", "libggml-cpu.so.0", "libggml.so.0", "libllama.so.0")
MODULE = "libggml-cpu-{}.so"  # of a variant, by its name

# Python 3.10 and later have it themselves; one package less in the image, 15 ms less per start.
TYPING = ("from typing_extensions import TypeAlias", "from typing import TypeAlias")

INIT = f'''"""llama.cpp's C interface, bound by llama-cpp-python {VERSION}, without its classes."""

from .llama_cpp import *

__version__ = "{VERSION}"
'''

# What the tree needs from Debian at run time.
PACKAGES = ("libc6", "libgcc-s1", "libgomp1", "libstdc++6", "python3")


@dataclass(frozen=True)
class Wheels:
    """A built llama.cpp: `tree` goes on PYTHONPATH or into dist-packages, `record` says what it is."""

    tree: Path
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Variant:
    """llama.cpp's code for one family of CPUs: its options and GCC's, and the CPU flags that it needs."""

    options: tuple[str, ...]
    compiler: tuple[str, ...]
    cpu_flags: tuple[str, ...]


def flags(march: str, *, variants: bool = False) -> dict[str, str]:
    """llama.cpp's CMake options for a level or a CPU; every instruction set is said. Raises AetherError.

    With variants these are the options of what they share; llama.cpp adds each one's own.
    """
    if march not in cpu_names.NAMES:
        raise AetherError(f"no CPU {march!r}", hint=nearest(march, cpu_names.NAMES))
    have = cpu_names.flags(march)
    on = {name for name, words in INSTRUCTION_SETS.items() if have.issuperset(words.split())}
    sets = {f"GGML_{name}": "ON" if name in on else "OFF" for name in INSTRUCTION_SETS}
    compiler = " ".join(cpu_names.options(march))
    more = VARIANTS if variants else {}
    return {**OPTIONS, **sets, "CMAKE_C_FLAGS": compiler, "CMAKE_CXX_FLAGS": compiler, **more}


def cpu_flags(march: str) -> list[str]:
    """The words of /proc/cpuinfo that a CPU needs to run what is built for this level or CPU."""
    return sorted(cpu_names.flags(march))


def fetch() -> Path:
    """The source distribution, from the Python Package Index unless the cache has it."""

    def make(folder: Path) -> None:
        network.need(f"llama-cpp-python {VERSION}")
        with step(f"Fetch llama-cpp-python {VERSION}", "llama-sdist"):
            wanted = folder / "requirements.txt"
            wanted.write_text(f"llama-cpp-python=={VERSION} --hash=sha256:{SDIST_SHA256}\n")
            words = ["download", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes"]
            # Only this one as source: what its metadata needs must not be compiled too.
            words += [
                "--no-deps",
                "--no-binary",
                "llama-cpp-python",
                "--dest",
                str(folder),
                "-r",
                str(wanted),
            ]
            done = subprocess.run(
                [sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False
            )
            file = folder / SDIST
            if done.returncode or not file.exists():
                lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["no reason given"]
                raise AetherError(
                    f"cannot fetch llama-cpp-python {VERSION}: {lines[0].removeprefix('ERROR: ')}",
                    hint="this step needs the Python Package Index; see `pip config list`",
                )
            if file_sha256(file) != SDIST_SHA256:
                raise AetherError(f"{SDIST} is not the expected file", hint="take a newer AetherOS")

    return product("sdists", f"{NAME}-{VERSION}", make) / SDIST


def ensure(toolchain: Toolchain, march: str, *, variants: bool = False) -> Wheels:
    """The built tree for a level or a CPU, built now (about 4 min, with a warm ccache 20 s) if need be.

    With `variants` it runs on `march` and uses more where a machine has more: four times the files.
    Raises AetherError, StepFailed.
    """
    options = flags(march, variants=variants)
    key = digest(SDIST_SHA256, options, cpu_flags(march), TYPING, INIT, PACKAGES, LIBRARIES, toolchain.key)
    place = product("wheels", key, lambda folder: _make(toolchain, march, variants, options, folder))
    return Wheels(place / "tree", json.loads((place / "record.json").read_text()))


def _make(
    toolchain: Toolchain, march: str, variants: bool, options: Mapping[str, str], folder: Path
) -> None:
    sdist = fetch()
    name = f"{march}-variants" if variants else march
    said = f"{march} and better" if variants else march
    with step(f"Build llama.cpp for {said}", f"llama-{name}") as progress:
        # Always the same folder: ccache knows the files again, and no path differs between builds.
        work = cache_dir() / "work" / f"llama-{name}"
        with lock(work.with_suffix(".lock"), wait=True, busy=f"llama.cpp is being built for {said}"):
            shutil.rmtree(work, ignore_errors=True)
            source = _unpack(toolchain, sdist, work)
            _compile(toolchain, source, work / "build", options, progress)
            found = _variants(toolchain, work / "build") if variants else {}
            _lay_tree(toolchain, source, work / "build/bin", folder / "tree/llama_cpp", march, found)
            record = _record(source, folder / "tree", march, options, found)
            write_atomically(folder / "record.json", json.dumps(record, indent=1) + "\n")
            shutil.rmtree(work)
        many = f", {len(found)} variants" if found else ""
        progress.note(f"{record['size'] / 1e6:.1f} MB, llama.cpp {record['llama_cpp']}{many}")


def _unpack(toolchain: Toolchain, sdist: Path, work: Path) -> Path:
    # The tools tree's tar: Debian 12's Python cannot unpack an archive safely by itself (3.11.4 can).
    work.mkdir(parents=True)
    toolchain.run(
        ["tar", "--extract", "--no-same-owner", "--file", sdist, "--directory", work, *SOURCES],
        what="unpacking llama-cpp-python",
        log=cache_dir() / "logs/llama-unpack.log",
        readable=[sdist],
        writable=[work],
    )
    return work / f"{NAME}-{VERSION}"


def _compile(
    toolchain: Toolchain, source: Path, build: Path, options: Mapping[str, str], progress: Step
) -> None:
    ccache = cache_dir() / "ccache"
    ccache.mkdir(parents=True, exist_ok=True)
    # No path of this host in the libraries; git must not look for a repository around the cache.
    env = {"CCACHE_DIR": str(ccache), "GIT_DIR": "/nonexistent"}
    given = dict(options)
    for name in ("CMAKE_C_FLAGS", "CMAKE_CXX_FLAGS"):
        given[name] += f" -ffile-prefix-map={source}=."
    configure: list[str | Path] = ["cmake", "-G", "Ninja", "-S", source / "vendor/llama.cpp", "-B", build]
    configure += [f"-D{name}={value}" for name, value in sorted(given.items())]
    build.mkdir(parents=True)
    folders = [source.parent, ccache]
    logs = cache_dir() / "logs"
    toolchain.run(
        configure, what="configuring llama.cpp", log=logs / "llama-configure.log", writable=folders, env=env
    )

    def on_line(line: str) -> None:
        if found := re.match(r"\[(\d+)/(\d+)\]", line):
            progress.progress(int(found[1]), int(found[2]), "files")

    jobs = str(len(os.sched_getaffinity(0)))
    toolchain.run(
        ["nice", "-n", "5", "ninja", "-C", build, "-j", jobs, "llama"],
        what="compiling llama.cpp",
        log=logs / "llama-build.log",
        on_line=on_line,
        writable=folders,
        env=env,
    )


def _variants(toolchain: Toolchain, build: Path) -> dict[str, Variant]:
    """The variants by name, with what they were compiled with; what that asks of a CPU is GCC's own word."""
    commands = json.loads((build / "compile_commands.json").read_text())
    found: dict[str, list[str]] = {}
    for command in commands:
        if named := re.search(r"/ggml-cpu-(\w+)\.dir/ggml-cpu/ggml-cpu\.c\.o$", command["output"]):
            found[named[1]] = shlex.split(command["command"])
    return {name: _variant(toolchain, words) for name, words in found.items()}


def _variant(toolchain: Toolchain, words: Sequence[str]) -> Variant:
    compiler = tuple(dict.fromkeys(word for word in words if word.startswith("-m")))
    options = tuple(f"GGML_{name}" for name in INSTRUCTION_SETS if f"-DGGML_{name}" in words)
    macros = toolchain.output(["gcc", *compiler, "-dM", "-E", "-x", "c", "/dev/null"])
    needs = cpu_names.flags_of_macros(line.split()[1] for line in macros.splitlines())
    return Variant(options, compiler, tuple(sorted(needs)))


def _lay_tree(
    toolchain: Toolchain,
    source: Path,
    built: Path,
    package: Path,
    march: str,
    variants: Mapping[str, Variant],
) -> None:
    """Fill `package` with the bindings, the stripped libraries and the licences."""
    libraries = package / "lib"
    libraries.mkdir(parents=True)
    shutil.copy(source / "llama_cpp/llama_cpp.py", package)
    extensions = (source / "llama_cpp/_ctypes_extensions.py").read_text()
    if extensions.count(TYPING[0]) != 1:
        raise AetherError(f"{SDIST}: _ctypes_extensions.py is not as expected", hint="see builder/wheels.py")
    (package / "_ctypes_extensions.py").write_text(extensions.replace(*TYPING))
    (package / "__init__.py").write_text(INIT)
    shutil.copy(source / "LICENSE.md", package / "LICENSE.llama-cpp-python")
    shutil.copy(source / "vendor/llama.cpp/LICENSE", package / "LICENSE.llama.cpp")
    modules = [MODULE.format(name) for name in variants]
    wanted = [*(name for name in LIBRARIES if not modules or name != "libggml-cpu.so.0"), *modules]
    for name in wanted:
        # By its soname alone: that is what the others ask the loader for.
        shutil.copy((built / name).resolve(strict=True), libraries / name)
    # The bindings look for these two by name.
    for name in ("libggml.so", "libllama.so"):
        (libraries / name).symlink_to(f"{name}.0")
    toolchain.output(
        ["strip", "--strip-unneeded", *(libraries / name for name in wanted)], writable=[package]
    )
    needs: dict[str, Any] = {"march": march, "cpu_flags": cpu_flags(march)}
    if variants:
        needs["variants"] = {name: one.cpu_flags for name, one in variants.items()}
    write_atomically(package / "build.json", json.dumps(needs) + "\n")


def _record(
    source: Path, tree: Path, march: str, options: Mapping[str, str], variants: Mapping[str, Variant]
) -> dict[str, Any]:
    """What was built from what, with which options, and how large it is in bytes."""
    found = re.search(r"ggml-org/llama\.cpp@([0-9a-f]+)", (source / "CHANGELOG.md").read_text())
    sizes = {
        str(path.relative_to(tree)): path.stat().st_size
        for path in sorted(tree.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {
        "llama_cpp_python": VERSION,
        "sdist_sha256": SDIST_SHA256,
        "llama_cpp": found[1] if found else "unknown",
        "march": march,
        "options": dict(options),
        **({"variants": {name: asdict(one) for name, one in variants.items()}} if variants else {}),
        "packages": list(PACKAGES),
        "size": sum(sizes.values()),
        "files": sizes,
    }
