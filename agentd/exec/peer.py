"""Whether the process at the other end of a connection is agentd: its user, and the unit it runs in.

The user alone would not do: whatever else runs as it could ask for anything that agentd was given leave to.
"""

import os
import select
import socket
import struct
from pathlib import Path

# asm-generic/socket.h; since Linux 6.5. Python has no name for it.
SO_PEERPIDFD = 77
# The cgroup of agentd.service: no Slice= and no Delegate=, so this and nothing below it. A user's own
# manager may have a unit of that name, but not there.
AGENTD_CGROUP = "/system.slice/agentd.service"
# struct ucred of unix(7): process, user and group id.
_UCRED = struct.Struct("iII")


class Stranger(Exception):
    """The peer is not agentd; the text says why."""


def check(connection: socket.socket, user: int, cgroup: str = AGENTD_CGROUP) -> None:
    """Return if the process that connected runs as the user id `user` in `cgroup`. Raises Stranger."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(packed)
    if uid != user:
        raise Stranger(f"process {pid} runs as user {uid}, not as agentd's {user}")
    try:
        handle = struct.unpack("i", connection.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, 4))[0]
    except OSError as error:
        # Also where the peer was reaped already (ESRCH, EINVAL).
        raise Stranger(f"the kernel names no process {pid}: {error.strerror}") from error
    try:
        found = _cgroup(pid)
        # A process that has not ended has kept its number, so what was read is its own.
        if select.select([handle], [], [], 0)[0]:
            raise Stranger(f"process {pid} has ended")
    finally:
        os.close(handle)
    if found != cgroup:
        raise Stranger(f"process {pid} runs in {found or 'no cgroup'}, not in {cgroup}")


def _cgroup(pid: int) -> str:
    """The path of a process in the unified hierarchy (cgroups(7)), "" if it has none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")
