"""What llama.cpp is told for each CPU. The build itself is tested by running it, in tests/native."""

import pytest

from builder import cpu_names, wheels
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


V3 = ON["x86-64-v3"]
AVX512 = ON["x86-64-v4"] | {"GGML_AVX512_VBMI", "GGML_AVX512_VNNI"}
AMX = {"GGML_AMX_TILE", "GGML_AMX_INT8", "GGML_AMX_BF16"}
# As the manufacturers tell it.
NAMED = {
    "core2": set(),
    "nehalem": {"GGML_SSE42"},
    "sandybridge": {"GGML_SSE42", "GGML_AVX"},
    "ivybridge": {"GGML_SSE42", "GGML_AVX", "GGML_F16C"},
    "skylake": V3,
    "alderlake": V3 | {"GGML_AVX_VNNI"},
    "skylake-avx512": ON["x86-64-v4"],
    "cascadelake": ON["x86-64-v4"] | {"GGML_AVX512_VNNI"},
    "tigerlake": AVX512,
    "sapphirerapids": AVX512 | {"GGML_AVX512_BF16", "GGML_AVX_VNNI"} | AMX,
    "znver3": V3,
    "znver4": AVX512 | {"GGML_AVX512_BF16"},
    "znver5": AVX512 | {"GGML_AVX512_BF16", "GGML_AVX_VNNI"},
}


@pytest.mark.parametrize(("march", "wanted"), (ON | NAMED).items())
def test_a_level_or_a_cpu_switches_on_its_instruction_sets_and_no_other(
    march: str, wanted: set[str]
) -> None:
    options = wheels.flags(march)
    sets = {f"GGML_{name}" for name in wheels.INSTRUCTION_SETS}
    assert {name for name in sets if options[name] == "ON"} == wanted
    assert {name for name in sets if options[name] == "OFF"} == sets - wanted
    assert options["CMAKE_C_FLAGS"] == options["CMAKE_CXX_FLAGS"]
    assert options["CMAKE_C_FLAGS"].split()[0] == f"-march={march}"


@pytest.mark.parametrize("march", ON)
def test_a_level_is_compiled_as_it_is(march: str) -> None:
    assert wheels.flags(march)["CMAKE_C_FLAGS"] == f"-march={march}"


@pytest.mark.parametrize("march", NAMED)
def test_a_named_cpu_uses_nothing_that_linux_has_no_word_for(march: str) -> None:
    assert set(wheels.flags(march)["CMAKE_C_FLAGS"].split()) >= {"-mno-avxvnniint8", "-mno-cmpccxadd"}


@pytest.mark.parametrize("march", cpu_names.NAMES)
def test_what_llama_cpp_is_told_to_use_is_asked_of_the_cpu(march: str) -> None:
    options = wheels.flags(march)
    on = [words for name, words in wheels.INSTRUCTION_SETS.items() if options[f"GGML_{name}"] == "ON"]
    assert {flag for words in on for flag in words.split()} <= set(wheels.cpu_flags(march))


@pytest.mark.parametrize("march", ON)
def test_no_level_depends_on_the_host_that_compiles(march: str) -> None:
    options = wheels.flags(march)
    assert options["GGML_NATIVE"] == options["GGML_BACKEND_DL"] == "OFF"
    assert "native" not in " ".join(options.values())


def test_nothing_but_the_library_is_built_and_threads_are_on() -> None:
    options = wheels.flags("x86-64-v3")
    assert {value for name, value in options.items() if name.startswith("LLAMA_")} == {"OFF"}
    assert options["GGML_OPENMP"] == "ON"


def test_an_unknown_cpu_is_refused_with_the_nearest() -> None:
    with pytest.raises(AetherError) as caught:
        wheels.flags("sandybrigde")
    assert "sandybrigde" in caught.value.message
    assert "'sandybridge'" in caught.value.hint


def test_variants_are_modules_over_a_common_part_for_the_least_cpu() -> None:
    plain, variants = wheels.flags("x86-64"), wheels.flags("x86-64", variants=True)
    assert variants["GGML_BACKEND_DL"] == variants["GGML_CPU_ALL_VARIANTS"] == "ON"
    assert plain["GGML_BACKEND_DL"] == plain["GGML_CPU_ALL_VARIANTS"] == variants["GGML_NATIVE"] == "OFF"
    assert variants["CMAKE_C_FLAGS"] == "-march=x86-64"


def test_the_words_of_proc_cpuinfo_grow_with_the_level() -> None:
    levels = [set(wheels.cpu_flags(march)) for march in ON]
    assert levels[0] < levels[1] < levels[2] < levels[3]
    assert {"avx2", "fma", "f16c", "bmi2"} <= levels[2]
    assert not any(word.startswith("avx512") for word in levels[2])


@pytest.mark.parametrize(
    ("vendor", "family", "model", "flags", "name"),
    [
        ("GenuineIntel", 6, 0x8E, "x86-64-v3", "skylake"),
        ("GenuineIntel", 6, 0x8E, "x86-64-v2", ""),  # a Pentium of that family, without AVX
        ("GenuineIntel", 6, 0x55, "cascadelake", "cascadelake"),
        ("GenuineIntel", 6, 0x55, "x86-64-v4", "skylake-avx512"),
        ("AuthenticAMD", 0x19, 0x21, "znver3", "znver3"),
        ("AuthenticAMD", 0x19, 0x11, "znver4", "znver4"),
        ("AuthenticAMD", 0x19, 0x11, "znver3", ""),  # a guest that was given less
        ("AuthenticAMD", 0x1A, 0x44, "znver5", "znver5"),
        ("GenuineIntel", 15, 0x8E, "x86-64-v3", ""),
        ("CentaurHauls", 6, 0x0F, "x86-64-v3", ""),
        ("", None, None, "x86-64-v3", ""),
    ],
)
def test_a_cpu_is_named_by_its_model_only_where_it_has_all_that_the_name_stands_for(
    vendor: str, family: int | None, model: int | None, flags: str, name: str
) -> None:
    assert cpu_names.name(vendor, family, model, cpu_names.flags(flags)) == name


def test_every_name_for_a_model_is_one_of_gccs() -> None:
    assert {*cpu_names.INTEL_6, *cpu_names.AMD} <= set(cpu_names.NAMES)
