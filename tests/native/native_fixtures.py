"""The real llama.cpp, the real model and the real worker on this host; built or fetched if need be."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from worker_process import StartWorker, Worker

from builder import catalogue, models, native, toolchain, wheels
from builder.toolchain import Toolchain


@pytest.fixture(scope="session")
def tools() -> Toolchain:
    """mkosi and the tools tree."""
    return toolchain.ensure()


@pytest.fixture(scope="session")
def llama_tree(tools: Toolchain) -> Path:
    """llama.cpp for the highest level that this host's CPU can run, up to that of the default machine."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    levels = ("x86-64-v3", "x86-64-v2", "x86-64")
    march = next(level for level in levels if flags.issuperset(wheels.cpu_flags(level)))
    return wheels.ensure(tools, march).tree


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The default machine's model."""
    return models.ensure(catalogue.model("smollm2-135m")).path


@pytest.fixture(scope="session")
def start_worker(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartWorker]:
    """Starts a worker for a model file (default: the real one), in a folder of its own or a given one."""
    started: list[Worker] = []

    def start(
        model: Path = smollm2,
        *extra: str,
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Worker:
        place = folder or tmp_path_factory.mktemp("worker")
        path = place / "model.sock"
        argv = native.worker_argv(tools, llama_tree, model, path, extra, env=env)
        worker = Worker(argv, path, place / "worker.log")
        started.append(worker)
        worker.wait_for("listens; ")
        return worker

    yield start
    for worker in started:
        worker.close()


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker, smollm2: Path) -> Worker:
    """A worker that is ready, shared by the tests that do it no harm."""
    running = start_worker(smollm2, "--context", "4096")
    running.wait_for(": ready: ")
    return running
