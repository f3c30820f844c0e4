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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import varlink.server

from agentd import __version__, log
from agentd.errors import AgentError
from agentd.model import pressure
from agentd.model.embedder import Embedder, load_encoder
from agentd.model.engine import Engine, load
from agentd.model.service import create_service, failure
from agentd.model.states import States
from agentd.notify import notify
from agentd.server import BoundedServer

LIBRARY = Path("/usr/lib/aetheros")
MANIFEST = LIBRARY / "manifest.json"
MODELS = LIBRARY / "models"
# Saved states: the folder that the unit gives, and what came with the image.
STATES = Path("/run/agentd-model/kv")
BAKED = LIBRARY / "kv"
# Seconds for what is under way to end after SIGTERM, and for what was read to be kept. An answer ends
# between two nodes of its graph.
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
    embedder: Path | None
    embedder_name: str
    embedder_size: int | None
    states: Path | None  # where states are kept
    baked: tuple[Path, ...]  # where more are found


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
    parser.add_argument(
        "--embedder", metavar="FILE", type=Path, help="a sentence encoder (GGUF); else the manifest's"
    )
    parser.add_argument(
        "--states",
        metavar="DIR",
        type=Path,
        help=f"keep what was read here (default: {STATES} if it exists)",
    )
    parser.add_argument(
        "--baked",
        metavar="DIR",
        type=Path,
        action="append",
        help=f"a read-only folder with more of it, repeatable (default: {BAKED})",
    )
    parser.add_argument("--version", action="version", version=f"agentd-model {__version__}")
    given = parser.parse_args(argv)
    for option in ("context", "threads"):
        value = getattr(given, option)
        if value is not None and value < 1:
            raise AgentError(f"--{option} {value}: it must be at least 1")
    cards: dict[str, dict[str, Any]] = {"model": {}} if given.model else _cards(given.manifest)
    card = cards["model"]
    encoder = {} if given.embedder else cards.get("embedder") or {}
    embedder: Path | None = given.embedder or (MODELS / encoder["file"] if encoder else None)
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
        embedder=embedder,
        embedder_name=encoder.get("name") or (embedder.stem if embedder else ""),
        embedder_size=encoder.get("size"),
        states=given.states or (STATES if STATES.is_dir() else None),
        baked=tuple(given.baked or (BAKED,)),
    )


def _cards(manifest: Path) -> dict[str, dict[str, Any]]:
    """The manifest's `model` and, where there is one, `embedder`: `file` below MODELS; `name`, `size`, and
    of a model `context`, `threads`, `chat_template` where it says them."""
    try:
        said = json.loads(manifest.read_text())
        cards = {key: dict(said[key]) for key in ("model", "embedder") if key == "model" or said.get(key)}
        for key, card in cards.items():
            if not isinstance(card["file"], str) or "/" in card["file"]:
                raise ValueError(f"{key}.file is not the name of a file")
    except FileNotFoundError:
        raise AgentError(f"there is no manifest {manifest}", hint="give --model FILE") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AgentError(f"{manifest}: {error}", hint="give --model FILE") from error
    return cards


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
    states = States(given.states, given.baked)
    engine = Engine(loader, name=given.name, threads=given.threads, states=states)
    encoder = partial(load_encoder, given.embedder, given.embedder_size) if given.embedder else None
    embedder = Embedder(encoder, name=given.embedder_name, busy=engine.busy)
    full = failure("InvalidRequest", detail="all connections are in use")
    # The socket is for the one user who runs agentd; systemd's has its mode from the socket unit.
    os.umask(0o077)
    try:
        address = f"unix:{given.socket}" if given.socket is not None else ""
        server = BoundedServer(address, create_service(engine, embedder), full, lambda: None)
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
        embedder.start()
        if (source := pressure.open_source(os.environ)) is not None:
            threading.Thread(target=pressure.watch, args=(source, engine.relieve), daemon=True).start()
        server.serve_forever(poll_interval=0.2)
        notify("STOPPING=1")
        began = time.monotonic()
        ended = engine.close(STOP_TIME)
        ended &= embedder.close(max(0.0, STOP_TIME - (time.monotonic() - began)))
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
