"""The levels of x86-64: one table for reports, builds and the host."""

import shutil
import subprocess
from pathlib import Path

import pytest

from builder import wheels
from hardware.cpu_level import LEVELS, flags_in, flags_of, level_of

V3 = (
    "fpu cx8 cmov mmx fxsr syscall sse sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
    " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
)
V4 = " avx512f avx512bw avx512cd avx512dq avx512vl"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", ""),
        ("fpu cx8 cmov mmx fxsr syscall sse sse2", "x86-64"),
        (V3, "x86-64-v3"),
        (V3.replace("avx2", ""), "x86-64-v2"),
        (V3.replace("movbe", "") + V4, "x86-64-v2"),
        (V3 + V4, "x86-64-v4"),
        (V3.replace("cx16", "") + V4, "x86-64"),
    ],
)
def test_the_level_of_a_processor_is_the_highest_that_is_whole(flags: str, level: str) -> None:
    assert level_of(flags.split()) == level
    assert level_of(flags_in(f"processor : 0\nflags\t\t: {flags}\nprocessor : 1\nflags : none\n")) == level


@pytest.mark.parametrize("level", LEVELS)
def test_the_flags_of_a_level_are_that_level(level: str) -> None:
    assert level_of(flags_of(level)) == level


def test_a_build_asks_of_the_processor_what_a_report_says_of_it() -> None:
    for level in LEVELS:
        assert set(wheels.cpu_flags(level)) == flags_of(level)
        options = wheels.flags(level)
        on = [words for name, words in wheels.INSTRUCTION_SETS.items() if options[f"GGML_{name}"] == "ON"]
        assert {flag for words in on for flag in words.split()} <= flags_of(level)


def test_the_level_of_this_processor_is_what_the_c_library_says() -> None:
    """ld.so knows the same levels; Linux and it must agree."""
    loader = shutil.which("/lib64/ld-linux-x86-64.so.2")
    if loader is None:
        pytest.skip("no x86-64 C library here")
    said = subprocess.run([loader, "--help"], capture_output=True, text=True, check=True).stdout
    supported = [
        line.split()[0] for line in said.splitlines() if "(supported" in line and "x86-64-v" in line
    ]
    highest = max(supported, default="x86-64")
    assert level_of(flags_in(Path("/proc/cpuinfo").read_text())) == highest
