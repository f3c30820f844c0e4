"""The worker's queue: one answer at a time, in order, each of them stoppable. With a scripted model."""

import os
import select
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest

from agentd.model.engine import ContextTooSmall, Engine, Job, Loaded, News, NotReady, Result, load
from agentd.model.errors import ModelError
from agentd.model.llama import Piece, Sampling, Stopped
from agentd.model.messages import Message
from agentd.model.template import CHATML, ChatTemplate

PATIENCE = 10.0
END = 0


class Scripted:
    """A model whose tokens are characters; it answers the last message's text, backwards.

    It waits for `gate` before each token and stops as llama.Llama does.
    """

    context = 400

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.stopping = threading.Event()
        self.forgotten = 0
        self.order: list[str] = []

    def close(self) -> None: ...

    def shrink(self) -> bool:
        return False

    def stop(self) -> None:
        self.stopping.set()
        self.gate.release()

    def resume(self) -> None:
        self.stopping.clear()

    def forget(self) -> None:
        self.forgotten += 1

    def reusable(self, tokens: Sequence[int]) -> int:
        return min(3, len(tokens) - 1)

    def tokenize(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def tokenize_pieces(self, pieces: Sequence[Piece]) -> list[int]:
        return [token for piece in pieces for token in self.tokenize(piece.text)]

    def token_bytes(self, token: int) -> bytes:
        return chr(token).encode()

    def ends(self, token: int) -> bool:
        return token == END

    def generate(self, tokens: Sequence[int], sampling: Sampling) -> Generator[int]:
        prompt = "".join(map(chr, tokens))
        question = prompt.rsplit("<|im_start|>user\n", 1)[1].split("<|im_end|>", 1)[0]
        self.order.append(question)
        if question == "break":
            raise RuntimeError("llama_decode failed")
        for token in [*map(ord, reversed(question)), END]:
            assert self.gate.acquire(timeout=PATIENCE)
            if self.stopping.is_set():
                raise Stopped
            yield token


@pytest.fixture
def model() -> Scripted:
    return Scripted()


@pytest.fixture
def engine(model: Scripted) -> Iterator[Engine]:
    engine = start(lambda: Loaded(model, ChatTemplate(CHATML, bos="", eos=""), "scripted"))
    yield engine
    assert engine.close(PATIENCE)


def start(loader: Callable[[], Loaded]) -> Engine:
    engine = Engine(loader, name="m", threads=1)
    engine.start()
    with engine._changed:
        assert engine._changed.wait_for(lambda: engine._status.state != "loading", PATIENCE)
    return engine


def ask(
    engine: Engine, text: str, *, name: str | None = None, most: int = 100, seed: int | None = None
) -> Job:
    job = Job([Message("user", text)], most, Sampling(seed=seed), name)
    engine.submit(job)
    return job


def news(job: Job) -> list[News]:
    """What a job tells until it is done."""
    found: list[News] = []
    while not found or isinstance(found[-1], str):
        ready, _, _ = select.select([job], [], [], PATIENCE)
        assert ready, found
        found += job.take()
    return found


def test_an_answer_comes_in_pieces_and_ends_with_its_numbers(engine: Engine, model: Scripted) -> None:
    model.gate.release(4)
    *pieces, last = news(ask(engine, "abc"))
    assert pieces == ["c", "b", "a"]
    assert isinstance(last, Result)
    assert (last.stop, last.reused_tokens, last.completion_tokens) == ("end", 3, 3)
    assert last.prompt_tokens > 3


def test_an_answer_stops_at_its_longest_length(engine: Engine, model: Scripted) -> None:
    model.gate.release(2)
    *pieces, last = news(ask(engine, "abc", most=2))
    assert pieces == ["c", "b"]
    assert isinstance(last, Result)
    assert (last.stop, last.completion_tokens) == ("length", 2)


def test_requests_are_answered_one_at_a_time_in_their_order(engine: Engine, model: Scripted) -> None:
    jobs = [ask(engine, letter) for letter in "abcd"]
    model.gate.release(8)
    for job in jobs:
        assert isinstance(news(job)[-1], Result)
    assert model.order == ["a", "b", "c", "d"]


def test_a_running_request_is_stopped_by_its_name(engine: Engine, model: Scripted) -> None:
    job = ask(engine, "abc", name="one")
    model.gate.release(1)
    select.select([job], [], [], PATIENCE)
    assert engine.cancel_named("one")
    last = news(job)[-1]
    assert isinstance(last, Result)
    assert last.stop == "cancelled"


def test_a_waiting_request_is_stopped_without_its_turn(engine: Engine, model: Scripted) -> None:
    first, second, third = (ask(engine, letter, name=letter) for letter in "abc")
    assert engine.cancel_named("b")
    assert news(second) == [Result("cancelled", 0, 0, 0)]
    model.gate.release(4)
    for job in (first, third):
        assert isinstance(news(job)[-1], Result)
    assert model.order == ["a", "c"]


def test_stopping_one_request_does_not_stop_the_next(engine: Engine, model: Scripted) -> None:
    first, second = ask(engine, "ab"), ask(engine, "cd")
    model.gate.release(1)
    assert select.select([first], [], [], PATIENCE)[0]
    engine.cancel(first)
    assert isinstance(news(first)[-1], Result)
    model.gate.release(3)
    *pieces, last = news(second)
    assert pieces == ["d", "c"]
    assert isinstance(last, Result)
    assert last.stop == "end"


def test_a_request_that_is_not_there_cannot_be_stopped(engine: Engine, model: Scripted) -> None:
    model.gate.release(2)
    news(ask(engine, "a", name="one"))
    assert not engine.cancel_named("one")
    assert not engine.cancel_named("never")


def test_two_requests_of_one_name_are_refused(engine: Engine, model: Scripted) -> None:
    job = ask(engine, "a", name="one")
    with pytest.raises(ValueError, match="running already"):
        ask(engine, "b", name="one")
    model.gate.release(2)
    news(job)


def test_a_prompt_that_fills_the_context_is_refused_before_it_is_read(
    engine: Engine, model: Scripted
) -> None:
    (last,) = news(ask(engine, "x" * 500))
    assert isinstance(last, ContextTooSmall)
    assert last.tokens > 500
    assert last.context == 400
    assert model.order == []


def test_a_failure_ends_one_request_and_not_the_next(engine: Engine, model: Scripted) -> None:
    assert isinstance(news(ask(engine, "break"))[-1], RuntimeError)
    model.gate.release(2)
    assert isinstance(news(ask(engine, "a"))[-1], Result)


def test_a_seed_reads_everything_anew(engine: Engine, model: Scripted) -> None:
    model.gate.release(4)
    news(ask(engine, "a"))
    assert model.forgotten == 0
    news(ask(engine, "a", seed=7))
    assert model.forgotten == 1


def test_closing_ends_the_running_and_the_waiting(model: Scripted) -> None:
    engine = start(lambda: Loaded(model, ChatTemplate(CHATML, bos="", eos=""), "scripted"))
    jobs = [ask(engine, "abc"), ask(engine, "def")]
    assert engine.close(PATIENCE)
    for job in jobs:
        last = news(job)[-1]
        assert isinstance(last, Result)
        assert last.stop == "cancelled"
    with pytest.raises(NotReady):
        ask(engine, "late")


def test_while_the_model_is_loaded_requests_are_refused_and_the_state_is_loading(model: Scripted) -> None:
    may_load = threading.Event()

    def slow() -> Loaded:
        assert may_load.wait(PATIENCE)
        return Loaded(model, ChatTemplate(CHATML, bos="", eos=""), "scripted")

    engine = Engine(slow, name="m", threads=3)
    engine.start()
    assert (engine.status().state, engine.status().threads) == ("loading", 3)
    with pytest.raises(NotReady, match="loading"):
        ask(engine, "early")
    with pytest.raises(NotReady, match="loading"):
        engine.count(["early"])
    may_load.set()
    with engine._changed:
        assert engine._changed.wait_for(lambda: engine._status.state == "ready", PATIENCE)
    assert engine.count(["four", ""]) == [4, 0]
    assert engine.close(PATIENCE)


@pytest.mark.parametrize(
    ("content", "size", "state", "complaint"),
    [
        (None, None, "missing", "there is no model file"),
        (b"", None, "corrupt", "not a GGUF file"),
        (b"PK\x03\x04" + bytes(100), None, "corrupt", "not a GGUF file"),
        (b"GGUF", None, "corrupt", "not a GGUF file"),
        (b"GGUF" + bytes(96), 98_362_432, "corrupt", "has 100 bytes, not 98362432"),
    ],
)
def test_a_file_that_is_no_model_is_named_before_llama_cpp_sees_it(
    tmp_path: Path, content: bytes | None, size: int | None, state: str, complaint: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    engine = start(lambda: load(path, size=size, context=0, threads=1))
    assert engine.status().state == state
    assert complaint in engine.status().detail
    with pytest.raises(NotReady, match=complaint):
        ask(engine, "hello")


def test_a_host_without_llama_cpp_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(96))
    with pytest.raises(ModelError, match=r"not installed.*aether agentd") as caught:
        load(path, size=None, context=0, threads=1)
    assert caught.value.state == "unavailable"


def test_a_build_for_another_cpu_is_named_and_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llama_cpp"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it was imported')")
    (package / "build.json").write_text('{"march": "x86-64-v9", "cpu_flags": ["fpu", "avx9"]}')
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(96))
    with pytest.raises(ModelError, match=r"built for x86-64-v9, this CPU has no avx9$"):
        load(path, size=None, context=0, threads=1)


def test_a_caller_never_closes_a_job_that_the_engine_still_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last news is taken in the moment between its arrival and the event that announces it."""
    job = Job([Message("user", "x")], 1, Sampling())
    write, announced, closed = os.eventfd_write, threading.Event(), threading.Event()

    def slow_write(event: int, value: int) -> None:
        write(event, value)
        if not announced.is_set():
            return
        # Here an eager caller would find the last news already.
        closed.wait(0.3)
        write(event, value)

    monkeypatch.setattr("agentd.model.engine.os.eventfd_write", slow_write)
    failures: list[OSError] = []

    def tell() -> None:
        job.tell("piece")
        announced.set()
        try:
            job.tell(Result("end", 1, 0, 1))
        except OSError as error:
            failures.append(error)

    engine = threading.Thread(target=tell)
    engine.start()
    finished = False
    while not finished:
        assert select.select([job], [], [], PATIENCE)[0]
        finished = any(isinstance(news, Result) for news in job.take())
    job.close()
    closed.set()
    engine.join(PATIENCE)
    assert failures == []
