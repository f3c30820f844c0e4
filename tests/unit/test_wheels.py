"""What llama.cpp is told for each CPU level. The build itself is tested by running it, in tests/native."""

import pytest

from builder import wheels
from builder.errors import AetherError

# x86-64 psABI, 3.1.1, table 3.1, as far as llama.cpp has an option for it.
ON = {
    "x86-64": set(),
    "x86-64-v2": {"GGML_SSE42"},
    "x86-64-v3": {"GGML_SSE42", "GGML_AVX", "GGML_AVX2", "GGML_BMI2", "GGML_F16C", "GGML_FMA"},
    "x86-64-v4": {
        *("GGML_SSE42", "GGML_AVX", "GGML_AVX2", "GGML_BMI2", "GGML_F16C", "GGML_FMA"),
        "GGML_AVX512",
    },
}


@pytest.mark.parametrize("march", ON)
def test_a_level_switches_on_its_instruction_sets_and_no_other(march: str) -> None:
    options = wheels.flags(march)
    sets = {f"GGML_{name}" for name in wheels.INSTRUCTION_SETS}
    assert {name for name in sets if options[name] == "ON"} == ON[march]
    assert {name for name in sets if options[name] == "OFF"} == sets - ON[march]
    assert options["CMAKE_C_FLAGS"] == options["CMAKE_CXX_FLAGS"] == f"-march={march}"


@pytest.mark.parametrize("march", ON)
def test_no_level_depends_on_the_host_that_compiles(march: str) -> None:
    options = wheels.flags(march)
    assert options["GGML_NATIVE"] == options["GGML_BACKEND_DL"] == "OFF"
    assert "native" not in " ".join(options.values())


def test_nothing_but_the_library_is_built_and_threads_are_on() -> None:
    options = wheels.flags("x86-64-v3")
    assert {value for name, value in options.items() if name.startswith("LLAMA_")} == {"OFF"}
    assert options["GGML_OPENMP"] == "ON"


def test_an_unknown_level_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AetherError) as caught:
        wheels.flags("sandybridge")
    assert "sandybridge" in caught.value.message
    assert "x86-64-v3" in caught.value.hint


def test_the_words_of_proc_cpuinfo_grow_with_the_level() -> None:
    levels = [set(wheels.cpu_flags(march)) for march in ON]
    assert levels[0] < levels[1] < levels[2] < levels[3]
    assert {"avx2", "fma", "f16c", "bmi2"} <= levels[2]
    assert not any(word.startswith("avx512") for word in levels[2])
