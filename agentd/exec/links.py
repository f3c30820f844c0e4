"""Network links up and down: the flag IFF_UP, by the ioctls of netdevice(7).

networkd could do it over its socket only since systemd 258, and does not run in the image. The ioctls are
the same on every kind of socket, so that a unix one will do and no family of the network's is needed.
"""

import errno
import fcntl
import socket
import struct

from agentd.tools.tool import Lacking

# linux/sockios.h and linux/if.h.
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 0x1
# struct ifreq: the name, the flags, and the rest of its 40 bytes.
_REQUEST = struct.Struct("16sH22x")


def set_up(link: str, up: bool) -> None:
    """Bring a link up, or take it down. Raises Lacking."""
    name = link.encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            found = fcntl.ioctl(channel, _SIOCGIFFLAGS, _REQUEST.pack(name, 0))
            flags = _REQUEST.unpack(found)[1]
            flags = flags | _IFF_UP if up else flags & ~_IFF_UP
            fcntl.ioctl(channel, _SIOCSIFFLAGS, _REQUEST.pack(name, flags))
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise Lacking(f"there is no link {link}") from error
        raise Lacking(f"{link}: {error.strerror}") from error
