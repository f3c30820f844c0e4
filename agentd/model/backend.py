"""llama.cpp started once for the process: its C interface, and what it says on standard error.

Both models, the chat model on its thread and the embedder on another, use it. What llama.cpp complains of is
kept for each thread apart. Not for: loading a model (llama.py, encoder.py).
"""

import ctypes
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from agentd import log
from agentd.model import processor
from agentd.model.errors import ModelError

# How often a thread of libgomp looks before it sleeps. The default (300,000) is a catastrophe as soon as
# anything else wants a CPU: 4 tokens/s instead of 40. A thousand costs nothing on an idle machine.
SPIN_COUNT = "1000"

# For a developer's host; the image has everything.
RUN_NATIVELY = "hint: `aether agentd MACHINE --state DIR` runs it with everything it needs"

GGUF_MAGIC = b"GGUF"
SMALLEST_GGUF = 24  # magic, version, number of tensors, number of keys

# enum ggml_log_level in ggml.h
LOG_WARN = 3
LOG_ERROR = 4


def check_file(path: Path, size: int | None = None) -> None:
    """Raise ModelError unless `path` is a GGUF file of `size` bytes, as far as a look can tell."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(GGUF_MAGIC))
            actual = file.seek(0, 2)
    except FileNotFoundError:
        raise ModelError("missing", f"there is no model file {path}") from None
    except OSError as error:
        raise ModelError("missing", f"the model file {path} cannot be read: {error.strerror}") from error
    if magic != GGUF_MAGIC or actual < SMALLEST_GGUF:
        raise ModelError("corrupt", f"{path} is not a GGUF file")
    if size is not None and actual != size:
        raise ModelError("corrupt", f"{path} has {actual} bytes, not {size}")


class Complaints(threading.local):
    """Of one thread: llama.cpp's last error, and whether its errors are expected now."""

    last = ""
    expected: Callable[[], bool] | None = None


class Backend:
    """llama.cpp in this process. `c` is the module `llama_cpp.llama_cpp`; `built_for` a CPU, a variant, or
    "" where nobody said; `version` tells two builds apart that may compute differently."""

    def __init__(self) -> None:
        """Load and start llama.cpp. Raises ModelError "unavailable"."""
        self.c, self.version, self.built_for = _bindings()
        self._complaints = Complaints()
        self._log = self.c.llama_log_callback(self._hear)  # kept: C holds only a pointer to it
        self.c.llama_log_set(self._log, None)
        self.c.llama_backend_init()

    def load_model(self, path: Path) -> Any:
        """llama.cpp's model of a GGUF file, to be freed by the caller. Raises ModelError."""
        settings = self.c.llama_model_default_params()
        settings.n_gpu_layers = 0
        model = self.c.llama_model_load_from_file(str(path).encode(), settings)
        if not model:
            raise ModelError("corrupt", f"llama.cpp cannot load {path}: {self.complaint()}")
        return model

    def create_context(self, model: Any, options: Any, path: Path) -> Any:
        """A context of a model, to be freed by the caller. Raises ModelError."""
        context = self.c.llama_init_from_model(model, options)
        if not context:
            raise ModelError("corrupt", f"llama.cpp cannot use {path}: {self.complaint()}")
        return context

    def complaint(self) -> str:
        """The last error that llama.cpp told on this thread."""
        return self._complaints.last or "no reason given"

    @contextmanager
    def expecting(self, errors: Callable[[], bool]) -> Iterator[None]:
        """While `errors()` is true, errors on this thread are ordinary and nobody hears of them."""
        self._complaints.expected = errors
        try:
            yield
        finally:
            self._complaints.expected = None

    def _hear(self, level: int, text: bytes, _: object) -> None:
        """Keep llama.cpp's last error and send warnings and errors to standard error."""
        expected = self._complaints.expected
        if level in (LOG_WARN, LOG_ERROR) and not (expected and expected()):
            line = text.decode(errors="replace").strip()
            log.warning(f"llama.cpp: {line}")
            if level == LOG_ERROR:
                self._complaints.last = line


_starting = threading.Lock()


def backend() -> Backend:
    """llama.cpp, started at the first call. Raises ModelError, and tries again at the next call."""
    with _starting:
        return _started()


@cache
def _started() -> Backend:
    return Backend()


def metadata(c: Any, model: Any, key: str) -> str | None:
    """The text of a key of a model's GGUF file, None where it has no such key."""
    size = 1 << 10
    while True:
        buffer = ctypes.create_string_buffer(size)
        length: int = c.llama_model_meta_val_str(model, key.encode(), buffer, size)
        if length < 0:
            return None
        if length < size:
            return buffer.value.decode(errors="replace")
        size = length + 1


def tokenize(c: Any, vocabulary: Any, raw: bytes, *, special: bool, trusted: bool) -> list[int]:
    """The tokens of a text in UTF-8: with the vocabulary's opening and closing ones if `special`, and
    control tokens read as such only if it is `trusted`."""
    room = len(raw) + 8
    while True:
        tokens = (c.llama_token * room)()
        count = c.llama_tokenize(vocabulary, raw, len(raw), tokens, room, special, trusted)
        if count >= 0:
            return list(tokens[:count])
        room = -count


def _bindings() -> tuple[Any, str, str]:
    """The module `llama_cpp.llama_cpp`, its version, and what it was built for.

    Raises ModelError "unavailable" when it cannot be imported, or not on this CPU.
    """
    spec = importlib.util.find_spec("llama_cpp")
    build = processor.read(Path(spec.origin).parent) if spec is not None and spec.origin else None
    if build is not None:
        processor.check(build)
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read when libgomp is loaded, with the import
    try:
        import llama_cpp
        from llama_cpp import llama_cpp as c
    except ImportError as error:
        detail = f"llama.cpp is not installed for this Python: {error}; {RUN_NATIVELY}"
        raise ModelError("unavailable", detail) from error
    except (OSError, RuntimeError) as error:
        raise ModelError("unavailable", f"llama.cpp cannot be loaded: {error}") from error
    # llama.cpp's own version says "0.5.0-dev" of many commits; the package's names one source.
    version = f"{llama_cpp.__version__} {c.llama_version().decode(errors='replace')}"
    if build is None:
        return c, version, ""
    return c, version, processor.load_variant(build) if build.variants else build.march
