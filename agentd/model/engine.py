"""One model, one thread, one answer at a time: the queue between callers and llama.cpp.

The thread imports llama.cpp and loads the model, so that the worker answers "loading" meanwhile; then
it takes the requests in the order in which they came. A request tells its caller by an event file
descriptor that something new is there, so that the caller can wait for this and for its client's
connection at once. Not for: Varlink (service.py) or the process (worker.py).
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agentd import log
from agentd.model.errors import ModelError
from agentd.model.llama import RUN_NATIVELY, Llama, Piece, Sampling, Stopped, check_file
from agentd.model.messages import Message
from agentd.model.utf8 import Assembler

if TYPE_CHECKING:
    from agentd.model.template import ChatTemplate


class ContextTooSmall(Exception):
    """The prompt has `tokens` tokens, the model's context holds `context`."""

    def __init__(self, tokens: int, context: int) -> None:
        super().__init__(f"{tokens} tokens do not fit a context of {context}")
        self.tokens = tokens
        self.context = context


class NotReady(Exception):
    """The model is not loaded; `state` and `detail` are those of Status."""

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(f"{state}: {detail}")
        self.state = state
        self.detail = detail


@dataclass(frozen=True)
class Status:
    """What the worker says of its model, as io.aetheros.Model has it; `context` in tokens."""

    state: str
    detail: str
    name: str
    context: int
    threads: int
    built_for: str = ""


@dataclass(frozen=True)
class Result:
    """How a generation ended: `stop` is "end", "length" or "cancelled"; the rest are tokens."""

    stop: str
    prompt_tokens: int
    reused_tokens: int
    completion_tokens: int


class Job:
    """A request in the queue or under way, seen from both sides.

    The last news of a job is always a Result or an exception; after it the engine has let go of it.
    """

    def __init__(
        self, messages: Sequence[Message], max_tokens: int, sampling: Sampling, name: str | None = None
    ) -> None:
        self.messages = tuple(messages)
        self.max_tokens = max_tokens
        self.sampling = sampling
        self.name = name
        self.cancelled = False
        self._news: deque[News] = deque()
        # News and event change together: a caller that took the last news closes the file descriptor,
        # which must not happen before the engine has written to it.
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """A file descriptor that is readable while there is news to take."""
        return self._event

    def tell(self, news: "News") -> None:
        """Hand a piece of text, the result or an error to the caller."""
        with self._lock:
            self._news.append(news)
            os.eventfd_write(self._event, 1)

    def take(self) -> list["News"]:
        """All the news since the last call."""
        with self._lock:
            try:
                os.eventfd_read(self._event)
            except BlockingIOError:
                return []
            return [self._news.popleft() for _ in range(len(self._news))]

    def close(self) -> None:
        """Give the file descriptor back; only after the last news."""
        os.close(self._event)


News = str | Result | Exception


class Model(Protocol):
    """What the engine needs of a model; llama.Llama is the real one."""

    context: int

    def stop(self) -> None: ...
    def resume(self) -> None: ...
    def forget(self) -> None: ...
    def reusable(self, tokens: Sequence[int], /) -> int: ...
    def generate(self, tokens: Sequence[int], sampling: Sampling, /) -> Generator[int]: ...
    def tokenize(self, text: str, /) -> list[int]: ...
    def tokenize_pieces(self, pieces: Sequence[Piece], /) -> list[int]: ...
    def token_bytes(self, token: int, /) -> bytes: ...
    def ends(self, token: int, /) -> bool: ...


@dataclass(frozen=True)
class Loaded:
    """A model that can answer, its chat template, what a person should know about it, and for which CPU
    llama.cpp was built."""

    model: Model
    template: "ChatTemplate"
    detail: str
    built_for: str = ""


# Tokens, where nobody says: keys and values cost memory for each (22 kB with the 135M model).
DEFAULT_CONTEXT = 4096


def load(path: Path, *, size: int | None, context: int, threads: int, template: str = "") -> Loaded:
    """Load a GGUF file of `size` bytes (None: any), with its own chat template if no `template` is given.

    `context` is in tokens; 0 is what the model was trained with, but no more than DEFAULT_CONTEXT.
    Raises ModelError.
    """
    check_file(path, size)
    try:
        from agentd.model.template import CHATML, ChatTemplate
    except ImportError as error:
        raise ModelError("unavailable", f"chat templates need Jinja: {error}; {RUN_NATIVELY}") from error
    model = Llama(path, context=context or DEFAULT_CONTEXT, threads=threads)
    source = template or model.chat_template()
    chat = ChatTemplate(source or CHATML, bos=model.token_text("bos"), eos=model.token_text("eos"))
    notes = [model.metadata("general.name") or path.name]
    if not source:
        notes.append("no chat template in the file, ChatML is used")
    if context > model.trained:
        notes.append(f"context cut to the {model.trained} tokens it was trained with")
    if model.built_for:
        notes.append(f"llama.cpp for {model.built_for}")
    return Loaded(model, chat, "; ".join(notes), model.built_for)


class Engine:
    """The thread that owns the model, and the queue before it."""

    def __init__(self, loader: Callable[[], Loaded], *, name: str, threads: int) -> None:
        self._loader = loader
        self._loaded: Loaded | None = None
        self._status = Status("loading", f"{name} is being loaded", name, 0, threads)
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def status(self) -> Status:
        """What is to be said of the model now."""
        with self._changed:
            return self._status

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text. Raises NotReady."""
        loaded = self._ready()
        return [len(loaded.model.tokenize(text)) for text in texts]

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue. Raises NotReady, and ValueError if its name is in use."""
        self._ready()
        with self._changed:
            if self._closing:
                raise NotReady("unavailable", "the model worker is stopping")
            if job.name is not None and any(job.name == other.name for other in self._jobs()):
                raise ValueError(f"the request {job.name!r} is running already")
            self._queue.append(job)
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """Stop a job; it gets its Result within milliseconds, and at once if it was waiting."""
        with self._changed:
            job.cancelled = True
            if job is self._current and self._loaded is not None:
                self._loaded.model.stop()
            elif job in self._queue:
                self._queue.remove(job)
                job.tell(Result("cancelled", 0, 0, 0))

    def cancel_named(self, name: str) -> bool:
        """Stop the job with this name; False when there is none."""
        with self._changed:
            named = next((job for job in self._jobs() if job.name == name), None)
        if named is not None:
            self.cancel(named)
        return named is not None

    def close(self, seconds: float) -> bool:
        """Stop everything; whether the thread ended within `seconds`."""
        with self._changed:
            self._closing = True
            jobs = self._jobs()
            self._changed.notify_all()
        for job in jobs:
            self.cancel(job)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _jobs(self) -> list[Job]:
        return [*([self._current] if self._current else []), *self._queue]

    def _ready(self) -> Loaded:
        with self._changed:
            if self._loaded is None:
                raise NotReady(self._status.state, self._status.detail)
            return self._loaded

    def _run(self) -> None:
        if not self._load():
            return
        while (job := self._next()) is not None:
            try:
                last: News = self._answer(job)
            except Exception as error:
                last = error
            with self._changed:
                self._current = None
            job.tell(last)

    def _load(self) -> bool:
        state, detail, context, built_for = "ready", "", 0, ""
        loaded: Loaded | None = None
        try:
            loaded = self._loader()
            detail, context, built_for = loaded.detail, loaded.model.context, loaded.built_for
        except ModelError as error:
            state, detail = error.state, error.detail
        except Exception as error:
            state, detail = "unavailable", f"loading the model failed: {type(error).__name__}: {error}"
        with self._changed:
            old = self._status
            self._status = Status(state, detail, old.name, context, old.threads, built_for)
            self._loaded = loaded
            self._changed.notify_all()
        (log.info if loaded else log.error)(f"model {old.name}: {state}: {detail}")
        return loaded is not None

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if self._closing:
                return None
            self._current = self._queue.popleft()
            self._ready().model.resume()
            return self._current

    def _answer(self, job: Job) -> Result:
        loaded = self._ready()
        model = loaded.model
        prompt = model.tokenize_pieces(loaded.template.pieces(job.messages))
        if len(prompt) >= model.context:
            raise ContextTooSmall(len(prompt), model.context)
        if job.sampling.seed is not None:
            # Keys and values that were computed one by one differ in their last digits from those of a
            # prompt that is read at once, and that can change an answer.
            model.forget()
        reused = model.reusable(prompt)
        text = Assembler()
        written, stop = 0, "length"
        answer = model.generate(prompt, job.sampling)
        try:
            for token in answer:
                if job.cancelled:
                    stop = "cancelled"
                    break
                if model.ends(token):
                    stop = "end"
                    break
                written += 1
                if piece := text.feed(model.token_bytes(token)):
                    job.tell(piece)
                if written == job.max_tokens:
                    break
        except Stopped:
            stop = "cancelled"
        finally:
            answer.close()
        return Result(stop, len(prompt), reused, written)
