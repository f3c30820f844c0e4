"""The sentence encoder's thread and its queue, beside the engine's.

A question must not wait for an index that is being made, and such an index must not slow an answer. So a
request is for now or in the background: one text at a time is encoded, those for now first, and between two
texts in the background the thread rests while an answer is written. It computes on one CPU.
Not for: llama.cpp (encoder.py) or Varlink (service.py).
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from agentd import log
from agentd.model.backend import check_file
from agentd.model.engine import NotReady, Request
from agentd.model.errors import ModelError

# How long the thread rests while an answer is written, in times of what the last text took. Measured with
# the 135M model on two cores (bench/states.py), the answer keeps 94 % of its speed; without a rest, 24 %.
REST = 16


class EmbedderNotReady(NotReady):
    """There is no encoder, or it is not loaded."""


@dataclass(frozen=True)
class EmbedderStatus:
    """What the worker says of its encoder: `state` as the model's, None where there is none."""

    state: str | None
    detail: str
    name: str
    dimension: int


class TextEncoder(Protocol):
    """What is needed of an encoder; encoder.Encoder is the real one."""

    dimension: int

    def encode(self, text: str, /) -> list[float]: ...


class Texts(Request[list[list[float]]]):
    """A request for the vectors of `texts`; in the `background` it gives way to everything else."""

    def __init__(self, texts: Sequence[str], *, background: bool) -> None:
        super().__init__()
        self.texts = tuple(texts)
        self.background = background
        self.vectors: list[list[float]] = []


def load_encoder(path: Path, size: int | None) -> TextEncoder:
    """The encoder of a GGUF file of `size` bytes (None: any). Raises ModelError."""
    from agentd.model.encoder import Encoder

    check_file(path, size)
    return Encoder(path)


class Embedder:
    """The thread that owns the encoder, and the queue before it; `busy` is whether an answer is written."""

    def __init__(
        self, loader: Callable[[], TextEncoder] | None, *, name: str, busy: Callable[[], bool]
    ) -> None:
        self._loader = loader
        self._busy = busy
        self._encoder: TextEncoder | None = None
        self._status = EmbedderStatus("loading", f"{name} is being loaded", name, 0)
        if loader is None:
            self._status = EmbedderStatus(None, "this machine has no embedder", "", 0)
        self._queue: deque[Texts] = deque()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="embedder", daemon=True)

    def start(self) -> None:
        """Begin to load the encoder, if there is one."""
        if self._loader is not None:
            self._thread.start()

    def status(self) -> EmbedderStatus:
        """What is to be said of the encoder now."""
        with self._changed:
            return self._status

    def submit(self, request: Texts) -> None:
        """Put a request into the queue. Raises EmbedderNotReady."""
        with self._changed:
            if self._encoder is None:
                raise EmbedderNotReady(self._status.state or "missing", self._status.detail)
            if self._closing:
                raise EmbedderNotReady("unavailable", "the model worker is stopping")
            self._queue.append(request)
            self._changed.notify_all()

    def cancel(self, request: Texts) -> None:
        """Give a request up; it gets its last news after at most one text."""
        with self._changed:
            request.cancelled = True
            self._changed.notify_all()

    def close(self, seconds: float) -> bool:
        """Give everything up; whether the thread ended within `seconds`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if (encoder := self._load()) is None:
            return
        rest = 0.0
        while (request := self._next(rest)) is not None:
            began = time.monotonic()
            try:
                request.vectors.append(encoder.encode(request.texts[len(request.vectors)]))
            except Exception as error:
                self._end(request, error)
            else:
                if len(request.vectors) == len(request.texts):
                    self._end(request, request.vectors)
            rest = REST * (time.monotonic() - began)

    def _load(self) -> TextEncoder | None:
        assert self._loader is not None
        encoder, name = None, self._status.name
        try:
            encoder = self._loader()
            status = EmbedderStatus("ready", name, name, encoder.dimension)
        except ModelError as error:
            status = EmbedderStatus(error.state, error.detail, name, 0)
        except Exception as error:
            detail = f"loading the embedder failed: {type(error).__name__}: {error}"
            status = EmbedderStatus("unavailable", detail, name, 0)
        with self._changed:
            self._status, self._encoder = status, encoder
            self._changed.notify_all()
        (log.info if encoder else log.error)(f"embedder {name}: {status.state}: {status.detail}")
        return encoder

    def _next(self, rest: float) -> Texts | None:
        """The request of which a text is to be encoded next; None when the thread is to end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._queue or self._closing)
                for request in [
                    one for one in self._queue if one.cancelled or self._closing or not one.texts
                ]:
                    self._end(request, [])
                if self._closing:
                    return None
                if now := next((one for one in self._queue if not one.background), None):
                    return now
                if not self._queue:
                    continue
                if not (rest and self._busy()):
                    return self._queue[0]
                waiting = tuple(self._queue)
                self._changed.wait_for(partial(self._stirred, waiting), timeout=rest)
                rest = 0.0

    def _stirred(self, waiting: tuple[Texts, ...]) -> bool:
        """Whether something has happened to the requests that wait in the background."""
        return self._closing or tuple(self._queue) != waiting or any(one.cancelled for one in waiting)

    def _end(self, request: Texts, last: list[list[float]] | Exception) -> None:
        with self._changed:
            self._queue.remove(request)
        request.tell(last)
