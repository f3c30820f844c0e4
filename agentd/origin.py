"""Where a request comes from: the machine's console, a login over the network, or another program here.

The kernel says which process is at the other end of a socket, and in which control group it is; what a
process says of itself counts for nothing. Whatever cannot be told is "socket", from where nothing
dangerous can be approved. Not for: who the person is (people.py), or what they may do (policy.py).
"""

import os
import re
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.people import owner_uids, person_of
from agentd.policy import Origin, Place
from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

_UCRED = struct.Struct("iII")
# The unit of a console, and the scope of a login session, in the path of a control group.
_CONSOLE = re.compile(r"/agentd-console@[^/]+\.service(?:/|$)")
_SESSION = re.compile(r"/session-([A-Za-z0-9]+)\.scope(?:/|$)")
_LOGIN = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def origin_of(connection: socket.socket | None, bus: "Bus") -> Origin:
    """Who is at the other end of a unix socket, and where."""
    if connection is None:
        person = person_of(os.geteuid(), owner_uids())
        return Origin(person.name, person.is_owner, "socket")
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    person = person_of(uid, owner_uids())
    return Origin(person.name, person.is_owner, place_of(pid, bus))


def place_of(pid: int, bus: "Bus") -> Place:
    """Where a process is; "socket" where that cannot be told."""
    try:
        group = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return "socket"
    if _CONSOLE.search(group):
        return "console"
    session = _SESSION.search(group)
    if session is None:
        return "socket"
    try:
        [path] = bus.call(*_LOGIN, "GetSession", "s", session[1])
        found = bus.get_all(_LOGIN[0], path, "org.freedesktop.login1.Session")
    except Lacking:
        return "socket"
    if found.get("Remote"):
        return "ssh"
    return "console" if found.get("TTY") or found.get("Seat", ("",))[0] else "socket"
