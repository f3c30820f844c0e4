"""agentd's side of io.aetheros.Model: asking the model worker, and saying clearly when it does not answer.

The worker may load, crash, hang or be missing; each becomes one WorkerError with a state and a line for
a person. Starting the worker is systemd's concern, or child.py's on a developer's host.
"""

import os
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import varlink

from agentd.call import Watch, calling

INTERFACE = "io.aetheros.Model"

# Seconds a short call may take. A worker that imports numpy under emulation needs several before it listens.
SHORT_CALL = 5.0
COUNT_CALL = 60.0
# How long a question waits for a worker that is loading, and for one that is not there at all.
LOADING_PATIENCE = 300.0
ABSENT_PATIENCE = 60.0
# How long between two questions whether there is memory for a model that rests.
MEMORY_LOOK = 1.0
# How long between two pieces of an answer: reading a prompt under emulation takes 0.6 s per token.
ANSWER_PATIENCE = 120.0
ANSWER_PATIENCE_PER_PROMPT_BYTE = 1.0
# For embedding, per call and per text: a long text under emulation, in the background of an answer.
EMBED_PATIENCE = 30.0
EMBED_PATIENCE_PER_TEXT = 30.0
# What the worker takes at once, and how much of a text it looks at.
EMBED_TEXTS = 64
EMBED_CHARACTERS = 8192


# What a worker that died, hangs or answers nonsense looks like from here.
_FAILURES = (OSError, varlink.VarlinkError, KeyError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What the worker says of itself; `context` in tokens, None when it cannot say.

    `embedder` is the sentence encoder's state, None where there is none; vectors are of `dimension` numbers
    and can be compared with those of the same `embedder_name`.
    """

    state: str
    detail: str
    name: str = ""
    context: int | None = None
    built_for: str = ""
    embedder: str | None = None
    embedder_name: str = ""
    dimension: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """How a generation ended: `stop` is "end", "length", "cancelled" or "memory" (the machine was too short
    of it to go on); the numbers are tokens.

    Of the prompt, `reused_tokens` had been read before, and `loaded_tokens` of those came from the disk.
    """

    stop: str
    prompt_tokens: int
    reused_tokens: int
    completion_tokens: int
    loaded_tokens: int = 0


class WorkerError(Exception):
    """The worker did not do what it was asked; `state` as in io.aetheros.Agent's Model type."""

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail


class ContextExceededError(Exception):
    """The messages have `tokens` tokens and do not fit into `context`."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(f"{tokens} tokens do not fit into {context}")
        self.tokens = tokens
        self.context = context


class ModelWorker:
    """The model worker behind the socket at `path`. Each call is its own connection."""

    def __init__(self, path: str) -> None:
        self.path = path

    def status(self, seconds: float = SHORT_CALL, watch: Watch | None = None) -> WorkerStatus:
        """What the worker says of itself; a worker that says nothing is "unavailable". Never raises,
        but for AbandonedError."""
        try:
            with calling(self.path, INTERFACE, seconds, watch) as model:
                reply = model.Status()
            named = ("state", "detail", "name", "built_for")
            return WorkerStatus(
                context=reply["context"] or None,
                embedder=reply.get("embedder"),
                embedder_name=reply.get("embedder_name") or "",
                dimension=reply.get("dimension") or 0,
                **{name: reply[name] for name in named},
            )
        except TimeoutError:
            return WorkerStatus("unavailable", f"the model worker has not answered for {seconds:.0f} s")
        except OSError:
            return WorkerStatus("unavailable", "the model worker is not running")
        except (varlink.VarlinkError, KeyError, ValueError, RuntimeError) as error:
            return WorkerStatus("unavailable", f"the model worker gave a wrong answer: {_name(error)}")

    def wait_ready(self, watch: Watch) -> Generator[str, None, WorkerStatus]:
        """Wait until the worker can answer; yields a line for the person if that takes a while, and one more
        if it is memory that is waited for. A model that rests is loaded again.

        Raises WorkerError at once when the worker says that it cannot, and when patience ends.
        """
        began = time.monotonic()
        told: set[bool] = set()
        while True:
            status = self._wake(self.status(watch=watch), watch)
            if status.state == "ready":
                return status
            resting = status.state == "resting"
            patience = LOADING_PATIENCE if resting or status.state == "loading" else 0.0
            # A worker that calls itself unavailable stays so; one that says nothing may be on its way.
            if status.state == "unavailable" and not status.name:
                patience = ABSENT_PATIENCE
            waited = time.monotonic() - began
            if waited > patience:
                raise WorkerError(status.state, status.detail)
            if resting not in told and waited > 1.0:
                told.add(resting)
                yield status.detail if resting else f"waiting for the model: {status.detail or status.state}"
            watch.wait(MEMORY_LOOK if resting else 0.2)

    def _wake(self, status: WorkerStatus, watch: Watch) -> WorkerStatus:
        """Ask a model that rests to load, and what it says then. Raises AbandonedError."""
        if status.state != "resting":
            return status
        # A worker that has just died says so in its next status.
        with suppress(*_FAILURES), calling(self.path, INTERFACE, SHORT_CALL, watch) as model:
            model.Wake()
        return self.status(watch=watch)

    def count(self, texts: Sequence[str], watch: Watch) -> list[int]:
        """The number of tokens of each text. Raises WorkerError, AbandonedError."""
        try:
            with calling(self.path, INTERFACE, COUNT_CALL, watch) as model:
                tokens = [int(number) for number in model.Count(list(texts))["tokens"]]
        except _FAILURES as error:
            raise _explained(error) from error
        if len(tokens) != len(texts):
            raise WorkerError("unavailable", "the model worker gave a wrong answer to Count")
        return tokens

    def generate(
        self,
        messages: list[dict[str, str]],
        max_tokens: int,
        watch: Watch,
        keep: str | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> Generator[str, None, Finish]:
        """The pieces of the model's next message, some empty, at least one; and at the end how it ended.

        What was read is then kept under the name `keep` ([a-z0-9-], at most 64), also over a restart. With
        `choices`, tools with their arguments' names, it is a choice among them, as JSON, and nothing else.
        Closing the generator stops the worker. Raises WorkerError, ContextExceededError, AbandonedError.
        """
        try:
            with calling(self.path, INTERFACE, _patience(messages), watch) as model:
                request = os.urandom(8).hex()
                named = [{"tool": tool, "arguments": list(names)} for tool, names in (choices or {}).items()]
                replies = model.Generate(
                    messages=messages,
                    max_tokens=max_tokens,
                    request=request,
                    keep=keep,
                    choices=named or None,
                    _more=True,
                )
                for reply in replies:
                    yield reply["text"]
                    if reply["done"]:
                        return _finish(reply)
        except _FAILURES as error:
            raise _explained(error) from error
        raise WorkerError("unavailable", "the model worker ended its answer without an end")

    def prefix(self, messages: list[dict[str, str]], name: str, watch: Watch) -> int:
        """Have the beginning that these messages give to every prompt read and kept under a name.

        How many tokens had to be read; 0 when it was kept already. Waits for its turn like a question.
        Raises WorkerError, ContextExceededError, AbandonedError.
        """
        try:
            with calling(self.path, INTERFACE, _patience(messages), watch) as model:
                return int(model.Prefix(messages=messages, name=name)["evaluated"])
        except _FAILURES as error:
            raise _explained(error) from error

    def forget(self, names: Sequence[str] | None, watch: Watch) -> int:
        """Remove what is kept under these names, or everything; how many files there were.

        Raises WorkerError, AbandonedError.
        """
        try:
            with calling(self.path, INTERFACE, COUNT_CALL, watch) as model:
                return int(model.Forget(names=None if names is None else list(names))["removed"])
        except _FAILURES as error:
            raise _explained(error) from error

    def embed(self, texts: Sequence[str], watch: Watch, *, background: bool = False) -> list[list[float]]:
        """The meaning of each text as a vector of length 1, of the beginning of a long one.

        In the `background` it takes its time while an answer is written. Raises WorkerError, also where
        there is no encoder, and AbandonedError.
        """
        vectors: list[list[float]] = []
        try:
            for start in range(0, len(texts), EMBED_TEXTS):
                part = [text[:EMBED_CHARACTERS] for text in texts[start : start + EMBED_TEXTS]]
                patience = EMBED_PATIENCE + EMBED_PATIENCE_PER_TEXT * len(part)
                with calling(self.path, INTERFACE, patience, watch) as model:
                    reply = model.Embed(texts=part, background=background)
                vectors += [embedding["values"] for embedding in reply["embeddings"]]
        except _FAILURES as error:
            raise _explained(error) from error
        if len(vectors) != len(texts):
            raise WorkerError("unavailable", "the model worker gave a wrong answer to Embed")
        return vectors


def _patience(messages: list[dict[str, str]]) -> float:
    """How many seconds may pass until the first piece of an answer."""
    size = sum(len(message["content"].encode()) for message in messages)
    return ANSWER_PATIENCE + ANSWER_PATIENCE_PER_PROMPT_BYTE * size


def _finish(reply: dict[str, Any]) -> Finish:
    return Finish(
        stop=reply.get("stop") or "end",
        prompt_tokens=reply.get("prompt_tokens") or 0,
        reused_tokens=reply.get("reused_tokens") or 0,
        completion_tokens=reply.get("completion_tokens") or 0,
        loaded_tokens=reply.get("loaded_tokens") or 0,
    )


def _explained(error: Exception) -> Exception:
    if isinstance(error, TimeoutError):
        return WorkerError("unavailable", "the model worker does not answer any more")
    if isinstance(error, OSError):
        return WorkerError("unavailable", "the model worker stopped while answering (it is being restarted)")
    if isinstance(error, varlink.VarlinkError):
        parameters = error.parameters() or {}
        if error.error() == f"{INTERFACE}.ContextExceeded":
            return ContextExceededError(parameters.get("tokens", 0), parameters.get("context", 0))
        if error.error() in (f"{INTERFACE}.ModelNotReady", f"{INTERFACE}.EmbedderNotReady"):
            return WorkerError(parameters.get("state", "unavailable"), parameters.get("detail", ""))
        detail = parameters.get("detail") or _name(error)
        return WorkerError("unavailable", f"the model worker refused: {detail}")
    return WorkerError("unavailable", f"the model worker gave a wrong answer: {_name(error)}")


def _name(error: Exception) -> str:
    return str(error.error()) if isinstance(error, varlink.VarlinkError) else type(error).__name__
