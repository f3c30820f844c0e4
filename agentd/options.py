"""The command line of `agentd`, for a developer's host; on an image agentd has no arguments."""

import argparse
import os
import shlex
import sys
from pathlib import Path

from agentd import __version__
from agentd.daemon import SOCKET_PATH_BYTES, Configuration
from agentd.errors import AgentError

_DESCRIPTION = """\
The agent's daemon. Started by systemd it needs no arguments. On any other host it runs as an ordinary
user: it makes DIR/agent.sock for `agent --socket DIR/agent.sock` and keeps a model worker running."""

_EXAMPLE = """\
example:
  agentd --state ~/agent --model ~/models/SmolLM2-135M-Instruct.Q4_1.gguf
  agent --socket ~/agent/agent.sock "What is a unix socket?" """


def parse(arguments: list[str]) -> Configuration:
    """The configuration that `arguments` ask for. Raises AgentError; --help and --version exit."""
    parser = _Parser(
        prog="agentd",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agentd {__version__}")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where agentd keeps everything (required)")
    parser.add_argument("--model", metavar="NAME_OR_PATH", help="a GGUF file, or its name in --models")
    parser.add_argument(
        "--embedder", type=Path, metavar="FILE", help="a sentence encoder's GGUF file, to find by meaning"
    )
    parser.add_argument(
        "--routing", type=Path, metavar="FILE", help="what routes requests to tools: a built routing.bin"
    )
    parser.add_argument(
        "--tool-model", action="store_true", help="let the model choose tools (needs --routing)"
    )
    parser.add_argument("--name", help="what the model is called (default: the file's name)")
    parser.add_argument("--models", type=Path, metavar="DIR", help="where models are (default: DIR/models)")
    parser.add_argument("--context", type=int, metavar="N", help="tokens that the model reads at most")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the worker")
    parser.add_argument(
        "--worker-command",
        metavar="COMMAND",
        help="the worker to start; it is given --socket, --model and the like (default: agentd's own)",
    )
    parser.add_argument(
        "--model-socket", type=Path, metavar="PATH", help="use the worker at this socket; start none"
    )
    given = parser.parse_args(arguments)
    if given.state is None:
        raise AgentError("agentd needs --state DIR when systemd does not start it", "agentd --help")
    state = given.state.expanduser().absolute()
    routing = given.routing.expanduser().absolute() if given.routing is not None else None
    if given.tool_model and routing is None:
        raise AgentError("--tool-model needs --routing: a model chooses among the router's best tools")
    if given.model_socket is not None:
        if any(one is not None for one in (given.model, given.embedder, given.worker_command)):
            raise AgentError(
                "--model-socket excludes --model, --embedder and --worker-command", "give one of them"
            )
        worker_socket = str(given.model_socket.absolute())
        return Configuration(state, state / "agent.sock", worker_socket, "", None, routing, given.tool_model)
    if given.model is None:
        raise AgentError("which model?", "agentd --state DIR --model FILE.gguf")
    for name in ("context", "threads"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            raise AgentError(
                f"--{name} {getattr(given, name)} makes no sense", f"give --{name} a positive number"
            )
    model = _model_path(given.model, (given.models or state / "models").expanduser())
    socket = state / "model.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        raise AgentError(f"the path {socket} is too long for a socket", "choose a shorter --state DIR")
    command = shlex.split(given.worker_command) if given.worker_command else _own_worker()
    command += ["--socket", str(socket), "--model", str(model), "--states", str(state / "kv")]
    if given.embedder is not None:
        command += ["--embedder", str(given.embedder.expanduser().absolute())]
    for name in ("name", "context", "threads"):
        if getattr(given, name) is not None:
            command += [f"--{name}", str(getattr(given, name))]
    name = given.name or model.stem
    listen = state / "agent.sock"
    return Configuration(state, listen, str(socket), name, tuple(command), routing, given.tool_model)


def _own_worker() -> list[str]:
    return [sys.executable, "-m", "agentd.model.worker"]


def _model_path(wanted: str, models: Path) -> Path:
    """The file that `wanted` names. A file that is missing is not an error here: the worker says so."""
    if "/" in wanted or wanted.endswith(".gguf"):
        return Path(wanted).expanduser().absolute()
    for name in (wanted, f"{wanted}.gguf"):
        if (models / name).is_file():
            return (models / name).absolute()
    found = sorted(path.stem for path in models.glob("*.gguf"))
    raise AgentError(
        f"no model '{wanted}' in {models}",
        f"there are: {', '.join(found)}" if found else "give the path of a GGUF file, or --models DIR",
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise AgentError(message, "agentd --help")
