"""A broker for tests: the real server, approvals and verbs, over a bus that only notes what it is told.

`running` has it in this process; `python exec_fixture.py SOCKET FOLDER` is one to be killed, whose bus
holds each job for ever. The peer that is let in is this process itself, by the real check.
"""

import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from dbus_fast.signature import SignatureTree

from agentd.approval import Action, mint
from agentd.broker import Broker
from agentd.exec import peer
from agentd.exec.broker import serve
from agentd.exec.key import PublicKey
from agentd.exec.nonces import Nonces
from agentd.exec.service import ExecMethods, ExecServer
from agentd.exec.verbs import Machine
from agentd.machine_key import MachineKey
from agentd.tools.bus import Bus, Match, Refused, Signal
from agentd.tools.tool import Plan, Step

HERE = Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()
RESTART = (Step("unit.restart", {"unit": "nginx.service"}),)


class FakeBus:
    """systemd and the others, as far as the verbs look; `calls` are (member, body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.jobs: dict[str, str] = {}  # results by unit; "done" for all others
        self.properties: dict[str, dict[str, Any]] = {}  # of units, beside those that every unit has
        self.refused: dict[str, str] = {}  # the D-Bus error's name by member
        self.has_install = True
        self.on_job: Callable[[], None] = lambda: None
        self._handlers: list[Callable[[Signal], None]] = []
        self._units: list[str] = []

    def members(self) -> list[str]:
        return [member for member, _ in self.calls]

    def call(
        self,
        _destination: str,
        path: str,
        _interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        **_: Any,
    ) -> list[Any]:
        SignatureTree(signature).verify(list(body))
        if member in self.refused:
            raise Refused(f"systemd refuses: {member}", self.refused[member])
        if member != "Subscribe":
            self.calls.append((member, list(body)))
        match member:
            case "LoadUnit":
                self._units.append(body[0])
                return [f"/unit/{len(self._units) - 1}"]
            case "EnableUnitFiles":
                return [self.has_install, []]
            case "StartUnit" | "StopUnit" | "RestartUnit":
                self.on_job()
                result = self.jobs.get(body[0], "done")
                # Somebody else's job first: it is not mistaken for this one.
                for job, end in (("/job/1", "failed"), ("/job/2", result)):
                    for handler in self._handlers:
                        handler(Signal(path, "", "JobRemoved", [2, job, body[0], end]))
                return ["/job/2"]
        return []

    def get_all(self, _destination: str, path: str, _interface: str) -> dict[str, Any]:
        name = self._units[int(path.rpartition("/")[2])]
        relations = ("Conflicts", "ConflictedBy", "RequiredBy", "BoundBy", "ConsistsOf")
        return {
            "Id": name,
            "Names": [name],
            "ConditionResult": True,
            "NextElapseUSecRealtime": 1_800_000_000_000_000,
            "LastTriggerUSec": 0,
            **{relation: ["shutdown.target"] for relation in relations},
            **self.properties.get(name, {}),
        }

    def get(self, destination: str, path: str, interface: str, name: str) -> Any:
        return self.get_all(destination, path, interface)[name]

    def subscribe(
        self, match: Match, handler: Callable[[Signal], None], begin: Callable[[], None]
    ) -> Callable[[], None]:
        self._handlers.append(handler)
        begin()
        return lambda: self._handlers.remove(handler)

    def as_bus(self) -> Bus:
        return cast(Bus, self)


class World:
    """A broker, the key that agentd would sign with, and the bus that its verbs speak on."""

    def __init__(self, folder: Path, bus: FakeBus, path: str) -> None:
        self.folder = folder
        self.bus = bus
        self.path = path
        self.key = MachineKey(folder / "agentd")
        self.units = folder / "units"

    def token(self, steps: Sequence[Step] = RESTART) -> dict[str, str]:
        """An approval for these steps."""
        return mint(self.key, Action("tool", {}, Plan("do it", tuple(steps))), steps, "person:owner")

    def run(self, steps: Sequence[Step] = RESTART, token: dict[str, str] | None = None) -> None:
        """What agentd does with steps that were agreed to; raises StepFailed."""
        Broker(self.path, 10.0, 10.0).run(steps, token or self.token(steps))


def folders(folder: Path) -> None:
    """agentd's state with its key, the broker's own state, and where units are written; kept if there."""
    if not (folder / "agentd").exists():
        for name in ("agentd", "broker", "units"):
            (folder / name).mkdir()
        MachineKey(folder / "agentd").public()


def server(folder: Path, bus: FakeBus, path: str, check: Callable[[socket.socket], None]) -> ExecServer:
    """A broker's server at `path`, with its state in `folder`."""
    machine = Machine(bus.as_bus(), folder / "units", folder / "backlights")
    key = PublicKey(folder / "agentd", os.getuid())
    return ExecServer(f"unix:{path}", ExecMethods(machine, key.get, Nonces(folder / "broker")), check)


this_process = partial(peer.check, user=os.getuid(), cgroup=HERE)


@contextmanager
def running(
    folder: Path, bus: FakeBus | None = None, check: Callable[[socket.socket], None] = this_process
) -> Iterator[World]:
    """A broker in a thread of this process."""
    folders(folder)
    bus = bus or FakeBus()
    stop = os.eventfd(0)
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders have names too long for a socket
        path = f"{place}/exec.sock"
        with server(folder, bus, path, check) as serving:
            thread = threading.Thread(target=serve, args=(serving, stop, 60.0))
            thread.start()
            try:
                yield World(folder, bus, path)
            finally:
                os.eventfd_write(stop, 1)
                thread.join(10)
    os.close(stop)
    assert not thread.is_alive()


def main(path: str, folder: str) -> None:
    """A broker whose jobs never end, for a test to kill."""
    bus = FakeBus()

    def hold() -> None:
        threading.Event().wait()

    bus.on_job = hold
    parent = Path(f"/proc/{os.getppid()}/cgroup").read_text().rpartition("0::")[2].strip()
    check = partial(peer.check, user=os.getuid(), cgroup=parent)
    with server(Path(folder), bus, path, check) as serving:
        serve(serving, os.eventfd(0), 60.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
