"""The encoder's queue: what is asked for now goes first, what is in the background gives way to answers."""

import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import varlink

from agentd.model.embedder import Embedder, EmbedderNotReady, TextEncoder, Texts
from agentd.model.engine import Engine
from agentd.model.errors import ModelError
from agentd.model.service import ModelMethods

PATIENCE = 10.0


class Scripted:
    """An encoder that waits for `gate` before each text; a text's vector is its length and 1."""

    dimension = 2

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.order: list[str] = []
        self.encoded = threading.Semaphore(0)

    def encode(self, text: str) -> list[float]:
        assert self.gate.acquire(timeout=PATIENCE)
        self.order.append(text)
        if text == "break":
            raise RuntimeError("llama_encode failed")
        self.encoded.release()
        return [float(len(text)), 1.0]


@pytest.fixture
def encoder() -> Scripted:
    return Scripted()


@pytest.fixture
def busy() -> threading.Event:
    """Set while an answer is written."""
    return threading.Event()


@pytest.fixture
def embedder(encoder: Scripted, busy: threading.Event) -> Iterator[Embedder]:
    embedder = start(lambda: encoder, busy)
    yield embedder
    encoder.gate.release(1000)
    assert embedder.close(PATIENCE)


def start(loader: Any, busy: threading.Event) -> Embedder:
    embedder = Embedder(loader, name="minilm", busy=busy.is_set)
    embedder.start()
    with embedder._changed:
        assert embedder._changed.wait_for(lambda: embedder._status.state != "loading", PATIENCE)
    return embedder


def ask(embedder: Embedder, *texts: str, background: bool = False) -> Texts:
    request = Texts(texts, background=background)
    embedder.submit(request)
    return request


def last(request: Texts) -> Any:
    ready, _, _ = select.select([request], [], [], PATIENCE)
    assert ready
    (news,) = request.take()
    return news


def test_each_text_gets_its_vector(embedder: Embedder, encoder: Scripted) -> None:
    encoder.gate.release(3)
    assert last(ask(embedder, "a", "", "abc")) == [[1.0, 1.0], [0.0, 1.0], [3.0, 1.0]]
    assert (embedder.status().state, embedder.status().dimension) == ("ready", 2)


def test_a_text_for_now_goes_before_those_in_the_background(embedder: Embedder, encoder: Scripted) -> None:
    index = ask(embedder, "a", "b", "c", background=True)
    question = ask(embedder, "now")
    encoder.gate.release(4)
    assert last(question) == [[3.0, 1.0]]
    assert len(last(index)) == 3
    assert encoder.order.index("now") <= 1
    assert [text for text in encoder.order if text != "now"] == ["a", "b", "c"]


def rests(embedder: Embedder, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[float]:
    """The rests that the thread wants from now on; each lasts so many seconds instead."""
    wanted: list[float] = []
    wait_for = embedder._changed.wait_for

    def watched(predicate: Any, timeout: float | None = None) -> bool:
        if timeout is None:
            return bool(wait_for(predicate))
        wanted.append(timeout)
        return bool(wait_for(predicate, seconds))

    monkeypatch.setattr(embedder._changed, "wait_for", watched)
    return wanted


def test_texts_in_the_background_rest_while_an_answer_is_written(
    embedder: Embedder, encoder: Scripted, busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.set()
    wanted = rests(embedder, monkeypatch, 0.0)
    encoder.gate.release(6)
    assert len(last(ask(embedder, "a", "b", "c", background=True))) == 3
    assert len(wanted) == 2
    busy.clear()
    assert len(last(ask(embedder, "a", "b", "c", background=True))) == 3
    assert len(wanted) == 2


def test_a_question_ends_the_rest(
    embedder: Embedder, encoder: Scripted, busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.set()
    rests(embedder, monkeypatch, 10 * PATIENCE)
    encoder.gate.release(100)
    index = ask(embedder, "a", "b", background=True)
    assert encoder.encoded.acquire(timeout=PATIENCE)
    assert last(ask(embedder, "now")) == [[3.0, 1.0]]
    assert encoder.order == ["a", "now"]
    embedder.cancel(index)
    assert last(index) == []


def test_a_failure_ends_one_request_and_not_the_next(embedder: Embedder, encoder: Scripted) -> None:
    encoder.gate.release(3)
    assert isinstance(last(ask(embedder, "a", "break", "b")), RuntimeError)
    assert last(ask(embedder, "ab")) == [[2.0, 1.0]]


def test_a_request_that_is_given_up_ends_after_one_text(embedder: Embedder, encoder: Scripted) -> None:
    request = ask(embedder, *"abcdef")
    embedder.cancel(request)
    encoder.gate.release(1)
    assert last(request) == []
    assert len(encoder.order) <= 1


def test_closing_ends_every_request(encoder: Scripted, busy: threading.Event) -> None:
    embedder = start(lambda: encoder, busy)
    requests = [ask(embedder, "a", "b"), ask(embedder, "c", background=True)]
    encoder.gate.release(1)
    assert embedder.close(PATIENCE)
    assert [last(request) for request in requests] == [[], []]
    with pytest.raises(EmbedderNotReady, match="stopping"):
        ask(embedder, "late")


def test_a_machine_without_an_encoder_says_so(busy: threading.Event) -> None:
    embedder = start(None, busy)
    assert embedder.status().state is None
    with pytest.raises(EmbedderNotReady, match="no embedder") as caught:
        ask(embedder, "x")
    assert caught.value.state == "missing"
    assert embedder.close(PATIENCE)


@pytest.mark.parametrize(
    ("error", "state"),
    [(ModelError("corrupt", "it is cut"), "corrupt"), (MemoryError("no memory"), "unavailable")],
)
def test_an_encoder_that_cannot_be_loaded_is_named(
    busy: threading.Event, error: Exception, state: str
) -> None:
    def fail() -> TextEncoder:
        raise error

    embedder = start(fail, busy)
    assert embedder.status().state == state
    with pytest.raises(EmbedderNotReady, match=str(error)) as caught:
        ask(embedder, "x")
    assert caught.value.state == state
    assert embedder.close(PATIENCE)


@pytest.fixture
def methods(embedder: Embedder) -> ModelMethods:
    def never() -> Any:
        raise ModelError("missing", "no chat model")

    return ModelMethods(Engine(never, name="m", threads=1), embedder)


def test_the_interface_gives_the_vectors_and_the_encoders_state(
    methods: ModelMethods, encoder: Scripted
) -> None:
    encoder.gate.release(2)
    reply = methods.Embed(["a", "ab"], None)
    assert reply == {"embeddings": [{"values": [1.0, 1.0]}, {"values": [2.0, 1.0]}]}
    status = methods.Status()
    assert (status["embedder"], status["embedder_name"], status["dimension"]) == ("ready", "minilm", 2)


@pytest.mark.parametrize("texts", [None, [], ["x"] * 65, "x", [1], [None]])
def test_texts_that_are_none_are_refused(methods: ModelMethods, texts: Any) -> None:
    with pytest.raises(varlink.VarlinkError) as refused:
        methods.Embed(texts, None)
    assert refused.value.error() == "io.aetheros.Model.InvalidRequest"
