"""What listens on which port: with its process, or seen from a network namespace of agentd's own, its user.

PID 1's view is readable for everybody who sees it (proc_pid_net(5)); the format is that of the kernel's
documentation, networking/proc_net_tcp.rst. Not for: how it is shown (network.py).
"""

import pwd
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from agentd.tools.tool import Lacking

OTHERS = Path("/proc/1/net")
# TCP_LISTEN, and for UDP the state of a socket without a peer, TCP_CLOSE (include/net/tcp_states.h).
_LISTENING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
_HINT = "ss -tulpn"


@dataclass(frozen=True, slots=True, order=True)
class Listener:
    """An open port; `by` is the process, the user where that is not visible, "" where neither is."""

    port: int
    protocol: str
    address: str
    by: str


def here() -> list[Listener]:
    """The listeners of agentd's own network namespace, by port. Raises Lacking."""
    import psutil

    try:
        connections = psutil.net_connections("inet")
    except (OSError, psutil.Error) as error:
        raise Lacking(f"the kernel does not show its ports: {error}", _HINT) from error
    found = set()
    for one in connections:
        is_udp = one.type == socket.SOCK_DGRAM
        # A UDP socket with a peer is a conversation, not a service.
        if one.laddr and (one.status == psutil.CONN_LISTEN or (is_udp and not one.raddr)):
            protocol = "udp" if is_udp else "tcp"
            found.add(Listener(one.laddr.port, protocol, one.laddr.ip, _process(one.pid)))
    return sorted(found)


def of_the_machine() -> list[Listener]:
    """The listeners in the namespace of PID 1, by port; users instead of processes. Raises Lacking."""
    try:
        return sorted({one for name in _LISTENING for one in _listeners(name)})
    except (OSError, ValueError, IndexError) as error:
        raise Lacking("agentd cannot see the machine's ports: its unit has no network", _HINT) from error


def _listeners(name: str) -> Iterator[Listener]:
    path = OTHERS / name
    if name.endswith("6") and not path.exists():
        return  # a kernel without IPv6
    for line in path.read_text().splitlines()[1:]:
        columns = line.split()
        if columns[3] == _LISTENING[name]:
            address, _, port = columns[1].partition(":")
            yield Listener(int(port, 16), name.removesuffix("6"), _address(address), _user(int(columns[7])))


def _address(told: str) -> str:
    """An address of words of four octets, each as a number in the machine's order of octets."""
    octets = b"".join(struct.pack("=I", int(told[at : at + 8], 16)) for at in range(0, len(told), 8))
    address = ip_address(octets)
    # What listens for both families has IPv4 addresses within IPv6 ones.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _user(uid: int) -> str:
    with suppress(KeyError):
        return f"user {pwd.getpwuid(uid).pw_name}"
    return f"user {uid}"


def _process(pid: int | None) -> str:
    import psutil

    if pid is not None:
        with suppress(psutil.Error):
            return f"{psutil.Process(pid).name()} ({pid})"
    return ""
