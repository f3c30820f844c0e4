"""A person's yes to one exact action: asked for, given once, and good for five minutes.

What is asked for waits here in memory, so that after a restart nobody's yes is left over. A yes becomes a
token, signed by the machine's key, that the broker (exec/) checks by itself: it names the steps, this boot
and an end in CLOCK_BOOTTIME, which no change of the clock moves. Not for: whether to ask (policy.py).
"""

import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentd.errors import NoSuchApproval
from agentd.machine_key import MachineKey, verify
from agentd.policy import Origin
from agentd.tools.tool import Plan, Step

# Seconds that a question for a yes waits, and that a token holds.
LIFETIME = 300.0
MOST_WAITING = 100
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_FIELDS = frozenset({"action", "steps", "nonce", "boot", "expires", "by"})


@dataclass(frozen=True, slots=True)
class Action:
    """What is to be done: a tool, its arguments, and the plan that was made of them."""

    tool: str
    arguments: Mapping[str, Any]
    plan: Plan

    def digest(self) -> str:
        """The SHA-256 of the whole action with what it was planned upon, in hex."""
        about = [self.tool, dict(self.arguments), self.plan.basis, steps_digest(self.plan.steps)]
        return sha256(_canonical(about)).hexdigest()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action that waits for a yes; `places` are where it may be said, anywhere if empty."""

    id: str
    action: Action
    origin: Origin
    rule: str
    places: tuple[str, ...]
    expires: float


class Approvals:
    """The actions that wait for a yes. May be used by several threads."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._lock = threading.Lock()

    def ask(self, action: Action, origin: Origin, rule: str, places: tuple[str, ...]) -> Waiting:
        """Let an action wait; the oldest of too many gives way."""
        waiting = Waiting(secrets.token_hex(4), action, origin, rule, places, now() + LIFETIME)
        with self._lock:
            self._drop_old()
            self._waiting[waiting.id] = waiting
            while len(self._waiting) > MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
        return waiting

    def take(self, id: str, origin: Origin) -> Waiting:
        """What waits under `id`, once, for whoever may say yes or no to it. Raises NoSuchApproval."""
        with self._lock:
            self._drop_old()
            waiting = self._waiting.get(id)
            if waiting is None or waiting.origin.person != origin.person:
                raise NoSuchApproval(
                    f"nothing waits as {id}: it was answered, or is older than five minutes"
                )
            if waiting.places and origin.place not in waiting.places:
                where = " or ".join(waiting.places)
                raise NoSuchApproval(f"{id} can be approved at the {where} only, not from {origin.place}")
            return self._waiting.pop(id)

    def waiting(self, person: str) -> list[Waiting]:
        """What waits for a person, oldest first."""
        with self._lock:
            self._drop_old()
            return [one for one in self._waiting.values() if one.origin.person == person]

    def _drop_old(self) -> None:
        for id in [id for id, one in self._waiting.items() if one.expires <= now()]:
            del self._waiting[id]


def mint(key: MachineKey, action: Action, steps: Sequence[Step], by: str) -> dict[str, str]:
    """A token for the broker to do these steps of an action: `token`, canonical JSON, and its `signature`.

    `by` is "person:NAME" or "policy:RULE". Raises AgentError if the machine's key cannot be used.
    """
    token = _canonical(
        {
            "action": action.digest(),
            "steps": steps_digest(steps),
            "nonce": secrets.token_hex(16),
            "boot": boot(),
            "expires": now() + LIFETIME,
            "by": by,
        }
    )
    return {"token": token.decode(), "signature": key.sign(token)}


def check(token: str, signature: str, public: str, steps: Sequence[Step]) -> str:
    """The nonce of a token that is right for exactly these steps, now.

    Whether it was used already is the caller's to know. Raises ValueError, which says what is wrong.
    """
    if not verify(public, token.encode(), signature):
        raise ValueError("it is not signed by this machine's key")
    found = json.loads(token)
    if not isinstance(found, dict) or found.keys() != _FIELDS:
        raise ValueError("it is no approval")
    if found["boot"] != boot():
        raise ValueError("it is of another boot")
    if not isinstance(found["expires"], float) or not now() < found["expires"] <= now() + LIFETIME:
        raise ValueError("it has expired")
    if found["steps"] != steps_digest(steps):
        raise ValueError("it is for something else")
    return str(found["nonce"])


def steps_digest(steps: Sequence[Step]) -> str:
    """The SHA-256 of steps, in hex."""
    return sha256(_canonical([[step.verb, dict(step.arguments)] for step in steps])).hexdigest()


def now() -> float:
    """Seconds since the boot, sleep included: no change of the clock moves it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot() -> str:
    """What names this boot (random(4))."""
    return _BOOT_ID.read_text().strip()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
