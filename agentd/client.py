"""agentd as the `agent` command sees it: its methods as functions, its errors as lines for a person."""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import varlink

from agentd.call import calling
from agentd.errors import AgentError

INTERFACE = "io.aetheros.Agent"
MEMORY = "io.aetheros.Memory"
TOOLS = "io.aetheros.Tools"
AWARENESS = "io.aetheros.Awareness"
DEFAULT_SOCKET = "/run/agentd/agent.sock"

FAILED, MISTAKE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

# Seconds for a method that answers at once; agentd under emulation may just be starting.
PATIENCE = 60.0
# For an import, an export, or what rewrites history.
LONG_PATIENCE = 3600.0
# An answer may take very long; agentd itself ends one that hangs.
ANSWER_PATIENCE = 24 * 3600.0
# Watch says something every half minute.
WATCH_PATIENCE = 120.0


def socket_path(given: str | None) -> str:
    """The socket to use: `given`, else $AGENTD_SOCKET, else the image's."""
    return given or os.environ.get("AGENTD_SOCKET") or DEFAULT_SOCKET


def call(
    path: str, method: str, patience: float = PATIENCE, *, interface: str = INTERFACE, **parameters: Any
) -> dict[str, Any]:
    """The reply to one method within `patience` seconds. Raises AgentError."""
    with _explained(path), calling(path, interface, patience) as agent:
        reply: dict[str, Any] = getattr(agent, method)(**parameters)
    return reply


def memory(path: str, method: str, patience: float = PATIENCE, **parameters: Any) -> dict[str, Any]:
    """The reply to one method of io.aetheros.Memory. Raises AgentError."""
    return call(path, method, patience, interface=MEMORY, **parameters)


def tools(path: str, method: str, patience: float = PATIENCE, **parameters: Any) -> dict[str, Any]:
    """The reply to one method of io.aetheros.Tools. Raises AgentError."""
    return call(path, method, patience, interface=TOOLS, **parameters)


def export(path: str) -> Iterator[bytes]:
    """The pieces of the archive of everything that is remembered. Raises AgentError."""
    with _explained(path), calling(path, MEMORY, LONG_PATIENCE) as agent:
        for reply in agent.Export(_more=True):
            yield base64.b64decode(reply["data"])


def history(path: str, session: str, limit: int | None = None) -> list[dict[str, Any]]:
    """The last `limit` turns of a session, or all, oldest first. Raises AgentError."""
    turns: list[dict[str, Any]] = []
    older = True
    while older and (limit is None or not turns or len(turns) < limit):
        reply = call(
            path,
            "History",
            session=session,
            limit=None if limit is None else limit - len(turns),
            before=turns[0]["id"] if turns else None,
        )
        turns = reply["turns"] + turns
        older = reply["older"]
    return turns


@contextmanager
def asking(path: str, **parameters: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The replies to Ask, as they come; leaving the block stops the answer. Raises AgentError."""
    with _explained(path), calling(path, INTERFACE, ANSWER_PATIENCE) as agent:
        yield agent.Ask(**parameters, _more=True)


@contextmanager
def watching(path: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The replies to io.aetheros.Awareness.Watch, as they come. Raises AgentError."""
    with _explained(path), calling(path, AWARENESS, WATCH_PATIENCE) as agent:
        yield agent.Watch(_more=True)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except varlink.VarlinkError as error:
        raise _from_agentd(error) from error
    except TimeoutError as error:
        raise AgentError(
            f"agentd at {path} does not answer", "see what it says: journalctl -u agentd", UNREACHABLE
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise AgentError(
            f"agentd is not running: {path}: {error.strerror}", _start_hint(path), UNREACHABLE
        ) from error
    except PermissionError as error:
        raise AgentError(
            f"you may not use {path}",
            "join its group (usermod -aG aether USER), or use --socket",
            UNREACHABLE,
        ) from error
    except OSError as error:
        # EPIPE, ECONNRESET, and python-varlink's own "Disconnected".
        raise AgentError(
            "agentd closed the connection", "see what it says: journalctl -u agentd", UNREACHABLE
        ) from error
    except (ValueError, KeyError, RuntimeError) as error:
        raise AgentError(
            f"{path} does not speak {INTERFACE}: {type(error).__name__}",
            "is it agentd's socket?",
            UNREACHABLE,
        ) from error


def _start_hint(path: str) -> str:
    if path == DEFAULT_SOCKET:
        return "systemctl status agentd; elsewhere: agentd --state DIR and agent --socket DIR/agent.sock"
    return "start it: agentd --state DIR --model FILE.gguf, or name another --socket"


def _from_agentd(error: varlink.VarlinkError) -> AgentError:
    name = str(error.error())
    parameters = error.parameters() or {}
    detail = str(parameters.get("detail", ""))
    short = name
    for interface in (INTERFACE, MEMORY, TOOLS, AWARENESS):
        short = short.removeprefix(f"{interface}.")
    match short:
        case "NoSuchSession":
            return AgentError(
                f"there is no session '{parameters.get('session')}'", "list them: agent sessions"
            )
        case "InvalidQuestion":
            return AgentError(detail, "agent --help", MISTAKE)
        case "NotOwner":
            return AgentError(detail, "agent whoami", MISTAKE)
        case "NoSuchTool":
            return AgentError(f"there is no tool '{parameters.get('name')}'", "agent tools", MISTAKE)
        case "InvalidArguments":
            hint = "agent notices --help" if name.startswith(AWARENESS) else "agent tools"
            return AgentError(detail, hint, MISTAKE)
        case "NoSuchNotice":
            return AgentError(f"no notice {parameters.get('id')} is open", "agent notices", MISTAKE)
        case "NoSuchApproval":
            return AgentError(detail, "agent approve lists what waits", MISTAKE)
        case "NoSuchMemory":
            return AgentError(
                f"nothing is remembered under '{parameters.get('id')}'", 'agent memory search "..."'
            )
        case "InvalidMemory":
            return AgentError(detail, "agent memory --help", MISTAKE)
        case "VaultConflict":
            return AgentError(f"{parameters.get('path')}: {detail}", "agent memory check", FAILED)
        case "PreviewExpired":
            return AgentError(detail, "ask again what would be forgotten", FAILED)
        case "BadImport":
            lines = "".join(f"\n  {line}" for line in parameters.get("bad") or [])
            hint = "; --skip leaves bad records out" if parameters.get("skippable") else ""
            return AgentError(f"{detail}{lines}", f"nothing was imported{hint}", FAILED)
        case "ModelUnavailable":
            hint = (
                'ask again: agent -c "..."'
                if parameters.get("state") in ("unavailable", "loading", "resting", "ready")
                else "see what is wrong with the model: agent status"
            )
            return AgentError(detail, hint, FAILED)
        case "StoreUnavailable":
            return AgentError(detail, "nothing was stored; see: agent health, df -h /var", FAILED)
        case "Busy":
            return AgentError(f"agentd is busy: {detail}", "try again in a while", FAILED)
    return AgentError(f"agentd refused: {name} {parameters}", "is `agent` as new as agentd?", FAILED)
