"""llama.cpp in variants, the real ones: what is chosen on this host, what runs where the better are gone."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from worker_process import Worker

from agentd.model import processor
from builder import native, wheels
from builder.toolchain import Toolchain
from hardware.cpu_level import flags_in, flags_of

pytestmark = pytest.mark.native

LEAST = "x64"
PARIS = [{"role": "system", "content": ""}, {"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Path:
    """llama.cpp for any CPU, with every variant."""
    return wheels.ensure(tools, "x86-64", variants=True).tree


@pytest.fixture(scope="module")
def build(tree: Path) -> processor.Build:
    found = processor.read(tree / "llama_cpp")
    assert found is not None
    return found


@pytest.fixture
def start(tools: Toolchain, smollm2: Path, tmp_path: Path) -> Iterator[Callable[[Path], Worker]]:
    """Starts a worker with the llama.cpp of a tree, and waits until it has loaded or refused."""
    started: list[Worker] = []

    def worker(tree: Path) -> Worker:
        path = tmp_path / "model.sock"
        argv = native.worker_argv(tools, tree, smollm2, path, ["--name", "it"])
        started.append(Worker(argv, path, tmp_path / "worker.log"))
        started[-1].wait_for("model it: ")
        return started[-1]

    yield worker
    for one in started:
        one.close()


def modules(tree: Path) -> dict[str, Path]:
    return {
        path.stem.removeprefix("libggml-cpu-"): path for path in tree.glob("llama_cpp/lib/libggml-cpu-*")
    }


def copy_with(tree: Path, place: Path, *names: str) -> Path:
    """A copy of a tree with these variants alone."""
    shutil.copytree(tree, place, symlinks=True)
    for name, path in modules(place).items():
        if name not in names:
            path.unlink()
    return place


def answer(worker: Worker) -> str:
    with worker.calling() as model:
        return str(model.Generate(messages=PARIS, temperature=0.0, max_tokens=20)["text"])


def test_the_best_variant_for_this_cpu_answers_and_is_named(
    tree: Path, build: processor.Build, start: Callable[[Path], Worker]
) -> None:
    worker = start(tree)
    assert "Paris" in answer(worker)
    with worker.calling() as model:
        status = model.Status()
    name = status["built_for"]
    assert f"llama.cpp for {name}" in status["detail"]
    have = set(flags_in(Path("/proc/cpuinfo").read_text()))
    assert name in processor.most_demanding(processor.runnable(build.variants, have))
    mapped = set(re.findall(r"\S*/libggml-cpu\S*", Path(f"/proc/{worker.pid}/maps").read_text()))
    assert str(modules(tree)[name]) in mapped
    assert {Path(path).parent for path in mapped} == {tree / "llama_cpp/lib"}


def test_the_least_variant_answers_alone(
    tree: Path, tmp_path: Path, start: Callable[[Path], Worker]
) -> None:
    worker = start(copy_with(tree, tmp_path / "tree", LEAST))
    assert "Paris" in answer(worker)
    with worker.calling() as model:
        assert model.Status()["built_for"] == LEAST


def test_without_any_variant_the_worker_says_so_and_stays(
    tree: Path, tmp_path: Path, start: Callable[[Path], Worker]
) -> None:
    with start(copy_with(tree, tmp_path / "tree")).calling() as model:
        status = model.Status()
    assert status["state"] == "unavailable"
    assert status["detail"].startswith("llama.cpp has no variant for this CPU")


def test_a_cpu_below_the_least_is_refused_before_llama_cpp_is_loaded(
    tree: Path, tmp_path: Path, start: Callable[[Path], Worker]
) -> None:
    place = copy_with(tree, tmp_path / "tree", LEAST)
    said = json.loads((place / "llama_cpp/build.json").read_text())
    said["cpu_flags"].append("avx9")
    (place / "llama_cpp/build.json").write_text(json.dumps(said))
    worker = start(place)
    with worker.calling() as model:
        status = model.Status()
    assert (status["state"], status["detail"]) == (
        "unavailable",
        "llama.cpp was built for x86-64, this CPU has no avx9",
    )
    assert "libllama" not in Path(f"/proc/{worker.pid}/maps").read_text()


def test_every_variant_is_there_and_what_each_needs_is_more_than_the_least(
    tree: Path, build: processor.Build
) -> None:
    assert set(build.variants) == set(modules(tree)) >= {LEAST, "sse42", "haswell", "skylakex", "zen4"}
    assert build.variants[LEAST] == build.cpu_flags == flags_of("x86-64")
    assert all(build.cpu_flags <= need for need in build.variants.values())
    assert {"avx2", "fma", "f16c", "bmi2"} <= build.variants["haswell"]
    assert build.variants["haswell"] <= flags_of("x86-64-v3")
    assert "avx512_bf16" in build.variants["zen4"]
    assert {"amx_tile", "amx_int8"} <= build.variants["sapphirerapids"]


def test_what_every_cpu_loads_holds_no_later_instruction(tools: Toolchain, tree: Path) -> None:
    # Not tzcnt: GCC writes it for bsf, which is what a CPU without it makes of it.
    library = tree / "llama_cpp/lib"
    common = [*library.glob("*.so.0"), modules(tree)[LEAST]]
    for path in common:
        code = tools.output(["objdump", "-d", "--no-show-raw-insn", path], readable=[library])
        found = set(re.findall(r"\t(v[a-z]\w+|pshufb|popcnt|lzcnt|shlx|andn|movbe|roundss)\s", code))
        assert not found, path.name


def test_no_library_wants_memory_that_is_writable_and_executable(tools: Toolchain, tree: Path) -> None:
    """agentd-model.service has MemoryDenyWriteExecute=."""
    library = tree / "llama_cpp/lib"
    for path in library.glob("*.so*"):
        told = tools.output(["readelf", "-lWd", path], readable=[library])
        assert re.search(r"GNU_STACK .* RW ", told), path.name
        assert "TEXTREL" not in told, path.name
