"""Under memory pressure the real worker gives its memory back, and answers when it is asked again."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from worker_process import PATIENCE, StartWorker, Worker

from agentd.call import Watch
from agentd.worker import ModelWorker

pytestmark = pytest.mark.native

# About 350 tokens that every prompt here begins with.
SYSTEM = {
    "role": "system",
    "content": "You are the agent of a lighthouse. "
    + " ".join(f"Ship {n} carries {n * 7 % 50} boxes of tea to port {n % 9}." for n in range(20)),
}
FIRST = [SYSTEM, {"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Tell me a very long story about a ship."}]


class Pressed:
    """A worker that keeps its states, and the pipe that tells it of pressure."""

    def __init__(self, start_worker: StartWorker, smollm2: Path, folder: Path) -> None:
        self.pipe, self.states = folder / "pressure", folder / "kv"
        os.mkfifo(self.pipe)
        self.worker: Worker = start_worker(
            smollm2,
            *("--states", str(self.states)),
            folder=folder,
            env={"MEMORY_PRESSURE_WATCH": str(self.pipe)},
        )
        self.worker.wait_for(": ready: ")

    def press(self, answer: str) -> None:
        """An event of pressure, which the worker answers with these words in its log."""
        self.pipe.write_bytes(b"x")
        self.worker.wait_for(answer)

    def memory(self) -> tuple[int, int]:
        """The worker's resident memory and what of it is anonymous, in MB (proc_pid_status(5))."""
        status = Path(f"/proc/{self.worker.pid}/status").read_text()
        whole, anonymous = (
            int(re.findall(rf"{key}:\s+(\d+) kB", status)[0]) for key in ("VmRSS", "RssAnon")
        )
        return whole >> 10, anonymous >> 10

    def generate(self, messages: list[dict[str, str]], **options: Any) -> dict[str, Any]:
        with self.worker.calling() as model:
            reply: dict[str, Any] = model.Generate(
                messages=messages, **{"temperature": 0.0, "max_tokens": 24} | options
            )
        return reply

    def state(self) -> str:
        return ModelWorker(str(self.worker.path)).status().state


@pytest.fixture
def pressed(start_worker: StartWorker, smollm2: Path, tmp_path: Path) -> Pressed:
    return Pressed(start_worker, smollm2, tmp_path)


def test_memory_is_given_back_step_by_step_and_the_next_question_reads_only_what_is_new(
    pressed: Pressed,
) -> None:
    first = pressed.generate(FIRST, keep="first")
    assert "Paris" in first["text"]
    _wait_for(pressed.states / "first.state")
    loaded, anonymous = pressed.memory()

    pressed.press("what the model has read is given back")
    _, shrunk = pressed.memory()
    # Keys and values of 4096 tokens are 90 MB.
    assert anonymous - shrunk > 85
    assert pressed.state() == "ready"

    pressed.press("rests")
    assert pressed.state() == "resting"
    resting, _ = pressed.memory()
    # And 92 MB of weights, pages of a file that the kernel could have taken by itself.
    assert loaded - resting > 180

    follow_up = [*FIRST, {"role": "assistant", "content": first["text"]}]
    follow_up.append({"role": "user", "content": "And of Italy?"})
    began = time.monotonic()
    list(ModelWorker(str(pressed.worker.path)).wait_ready(Watch()))
    again = pressed.generate(follow_up)
    took = time.monotonic() - began
    assert again["loaded_tokens"] > 300
    assert again["prompt_tokens"] - again["reused_tokens"] < 30
    assert "Rome" in again["text"]
    back, _ = pressed.memory()
    print(
        f"RSS {loaded} MB ({anonymous} anonymous); without its context {shrunk} anonymous; resting {resting}"
        f" MB; answered again in {took:.2f} s, then {back} MB"
    )


def test_what_was_given_back_alone_is_read_from_the_disk_again(pressed: Pressed) -> None:
    pressed.generate(FIRST, keep="first")
    _wait_for(pressed.states / "first.state")
    pressed.press("what the model has read is given back")
    again = pressed.generate(FIRST)
    assert again["loaded_tokens"] > 300
    assert "Paris" in again["text"]


def test_an_answer_under_way_is_not_cut_while_the_machine_has_memory(pressed: Pressed) -> None:
    with pressed.worker.calling() as model:
        replies = model.Generate(messages=STORY, max_tokens=80, _more=True)
        assert next(replies)["text"]
        for _ in range(6):
            pressed.pipe.write_bytes(b"x")
            assert next(replies)["text"]
        last = list(replies)[-1]
    assert (last["stop"], last["completion_tokens"]) == ("length", 80)


def test_the_worker_watches_the_pressure_of_the_machine(start_worker: StartWorker, tmp_path: Path) -> None:
    if not os.access("/proc/pressure/memory", os.W_OK):
        pytest.skip("this kernel has no PSI")
    running = start_worker(folder=tmp_path)
    running.wait_for(": ready: ")
    opened = [place.readlink() for place in Path(f"/proc/{running.pid}/fd").iterdir()]
    assert Path("/proc/pressure/memory") in opened


def _wait_for(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < deadline, f"there is no {file}"
