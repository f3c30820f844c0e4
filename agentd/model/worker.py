"""The process agentd-model: its command line, its socket, its life.

It listens at once and loads the model on the engine's thread; with a model that cannot be loaded it stays
up and says so in Status. Under systemd the socket is passed in; the model, its size and its context come
from the image's manifest. Not for: what is computed (engine.py, llama.py) or the methods (service.py).
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import varlink.server

from agentd import __version__, log
from agentd.errors import AgentError
from agentd.model.engine import Engine, load
from agentd.model.service import create_service, failure
from agentd.notify import notify
from agentd.server import BoundedServer

LIBRARY = Path("/usr/lib/aetheros")
MANIFEST = LIBRARY / "manifest.json"
MODELS = LIBRARY / "models"
# Seconds for a computation to end after SIGTERM; it ends between two nodes of its graph.
STOP_TIME = 3.0


@dataclass(frozen=True)
class Settings:
    """What the worker was told to do; `size` in bytes and `context` in tokens, None and 0 when not told."""

    path: Path
    name: str
    size: int | None
    context: int
    threads: int
    template: str  # a chat template in Jinja, empty for the file's own
    socket: str | None  # None: systemd passes it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker until SIGTERM or SIGINT; the exit status is 0, or 2 after a mistake of the caller."""
    try:
        return serve(settings(argv))
    except AgentError as error:
        print(f"agentd-model: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.status


def settings(argv: Sequence[str] | None) -> Settings:
    """The settings from the command line and the manifest. Raises AgentError."""
    parser = argparse.ArgumentParser(
        prog="agentd-model",
        description="Serve a language model on a unix socket (Varlink interface io.aetheros.Model).",
    )
    parser.add_argument(
        "--socket", metavar="PATH", help="listen here (without it systemd passes the socket)"
    )
    parser.add_argument(
        "--model", metavar="FILE", type=Path, help="the GGUF file; else the manifest's model"
    )
    parser.add_argument("--name", help="what the model is called; else the manifest's, or the file's name")
    parser.add_argument(
        "--context", metavar="N", type=int, help="tokens; else the manifest's, or the model's"
    )
    parser.add_argument("--threads", metavar="N", type=int, help="default: one for each CPU")
    parser.add_argument(
        "--manifest", metavar="FILE", type=Path, default=MANIFEST, help=f"default: {MANIFEST}"
    )
    parser.add_argument("--version", action="version", version=f"agentd-model {__version__}")
    given = parser.parse_args(argv)
    for option in ("context", "threads"):
        value = getattr(given, option)
        if value is not None and value < 1:
            raise AgentError(f"--{option} {value}: it must be at least 1")
    card: dict[str, Any] = {} if given.model else _card(given.manifest)
    # Not llama.cpp's own default, which is half of them. More threads than CPUs wait for each other.
    cpus = len(os.sched_getaffinity(0))
    return Settings(
        path=given.model or MODELS / str(card["file"]),
        name=given.name or card.get("name") or given.model.stem,
        size=card.get("size"),
        context=given.context or int(card.get("context") or 0),
        threads=given.threads or min(int(card.get("threads") or cpus), cpus),
        template=str(card.get("chat_template") or ""),
        socket=given.socket,
    )


def _card(manifest: Path) -> dict[str, Any]:
    """The manifest's `model`: `file` below MODELS; `name`, `size`, `context`, `threads`, `chat_template`
    where it says them."""
    try:
        card = json.loads(manifest.read_text())["model"]
        if not isinstance(card["file"], str) or "/" in card["file"]:
            raise ValueError("model.file is not the name of a file")
    except FileNotFoundError:
        raise AgentError(f"there is no manifest {manifest}", hint="give --model FILE") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{manifest}: {error}", hint="give --model FILE") from error
    return dict(card)


def serve(given: Settings) -> int:
    """Listen, load and answer until told to stop. Raises AgentError if it cannot listen."""
    if given.socket is not None:
        _remove_stale(given.socket)
    elif varlink.server.get_listen_fd() is None:
        raise AgentError("there is no socket to listen on", hint="give --socket PATH")
    loader = partial(
        load,
        given.path,
        size=given.size,
        context=given.context,
        threads=given.threads,
        template=given.template,
    )
    engine = Engine(loader, name=given.name, threads=given.threads)
    full = failure("InvalidRequest", detail="all connections are in use")
    # The socket is for the one user who runs agentd; systemd's has its mode from the socket unit.
    os.umask(0o077)
    try:
        address = f"unix:{given.socket}" if given.socket is not None else ""
        server = BoundedServer(address, create_service(engine), full, lambda: None)
    except OSError as error:
        raise AgentError(f"cannot listen on {given.socket}: {error.strerror or error}") from error

    def stop(_signal: int, _frame: FrameType | None) -> None:
        # `shutdown` waits for the loop that this handler interrupts.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with server:
        notify("READY=1")
        log.info(f"agentd-model {__version__} listens; model {given.name} with {given.threads} threads")
        engine.start()
        server.serve_forever(poll_interval=0.2)
        notify("STOPPING=1")
        ended = engine.close(STOP_TIME)
    if not ended:
        # It hangs in the middle of loading or computing; the interpreter's own end would wait for it.
        os._exit(0)
    return 0


def _remove_stale(path: str) -> None:
    """Remove the socket of a worker that died; refuse if somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
        except OSError:
            return  # no such file, or something that listening will report
    raise AgentError(f"another worker is at {path}", hint="stop it, or take another --socket")


if __name__ == "__main__":
    sys.exit(main())
