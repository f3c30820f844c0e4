"""Where a request comes from: the machine's console, a login over the network, or another program here.

The kernel says which process is at the other end of a socket, and in which control group it is; what a
process says of itself counts for nothing. Whatever cannot be told is "socket", from where nothing
dangerous can be approved. Not for: who the person is (people.py), or what they may do (policy.py).
"""

import os
import re
import select
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
# asm-generic/socket.h; since Linux 6.5. Python has no name for it.
_SO_PEERPIDFD = 77
# The unit of a console, and the scope of a login session, where systemd's own manager and logind put them. A
# user's own manager may have a unit of any name, but only below user@UID.service.
_CONSOLE = re.compile(
    r"/system\.slice(?:/system-agentd\\x2dconsole\.slice)?/agentd-console@[^/]+\.service(?:/.*)?"
)
_SESSION = re.compile(r"/user\.slice/user-\d+\.slice/session-([A-Za-z0-9]+)\.scope(?:/.*)?")
_LOGIN = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")


def origin_of(connection: socket.socket | None, bus: "Bus") -> Origin:
    """Who is at the other end of a unix socket, and where."""
    if connection is None:
        person = person_of(os.geteuid(), owner_uids())
        return Origin(person.name, person.is_owner, "socket")
    pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    person = person_of(uid, owner_uids())
    place = place_of(pid, bus)
    # The number of a process that has ended may by now be that of one at the console.
    return Origin(person.name, person.is_owner, place if _is_alive(connection) else "socket")


def place_of(pid: int, bus: "Bus") -> Place:
    """Where a process is; "socket" where that cannot be told."""
    group = _group(pid)
    if _CONSOLE.fullmatch(group):
        return "console"
    session = _SESSION.fullmatch(group)
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


def _group(pid: int) -> str:
    """The path of a process in the unified hierarchy (cgroups(7)), "" if it has none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def _is_alive(connection: socket.socket) -> bool:
    """Whether the process that connected has not ended; False where the kernel cannot tell."""
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
    except OSError:  # also where it was reaped already
        return False
    handle = struct.unpack("i", packed)[0]
    try:
        return not select.select([handle], [], [], 0)[0]
    finally:
        os.close(handle)
