"""A machine's model worker run natively on this host, for what is measured without a virtual machine."""

import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentd.worker import ModelWorker, WorkerError
from builder import catalogue, models, native, profile, toolchain, wheels

START_SECONDS = 120.0


@dataclass(frozen=True)
class Place:
    """The command line of the worker, without its states, and where its socket and its log are."""

    argv: Sequence[str]
    folder: Path
    has_embedder: bool

    @contextmanager
    def worker(self, *extra: str) -> Iterator[ModelWorker]:
        """A worker that has loaded its models. It ends as in a crash. Raises WorkerError."""
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen([*self.argv, *extra], stdin=subprocess.DEVNULL, stderr=log)
        try:
            worker = ModelWorker(str(self.folder / "model.sock"))
            deadline = time.monotonic() + START_SECONDS
            while (status := worker.status()).state != "ready" or status.embedder == "loading":
                if time.monotonic() > deadline or process.poll() is not None:
                    raise WorkerError(status.state, f"{status.detail}; see {self.folder}/worker.log")
                time.sleep(0.02)
            yield worker
        finally:
            process.kill()
            process.wait()


@contextmanager
def prepared(machine: str, chat_model: catalogue.Model | None = None) -> Iterator[Place]:
    """The worker of a machine with its models, or another chat model, in a folder that goes afterwards.

    Raises AetherError.
    """
    spec = profile.load(machine)
    tools = toolchain.ensure()
    tree = wheels.ensure(tools, spec.cpu.march, variants=spec.cpu.variants).tree
    model = models.ensure(chat_model or spec.chat_model).path
    embedder = models.ensure(spec.embedder_model).path if spec.embedder_model else None
    with tempfile.TemporaryDirectory(prefix="bench-worker-") as name:
        folder = Path(name)
        argv = native.worker_argv(tools, tree, model, folder / "model.sock", embedder=embedder)
        yield Place(argv, folder, embedder is not None)
