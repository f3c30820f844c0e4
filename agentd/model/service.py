"""io.aetheros.Model on Varlink: its methods in terms of the engine, its errors by name.

The names and the order of parameters are those of the interface file. Robustness against bad clients is
agentd/server.py's concern.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol

import varlink

from agentd import __version__
from agentd.call import INTERFACES, AbandonedError, Watch
from agentd.model.embedder import Embedder, EmbedderNotReady, Texts
from agentd.model.engine import RESTING, ContextTooSmall, Engine, Job, Last, NotReady, Request, Result
from agentd.model.errors import ModelError
from agentd.model.llama import Sampling
from agentd.model.messages import InvalidMessages, Message, check_messages
from agentd.model.states import NAME
from agentd.routing.model_grammar import grammar
from agentd.server import StrictService

INTERFACE = "io.aetheros.Model"
DEFAULT_TOKENS = 512
MAX_NAME = 200
MAX_SEED = 2**32 - 1
MAX_TEMPERATURE = 5.0
MAX_TEXTS = 64
NAMES = "1 to 64 of a-z, 0-9 and -"
# Seconds between two looks at the engine when nothing happens; only a bound, news come at once.
LOOK = 60.0


def failure(name: str, **parameters: str | int) -> varlink.VarlinkError:
    """An error that the interface declares."""
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": parameters})


def create_service(engine: Engine, embedder: Embedder) -> StrictService:
    """The service with io.aetheros.Model."""
    service = StrictService(
        vendor="AetherOS", product="agentd-model", version=__version__, interface_dir=str(INTERFACES)
    )
    service._set_interface(INTERFACE, ModelMethods(engine, embedder))
    return service


class ModelMethods:
    """The methods of io.aetheros.Model; see the interface file for what each does."""

    def __init__(self, engine: Engine, embedder: Embedder) -> None:
        self._engine = engine
        self._embedder = embedder

    def Generate(  # noqa: N802
        self,
        messages: list[dict[str, str]],
        max_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        request: str | None,
        keep: str | None,
        choices: list[dict[str, Any]] | None,
        _more: bool = False,
        _request: socket.socket | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Generate and stream; without "more" one reply with the whole text."""
        job = _job(messages, max_tokens, temperature, seed, request, keep, choices)
        whole: list[str] = []
        with _explained():
            for news in _run(self._engine, job, Watch(_request)):
                if isinstance(news, Result):
                    yield {"text": "" if _more else "".join(whole), "done": True, **asdict(news)}
                elif _more:
                    yield {"text": news, "done": False, "_continues": True}
                else:
                    whole.append(news)

    def Prefix(  # noqa: N802
        self, messages: list[dict[str, str]], name: str, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Read and keep the beginning that these messages give to every prompt."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise failure("InvalidRequest", detail=f"name is not {NAMES}")
        # What begins a prompt may end with an answer, as an example does.
        read = (
            [*messages, {"role": "user", "content": ""}] if messages and isinstance(messages, list) else None
        )
        job = Job(_messages(read)[:-1], 1, Sampling(), keep=name, shared=True)
        with _explained():
            (result,) = _run(self._engine, job, Watch(_request))
            assert isinstance(result, Result)
            if result.stop == "memory":
                raise NotReady("resting", RESTING)
            if result.stop == "cancelled":
                raise NotReady("unavailable", "the model worker is stopping")
        evaluated = result.prompt_tokens - result.reused_tokens
        return {"tokens": result.prompt_tokens, "evaluated": evaluated}

    def Forget(self, names: list[str] | None) -> dict[str, Any]:  # noqa: N802
        """Remove saved states, and what is in memory."""
        if names is not None and not _are_texts(names):
            raise failure("InvalidRequest", detail="names is not a list of names")
        try:
            return {"removed": self._engine.forget(names)}
        except OSError as error:
            raise failure("NotForgotten", detail=f"{error.filename}: {error.strerror}") from error

    def Embed(  # noqa: N802
        self, texts: list[str], background: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The vectors of some texts."""
        if not _are_texts(texts) or not 0 < len(texts) <= MAX_TEXTS:
            raise failure("InvalidRequest", detail=f"texts is not a list of 1 to {MAX_TEXTS} texts")
        request = Texts(texts, background=bool(background))
        try:
            with _explained():
                (vectors,) = _run(self._embedder, request, Watch(_request))
            assert not isinstance(vectors, str)
        except RuntimeError as error:
            raise failure("InvalidRequest", detail=str(error)) from error
        # A float of 32 bits has seven digits.
        return {"embeddings": [{"values": [round(value, 8) for value in vector]} for vector in vectors]}

    def Cancel(self, request: str) -> dict[str, Any]:  # noqa: N802
        """Stop the named request."""
        return {"cancelled": self._engine.cancel_named(request)}

    def Wake(self) -> dict[str, Any]:  # noqa: N802
        """Have a model that rests loaded again."""
        self._engine.wake()
        return {}

    def Count(self, texts: list[str]) -> dict[str, Any]:  # noqa: N802
        """The number of tokens of each text."""
        if not isinstance(texts, list):
            raise failure("InvalidRequest", detail="texts is missing")
        with _explained():
            return {"tokens": self._engine.count(texts)}

    def Status(self) -> dict[str, Any]:  # noqa: N802
        """What the worker says of its models."""
        embedder = self._embedder.status()
        extra = {"embedder": embedder.state, "embedder_name": embedder.name, "dimension": embedder.dimension}
        return asdict(self._engine.status()) | ({} if embedder.state is None else extra)


@contextmanager
def _explained() -> Iterator[None]:
    """The errors of a model as those of the interface. A client that is gone needs none."""
    try:
        yield
    except AbandonedError:
        raise ConnectionAbortedError from None
    except EmbedderNotReady as error:
        raise failure("EmbedderNotReady", state=error.state, detail=error.detail) from error
    except (NotReady, ModelError) as error:
        raise failure("ModelNotReady", state=error.state, detail=error.detail) from error
    except ContextTooSmall as error:
        raise failure("ContextExceeded", tokens=error.tokens, context=error.context) from error
    except (InvalidMessages, ValueError) as error:
        raise failure("InvalidRequest", detail=str(error)) from error


class Queue(Protocol):
    """What takes requests: the engine, and the embedder."""

    def submit(self, request: Any, /) -> None: ...
    def cancel(self, request: Any, /) -> None: ...


def _run(queue: Queue, job: Request[Last], watch: Watch) -> Iterator[str | Last]:
    """The news of a request as they come; a caller that stops listening cancels it.

    Raises AbandonedError when the client is gone, and what the thread behind the queue raised.
    """
    try:
        queue.submit(job)
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
            queue.cancel(job)
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
    keep: str | None,
    choices: list[dict[str, Any]] | None,
) -> Job:
    """A checked request. Raises the interface's InvalidRequest."""
    checked = _messages(messages)
    defaults = Sampling()
    chosen = defaults.temperature if temperature is None else temperature
    for wrong, detail in (
        (max_tokens is not None and max_tokens < 1, "max_tokens is below 1"),
        (not 0 <= chosen <= MAX_TEMPERATURE, f"temperature is not between 0 and {MAX_TEMPERATURE:g}"),
        (seed is not None and not 0 <= seed <= MAX_SEED, f"seed is not between 0 and {MAX_SEED}"),
        (request is not None and not 0 < len(request) <= MAX_NAME, "request is empty or too long"),
        (keep is not None and not NAME.fullmatch(keep), f"keep is not {NAMES}"),
    ):
        if wrong:
            raise failure("InvalidRequest", detail=detail)
    sampling = Sampling(temperature=chosen, seed=seed, grammar="" if choices is None else _grammar(choices))
    return Job(checked, max_tokens or DEFAULT_TOKENS, sampling, request, keep)


def _grammar(choices: list[dict[str, Any]]) -> str:
    """The grammar for a choice, made here of the names. Raises the interface's InvalidRequest."""
    try:
        named = {one["tool"]: list(one["arguments"]) for one in choices}
        if len(named) != len(choices):
            raise ValueError("a tool is there twice")
        return grammar(named)
    except (ValueError, KeyError, TypeError) as error:
        raise failure("InvalidRequest", detail=f"choices: {error}") from error


def _messages(messages: list[dict[str, str]] | None) -> list[Message]:
    """The checked messages. Raises the interface's InvalidRequest."""
    try:
        if not isinstance(messages, list):
            raise InvalidMessages("messages is missing")
        checked = [Message(one["role"], one["content"]) for one in messages]
        check_messages(checked)
    except (InvalidMessages, KeyError, TypeError) as error:
        detail = f"a message has no {error}" if isinstance(error, KeyError) else str(error)
        raise failure("InvalidRequest", detail=detail) from error
    return checked


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
