"""A scripted model that keeps what it has read, for tests of the worker's engine."""

import json
import threading
from collections.abc import Generator, Sequence

from agentd.model.llama import Piece, Sampling, common

PATIENCE = 10.0


class Reader:
    """A model whose tokens are characters; it says "yes" and remembers what it has read."""

    context = 4096

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.gate = threading.Semaphore(1000)
        self.wiped = 0
        self.refuses = False
        self.given_back: list[str] = []
        self.gave_back = threading.Event()

    def shrink(self) -> bool:
        self.memory.clear()
        self.given_back.append("context")
        self.gave_back.set()
        return True

    def close(self) -> None:
        self.memory.clear()
        self.given_back.append("model")
        self.gave_back.set()

    def stop(self) -> None:
        self.gate.release()

    def resume(self) -> None: ...

    def forget(self, *, wipe: bool = False) -> None:
        self.memory.clear()
        self.wiped += wipe

    def reusable(self, tokens: Sequence[int]) -> int:
        return common(self.memory, list(tokens[:-1]))

    def tokenize(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def tokenize_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        return [token for piece in pieces for token in self.tokenize(piece.text)]

    def token_bytes(self, token: int) -> bytes:
        return chr(token).encode()

    def ends(self, token: int) -> bool:
        return token == 0

    def generate(self, tokens: Sequence[int], sampling: Sampling) -> Generator[int]:
        self.memory = list(tokens)
        for token in [*map(ord, "yes"), 0]:
            assert self.gate.acquire(timeout=PATIENCE)
            yield token
            self.memory.append(token)

    def evaluated(self) -> list[int]:
        return list(self.memory)

    def state(self, largest: int) -> bytearray | None:
        return bytearray(json.dumps(self.memory).encode())

    def restore(self, tokens: Sequence[int], state: bytearray) -> bool:
        self.memory = [] if self.refuses else json.loads(state)
        return self.memory == list(tokens)
