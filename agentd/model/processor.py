"""Which of llama.cpp's code this machine's processor runs: refused below its level, else the best variant.

The builder leaves `build.json` beside the bindings: `march`, the `cpu_flags` that it needs in the words of
/proc/cpuinfo, and where the code that computes is there in variants, `variants` with the flags of each.
Linux's words decide what may be loaded: it takes those away that it does not serve, which llama.cpp's own
look at the processor does not see. Among these llama.cpp's own score decides. Modules are loaded from
`lib` beside the bindings and from nowhere else: llama.cpp by itself would search the working directory.
Not for: another build of the package, which has no such file and is taken as it is.
"""

import ctypes
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentd.model.errors import ModelError

CPUINFO = Path("/proc/cpuinfo")
MODULE = "libggml-cpu-{}.so"


@dataclass(frozen=True)
class Build:
    """How the installed llama.cpp was built; `variants` is empty where there is one for all."""

    package: Path
    march: str
    cpu_flags: frozenset[str]
    variants: Mapping[str, frozenset[str]]


def read(package: Path) -> Build | None:
    """What `build.json` in a package's folder says; None where there is none. Raises ModelError."""
    path = package / "build.json"
    try:
        text = path.read_text()
    except OSError:
        return None
    try:
        found = json.loads(text)
        variants = {name: frozenset(flags) for name, flags in found.get("variants", {}).items()}
        return Build(package, found["march"], frozenset(found["cpu_flags"]), variants)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError("unavailable", f"{path} is damaged: {error}") from error


def flags() -> frozenset[str] | None:
    """The words of /proc/cpuinfo; None where it lists none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return None
    words = (line.split(":", 1)[1].split() for line in lines if line.startswith("flags"))
    return next((frozenset(found) for found in words), None)


def check(build: Build) -> None:
    """Raise ModelError if this processor is less than the build needs; it would die by SIGILL."""
    have = flags()
    if have is not None and (lacking := sorted(build.cpu_flags - have)):
        detail = f"llama.cpp was built for {build.march}, this CPU has no {', '.join(lacking)}"
        raise ModelError("unavailable", detail)


def load_variant(build: Build) -> str:
    """Load the best variant that this processor runs, and return its name. Raises ModelError.

    To be called after the bindings were imported and before llama.cpp is started.
    """
    there = {name: need for name, need in build.variants.items() if _module(build, name).is_file()}
    left = runnable(there, flags() or frozenset())
    while left:
        # What needs less than another that runs cannot score higher: it need not be looked into.
        best = {name: _score(build, name) for name in most_demanding(left)}
        name = max(best, key=lambda one: (best[one], one))
        if best[name]:
            load = ctypes.CDLL(str(build.package / "lib/libggml.so")).ggml_backend_load
            load.argtypes, load.restype = [ctypes.c_char_p], ctypes.c_void_p
            if not load(str(_module(build, name)).encode()):
                raise ModelError("unavailable", f"llama.cpp cannot load {_module(build, name)}")
            return name
        left = {name: need for name, need in left.items() if name not in best}
    lacking = f"none of {', '.join(there)}" if there else "no variant is"
    raise ModelError(
        "unavailable", f"llama.cpp has no variant for this CPU: {lacking} in {build.package / 'lib'}"
    )


def runnable(variants: Mapping[str, frozenset[str]], have: Collection[str]) -> dict[str, frozenset[str]]:
    """Those variants that a processor with these flags can run."""
    return {name: need for name, need in variants.items() if need.issubset(have)}


def most_demanding(variants: Mapping[str, frozenset[str]]) -> list[str]:
    """Those variants whose flags are not all among another's."""
    return [name for name, need in variants.items() if not any(need < other for other in variants.values())]


def _module(build: Build, name: str) -> Path:
    return build.package / "lib" / MODULE.format(name)


def _score(build: Build, name: str) -> int:
    """llama.cpp's own score of a variant on this processor, 0 where it cannot run."""
    try:
        return int(ctypes.CDLL(str(_module(build, name))).ggml_backend_score())
    except (OSError, AttributeError) as error:
        raise ModelError("unavailable", f"llama.cpp cannot load {_module(build, name)}: {error}") from error
