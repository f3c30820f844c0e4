"""agentd's side of io.aetheros.Exec: having the broker do steps, and saying clearly how far it got."""

import errno
import os
from collections.abc import Mapping, Sequence
from typing import Any

import varlink

from agentd.acting import StepFailed
from agentd.call import calling
from agentd.errors import LONGEST_DETAIL
from agentd.tools.render import visible
from agentd.tools.tool import Step

SOCKET = "/run/agentd/exec.sock"
INTERFACE = "io.aetheros.Exec"
# Seconds for a broker that has to be started first, and for each step: systemd's jobs are waited for.
PATIENCE = 30.0
PATIENCE_PER_STEP = 150.0


class Broker:
    """The broker behind the socket at `path`; an acting.Executor. Each call is its own connection."""

    def __init__(
        self, path: str = SOCKET, patience: float = PATIENCE, per_step: float = PATIENCE_PER_STEP
    ) -> None:
        self._path = path
        self._patience = patience
        self._per_step = per_step

    def can(self, verb: str) -> bool:
        """Whether it is the broker who does this."""
        # What a verb does is not needed before the first change.
        from agentd.exec.verbs import VERBS

        return verb in VERBS

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        """Do the steps in their order. Raises StepFailed."""
        asked = [{"verb": step.verb, "arguments": dict(step.arguments)} for step in steps]
        seconds = self._patience + self._per_step * len(steps)
        connected = False
        try:
            # systemd's socket is root's, that of a broker for tests one's own.
            with calling(self._path, INTERFACE, seconds, listeners={0, os.geteuid()}) as broker:
                connected = True
                reply = broker.Do(steps=asked, token=token["token"], signature=token["signature"])
            count = reply["done"]
        except varlink.VarlinkError as error:
            raise StepFailed(_refused(error, len(steps))) from error
        except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError) as error:
            if not connected:
                detail = f"the broker is not there ({getattr(error, 'strerror', None) or error})"
            elif getattr(error, "errno", None) == errno.EPIPE:
                detail = "the broker closed the connection before it was asked; nothing was done"
            elif isinstance(error, TimeoutError):
                detail = f"the broker did not answer for {seconds:.0f} s, nobody knows whether it was done"
            elif isinstance(error, LookupError | TypeError | AttributeError):
                detail = "the broker gave a wrong answer, nobody knows whether it was done"
            else:
                detail = "the broker ended while it worked, nobody knows whether it was done"
            raise StepFailed(f"{detail}.") from error
        if isinstance(count, bool) or count != len(steps):
            raise StepFailed("the broker gave a wrong answer, nobody knows whether it was done.")


def _refused(error: varlink.VarlinkError, count: int) -> str:
    told = error.parameters()
    parameters: Mapping[str, Any] = told if isinstance(told, dict) else {}
    detail = visible(str(parameters.get("detail") or error.error()), LONGEST_DETAIL).rstrip(".")
    if error.error() != f"{INTERFACE}.Failed":
        return f"the broker refused, and nothing was done: {detail}."
    if count == 1:
        return f"{detail}."
    done = parameters.get("done", 0)
    return f"step {done + 1 if isinstance(done, int) else '?'} of {count} failed: {detail}."
