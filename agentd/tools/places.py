"""Which folders the tools for files reach: the vault, and the owner's own folder.

On an image that is the console user's home, on a developer's host the home of agentd's user; agentd's state
beside the vault is nobody's. Not for: how a path in them is opened (reach.py).
"""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from agentd.memory.memory import OWNER
from agentd.people import CONSOLE_USER

_IMAGE_STATE = Path("/var/lib/agentd")


@dataclass(frozen=True, slots=True)
class _Places:
    state: Path
    home: Path


_places: _Places | None = None


def configure(state: Path, home: Path | None = None) -> None:
    """Say once, at the start, where agentd's state is, and which folder is the owner's if not the usual."""
    global _places
    _places = _Places(state, home or _home())


def state() -> Path:
    """agentd's own folder, which no tool reaches but for the vault in it."""
    return _known().state


def vault() -> Path:
    """The folder of notes."""
    return _known().state / "vault"


def roots(person: str = OWNER) -> tuple[Path, ...]:
    """The folders that a person's paths lead into, those that agentd can read; the first is the default.

    Whoever is not the owner has people/NAME in the vault alone. None before it is known where agentd's own
    folder is, which could be in the owner's.
    """
    if not (_places or _given()):
        return ()
    known = _known()
    if person != OWNER:
        found = [vault() / "people" / person]
    elif known.home.is_relative_to(known.state):
        found = [vault()]
    else:
        found = [known.home, vault()]
    return tuple(root for root in found if root.is_dir() and os.access(root, os.R_OK | os.X_OK))


def _known() -> _Places:
    return _places or _Places(Path(_given() or _IMAGE_STATE), _home())


def _given() -> str:
    # STATE_DIRECTORY lists several separated by colons if the unit names several (systemd.exec(5)).
    return os.environ.get("STATE_DIRECTORY", "").split(":")[0]


def _home() -> Path:
    try:
        return Path(pwd.getpwnam(CONSOLE_USER).pw_dir)
    except KeyError:
        return Path.home()
