"""io.aetheros.Model on Varlink: its methods in terms of the engine, its errors by name.

The names and the order of parameters are those of the interface file. Robustness against bad clients is
agentd/server.py's concern.
"""

import socket
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import varlink

from agentd import __version__
from agentd.call import INTERFACES, AbandonedError, Watch
from agentd.model.engine import ContextTooSmall, Engine, Job, NotReady, Result
from agentd.model.llama import Sampling
from agentd.model.messages import InvalidMessages, Message, check_messages
from agentd.server import StrictService

INTERFACE = "io.aetheros.Model"
DEFAULT_TOKENS = 512
MAX_NAME = 200
MAX_SEED = 2**32 - 1
MAX_TEMPERATURE = 5.0
# Seconds between two looks at the engine when nothing happens; only a bound, news come at once.
LOOK = 60.0


def failure(name: str, **parameters: str | int) -> varlink.VarlinkError:
    """An error that the interface declares."""
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": parameters})


def create_service(engine: Engine) -> StrictService:
    """The service with io.aetheros.Model."""
    service = StrictService(
        vendor="AetherOS", product="agentd-model", version=__version__, interface_dir=str(INTERFACES)
    )
    service._set_interface(INTERFACE, ModelMethods(engine))
    return service


class ModelMethods:
    """The methods of io.aetheros.Model; see the interface file for what each does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def Generate(  # noqa: N802
        self,
        messages: list[dict[str, str]],
        max_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        request: str | None,
        _more: bool = False,
        _request: socket.socket | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Generate and stream; without "more" one reply with the whole text."""
        job = _job(messages, max_tokens, temperature, seed, request)
        watch = Watch(_request)
        whole: list[str] = []
        try:
            for news in _run(self._engine, job, watch):
                if isinstance(news, Result):
                    yield {"text": "" if _more else "".join(whole), "done": True, **asdict(news)}
                elif _more:
                    yield {"text": news, "done": False, "_continues": True}
                else:
                    whole.append(news)
        except AbandonedError:
            raise ConnectionAbortedError from None
        except NotReady as error:
            raise failure("ModelNotReady", state=error.state, detail=error.detail) from error
        except ContextTooSmall as error:
            raise failure("ContextExceeded", tokens=error.tokens, context=error.context) from error
        except (InvalidMessages, ValueError) as error:
            raise failure("InvalidRequest", detail=str(error)) from error

    def Cancel(self, request: str) -> dict[str, Any]:  # noqa: N802
        """Stop the named request."""
        return {"cancelled": self._engine.cancel_named(request)}

    def Count(self, texts: list[str]) -> dict[str, Any]:  # noqa: N802
        """The number of tokens of each text."""
        if not isinstance(texts, list):
            raise failure("InvalidRequest", detail="texts is missing")
        try:
            return {"tokens": self._engine.count(texts)}
        except NotReady as error:
            raise failure("ModelNotReady", state=error.state, detail=error.detail) from error

    def Status(self) -> dict[str, Any]:  # noqa: N802
        """What the worker says of its model."""
        return asdict(self._engine.status())


def _run(engine: Engine, job: Job, watch: Watch) -> Iterator[str | Result]:
    """The news of a job as they come; a caller that stops listening cancels it.

    Raises AbandonedError when the client is gone, and what the engine raised.
    """
    try:
        engine.submit(job)
    except BaseException:
        job.close()
        raise
    finished = False
    try:
        while not finished:
            watch.wait(LOOK, job.fileno())
            for news in job.take():
                finished = not isinstance(news, str)
                if isinstance(news, Exception):
                    raise news
                yield news
    finally:
        if not finished:
            engine.cancel(job)
        while not finished:
            Watch().wait(LOOK, job.fileno())
            finished = any(not isinstance(news, str) for news in job.take())
        job.close()


def _job(
    messages: list[dict[str, str]] | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    request: str | None,
) -> Job:
    """A checked request. Raises the interface's InvalidRequest."""
    try:
        if not isinstance(messages, list):
            raise InvalidMessages("messages is missing")
        checked = [Message(one["role"], one["content"]) for one in messages]
        check_messages(checked)
    except (InvalidMessages, KeyError, TypeError) as error:
        detail = f"a message has no {error}" if isinstance(error, KeyError) else str(error)
        raise failure("InvalidRequest", detail=detail) from error
    defaults = Sampling()
    chosen = defaults.temperature if temperature is None else temperature
    for wrong, detail in (
        (max_tokens is not None and max_tokens < 1, "max_tokens is below 1"),
        (not 0 <= chosen <= MAX_TEMPERATURE, f"temperature is not between 0 and {MAX_TEMPERATURE:g}"),
        (seed is not None and not 0 <= seed <= MAX_SEED, f"seed is not between 0 and {MAX_SEED}"),
        (request is not None and not 0 < len(request) <= MAX_NAME, "request is empty or too long"),
    ):
        if wrong:
            raise failure("InvalidRequest", detail=detail)
    return Job(checked, max_tokens or DEFAULT_TOKENS, Sampling(temperature=chosen, seed=seed), request)
