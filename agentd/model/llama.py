"""llama.cpp as one loaded model: text to tokens, tokens to the next token, with reuse and abort.

It uses the C interface that llama-cpp-python's `llama_cpp.llama_cpp` binds, not that package's
`Llama` class: so neither numpy nor diskcache is needed, a computation can be stopped in the middle,
and the key-value cache is kept exactly. Not for: threads, queues, messages or roles.
"""

import ctypes
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentd.model.backend import backend, metadata, tokenize
from agentd.model.fitting import Fitting

# The prompt is read in pieces of so many tokens. Larger pieces are hardly faster (measured with the
# 135M model on two threads) and need larger buffers. A stop does not wait for the end of a piece: see
# `Llama.stop`; what is left of an interrupted prompt are its whole pieces.
BATCH = 128

KEY_BYTES = 2  # of a number in a key or a value: llama.cpp's default, f16
DRY_BASE = 1.75  # the value of DRY's authors, and llama.cpp's default


class Stopped(Exception):
    """The computation was stopped by `Llama.stop`."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    A temperature of 0 takes the likeliest token always. The defaults follow the model card of
    SmolLM2-Instruct (temperature 0.2, top_p 0.9). A light penalty on repeated words and DRY, which makes
    a sequence the less likely the longer it repeats what was said, keep a small model out of loops.
    With a `grammar` (GBNF with a rule `root`, by code alone: routing/model_grammar.py) it is the likeliest
    token that fits, and nothing else counts.
    """

    temperature: float = 0.2
    top_p: float = 0.9
    top_k: int = 40
    repeat_penalty: float = 1.05
    repeat_window: int = 64  # tokens
    dry_multiplier: float = 0.8
    dry_allowed: int = 4  # tokens that may be repeated freely
    dry_window: int = 512  # tokens
    seed: int | None = None
    grammar: str = ""


@dataclass(frozen=True)
class Piece:
    """A run of text. `trusted` text may hold control tokens such as <|im_start|>, other text may not."""

    text: str
    trusted: bool


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two lists have in common from the beginning."""
    low, high = 0, min(len(one), len(other))
    # By halves, because comparing slices is much faster than comparing tokens.
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _trim() -> None:
    """Have libc give back what was freed (malloc_trim(3)): by itself it keeps tens of MB."""
    ctypes.CDLL(None).malloc_trim(0)


class Llama:
    """A loaded model with one context. One thread at a time may use it; `stop` is for any thread."""

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        """Load a GGUF file.

        `context` is in tokens, 0 for what the model was trained with; more than that is cut to it.
        `threads` is always said, because the libraries' own default is half of the CPUs.
        Raises ModelError.
        """
        self._backend = backend()
        self._c, self.built_for = self._backend.c, self._backend.built_for
        self._model: Any = None
        self._context: Any = None
        self._evaluated: list[int] = []  # the tokens whose keys and values are in the context
        self._flag = ctypes.create_string_buffer(2)
        self._model = self._backend.load_model(path)
        self._vocab = self._c.llama_model_get_vocab(self._model)

        trained = self._c.llama_model_n_ctx_train(self._model)
        options = self._c.llama_context_default_params()
        options.n_ctx = min(context, trained) if context else trained
        options.n_batch = options.n_ubatch = BATCH
        options.n_outputs_max = 1  # only the last token of a prompt is asked for: smaller buffers
        options.n_threads = options.n_threads_batch = threads
        options.no_perf = True
        self._options, self._path = options, path
        self._create_context()
        self.context: int = self._c.llama_n_ctx(self._context)  # llama.cpp rounds it up
        self.trained: int = trained
        # Two contexts of one model whose states fit each other have this in common.
        self.layout = f"{self._backend.version} {self.context} {options.type_k} {options.type_v}"

    def _create_context(self) -> None:
        self._context = self._backend.create_context(self._model, self._options, self._path)
        self._memory = self._c.llama_get_memory(self._context)
        self._install_stop()

    def _install_stop(self) -> None:
        """Let `stop` end a computation between two nodes of its graph, within milliseconds.

        llama.cpp asks a C function, about a thousand times per token, whether to stop. A Python
        function there would cost the interpreter's lock each time; libc's strlen, asked about a
        buffer that is "" or "\\x01", gives the same 0 or 1 at no cost.
        """
        self._asked = self._c.ggml_abort_callback(
            ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
        )
        self._c.llama_set_abort_callback(self._context, self._asked, ctypes.addressof(self._flag))

    def stop(self) -> None:
        """Make the computation under way, and each later one until `resume`, raise Stopped."""
        self._flag[0] = b"\x01"

    def resume(self) -> None:
        """Allow computations again."""
        self._flag[0] = b"\x00"

    def needs(self) -> int:
        """How many bytes a loaded model takes, about: weights, keys and values, and an eighth more for
        buffers and vocabulary (measured with the 135M model: 182 MiB and 20 MiB more)."""
        c, model = self._c, self._model
        told = self.metadata(f"{self.metadata('general.architecture')}.attention.key_length")
        head = int(told or c.llama_model_n_embd(model) // max(1, c.llama_model_n_head(model)))
        values = c.llama_model_n_layer(model) * c.llama_model_n_head_kv(model) * head * self.context
        size: int = c.llama_model_size(model) + 2 * KEY_BYTES * values
        return size + size // 8

    def shrink(self) -> bool:
        """Give back what was evaluated and the buffers; whether there were any. The next computation makes
        them anew, in 50 ms with the 135M model, of whose 120 MB they are 100."""
        if not self._context:
            return False
        self._c.llama_free(self._context)
        self._context = None
        self._evaluated.clear()
        _trim()
        return True

    def close(self) -> None:
        """Give the memory back."""
        self.shrink()
        if self._model:
            self._c.llama_model_free(self._model)
        self._model = None
        _trim()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- text and tokens

    def metadata(self, key: str) -> str | None:
        """The text of a key of the GGUF file, None where it has no such key."""
        return metadata(self._c, self._model, key)

    def chat_template(self) -> str | None:
        """The file's own chat template (Jinja), None where it carries none."""
        text: bytes | None = self._c.llama_model_chat_template(self._model, None)
        return None if text is None else text.decode(errors="replace")

    def token_text(self, kind: str) -> str:
        """The text of the "bos" or "eos" token, empty where the model has none."""
        token = getattr(self._c, f"llama_vocab_{kind}")(self._vocab)
        if token < 0:
            return ""
        text: bytes = self._c.llama_vocab_get_text(self._vocab, token)
        return text.decode(errors="replace")

    def tokenize(self, text: str, *, trusted: bool = False, opening: bool = False) -> list[int]:
        """The tokens of a text; control tokens only if it is `trusted`, a BOS token only if `opening`."""
        return tokenize(self._c, self._vocab, text.encode(), special=opening, trusted=trusted)

    def tokenize_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        """The tokens of a prompt, with the BOS token if the model wants one and the text has none."""
        bos = self.token_text("bos")
        written = bool(bos) and bool(pieces) and pieces[0].trusted and pieces[0].text.startswith(bos)
        tokens: list[int] = []
        for index, piece in enumerate(pieces):
            opening = index == 0 and not written
            tokens += self.tokenize(piece.text, trusted=piece.trusted, opening=opening)
        return tokens

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token, which may be a part of a character; nothing for control tokens."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            length: int = self._c.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            room = -length

    def ends(self, token: int) -> bool:
        """Whether a token ends the model's turn."""
        return bool(self._c.llama_vocab_is_eog(self._vocab, token))

    # ---- computing

    def reusable(self, tokens: Sequence[int]) -> int:
        """How many of a prompt's first tokens are evaluated already; the last never is."""
        return common(self._evaluated, tokens[:-1])

    def forget(self, *, wipe: bool = False) -> None:
        """Drop what was evaluated, so that the next prompt is read anew; `wipe` overwrites it, which takes
        some milliseconds."""
        self._evaluated.clear()
        if self._context:
            self._c.llama_memory_clear(self._memory, wipe)

    def generate(self, tokens: Sequence[int], sampling: Sampling) -> Generator[int]:
        """The tokens that follow a prompt, one at a time, until one that `ends` or a full context.

        The prompt's longest prefix that is in the context already is not read again. Raises Stopped,
        ModelError after `shrink`, and UnfitError where a grammar leads nowhere.
        """
        if not self._context:
            self._create_context()
        keep = self.reusable(tokens)
        if keep < len(self._evaluated):
            # A model with a recurrent state cannot forget a part of it.
            if keep and self._c.llama_memory_seq_rm(self._memory, 0, keep, -1):
                del self._evaluated[keep:]
            else:
                self.forget()
        self._evaluate(tokens[len(self._evaluated) :])
        fitting = Fitting(self._c, self._vocab, sampling.grammar) if sampling.grammar else None
        sampler = self._sampler(sampling)
        try:
            while True:
                token: int = self._c.llama_sampler_sample(sampler, self._context, -1)
                if fitting is not None:
                    token = fitting.take(token, self._c.llama_get_logits_ith(self._context, -1))
                yield token
                if self.ends(token) or len(self._evaluated) >= self.context:
                    return
                self._evaluate([token])
        finally:
            self._c.llama_sampler_free(sampler)
            if fitting is not None:
                fitting.close()

    def _evaluate(self, tokens: Sequence[int]) -> None:
        """Read tokens into the context. After Stopped the context holds whole pieces only."""
        for start in range(0, len(tokens), BATCH):
            part = list(tokens[start : start + BATCH])
            array = (self._c.llama_token * len(part))(*part)
            batch = self._c.llama_batch_get_one(array, len(part))
            # A computation that is stopped is reported as four errors.
            with self._backend.expecting(lambda: self._flag.value != b""):
                status = self._c.llama_decode(self._context, batch)
            if status == 0:
                self._evaluated += part
                continue
            if not self._c.llama_memory_seq_rm(self._memory, 0, len(self._evaluated), -1):
                self.forget()
            if status == 2:
                raise Stopped
            raise RuntimeError(f"llama_decode failed with status {status}: {self._backend.complaint()}")

    # ---- what was evaluated, as bytes

    def evaluated(self) -> list[int]:
        """The tokens whose keys and values are in the context."""
        return list(self._evaluated)

    def state(self, largest: int) -> bytearray | None:
        """What was evaluated, for `restore`; None where it has more than `largest` bytes, and where it was
        given back."""
        if not self._context:
            return None
        size = self._c.llama_state_seq_get_size(self._context, 0)
        if size > largest:
            return None
        state = bytearray(size)
        view = (ctypes.c_uint8 * size).from_buffer(state)
        return state if self._c.llama_state_seq_get_data(self._context, view, size, 0) == size else None

    def restore(self, tokens: Sequence[int], state: bytearray) -> bool:
        """Take back a `state` of a model and a context like this one, in which `tokens` were evaluated.

        False when it is not that; nothing is in the context then. Raises ModelError after `shrink`.
        """
        if not self._context:
            self._create_context()
        self.forget()
        size = len(state)
        view = (ctypes.c_uint8 * size).from_buffer(state)
        with self._backend.expecting(lambda: True):
            read = self._c.llama_state_seq_set_data(self._context, view, size, 0)
        first = self._c.llama_memory_seq_pos_min(self._memory, 0)
        last = self._c.llama_memory_seq_pos_max(self._memory, 0)
        whole = self._c.llama_state_seq_get_size(self._context, 0)
        if (read, whole, first, last) != (size, size, 0, len(tokens) - 1):
            self.forget()
            return False
        self._evaluated = list(tokens)
        return True

    def _sampler(self, sampling: Sampling) -> Any:
        """A chain of llama.cpp's samplers; to be freed by the caller."""
        c = self._c
        chain = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
        if sampling.grammar:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
            return chain
        if sampling.dry_multiplier:
            line_end = (ctypes.c_char_p * 1)(b"\n")
            dry = c.llama_sampler_init_dry(
                self._vocab, sampling.dry_multiplier, DRY_BASE, sampling.dry_allowed,
                sampling.dry_window, line_end, len(line_end),
            )  # fmt: skip
            c.llama_sampler_chain_add(chain, dry)
        # The likeliest tokens first: the penalties are slow over a whole vocabulary.
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_k(sampling.top_k))
        if sampling.repeat_penalty != 1:
            words = c.llama_vocab_n_tokens(self._vocab)
            window, penalty = sampling.repeat_window, sampling.repeat_penalty
            c.llama_sampler_chain_add(
                chain, c.llama_sampler_init_penalties(words, window, penalty, 0.0, 0.0)
            )
        if sampling.temperature <= 0:
            c.llama_sampler_chain_add(chain, c.llama_sampler_init_greedy())
            return chain
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_top_p(sampling.top_p, 1))
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_temp(sampling.temperature))
        seed = c.LLAMA_DEFAULT_SEED if sampling.seed is None else sampling.seed
        c.llama_sampler_chain_add(chain, c.llama_sampler_init_dist(seed))
        return chain
