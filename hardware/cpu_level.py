"""The levels of x86-64 and the CPU flags that each one means.

The one table: what a report says of a CPU, what a build asks of it and what `aether doctor` compares are
read from here. Not for: named CPUs and what a compiler makes of a level (builder/wheels.py).
"""

from collections.abc import Iterable

# What each level adds, in the words of /proc/cpuinfo (x86-64 psABI, table 3.1: "Micro-Architecture
# Levels"). The table's SCE is syscall, SSE3 is pni, LZCNT is abm, OSXSAVE is xsave: Linux takes avx away
# where it does not save its registers. OSFXSR is the kernel's own doing and has no flag.
ADDS = {
    "x86-64": ("cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"),
    "x86-64-v2": ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"),
    "x86-64-v3": ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
LEVELS = tuple(ADDS)


def flags_of(level: str) -> frozenset[str]:
    """Every flag that a CPU of this level has, those of the levels below it too; KeyError if unknown."""
    if level not in ADDS:
        raise KeyError(level)
    return frozenset(flag for name in LEVELS[: LEVELS.index(level) + 1] for flag in ADDS[name])


def level_of(flags: Iterable[str]) -> str:
    """The highest level whose flags are all there, "" for none; a gap ends the search."""
    have = frozenset(flags)
    reached = ""
    for level in LEVELS:
        if not have.issuperset(ADDS[level]):
            break
        reached = level
    return reached


def flags_in(cpuinfo: str) -> tuple[str, ...]:
    """The flags of the first processor in the text of /proc/cpuinfo; () where it lists none."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return tuple(value.split())
    return ()
