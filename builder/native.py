"""A machine's agent run natively on this host: agentd and its worker in the tools tree, not in a VM.

It is the same Python, the same llama.cpp build, the same model and the same agentd files as in the image,
at the host's own speed: for developers, for tests and for measuring the quality of answers. The sockets
in the state folder are the host's: `agent --socket DIR/agent.sock` reaches them. Not for: virtual
machines (vm.py), or building what is run (wheels.py, models.py).
"""

import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.errors import AetherError
from builder.toolchain import Toolchain

REPOSITORY = Path(__file__).resolve().parent.parent
WORKER = ("python3", "-m", "agentd.model.worker")


def argv(
    toolchain: Toolchain,
    tree: Path,
    module: str,
    arguments: Sequence[str | Path] = (),
    *,
    writable: Sequence[Path] = (),
    readable: Sequence[Path] = (),
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line that runs a module of agentd in the tools tree, without a network.

    `tree` is the built llama_cpp (wheels.Wheels.tree). The process that is started becomes the module's
    own, so its pid can be signalled.
    """
    return toolchain.argv(
        ["python3", "-m", module, *arguments],
        readable=[REPOSITORY / "agentd", REPOSITORY / "hardware", tree, *readable],
        writable=writable,
        env={"PYTHONPATH": f"{REPOSITORY}:{tree}", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
    )


def worker_argv(
    toolchain: Toolchain,
    tree: Path,
    model: Path,
    socket: Path,
    extra: Sequence[str] = (),
    *,
    embedder: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """The command line of a model worker alone, listening at `socket`."""
    return argv(
        toolchain,
        tree,
        "agentd.model.worker",
        ["--socket", socket.absolute(), *_weights(model, embedder), *extra],
        writable=[socket.parent],
        readable=_folders(model, embedder),
        env=env,
    )


def _weights(model: Path, embedder: Path | None) -> list[str | Path]:
    """The options that name the model files, agentd's and the worker's alike."""
    words: list[str | Path] = ["--model", model.absolute()]
    return [*words, "--embedder", embedder.absolute()] if embedder else words


def _folders(model: Path, embedder: Path | None) -> list[Path]:
    """Where the model files are: folders, so that a file which does not exist is the worker's to report."""
    return list(dict.fromkeys(file.parent for file in (model, embedder) if file))


def agentd_argv(
    toolchain: Toolchain,
    tree: Path,
    model: Path,
    state: Path,
    extra: Sequence[str] = (),
    *,
    name: str = "",
    embedder: Path | None = None,
    routing: Path | None = None,
) -> list[str]:
    """The command line of agentd with its state and its sockets in the folder `state`.

    `name` is what the model is called; the cache names its files by their sha256. `routing` is the file that
    routing.ensure() gives.
    """
    called: list[str | Path] = ["--worker-command", shlex.join([*WORKER, "--name", name])] if name else []
    if routing:
        called += ["--routing", routing.absolute()]
    return argv(
        toolchain,
        tree,
        "agentd.daemon",
        ["--state", state.absolute(), *_weights(model, embedder), *called, *extra],
        writable=[state],
        readable=[*_folders(model, embedder), *([routing.parent] if routing else [])],
    )


def run_agentd(
    toolchain: Toolchain,
    tree: Path,
    model: Path,
    state: Path,
    extra: Sequence[str] = (),
    *,
    name: str = "",
    embedder: Path | None = None,
    routing: Path | None = None,
) -> int:
    """Run agentd on this terminal until it ends; its exit status, 128 + N if signal N ended it.

    Makes the folder `state`. Raises AetherError if it cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise AetherError(f"cannot make the folder {state}: {error.strerror}") from error
    # Ctrl-C reaches agentd too, which is in the same process group and ends in its own way.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = subprocess.Popen(
            agentd_argv(toolchain, tree, model, state, extra, name=name, embedder=embedder, routing=routing),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            status = process.wait()
        except BaseException:  # `aether` itself is being ended
            process.terminate()
            process.wait()
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    return status if status >= 0 else 128 - status
