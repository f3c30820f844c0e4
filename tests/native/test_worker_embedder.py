"""The sentence encoder beside the chat model, in the real worker, through its real socket."""

import json
import math
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from worker_process import PATIENCE, StartWorker, Worker

from agentd.call import Watch
from agentd.worker import ModelWorker, WorkerError
from builder import catalogue, models

pytestmark = pytest.mark.native

REFERENCE = json.loads((Path(__file__).parents[1] / "data/embedder/reference.json").read_text())[
    "references"
]
TURN = "The ship sails north tonight, and Nora keeps the key of the lighthouse in the blue tin. "
STORY = [{"role": "user", "content": "Tell me a very long story about a ship."}]


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The default machine's embedder."""
    return models.ensure(catalogue.model("all-minilm-l6-v2")).path


@pytest.fixture(scope="module")
def both(start_worker: StartWorker, smollm2: Path, minilm: Path) -> Worker:
    """A worker with both models, ready."""
    running = start_worker(smollm2, "--embedder", str(minilm))
    wait_for_both(running)
    return running


def wait_for_both(running: Worker) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    with running.calling() as model:
        while "loading" in ((status := model.Status())["state"], status["embedder"]):
            assert time.monotonic() < deadline
    return dict(status)


def embed(worker: Worker, texts: Sequence[str], *, background: bool = False) -> list[list[float]]:
    return ModelWorker(str(worker.path)).embed(texts, Watch(), background=background)


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_vectors_are_those_of_the_reference_and_of_length_one(both: Worker) -> None:
    vectors = embed(both, [one["text"] for one in REFERENCE])
    assert len(vectors) >= 20
    for found, expected in zip(vectors, REFERENCE, strict=True):
        assert math.hypot(*found) == pytest.approx(1, abs=1e-6)
        assert cosine(found, expected["vector"]) > 0.9999, expected["text"][:40]


def test_the_worker_says_which_encoder_it_has(both: Worker, minilm: Path) -> None:
    status = ModelWorker(str(both.path)).status()
    assert (status.embedder, status.embedder_name, status.dimension) == ("ready", minilm.stem, 384)
    assert (status.state, status.context) == ("ready", 4096)


def test_numpy_is_not_loaded(both: Worker) -> None:
    assert "numpy" not in Path(f"/proc/{both.pid}/maps").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\0",
        "x" * 1_000_000,
        "word " * 200_000,
        "ab" * 600 + " word" * 600,
        "[CLS] [SEP] [MASK] [PAD] " * 400,
        "😀日本語" * 3000,
        "\u0301\u200b\ufeff\u202e" * 2000,
        ". " * 3000,
    ],
    ids=["empty", "blank", "nul", "letters", "words", "both", "control", "emoji", "marks", "dots"],
)
def test_no_text_is_too_long_or_too_strange(both: Worker, text: str) -> None:
    (vector,) = embed(both, [text])
    assert len(vector) == 384
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-6)


def test_half_a_character_from_json_hurts_nobody(both: Worker) -> None:
    with both.calling() as model:
        assert len(model.Embed(texts=["lone \ud800 surrogate"])["embeddings"][0]["values"]) == 384


def test_what_follows_the_first_pieces_of_a_long_text_does_not_count(both: Worker) -> None:
    words = " ".join(["ship", "north", "cold"] * 100).split()
    cut, whole, shorter = embed(both, [" ".join(words[:254]), " ".join(words), " ".join(words[:253])])
    assert cut == whole
    assert cut != shorter


def test_words_that_look_like_control_tokens_are_words(both: Worker) -> None:
    marked, apart = embed(both, ["the ship [SEP]", "the ship [ sep ]"])
    assert marked == apart


@pytest.mark.parametrize("texts", [[], ["x"] * 65, [1], None])
def test_a_list_that_makes_no_sense_is_refused(both: Worker, texts: Any) -> None:
    call = {"method": "io.aetheros.Model.Embed", "parameters": {"texts": texts}}
    with both.connect() as connection:
        connection.sendall(json.dumps(call).encode() + b"\0")
        reply = connection.recv(1 << 16)
    assert b"error" in reply
    assert len(embed(both, ["x"])) == 1


def test_more_texts_than_one_call_takes_are_sent_in_several(both: Worker) -> None:
    texts = [f"ship {number}" for number in range(150)]
    vectors = embed(both, texts)
    assert len(vectors) == 150
    assert vectors[149] == embed(both, ["ship 149"])[0]


def test_a_question_does_not_wait_for_texts_in_the_background(both: Worker) -> None:
    ended: list[float] = []

    def index() -> None:
        embed(both, [TURN * 12] * 64, background=True)
        ended.append(time.monotonic())

    thread = threading.Thread(target=index)
    thread.start()
    for _ in range(5):
        embed(both, ["Where is the key?"])
    answered = time.monotonic()
    thread.join(PATIENCE)
    assert answered < ended[0]


def test_texts_in_the_background_are_embedded_while_an_answer_is_written(both: Worker) -> None:
    with both.calling() as model:
        replies = model.Generate(messages=STORY, max_tokens=2000, _more=True)
        assert next(replies)["text"]
        assert len(embed(both, [TURN] * 4, background=True)) == 4
        assert next(replies)["text"]


def test_a_caller_that_leaves_ends_its_texts(both: Worker) -> None:
    texts = [TURN * 12] * 64
    began = time.monotonic()
    embed(both, texts)
    whole = time.monotonic() - began
    with both.connect() as connection:
        call = {"method": "io.aetheros.Model.Embed", "parameters": {"texts": texts}}
        connection.sendall(json.dumps(call).encode() + b"\0")
    began = time.monotonic()
    embed(both, ["Where is the key?"])
    assert time.monotonic() - began < whole / 3


def test_a_worker_without_an_encoder_says_so(worker: Worker) -> None:
    with pytest.raises(WorkerError, match="has no embedder") as caught:
        embed(worker, ["x"])
    assert caught.value.state == "missing"
    assert ModelWorker(str(worker.path)).status().embedder is None


@pytest.mark.parametrize(
    ("how", "state"),
    [("missing", "missing"), ("rubbish", "corrupt"), ("cut", "corrupt"), ("a chat model", "corrupt")],
)
def test_an_encoder_that_cannot_be_used_is_named_and_the_chat_model_answers(
    start_worker: StartWorker, smollm2: Path, minilm: Path, tmp_path: Path, how: str, state: str
) -> None:
    place = smollm2 if how == "a chat model" else tmp_path / "encoder.gguf"
    if how in ("rubbish", "cut"):
        whole = minilm.read_bytes()
        place.write_bytes(whole[: len(whole) // 2] if how == "cut" else b"GGUF" + os.urandom(4096))
    running = start_worker(smollm2, "--embedder", str(place), folder=tmp_path)
    status = wait_for_both(running)
    assert (status["state"], status["embedder"], status["dimension"]) == ("ready", state, 0)
    with pytest.raises(WorkerError, match=place.name) as caught:
        embed(running, ["x"])
    assert caught.value.state == state
    with running.calling() as model:
        assert model.Generate(messages=STORY, max_tokens=3)["completion_tokens"] == 3
    assert running.end() == 0


def test_sigterm_in_the_middle_of_many_texts_ends_the_worker_cleanly(
    start_worker: StartWorker, smollm2: Path, minilm: Path, tmp_path: Path
) -> None:
    running = start_worker(smollm2, "--embedder", str(minilm), folder=tmp_path)
    wait_for_both(running)
    failures: list[Exception] = []

    def index() -> None:
        try:
            embed(running, [TURN * 12] * 640)
        except WorkerError as error:
            failures.append(error)

    thread = threading.Thread(target=index)
    thread.start()
    embed(running, ["Where is the key?"])
    began = time.monotonic()
    assert running.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 4
    thread.join(PATIENCE)
    assert len(failures) == 1
