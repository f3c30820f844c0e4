"""A machine's model worker natively on this host: first words with and without a saved state, and embedding.

    python -m bench.states [MACHINE] [--repeat N]

"with" is with what the row is about, a saved state or texts embedded in the background; "without" is the
same worker without it. The two are measured in turns. Not for: virtual machines (boots.py).
"""

import argparse
import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agentd.call import Watch
from agentd.worker import Finish, ModelWorker, WorkerError
from bench.native_worker import Place, prepared
from bench.table import Row, Section, figure, spread
from builder.errors import AetherError

PREFIX_TOKENS = 1000
ANSWER_TOKENS = 96
TEXTS = 32
QUESTION = "Where does Nora keep the key?"
TURN = "Nora keeps the key of the lighthouse in the blue tin, and the ship sails north tonight."


def measure(place: Place, repeat: int) -> list[Section]:
    """What a saved state saves and what embedding costs. Raises WorkerError."""
    sections = [first_words(place, repeat)]
    return [*sections, embedding(place, repeat)] if place.has_embedder else sections


def first_words(place: Place, repeat: int) -> Section:
    """The time to an answer's first token after a restart, for a prompt of PREFIX_TOKENS and a question."""
    states = str(place.folder / "kv")
    ours: list[float] = []
    baseline: list[float] = []
    read: dict[int, list[float]] = {id(ours): [], id(baseline): []}
    with place.worker("--states", states) as worker:
        prefix = _prefix(worker)
        worker.prefix(prefix, "prefix", Watch())
    for _ in range(repeat):
        for samples, extra in ((ours, ("--states", states)), (baseline, ())):
            with place.worker(*extra) as worker:
                seconds, finish = _first(worker, prefix)
            samples.append(seconds)
            read[id(samples)].append(finish.prompt_tokens - finish.reused_tokens)
    size = sum(file.stat().st_size for file in Path(states).iterdir()) / 1e6
    rows = [
        Row("first_token", f"first token, prompt of {PREFIX_TOKENS} tokens", "s", ours, baseline),
        Row("tokens_read", "tokens evaluated for it", "tokens", *read.values()),
        Row("state_size", "the state's file", "MB", [size]),
    ]
    return Section("After a restart, with the prefix's saved state and without", rows)


def embedding(place: Place, repeat: int) -> Section:
    """The time for one text and for many, and the speed of an answer while texts are embedded."""
    question, turns = [], []
    alone, beside, eager = [], [], []
    with place.worker() as worker:
        worker.embed([QUESTION], Watch())
        for _ in range(repeat):
            question.append(_timed(worker, [QUESTION]) * 1000)
            turns.append(TEXTS / _timed(worker, [TURN] * TEXTS))
            alone.append(_speed(worker))
            with _indexing(worker, background=True):
                beside.append(_speed(worker))
            with _indexing(worker, background=False):
                eager.append(_speed(worker))
    rows = [
        Row("embed_question", "embedding a question", "ms", question),
        Row("embed_turns", f"embedding turns, {TEXTS} in one call", "texts/s", turns),
        Row("answer_beside", "an answer beside texts in the background", "tokens/s", beside, alone),
        Row("answer_eager", "an answer beside texts that do not give way", "tokens/s", eager, alone),
    ]
    return Section("Embedding, and an answer with and without it", rows)


def _prefix(worker: ModelWorker) -> list[dict[str, str]]:
    """A system message of PREFIX_TOKENS, nearly."""
    lines: list[str] = []
    for number in itertools.count():
        lines.append(f"Ship {number} carries {number * 7 % 50} boxes of tea to port {number % 9}.")
        if worker.count(["\n".join(lines)], Watch())[0] >= PREFIX_TOKENS - 10:
            break
    return [{"role": "system", "content": "\n".join(lines)}]


def _first(worker: ModelWorker, prefix: list[dict[str, str]]) -> tuple[float, Finish]:
    began = time.monotonic()
    answer = worker.generate([*prefix, {"role": "user", "content": QUESTION}], 2, Watch())
    next(answer)
    seconds = time.monotonic() - began
    return seconds, _finish(answer)


def _speed(worker: ModelWorker) -> float:
    """Tokens per second of an answer, its first one not counted."""
    asked = [{"role": "user", "content": "Tell me a very long story about a ship."}]
    answer = worker.generate(asked, ANSWER_TOKENS, Watch())
    next(answer)
    began = time.monotonic()
    finish = _finish(answer)
    return (finish.completion_tokens - 1) / (time.monotonic() - began)


def _finish(answer: Iterator[str]) -> Finish:
    while True:
        try:
            next(answer)
        except StopIteration as end:
            assert isinstance(end.value, Finish)
            return end.value


def _timed(worker: ModelWorker, texts: Sequence[str]) -> float:
    began = time.monotonic()
    worker.embed(texts, Watch())
    return time.monotonic() - began


@contextmanager
def _indexing(worker: ModelWorker, *, background: bool) -> Iterator[None]:
    """Texts are embedded all the while."""
    done = threading.Event()

    def index() -> None:
        while not done.is_set():
            worker.embed([TURN] * 8, Watch(), background=background)

    thread = threading.Thread(target=index)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the medians; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.states", description=__doc__.splitlines()[0])
    parser.add_argument("machine", nargs="?", default="qemu-x86_64", help="default: qemu-x86_64")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="default: 5")
    given = parser.parse_args(arguments)
    try:
        with prepared(given.machine) as place:
            sections = measure(place, max(1, given.repeat))
    except AetherError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_status
    except WorkerError as error:
        print(f"error: the worker is {error.state}: {error.detail}", file=sys.stderr)
        return 1
    for section in sections:
        print(f"\n{section.title}\n{'':44}{'with':>22}{'without':>22}{'ratio':>9}")
        for row in section.rows:
            shown = f"{row.title:44}{spread(row.ours):>22}{spread(row.baseline):>22}{figure(row.ratio):>9}"
            print(f"{shown}  {row.unit}")
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
