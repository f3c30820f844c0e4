"""Who is at the other end of a connection: the owner, or another person of this machine.

The kernel says which user id a peer has; each person has their own sessions and memories under the name
given here. Not for: who may connect at all (the socket's mode and group).
"""

import os
import pwd
import re
import socket
import struct
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from agentd.memory.memory import OWNER

# Whoever sits at a console of the image (image/files/usr/lib/sysusers.d/agentd.conf).
CONSOLE_USER = "aether"
# struct ucred of unix(7): process, user and group id.
_UCRED = struct.Struct("iII")
# A name that may be a folder's, and that no other user's can be mistaken for.
_NAME = re.compile(r"(?!uid\d+$)[a-z0-9_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Person:
    """A person by the name that their sessions and memories are kept under."""

    name: str
    is_owner: bool


def owner_uids() -> frozenset[int]:
    """The user ids that are the owner: root's, agentd's own and that of the consoles' user."""
    uids = {0, os.geteuid()}
    # A developer's host has no such user.
    with suppress(KeyError):
        uids.add(pwd.getpwnam(CONSOLE_USER).pw_uid)
    return frozenset(uids)


def person_of(uid: int, owner_uids: Collection[int]) -> Person:
    """The person whose processes run as `uid`.

    Who is not the owner has their user name, or "uid1234" where that is unknown, is "owner", or is no plain
    name of at most 32 characters of a-z, 0-9, "_" and "-": names that were cut or altered could meet.
    """
    if uid in owner_uids:
        return Person(OWNER, True)
    try:
        name = pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        name = ""
    if name == OWNER or not _NAME.fullmatch(name):
        name = f"uid{uid}"
    return Person(name, False)


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process at the other end of a unix socket; 4294967295, nobody's, for others."""
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(uid)
