"""A sentence encoder (BERT as GGUF) in llama.cpp: a text to a vector of length 1, its meaning.

What llama.cpp would do to a long text, cut it without a word or end the process, never happens: each text is
cut here. Not for: threads or queues (embedder.py).
"""

import math
from pathlib import Path

from agentd.model.backend import backend, metadata, tokenize
from agentd.model.errors import ModelError

# all-MiniLM-L6-v2 was made to compare texts of at most 256 pieces, [CLS] and [SEP] among them; its positions
# end at 512. More pieces at once than n_ubatch is an assertion in llama.cpp, which ends the process.
PIECES = 254
CONTEXT = 512
# More of a text is not looked at: a piece is a word, or a part of one.
CHARACTERS = 8192


class Encoder:
    """A loaded encoder. One thread at a time may use it."""

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load a GGUF file. Raises ModelError, also for a file that is no encoder."""
        self._backend = backend()
        self._c = c = self._backend.c
        self._model = self._backend.load_model(path)
        self._vocabulary = c.llama_model_get_vocab(self._model)
        kind = metadata(c, self._model, "general.architecture") or ""
        # [CLS] is what this vocabulary has in place of a BOS token.
        self._first, self._last = c.llama_vocab_bos(self._vocabulary), c.llama_vocab_sep(self._vocabulary)
        if not kind.endswith("bert") or min(self._first, self._last) < 0:
            raise ModelError("corrupt", f"{path} is a model of the kind {kind!r}, not a sentence encoder")
        options = c.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = CONTEXT
        options.n_threads = options.n_threads_batch = threads
        options.embeddings = True
        options.no_perf = True
        self._context = self._backend.create_context(self._model, options, path)
        if c.llama_pooling_type(self._context) <= 0:
            raise ModelError("corrupt", f"{path} does not say how a text's vector is made of its pieces")
        self.dimension: int = c.llama_model_n_embd(self._model)

    def encode(self, text: str) -> list[float]:
        """The vector of a text, of its first 254 word pieces if it has more. Raises RuntimeError."""
        c = self._c
        # A lone surrogate is no reason to refuse a whole list of texts.
        raw = " ".join(text[:CHARACTERS].split()).encode(errors="replace")
        pieces = tokenize(c, self._vocabulary, raw, special=False, trusted=False)[:PIECES]
        tokens = [self._first, *pieces, self._last]
        array = (c.llama_token * len(tokens))(*tokens)  # the batch holds only a pointer to it
        status = c.llama_encode(self._context, c.llama_batch_get_one(array, len(tokens)))
        if status != 0:
            raise RuntimeError(f"llama_encode failed with status {status}: {self._backend.complaint()}")
        vector = c.llama_get_embeddings_seq(self._context, 0)[: self.dimension]
        length = math.hypot(*vector)
        if not 0 < length < math.inf:
            raise RuntimeError("the encoder gave no vector")
        return [value / length for value in vector]

    def vocabulary(self) -> list[str]:
        """The whole words among its pieces, in their order: the common ones of its language first."""
        c = self._c
        count = c.llama_vocab_n_tokens(self._vocabulary)
        raw = [c.llama_vocab_get_text(self._vocabulary, at) for at in range(count)]
        pieces = (piece.decode(errors="replace") for piece in raw)
        return [piece[1:] for piece in pieces if piece.startswith("▁")]

    def close(self) -> None:
        """Give the memory back."""
        self._c.llama_free(self._context)
        self._c.llama_model_free(self._model)
