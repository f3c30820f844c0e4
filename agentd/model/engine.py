"""One model, one thread, one answer at a time: the queue between callers and llama.cpp.

The thread imports llama.cpp and loads the model, so that the worker answers "loading" meanwhile; then
it takes the requests in the order in which they came. A request tells its caller by an event file
descriptor that something new is there, so that the caller can wait for this and for its client's
connection at once. Not for: Varlink (service.py) or the process (worker.py).
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from agentd import log
from agentd.model.backend import RUN_NATIVELY, check_file
from agentd.model.errors import ModelError
from agentd.model.llama import Llama, Piece, Sampling, Stopped
from agentd.model.messages import Message
from agentd.model.pressure import Memory, Relief, memory
from agentd.model.states import States, fingerprint
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
    """How a generation ended: `stop` is "end", "length", "cancelled" or "memory" (given up for it); the rest
    are tokens.

    `loaded_tokens` are those of the `reused_tokens` that came from a saved state.
    """

    stop: str
    prompt_tokens: int
    reused_tokens: int
    completion_tokens: int
    loaded_tokens: int = 0


Last = TypeVar("Last")


class Request(Generic[Last]):
    """A request in a queue or under way, seen from both sides.

    Its last news is always a `Last` or an exception; after it the other thread has let go of it.
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._news: deque[str | Last | Exception] = deque()
        # News and event change together: a caller that took the last news closes the file descriptor,
        # which must not happen before the engine has written to it.
        self._lock = threading.Lock()
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """A file descriptor that is readable while there is news to take."""
        return self._event

    def tell(self, news: str | Last | Exception) -> None:
        """Hand a piece of text, the result or an error to the caller."""
        with self._lock:
            self._news.append(news)
            os.eventfd_write(self._event, 1)

    def take(self) -> list[str | Last | Exception]:
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


class Job(Request[Result]):
    """A request to the engine: an answer to `messages`, whose state is then kept under the name `keep`.

    With `shared`, no answer: the beginning that these messages give to every prompt is read and kept.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        sampling: Sampling,
        name: str | None = None,
        keep: str | None = None,
        *,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.messages = tuple(messages)
        self.max_tokens = max_tokens
        self.sampling = sampling
        self.name = name
        self.keep = keep
        self.shared = shared
        self.short_of_memory = False  # it was cancelled for that


News = str | Result | Exception


class Model(Protocol):
    """What the engine needs of a model; llama.Llama is the real one."""

    context: int

    def close(self) -> None: ...
    def shrink(self) -> bool: ...
    def stop(self) -> None: ...
    def resume(self) -> None: ...
    def forget(self) -> None: ...
    def reusable(self, tokens: Sequence[int], /) -> int: ...
    def generate(self, tokens: Sequence[int], sampling: Sampling, /) -> Generator[int]: ...
    def tokenize(self, text: str, /) -> list[int]: ...
    def tokenize_pieces(self, pieces: Sequence[Piece], /) -> list[int]: ...
    def token_bytes(self, token: int, /) -> bytes: ...
    def ends(self, token: int, /) -> bool: ...


class Resumable(Protocol):
    """What the engine needs of a model to keep what it has read; llama.Llama is the real one."""

    def evaluated(self) -> list[int]: ...
    def state(self, largest: int, /) -> bytearray | None: ...
    def restore(self, tokens: Sequence[int], state: bytearray, /) -> bool: ...
    def forget(self, *, wipe: bool) -> None: ...


@dataclass(frozen=True)
class Loaded:
    """A model that can answer, its chat template, what a person should know about it, and for which CPU
    llama.cpp was built. What `resumable` has read can be kept for a model of the same `fingerprint`. It all
    takes about `needs` bytes of memory."""

    model: Model
    template: "ChatTemplate"
    detail: str
    built_for: str = ""
    resumable: Resumable | None = None
    fingerprint: str = ""
    needs: int = 0


# Tokens, where nobody says: keys and values cost memory for each (22 kB with the 135M model).
DEFAULT_CONTEXT = 4096
# Seconds that jobs wait for memory, and a count of tokens; a caller of Generate waits 120 s for a word, one
# of Count 60 s (agentd/worker.py).
MEMORY_PATIENCE = 100.0
COUNT_PATIENCE = 50.0
# Seconds between two looks at the memory while somebody waits for it.
LOOK = 1.0
RESTING = "the model rests because memory was short; the next question loads it again"


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
    known = fingerprint(path, model.layout)
    return Loaded(model, chat, "; ".join(notes), model.built_for, model, known, model.needs())


class Engine:
    """The thread that owns the model, and the queue before it."""

    def __init__(
        self,
        loader: Callable[[], Loaded],
        *,
        name: str,
        threads: int,
        states: States | None = None,
        memory: Callable[[], Memory | None] = memory,
    ) -> None:
        self._loader = loader
        self._loaded: Loaded | None = None
        self._status = Status("loading", f"{name} is being loaded", name, 0, threads)
        self._queue: deque[Job] = deque()
        self._current: Job | None = None
        self._closing = False
        # While the model rests: what it needs (bytes), and whether it is to be loaded although no job waits.
        self._memory = memory
        self._resting = False
        self._needs = 0
        self._wanted = False
        self._relief: Relief | None = None
        # Held while tokens are counted on a caller's thread, and while the model is freed.
        self._counting = threading.Lock()
        self._changed = threading.Condition()
        # The saved states, what is to be saved next, and whether what was read is to be forgotten. This lock
        # is taken before that of `_changed`, and never while a token is computed.
        self._keeping = threading.Lock()
        self._states = states or States()
        self._pending: str | None = None
        self._wiping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    def status(self) -> Status:
        """What is to be said of the model now."""
        with self._changed:
            return self._status

    def wait_loaded(self, seconds: float) -> bool:
        """Whether the model is ready, once that is known or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._status.state != "loading", seconds)
            return self._loaded is not None

    def busy(self) -> bool:
        """Whether a request is under way or waits."""
        return self._current is not None or bool(self._queue)

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text; a model that rests is loaded for it. Raises NotReady."""
        deadline = time.monotonic() + COUNT_PATIENCE
        with self._changed:
            while self._resting and not self._closing and time.monotonic() < deadline:
                self.wake()
                self._changed.wait_for(lambda: not self._resting, LOOK)
        with self._counting:
            loaded = self._ready()
            return [len(loaded.model.tokenize(text)) for text in texts]

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue; a model that rests is loaded for it when there is memory.

        Raises NotReady, and ValueError if its name is in use.
        """
        with self._changed:
            if not self._resting:
                self._ready()
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

    def wake(self) -> None:
        """Have a model that rests loaded again if there is memory for it; Status tells what is missing."""
        with self._changed:
            if self._resting and not self._wanted and self._enough():
                self._wanted = True
                detail = f"{self._status.name} is being loaded"
                self._status = replace(self._status, state="loading", detail=detail)
                self._changed.notify_all()

    def relieve(self, relief: Relief) -> None:
        """Give memory back: what was read, or the model too.

        Anything less than Relief.ANSWER does nothing while there are jobs: pressure that lasts is told again
        after them. Relief.ANSWER ends the job under way, with what it has; the others wait for memory.
        """
        with self._changed:
            if self._loaded is None or (relief is not Relief.ANSWER and self.busy()):
                return
            self._relief = relief
            if self._current is not None:
                self._current.short_of_memory = True
                self.cancel(self._current)
            self._changed.notify_all()

    def forget(self, names: Sequence[str] | None) -> int:
        """Remove the saved states of these names, or all, and what is in memory; how many files there were.

        Jobs under way go on and keep nothing under these names; the memory is overwritten after the one
        that runs. Works without a model. Raises OSError when a file cannot be removed.
        """
        with self._keeping:
            with self._changed:
                for job in self._jobs():
                    if names is None or job.keep in names:
                        job.keep = None
                if names is None or self._pending in names:
                    self._pending = None
                self._wiping = True
                self._changed.notify_all()
            return self._states.remove(names)

    def close(self, seconds: float) -> bool:
        """Stop everything and keep what is to be kept; whether the thread ended within `seconds`."""
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
            if loaded.resumable is not None:
                with self._keeping:
                    self._states.open(loaded.fingerprint, context)
        except ModelError as error:
            state, detail = error.state, error.detail
        except Exception as error:
            state, detail = "unavailable", f"loading the model failed: {type(error).__name__}: {error}"
        with self._changed:
            old = self._status
            self._status = Status(state, detail, old.name, context, old.threads, built_for)
            self._loaded, self._resting = loaded, False
            self._changed.notify_all()
        (log.info if loaded else log.error)(f"model {old.name}: {state}: {detail}")
        return loaded is not None

    def _next(self) -> Job | None:
        while True:
            self._settle()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._closing or self._wiping or self._relief is not None
                )
                if self._wiping and not self._queue:
                    continue
                if self._closing:
                    return None
                relief, self._relief = self._relief, None
                if self._queue and relief is not Relief.ANSWER:
                    self._current = self._queue.popleft()
                    self._ready().model.resume()
                    return self._current
            if relief is Relief.CONTEXT:
                if self._ready().model.shrink():
                    log.info("memory is short: what the model has read is given back")
            elif not self._rest():
                return None

    def _rest(self) -> bool:
        """Unload the model and wait until it can be loaded again; whether it was."""
        with self._changed:
            loaded = self._ready()
            self._loaded, self._resting, self._needs = None, True, loaded.needs
            self._status = replace(self._status, state="resting", detail=RESTING)
        with self._counting:
            loaded.model.close()
        log.info(f"memory is short: model {self._status.name} rests")
        if not self._wait_for_memory():
            return False
        if self._load():
            return True
        self._refuse()
        return False

    def _wait_for_memory(self) -> bool:
        """Wait until there is memory for the model, and somebody who wants it; False when the thread is to
        end. Jobs wait for MEMORY_PATIENCE."""
        waited = 0.0
        with self._changed:
            while not self._closing:
                self._wiping = False  # nothing is in memory
                if self._queue:
                    self.wake()
                if self._wanted:
                    self._wanted = False
                    return True
                if waited >= MEMORY_PATIENCE:
                    self._refuse()
                began = time.monotonic()
                self._changed.wait(LOOK if self._queue else None)
                waited = waited + time.monotonic() - began if self._queue else 0.0
        return False

    def _enough(self) -> bool:
        """Whether there is memory for the model that rests; if not, Status says so."""
        found = self._memory()
        if found is None or found.available >= self._needs + found.reserve:
            return True
        needed, free = (size >> 20 for size in (self._needs + found.reserve, found.available))
        detail = f"waiting for memory: {needed} MB are needed, {free} MB are free"
        self._status = replace(self._status, detail=detail)
        return False

    def _refuse(self) -> None:
        """End all jobs that wait, with the state of the model as the reason."""
        with self._changed:
            jobs = list(self._queue)
            self._queue.clear()
            reason = self._status
        for job in jobs:
            job.tell(NotReady(reason.state, reason.detail))

    def _settle(self) -> None:
        """Between two jobs: keep what is to be kept unless somebody waits, then forget what is to be."""
        resumable = self._ready().resumable
        with self._keeping:
            name, self._pending = self._pending, None
            if name is not None and resumable is not None and not self._hurry():
                self._states.save(name, resumable.evaluated(), resumable.state, hurry=self._hurry)
            if self._wiping and resumable is not None:
                resumable.forget(wipe=True)
            self._wiping = False

    def _hurry(self) -> bool:
        return bool(self._queue) and not self._closing

    def _answer(self, job: Job) -> Result:
        loaded = self._ready()
        model = loaded.model
        prompt = model.tokenize_pieces(_beginning(loaded, job) if job.shared else _prompt(loaded, job))
        if len(prompt) >= model.context:
            raise ContextTooSmall(len(prompt), model.context)
        if job.shared:
            with self._keeping:
                if not prompt or self._states.holds(prompt):
                    return Result("end", len(prompt), len(prompt), 0)
        found = 0
        if job.sampling.seed is not None:
            # Keys and values that were computed one by one differ in their last digits from those of a
            # prompt that is read at once, and that can change an answer.
            model.forget()
        else:
            found = self._find(loaded, prompt)
        reused = model.reusable(prompt)
        written, stop, whole = 0, "end" if job.shared else "length", True
        text = Assembler()
        answer = model.generate(prompt, job.sampling)
        try:
            for token in answer:
                if job.cancelled:
                    whole = False
                    break
                if job.shared:
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
            whole = False
        finally:
            answer.close()
        if not whole:
            stop = "memory" if job.short_of_memory else "cancelled"
        self._keep(loaded, job, whole=whole)
        return Result(stop, len(prompt), reused, written, found)

    def _find(self, loaded: Loaded, prompt: list[int]) -> int:
        """Load the saved state that saves most of reading a prompt; how many of its tokens are in it."""
        with self._keeping:
            while loaded.resumable and (saved := self._states.best(prompt, loaded.model.reusable(prompt))):
                state = self._states.read(saved)
                if state is None:
                    continue
                if loaded.resumable.restore(saved.tokens, state):
                    return loaded.model.reusable(prompt)
                self._states.discard(saved, "is refused by llama.cpp")
        return 0

    def _keep(self, loaded: Loaded, job: Job, *, whole: bool) -> None:
        """Have what was read for a job kept under the name that it gave: a shared beginning now, so that
        whoever asked for it can rely on it, anything else as soon as nobody waits."""
        with self._keeping:
            if not job.shared:
                # To save a state takes as much memory again.
                self._pending = None if job.short_of_memory else job.keep
            elif job.keep is not None and whole and loaded.resumable is not None:
                tokens = loaded.resumable.evaluated()
                self._states.save(job.keep, tokens, loaded.resumable.state, shared=True)


def _prompt(loaded: Loaded, job: Job) -> list[Piece]:
    return loaded.template.pieces(job.messages)


def _beginning(loaded: Loaded, job: Job) -> list[Piece]:
    """What the template makes of a job's messages before the text of the message that follows them."""
    pieces = loaded.template.pieces([*job.messages, Message("user", "x")])
    last = max(index for index, piece in enumerate(pieces) if not piece.trusted)
    return pieces[:last]
