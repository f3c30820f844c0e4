"""Steps with files, which agentd does itself: file.write, file.move, file.bin, file.unbin.

A step names its person and whole paths; both are looked at again, whatever was planned. Not for: what is
planned (file_changes.py), or steps that need root (the broker).
"""

import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentd.acting import StepFailed
from agentd.tools import kept, reach
from agentd.tools.reach import Spot
from agentd.tools.tool import Lacking, Step


class LocalSteps:
    """An executor of agentd.acting; one step at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._verbs: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "file.write": _write,
            "file.move": _move,
            "file.bin": _bin,
            "file.unbin": _unbin,
        }

    def can(self, verb: str) -> bool:
        """Whether it is one of the verbs of files."""
        return verb in self._verbs

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        """Do the steps in their order. Raises StepFailed at the first that fails; it did nothing then.

        The token is for who does not know agentd; agentd itself knows that it may.
        """
        with self._lock:
            for step in steps:
                try:
                    self._verbs[step.verb](step.arguments)
                except Lacking as lacking:
                    raise StepFailed(f"{lacking.message}.") from lacking
                except KeyError as error:
                    raise StepFailed(f"{step.verb} needs {error}.") from error


def _write(arguments: Mapping[str, Any]) -> None:
    """Write {text}, or the kept {version}, where the content has the digest {expect}, "" for no file."""
    spot = _spot(arguments, "path")
    old = reach.content(spot)
    _expect(spot, old, arguments["expect"])
    wanted = arguments.get("version")
    data = kept.version(spot, wanted) if wanted else arguments["text"].encode()
    with reach.told(spot):
        if old is not None:
            kept.keep(spot, old)
        with reach.parent(spot, create=True) as inside:
            # A new one is as open as the folder that it is in, but for what only its owner may do.
            mode = reach.look(spot).st_mode & 0o777 if old is not None else os.fstat(inside).st_mode & 0o664
            reach.put(inside, spot.names[-1], data, mode, over=old is not None)


def _move(arguments: Mapping[str, Any]) -> None:
    source, target = _spot(arguments, "path"), _spot(arguments, "to")
    _movable(source)
    with reach.told(source), reach.parent(source) as inside:
        with reach.told(target), reach.parent(target, create=True) as other:
            reach.move(inside, source.names[-1], other, target.names[-1])


def _bin(arguments: Mapping[str, Any]) -> None:
    spot = _spot(arguments, "path")
    _movable(spot)
    if "expect" in arguments:
        _expect(spot, reach.content(spot), arguments["expect"])
    with reach.told(spot):
        kept.put(spot)


def _unbin(arguments: Mapping[str, Any]) -> None:
    """Bring back what was deleted last from {path} and has this {inode}."""
    spot = _spot(arguments, "path")
    with reach.told(spot):
        for deleted in kept.entries(spot.root):
            if deleted.origin == spot and deleted.state.st_ino == arguments["inode"]:
                kept.take(deleted)
                return
    raise Lacking(f"{spot.shown} is not in the recycle bin any more")


def _spot(arguments: Mapping[str, Any], name: str) -> Spot:
    return reach.spot(arguments[name], arguments["person"])


def _movable(spot: Spot) -> None:
    state = reach.look(spot)
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise Lacking(f"{spot.shown} is {reach.kind(state.st_mode)}, neither a file nor a folder")
    if reach.holds_state(state):
        raise Lacking(f"{spot.shown} holds what agentd keeps itself")


def _expect(spot: Spot, data: bytes | None, wanted: str) -> None:
    if ("" if data is None else kept.digest(data)) != wanted:
        raise Lacking(f"{spot.shown} was changed in the meantime")
