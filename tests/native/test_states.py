"""What a worker has read outlives it: saved states with the real llama.cpp, model and socket."""

import json
import os
import resource
import shutil
import signal
import time
import zlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import varlink
from worker_process import PATIENCE, StartWorker, Worker

pytestmark = pytest.mark.native

# About 350 tokens that every prompt here begins with.
SYSTEM = {
    "role": "system",
    "content": "You are the agent of a lighthouse. "
    + " ".join(f"Ship {n} carries {n * 7 % 50} boxes of tea to port {n % 9}." for n in range(20)),
}
FIRST = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]


def follow_up(reply: dict[str, Any]) -> list[dict[str, str]]:
    answer = {"role": "assistant", "content": reply["text"]}
    return [*FIRST, answer, {"role": "user", "content": "And of Italy?"}]


def generate(worker: Worker, messages: list[dict[str, str]], **options: Any) -> dict[str, Any]:
    given = {"temperature": 0.0, "max_tokens": 24} | options
    with worker.calling() as model:
        reply: dict[str, Any] = model.Generate(messages=messages, **given)
    return reply


def call(worker: Worker, method: str, **parameters: Any) -> dict[str, Any]:
    with worker.calling() as model:
        reply: dict[str, Any] = getattr(model, method)(**parameters)
    return reply


def wait_kept(worker: Worker, file: Path) -> None:
    """Wait until the worker has kept a state in that file."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        call(worker, "Status")
        assert time.monotonic() < deadline, f"there is no {file}"


def wait_for_log(worker: Worker) -> str:
    """Everything that a worker that has ended ever said."""
    while data := os.read(worker._pipe, 1 << 16):
        worker._file.write(data)
        worker._file.flush()
    return worker.log.read_text()


@pytest.fixture
def start(start_worker: StartWorker, smollm2: Path, tmp_path: Path) -> Callable[..., Worker]:
    """Starts a worker that keeps its states in `tmp_path`/kv."""

    def start(*extra: str, model: Path = smollm2, states: Path = tmp_path / "kv") -> Worker:
        running = start_worker(model, "--states", str(states), *extra, folder=tmp_path)
        running.wait_for(": ready: ")
        return running

    return start


@pytest.fixture(scope="module")
def kept(start_worker: StartWorker, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state of FIRST, asked and answered, with a context of 4096 tokens."""
    folder = tmp_path_factory.mktemp("kept")
    running = start_worker(smollm2, "--states", str(folder / "kv"), folder=folder)
    running.wait_for(": ready: ")
    generate(running, FIRST, keep="first")
    assert running.end() == 0
    return folder / "kv/first.state"


def test_after_a_crash_the_next_question_of_a_session_reads_only_what_is_new_and_answers_alike(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    running = start()
    first = generate(running, FIRST, keep="session-1")
    assert (first["reused_tokens"], first["loaded_tokens"]) == (0, 0)
    assert first["prompt_tokens"] > 300
    wait_kept(running, tmp_path / "kv/session-1.state")
    assert (tmp_path / "kv/session-1.state").stat().st_mode & 0o777 == 0o600
    undisturbed = generate(running, follow_up(first))
    assert undisturbed["loaded_tokens"] == 0
    assert running.end(signal.SIGKILL) == -signal.SIGKILL

    successor = start()
    again = generate(successor, follow_up(first))
    assert again["loaded_tokens"] == again["reused_tokens"] == undisturbed["reused_tokens"]
    assert again["prompt_tokens"] - again["reused_tokens"] < 30
    assert again["text"] == undisturbed["text"]
    assert again["completion_tokens"] == undisturbed["completion_tokens"]


def test_what_was_answered_last_is_kept_when_the_worker_is_told_to_end(kept: Path) -> None:
    assert kept.exists()
    assert [path.name for path in kept.parent.iterdir()] == ["first.state"]


def test_with_a_seed_nothing_is_loaded(kept: Path, start: Callable[..., Worker], tmp_path: Path) -> None:
    shutil.copytree(kept.parent, tmp_path / "kv")
    running = start()
    assert generate(running, FIRST, seed=1)["reused_tokens"] == 0
    assert generate(running, [{"role": "user", "content": "Hello!"}])["loaded_tokens"] == 0
    assert generate(running, FIRST)["loaded_tokens"] > 300


def damaged(whole: bytes, how: str) -> bytes:
    line, state = whole.split(b"\n", 1)
    header = json.loads(line)
    match how:
        case "cut":
            return whole[: len(whole) // 2]
        case "longer":
            return whole + b"\0"
        case "empty":
            return b""
        case "one bit of its bytes":
            return whole[:-1000] + bytes([whole[-1000] ^ 1]) + whole[-999:]
        case "one token":
            header["tokens"][-40] += 1
        case "another model's":
            header["fingerprint"] = "0" * 64
        case "a newer format":
            header["format"] += 1
        case "not the types":
            header |= {"size": float(header["size"]), "crc32": "x"}
        case "bytes that llama.cpp refuses":
            state = os.urandom(len(state))
            crc32 = zlib.crc32(state, zlib.crc32(array("i", header["tokens"]).tobytes()))
            header["crc32"] = crc32
        case "fewer tokens than bytes":
            header["tokens"] = header["tokens"][:-1]
            header["crc32"] = zlib.crc32(state, zlib.crc32(array("i", header["tokens"]).tobytes()))
    return json.dumps(header).encode() + b"\n" + state


@pytest.mark.parametrize(
    "how",
    [
        "cut",
        "longer",
        "empty",
        "one bit of its bytes",
        "one token",
        "another model's",
        "a newer format",
        "not the types",
        "bytes that llama.cpp refuses",
        "fewer tokens than bytes",
    ],
)
def test_a_state_about_which_there_is_doubt_is_a_miss_and_is_removed(
    kept: Path, start: Callable[..., Worker], tmp_path: Path, how: str
) -> None:
    (tmp_path / "kv").mkdir()
    place = tmp_path / "kv/first.state"
    place.write_bytes(damaged(kept.read_bytes(), how))
    running = start()
    reply = generate(running, FIRST)
    assert (reply["reused_tokens"], reply["loaded_tokens"]) == (0, 0)
    assert "Paris" in reply["text"]
    assert not place.exists()
    assert running.end() == 0
    said = [
        line for line in wait_for_log(running).splitlines() if "state" in line and "llama.cpp:" not in line
    ]
    assert len(said) == 1, said


def test_a_state_for_another_context_is_a_miss(
    kept: Path, start: Callable[..., Worker], tmp_path: Path
) -> None:
    shutil.copytree(kept.parent, tmp_path / "kv")
    running = start("--context", "2048")
    reply = generate(running, FIRST)
    assert reply["loaded_tokens"] == 0
    assert "Paris" in reply["text"]


def test_the_shared_beginning_is_kept_before_the_reply_and_read_by_every_later_question(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    running = start()
    one = call(running, "Prefix", messages=[SYSTEM], name="default")
    assert one["tokens"] == one["evaluated"] > 300
    assert running.end(signal.SIGKILL) == -signal.SIGKILL
    successor = start()
    assert call(successor, "Prefix", messages=[SYSTEM], name="default") == one | {"evaluated": 0}
    reply = generate(successor, FIRST)
    assert reply["loaded_tokens"] == one["tokens"]
    assert reply["prompt_tokens"] - reply["reused_tokens"] < 25
    assert "Paris" in reply["text"]


def test_a_state_that_came_with_the_image_is_read_and_never_removed(
    kept: Path, start: Callable[..., Worker], tmp_path: Path
) -> None:
    baked = tmp_path / "baked"
    shutil.copytree(kept.parent, baked)
    running = start("--baked", str(tmp_path / "none"), "--baked", str(baked))
    assert generate(running, FIRST)["loaded_tokens"] > 300
    assert call(running, "Forget")["removed"] == 0
    assert [path.name for path in baked.iterdir()] == ["first.state"]


def test_forgetting_leaves_neither_a_file_nor_anything_in_memory(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    running = start()
    for name in ("one", "two", "three"):
        question = {"role": "user", "content": f"Count to {name}."}
        generate(running, [SYSTEM, question], keep=name, max_tokens=2)
        wait_kept(running, tmp_path / f"kv/{name}.state")
    assert call(running, "Forget", names=["one", "never"])["removed"] == 1
    assert sorted(path.name for path in (tmp_path / "kv").iterdir()) == ["three.state", "two.state"]
    assert call(running, "Forget")["removed"] == 2
    assert list((tmp_path / "kv").iterdir()) == []
    assert generate(running, FIRST, max_tokens=1)["reused_tokens"] == 0


def test_what_is_being_answered_while_it_is_forgotten_is_not_kept(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    running = start()
    with running.calling() as model:
        replies = model.Generate(messages=FIRST, max_tokens=60, seed=1, keep="gone", _more=True)
        assert next(replies)["text"]
        assert call(running, "Forget", names=["gone"])["removed"] == 0
        assert list(replies)[-1]["done"]
    assert running.end() == 0
    assert list((tmp_path / "kv").iterdir()) == []


def test_states_are_removed_where_the_model_cannot_be_used(
    kept: Path, start_worker: StartWorker, tmp_path: Path
) -> None:
    shutil.copytree(kept.parent, tmp_path / "kv")
    running = start_worker(tmp_path / "none.gguf", "--states", str(tmp_path / "kv"), folder=tmp_path)
    running.wait_for("missing: ")
    assert call(running, "Forget", names=["first"])["removed"] == 1
    assert list((tmp_path / "kv").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line_in_the_log(
    start: Callable[..., Worker], smollm2: Path
) -> None:
    running = start(states=smollm2.parent / "kv")
    for name in ("one", "two"):
        assert "Paris" in generate(running, FIRST, keep=name)["text"]
    assert call(running, "Forget")["removed"] == 0
    assert running.end() == 0
    assert wait_for_log(running).count("cannot be kept") == 1


def test_a_full_disk_is_one_line_in_the_log_and_leaves_no_half_file(
    start: Callable[..., Worker], tmp_path: Path
) -> None:
    running = start()
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    assert "Paris" in generate(running, FIRST, keep="one")["text"]
    running.wait_for("cannot be kept")
    assert "Paris" in generate(running, FIRST, keep="two")["text"]
    assert list((tmp_path / "kv").iterdir()) == []
    assert running.end() == 0
    assert wait_for_log(running).count("cannot be kept") == 1


@pytest.mark.parametrize("name", ["", "../first", "A", "x" * 65, "a.b", "a\n"])
def test_a_name_that_is_no_name_is_refused(worker: Worker, name: str) -> None:
    for method, parameters in (("Generate", {"keep": name}), ("Prefix", {"name": name})):
        with pytest.raises(varlink.VarlinkError) as refused:
            call(worker, method, messages=FIRST, **parameters)
        assert refused.value.error() == "io.aetheros.Model.InvalidRequest"


def test_without_a_folder_everything_is_answered_and_nothing_kept(worker: Worker) -> None:
    call(worker, "Forget")
    assert call(worker, "Prefix", messages=[SYSTEM], name="default")["evaluated"] > 300
    reply = generate(worker, FIRST, keep="first")
    assert reply["reused_tokens"] > 300
    assert reply["loaded_tokens"] == 0
    assert call(worker, "Forget")["removed"] == 0
