"""The table of named CPUs against those who know: the tools tree's GCC and the kernel's source."""

import re
import shlex
import subprocess

import pytest

from builder import cpu_names, kernel_source
from builder.toolchain import Toolchain
from hardware.cpu_level import LEVELS

pytestmark = pytest.mark.native

# Macros that name the CPU, say how vectors are encoded, or follow from the others.
OF_NO_CONCERN = re.compile(
    r"__(tune_)?[a-z]\w*|__EVEX(256|512)__|__FP_FAST_FMA\w*|__GCC_IEC_\w+|__\w+_(MIN|MAX)__"
)


@pytest.fixture(scope="module")
def macros(tools: Toolchain) -> dict[str, set[str]]:
    """What GCC predefines for each name, compiled as llama.cpp is."""
    script = "".join(
        f"echo @ {name}; gcc {shlex.join(cpu_names.options(name))} -dM -E -x c /dev/null || exit\n"
        for name in cpu_names.NAMES
    )
    found = tools.output(["bash", "-c", script]).split("@ ")[1:]
    parts = (part.split("\n", 1) for part in found)
    return {name: {line.split()[1] for line in text.splitlines()} for name, text in parts}


def test_the_names_are_all_that_gcc_has_but_native(tools: Toolchain) -> None:
    argv = tools.argv(["gcc", "-march=nothing", "-E", "-x", "c", "/dev/null"])
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stderr
    valid = re.search(r"valid arguments to .* are: (.*)", said)
    assert valid, said
    assert set(cpu_names.NAMES) == set(valid[1].split()) - {"native"}


@pytest.mark.parametrize("name", cpu_names.NAMES)
def test_a_name_stands_for_what_gcc_takes_it_for(name: str, macros: dict[str, set[str]]) -> None:
    # A level says that Linux saves AVX's registers, which no instruction of a program needs.
    beside = {"xsave"} if name in LEVELS else set()
    assert cpu_names.flags_of_macros(macros[name]) - beside == cpu_names.flags(name) - beside


def test_every_instruction_set_that_gcc_would_use_is_known(macros: dict[str, set[str]]) -> None:
    on_request = {f"__{name}__" for name in cpu_names.ON_REQUEST.split()}
    for name in cpu_names.NAMES:
        beyond = macros[name] - macros["x86-64"] - cpu_names.WORDS.keys() - on_request
        assert {macro for macro in beyond if not OF_NO_CONCERN.fullmatch(macro)} == set(), name


def test_to_tune_for_a_cpu_adds_no_instruction(tools: Toolchain) -> None:
    """So that a kernel which is tuned for one starts on every other."""
    names = [name for name in cpu_names.NAMES if cpu_names.tuning(name)]
    told = {
        tools.output(["gcc", *options, "-dM", "-E", "-x", "c", "/dev/null"])
        for options in ([], *([f"-mtune={cpu_names.tuning(name)}"] for name in names))
    }
    without_names = {re.sub(r"#define __tune_\w+ 1\n", "", text) for text in told}
    assert len(names) > 70
    assert len(without_names) == 1


def test_the_words_are_those_of_linux_and_the_unnamed_have_none(tools: Toolchain) -> None:
    header = kernel_source.ensure(tools).folder / "arch/x86/include/asm/cpufeatures.h"
    text = header.read_text()
    words = set(re.findall(r'#define X86_FEATURE_\w+\s+\([^)]*\)\s*/\* "(\w+)"', text))
    assert {word for name in cpu_names.NAMES for word in cpu_names.flags(name)} <= words
    assert not {word.replace("_", "") for word in words} & set(cpu_names.UNNAMED.values())
