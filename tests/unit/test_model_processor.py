"""Which build of llama.cpp a processor is given. That the real ones compute is tested in tests/native."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from agentd.model import processor
from agentd.model.errors import ModelError

BASE = frozenset({"fpu", "sse2"})
VARIANTS = {
    "plain": BASE,
    "middle": BASE | {"avx2"},
    "wide": BASE | {"avx2", "avx512f"},
    "other": BASE | {"avx2", "avx_vnni"},
}
# A module that scores as it was compiled to, and the function that loads it, as llama.cpp has them.
MODULE = "int ggml_backend_score(void) { return SCORE; }\n"
LIBRARY = (
    "const char *loaded; void *ggml_backend_load(const char *path) { return (void *)(loaded = path); }\n"
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package's folder with a module for each variant."""
    if shutil.which("gcc") is None:
        pytest.skip("no compiler on this host")
    (tmp_path / "lib").mkdir()
    for name, score in {"plain": 1, "middle": 2, "wide": 9, "other": 5}.items():
        compile_library(tmp_path / "lib" / processor.MODULE.format(name), MODULE, f"-DSCORE={score}")
    compile_library(tmp_path / "lib/libggml.so", LIBRARY)
    return tmp_path


def compile_library(path: Path, source: str, *options: str) -> None:
    words = ["gcc", "-shared", "-fPIC", *options, "-x", "c", "-", "-o", str(path)]
    subprocess.run(words, input=source, text=True, check=True)


def has(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: frozenset[str]) -> None:
    """Make the processor one with these flags."""
    cpuinfo = folder / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {' '.join(flags)}\n")
    monkeypatch.setattr(processor, "CPUINFO", cpuinfo)


def build(package: Path) -> processor.Build:
    return processor.Build(package, "x86-64", BASE, VARIANTS)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (set(), "plain"),
        ({"avx512f"}, "plain"),
        ({"avx2"}, "middle"),
        ({"avx2", "avx_vnni"}, "other"),
        ({"avx2", "avx512f"}, "wide"),
        ({"avx2", "avx512f", "avx_vnni"}, "wide"),
    ],
)
def test_the_variant_with_llama_cpps_highest_score_is_loaded_of_those_that_run(
    package: Path, monkeypatch: pytest.MonkeyPatch, more: set[str], name: str
) -> None:
    has(monkeypatch, package, BASE | more)
    assert processor.load_variant(build(package)) == name


def test_a_variant_that_llama_cpp_itself_refuses_gives_way_to_the_next(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_library(package / "lib" / processor.MODULE.format("wide"), MODULE, "-DSCORE=0")
    has(monkeypatch, package, VARIANTS["wide"])
    assert processor.load_variant(build(package)) == "middle"


def test_a_variant_whose_module_is_gone_is_not_counted_on(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, package, VARIANTS["wide"])
    for name in ("middle", "wide", "other"):
        (package / "lib" / processor.MODULE.format(name)).unlink()
    assert processor.load_variant(build(package)) == "plain"
    (package / "lib" / processor.MODULE.format("plain")).unlink()
    with pytest.raises(ModelError, match=f"no variant for this CPU: no variant is in {package}/lib$"):
        processor.load_variant(build(package))


def test_a_module_that_is_none_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, package, VARIANTS["wide"])
    (package / "lib" / processor.MODULE.format("wide")).write_text("not a library")
    with pytest.raises(ModelError, match=r"cannot load .*libggml-cpu-wide\.so") as caught:
        processor.load_variant(build(package))
    assert caught.value.state == "unavailable"


def test_a_cpu_below_the_least_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(monkeypatch, tmp_path, frozenset({"fpu"}))
    with pytest.raises(ModelError) as caught:
        processor.check(build(tmp_path))
    assert (caught.value.state, caught.value.detail) == (
        "unavailable",
        "llama.cpp was built for x86-64, this CPU has no sse2",
    )


def test_a_build_says_for_what_it_is(tmp_path: Path) -> None:
    assert processor.read(tmp_path) is None
    said = {"march": "x86-64", "cpu_flags": ["sse2", "fpu"], "variants": {"plain": ["fpu", "sse2"]}}
    (tmp_path / "build.json").write_text(json.dumps(said))
    assert processor.read(tmp_path) == processor.Build(tmp_path, "x86-64", BASE, {"plain": BASE})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"march": "x86-64"}', '{"variants": 3}'])
def test_a_damaged_build_file_is_not_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(ModelError, match=r"build\.json is damaged"):
        processor.read(tmp_path)
