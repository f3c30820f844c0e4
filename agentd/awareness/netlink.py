"""The kernel's and udev's own news, over netlink(7): the sockets.

On an image systemd opens them (agentd-netlink.socket) and passes them on: agentd has a network namespace of
its own, in which there is no udev and none of the machine's links, and may open no such socket. What comes
while agentd starts anew waits in them. Elsewhere they are opened here. Not for: what the messages mean
(device_events.py, link_events.py).
"""

import fcntl
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

# linux/netlink.h: protocols; libudev's group of NETLINK_KOBJECT_UEVENT, and RTMGRP_LINK of NETLINK_ROUTE.
ROUTE, UEVENT = 0, 15
_GROUPS = {ROUTE: 1, UEVENT: 2}
_BUFFER = 1 << 20
_FIRST = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def inherited(environment: MutableMapping[str, str] = os.environ) -> dict[int, socket.socket]:
    """The netlink sockets that systemd passed, by protocol; what is left is at descriptor 3, and alone.

    python-varlink cannot find its socket among several. Call it before the server is made.
    """
    found: dict[int, socket.socket] = {}
    own = environment.get("LISTEN_PID") == str(os.getpid())
    count = environment.get("LISTEN_FDS", "") if own else ""
    others = []
    for descriptor in range(_FIRST, _FIRST + (int(count) if count.isdecimal() else 0)):
        with suppress(OSError):
            one = socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100))
            if one.family == socket.AF_NETLINK:
                found[one.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)] = one
                os.close(descriptor)
            else:
                one.close()
                others.append(descriptor)
    if found:
        if others and others[0] != _FIRST:
            os.dup2(others[0], _FIRST, inheritable=False)
            os.close(others[0])
        environment["LISTEN_FDS"] = str(len(others))
        environment.pop("LISTEN_FDNAMES", None)
    return found


def opened(protocol: int) -> socket.socket:
    """A socket of our own for ROUTE or UEVENT. Raises OSError where that is not allowed."""
    one = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        one.bind((0, _GROUPS[protocol]))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        if protocol == UEVENT:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    except OSError:
        one.close()
        raise
    return one
