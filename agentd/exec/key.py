"""The public half of the machine's key, read by the broker itself: nobody tells it whose yes is good."""

import base64
import binascii
import os
import stat
import threading
from pathlib import Path

from agentd.machine_key import NAME, SEED_BYTES


class KeyUnusable(Exception):
    """The key cannot be read, or is not agentd's own; the text says why."""


class PublicKey:
    """The key in agentd's state folder, which belongs to the user id `owner`. Any thread may use it."""

    def __init__(self, state: Path, owner: int) -> None:
        self._path = state / NAME
        self._owner = owner
        self._public = ""
        self._lock = threading.Lock()

    def get(self) -> str:
        """The key as "ed25519:BASE64", read once. Raises KeyUnusable."""
        with self._lock:
            if not self._public:
                self._public = self._read()
            return self._public

    def _read(self) -> str:
        from nacl.signing import SigningKey

        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(self._path, flags), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise KeyUnusable(f"{self._path} is no file")
                if found.st_uid != self._owner or found.st_mode & 0o077:
                    raise KeyUnusable(f"{self._path} is not agentd's alone")
                seed = base64.b64decode(file.read(256).strip(), validate=True)
        except OSError as error:
            raise KeyUnusable(f"{self._path}: {error.strerror}") from error
        except binascii.Error:
            seed = b""
        if len(seed) != SEED_BYTES:
            raise KeyUnusable(f"{self._path} is damaged")
        return "ed25519:" + base64.b64encode(bytes(SigningKey(seed).verify_key)).decode()
