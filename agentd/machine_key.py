"""The machine's identity: one Ed25519 key, made at first use, with which it signs what it exports.

The file `identity.key` in the state folder holds the 32-byte seed as one line of base64. A key that cannot
be read is never replaced: what it signed would no longer be this machine's, a person decides that.

With a TPM the seed would be sealed to it instead of lying in the clear: _stored() would unseal and _create()
seal (TPM2_Create under the storage root key, with a policy over PCR 7; a TPM itself does not sign Ed25519).
"""

import base64
import binascii
import os
from contextlib import suppress
from pathlib import Path

from agentd.errors import AgentError

NAME = "identity.key"
SEED_BYTES = 32
_PREFIX = "ed25519:"


class MachineKey:
    """The key in the state folder. Every method may raise AgentError if it cannot be read or made."""

    def __init__(self, state: Path) -> None:
        """Nothing is read or made before the first use."""
        self.path = state / NAME
        self._seed: bytes | None = None

    def public(self) -> str:
        """The public key as "ed25519:BASE64" of its 32 bytes."""
        from nacl.signing import SigningKey

        return _PREFIX + base64.b64encode(bytes(SigningKey(self._loaded()).verify_key)).decode()

    def sign(self, message: bytes) -> str:
        """The signature of `message`: base64 of 64 bytes (RFC 8032)."""
        from nacl.signing import SigningKey

        return base64.b64encode(SigningKey(self._loaded()).sign(message).signature).decode()

    def fingerprint(self) -> str:
        """The public key for people to compare; see fingerprint()."""
        return fingerprint(self.public())

    def _loaded(self) -> bytes:
        if self._seed is None:
            try:
                try:
                    self._seed = self._stored()
                except FileNotFoundError:
                    self._create()
                    self._seed = self._stored()
            except OSError as error:
                raise AgentError(
                    f"the machine's key {self.path} cannot be used: {error.strerror}",
                    "Check that the state folder belongs to agentd and that its disk is writable.",
                ) from error
        return self._seed

    def _stored(self) -> bytes:
        """The seed in the file. Raises FileNotFoundError if there is no file."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            line = file.read(256)
        try:
            seed = base64.b64decode(line.strip(), validate=True)
        except binascii.Error:
            seed = b""
        if len(seed) != SEED_BYTES:
            raise AgentError(
                f"the machine's key {self.path} is damaged",
                "Restore it from a backup. Only if there is none, move it away: the machine then makes a new"
                " key, and is a stranger to all that knew the old one.",
            )
        return seed

    def _create(self) -> None:
        """Store a new seed, on the disk when this returns, unless another process was faster."""
        temporary = self.path.with_name(f"{NAME}.{os.urandom(4).hex()}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            try:
                os.fchmod(file.fileno(), 0o600)
                file.write(base64.b64encode(os.urandom(SEED_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
                # Unlike a rename a link never replaces a key that is there.
                with suppress(FileExistsError):
                    self.path.hardlink_to(temporary)
            finally:
                temporary.unlink()
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def verify(public: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (base64) is one of `message` by the key `public` ("ed25519:BASE64")."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    if not public.startswith(_PREFIX):
        return False
    try:
        key = VerifyKey(base64.b64decode(public.removeprefix(_PREFIX), validate=True))
        key.verify(message, base64.b64decode(signature, validate=True))
    except (BadSignatureError, ValueError):
        return False
    return True


def fingerprint(public: str) -> str:
    """A public key in short: 5 groups of 4 letters of its SHA-256 (100 bits), for people to compare."""
    from hashlib import sha256

    letters = base64.b32encode(sha256(public.encode()).digest()).decode().lower()
    return "-".join(letters[start : start + 4] for start in range(0, 20, 4))
