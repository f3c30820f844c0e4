"""Network links that get or lose their carrier, as the kernel tells them: rtnetlink(7), linux/if_link.h."""

import socket
import struct
from collections.abc import Collection, Iterator

from agentd.awareness import netlink
from agentd.awareness.event import Event, Severity

_HEAD = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_INFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")
_NEW, _DELETE, _GET = 16, 17, 18  # RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_NAME = 3  # IFLA_IFNAME
_UP, _LOOPBACK, _LOWER_UP = 0x1, 0x8, 0x10000


class LinkEvents:
    """The links by index as they were last; `down` are those that an open notice is about."""

    protocol = netlink.ROUTE

    def __init__(self, down: Collection[str] = ()) -> None:
        self._down = frozenset(down)
        # Name, whether it is up, whether it has carrier.
        self._links: dict[int, tuple[str, bool, bool]] = {}

    def begin(self, connection: socket.socket) -> None:
        """Ask for all links."""
        body = _INFO.pack(0, 0, 0, 0, 0)
        connection.send(_HEAD.pack(_HEAD.size + len(body), _GET, _DUMP, 1, 0) + body)

    def take(self, message: bytes, credentials: bytes, sender: int) -> Iterator[Event]:
        """The events of one message of the kernel's."""
        if sender != 0:
            return
        position = 0
        while position + _HEAD.size <= len(message):
            length, kind, _, _, _ = _HEAD.unpack_from(message, position)
            if length < _HEAD.size or position + length > len(message):
                return
            body = message[position + _HEAD.size : position + length]
            position += (length + 3) & ~3
            if kind in (_NEW, _DELETE) and len(body) >= _INFO.size:
                yield from self._link(kind, body)

    def _link(self, kind: int, body: bytes) -> Iterator[Event]:
        _, _, index, flags, _ = _INFO.unpack_from(body)
        known = self._links.get(index)
        name = _name(body) or (known[0] if known else "")
        if flags & _LOOPBACK or not name:
            return
        if kind == _DELETE:
            # A removed card is udev's to tell.
            self._links.pop(index, None)
            return
        is_up, has_carrier = bool(flags & _UP), bool(flags & _UP and flags & _LOWER_UP)
        self._links[index] = name, is_up, has_carrier
        had_carrier = known[2] if known else name not in self._down
        if has_carrier and not had_carrier:
            yield Event("link.up", name, "it has carrier", source="kernel")
        elif known and had_carrier and not has_carrier:
            if is_up:
                yield Event("link.down", name, "it has no carrier", Severity.WARNING, source="kernel")
            else:
                yield Event("link.down", name, "it was taken down", source="kernel")


def _name(body: bytes) -> str:
    position = _INFO.size
    while position + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, position)
        if length < _ATTRIBUTE.size:
            break
        if kind == _NAME:
            value = body[position + _ATTRIBUTE.size : position + length]
            return value.split(b"\0")[0].decode("utf-8", "replace")
        position += (length + 3) & ~3
    return ""
