"""io.aetheros.Exec on Varlink: steps checked, the approval checked and used up, and only then the acting.

Not for: who may connect (peer.py, asked by the server below before a byte is read), or what a verb does
(verbs.py).
"""

import json
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import varlink

from agentd import __version__, approval, log
from agentd.call import INTERFACES, AbandonedError, Watch
from agentd.exec import verbs
from agentd.exec.key import KeyUnusable
from agentd.exec.nonces import Nonces
from agentd.exec.peer import Stranger
from agentd.exec.verbs import VERBS, Machine, WrongStep
from agentd.server import BoundedServer, StrictService, encoded
from agentd.tools.tool import Lacking, Step

INTERFACE = "io.aetheros.Exec"
MOST_STEPS = 32


def failure(name: str, **parameters: str | int) -> varlink.VarlinkError:
    """An error that the interface declares."""
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": parameters})


class ExecServer(BoundedServer):
    """The server, for agentd alone: `check` raises Stranger for the connection of anybody else."""

    def __init__(self, address: str, methods: "ExecMethods", check: Callable[[socket.socket], None]) -> None:
        service = StrictService(
            vendor="AetherOS", product="agentd-exec", version=__version__, interface_dir=str(INTERFACES)
        )
        service._set_interface(INTERFACE, methods)
        self._check = check
        full = failure("NotAllowed", detail="all connections are in use")
        super().__init__(address, service, full, lambda: None)

    def verify_request(self, request: socket.socket, client_address: Any) -> bool:
        """Whether whoever connected is served; called by the accepting loop."""
        try:
            self._check(request)
        except Stranger as stranger:
            log.warning(f"refused a client: {stranger}")
            request.settimeout(0)
            with suppress(OSError):
                request.sendall(encoded(failure("NotAllowed", detail=str(stranger))))
            return False
        return True

    def is_idle(self) -> bool:
        """Whether nobody is connected."""
        with self._lock:
            return not self._idle_since


class ExecMethods:
    """The methods of io.aetheros.Exec; see the interface file for what each does."""

    def __init__(self, machine: Machine, public: Callable[[], str], nonces: Nonces) -> None:
        """`public` is the machine's key; it raises KeyUnusable."""
        self._machine = machine
        self._public = public
        self._nonces = nonces
        self._acting = threading.Lock()

    def Verbs(self) -> dict[str, Any]:  # noqa: N802
        """What can be done."""
        return {
            "verbs": [
                {
                    "name": name,
                    "purpose": verb.purpose,
                    "required": list(verb.required),
                    "optional": list(verb.optional),
                }
                for name, verb in VERBS.items()
            ]
        }

    def Do(  # noqa: N802
        self,
        steps: list[dict[str, Any]],
        token: str,
        signature: str,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """Do steps in their order."""
        try:
            asked = _checked(steps)
        except WrongStep as wrong:
            log.warning(f"refused: {wrong}")
            raise failure("BadStep", detail=str(wrong)) from wrong
        with self._acting:
            try:
                Watch(_request).wait(0)
            except AbandonedError:
                raise ConnectionAbortedError from None
            nonce = self._allowed(asked, token, signature)
            said = json.loads(token)
            log.info(f"began {nonce} by {said['by']}, action {said['action']}: {_shown(asked)}")
            for number, step in enumerate(asked):
                try:
                    verbs.act(self._machine, step)
                except Lacking as lacking:
                    detail = lacking.message
                except Exception as error:  # of any verb: the caller has to know how far it went
                    detail = f"{type(error).__name__}: {error}"
                else:
                    log.info(f"done {nonce}: {number + 1} of {len(asked)}, {step.verb}")
                    continue
                log.error(f"failed {nonce}: {number + 1} of {len(asked)}, {step.verb}: {detail}")
                raise failure("Failed", done=number, detail=detail)
        return {"done": len(asked)}

    def wait_idle(self, seconds: float) -> bool:
        """Whether what is under way ended in time; nothing begins any more then."""
        return self._acting.acquire(timeout=seconds)

    def _allowed(self, asked: Sequence[Step], token: str, signature: str) -> str:
        """The nonce of an approval that is used up now. Raises the interface's NotAllowed."""
        try:
            if not isinstance(token, str) or not isinstance(signature, str):
                raise ValueError("it is missing")
            nonce = approval.check(token, signature, self._public(), asked)
            self._nonces.use(nonce)
        except KeyUnusable as error:
            detail = f"the machine's key cannot be used: {error}"
        except ValueError as error:
            detail = f"the approval is not good: {error}"
        except OSError as error:
            detail = f"that the approval is used cannot be stored: {error.strerror}"
        else:
            return nonce
        log.warning(f"refused {_shown(asked)}: {detail}")
        raise failure("NotAllowed", detail=detail)


def _checked(steps: Any) -> list[Step]:
    """The steps of a call. Raises WrongStep."""
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise WrongStep(f"from 1 to {MOST_STEPS} steps are done at once")
    asked = []
    for given in steps:
        verb, arguments = given.get("verb"), given.get("arguments")
        if not isinstance(verb, str) or not isinstance(arguments, dict):
            raise WrongStep("a step is a verb and an object with its arguments")
        step = Step(verb, arguments)
        verbs.check(step)
        asked.append(step)
    return asked


def _shown(steps: Sequence[Step]) -> str:
    return json.dumps([[step.verb, dict(step.arguments)] for step in steps])
