"""The likeliest token that fits a grammar.

llama.cpp ends the process by a C++ exception when it is given a token that does not fit, and returns NULL
for a grammar that it cannot read: so every token is looked at before it is taken. Not for: what is in a
grammar (routing/model_grammar.py).
"""

import ctypes
from array import array
from typing import Any

MINUS_INFINITY = float("-inf")
_WORDS = 3  # of llama_token_data: id, logit, probability; 32 bits each


class UnfitError(ValueError):
    """The grammar cannot be read, or no token goes on from here."""


class Fitting:
    """A grammar and how far it has come."""

    def __init__(self, c: Any, vocabulary: Any, grammar: str) -> None:
        """`c` is llama.cpp's interface. Raises UnfitError for a grammar that llama.cpp cannot read."""
        self._c = c
        self._size: int = c.llama_vocab_n_tokens(vocabulary)
        self._sampler = c.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if not self._sampler:
            raise UnfitError("llama.cpp cannot read the grammar")
        self._greedy = c.llama_sampler_init_greedy()

    def take(self, likeliest: int, logits: Any) -> int:
        """The likeliest token that fits, of all by their `logits`; it is taken. Raises UnfitError.

        The likeliest of all is looked at first: it fits most often, and to look at all of them takes
        some milliseconds.
        """
        token = likeliest if self._fits(likeliest) else self._best(logits)
        self._c.llama_sampler_accept(self._sampler, token)
        return token

    def _fits(self, token: int) -> bool:
        one = self._c.llama_token_data(token, 0.0, 0.0)
        self._apply(ctypes.pointer(one), 1)
        return bool(one.logit != MINUS_INFINITY)

    def _best(self, logits: Any) -> int:
        all_of_them = (self._c.llama_token_data * self._size)()
        # By slices: a loop over a vocabulary of 150,000 would take longer than the model.
        raw = memoryview(all_of_them).cast("B")
        raw.cast("i")[::_WORDS] = memoryview(array("i", range(self._size)))
        numbers = ctypes.cast(logits, ctypes.POINTER(ctypes.c_float * self._size)).contents
        raw.cast("f")[1::_WORDS] = memoryview(numbers).cast("B").cast("f")
        best = all_of_them[self._apply(all_of_them, self._size)]
        if best.logit == MINUS_INFINITY:
            raise UnfitError("no token of this model goes on as the grammar wants")
        return int(best.id)

    def _apply(self, tokens: Any, count: int) -> int:
        """Have the logits of those that do not fit set to minus infinity; the place of the likeliest."""
        data = ctypes.cast(tokens, self._c.llama_token_data_p)
        them = self._c.llama_token_data_array(data, count, -1, False)
        for sampler in (self._sampler, self._greedy):
            self._c.llama_sampler_apply(sampler, ctypes.byref(them))
        return int(them.selected)

    def close(self) -> None:
        """Give the memory back."""
        for sampler in (self._sampler, self._greedy):
            self._c.llama_sampler_free(sampler)
