"""Telling systemd how agentd does: sd_notify(3), as a datagram on $NOTIFY_SOCKET.

Without that variable (a developer's host) every function does nothing.
"""

import os
import socket


def notify(state: str) -> None:
    """Send `state`, lines such as "READY=1", to the service manager."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A manager that is gone or whose queue is full must not take agentd down with it.
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return


def watchdog_seconds() -> float | None:
    """The time within which systemd wants a sign of life, None when it wants none."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) > 0 else None
