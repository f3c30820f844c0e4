"""Memory pressure: what is watched, what an event asks for, and how the engine gives memory back."""

import base64
import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from reader_model import Reader

from agentd.model import engine as engine_module
from agentd.model.engine import Engine, Job, Loaded, News, NotReady, Result
from agentd.model.llama import Sampling
from agentd.model.messages import Message
from agentd.model.pressure import (
    CALM,
    MACHINE,
    Course,
    Memory,
    Relief,
    Source,
    memory,
    open_source,
    watch,
)
from agentd.model.states import States
from agentd.model.template import CHATML, ChatTemplate

PATIENCE = 10.0
MB = 1 << 20
ENOUGH = Memory(total=800 * MB, available=400 * MB)
SCARCE = Memory(total=800 * MB, available=50 * MB)
NEEDS = 200 * MB


# ---- what is watched


def test_a_pipe_is_watched_and_its_events_are_taken(tmp_path: Path) -> None:
    pipe = tmp_path / "pressure"
    os.mkfifo(pipe)
    source = open_source({"MEMORY_PRESSURE_WATCH": str(pipe)})
    assert source is not None
    assert not select.select([source.fd], [], [], 0)[0]
    pipe.write_bytes(b"x")
    assert select.select([source.fd], [], [], PATIENCE)[0]
    os.close(source.fd)


def test_a_pressure_file_is_armed_with_the_given_trigger(tmp_path: Path) -> None:
    place = tmp_path / "memory.pressure"
    place.write_bytes(b"")
    written = base64.b64encode(b"full 1 2000000").decode()
    source = open_source({"MEMORY_PRESSURE_WATCH": str(place), "MEMORY_PRESSURE_WRITE": written})
    assert source is not None
    assert source.events == select.POLLPRI
    assert place.read_bytes() == b"full 1 2000000"
    os.close(source.fd)


def test_the_kernel_takes_the_trigger_for_the_whole_machine() -> None:
    if not os.access(MACHINE, os.W_OK):
        pytest.skip("this kernel has no PSI")
    source = open_source({})
    assert source is not None
    assert source.events == select.POLLPRI
    os.close(source.fd)


@pytest.mark.parametrize(
    "environment",
    [
        {"MEMORY_PRESSURE_WATCH": "/dev/null"},
        {"MEMORY_PRESSURE_WATCH": "/nonexistent"},
        {"MEMORY_PRESSURE_WATCH": MACHINE, "MEMORY_PRESSURE_WRITE": "not base64!"},
    ],
)
def test_what_cannot_be_watched_is_one_line_in_the_log(
    environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert open_source(environment) is None
    assert capfd.readouterr().err.count("memory pressure is not watched") == 1


def test_the_machine_has_memory_and_one_that_does_not_tell_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = memory()
    assert found is not None
    assert 0 < found.available <= found.total
    monkeypatch.setattr("agentd.model.pressure.MEMINFO", tmp_path / "meminfo")
    assert memory() is None


# ---- what an event asks for


def test_pressure_that_lasts_asks_for_more_and_begins_anew_after_a_calm() -> None:
    course = Course()
    asked = [course.event(100 + 2.0 * number) for number in range(6)]
    assert asked == [Relief.CONTEXT, *[Relief.MODEL] * 3, *[Relief.ANSWER] * 2]
    assert course.event(110 + CALM + 0.1) is Relief.CONTEXT


@pytest.mark.parametrize(
    ("found", "last"), [(SCARCE, Relief.ANSWER), (ENOUGH, Relief.MODEL), (None, Relief.MODEL)]
)
def test_an_answer_is_asked_for_only_while_the_machines_memory_is_scarce(
    found: Memory | None, last: Relief
) -> None:
    reading, writing = os.pipe()
    asked: list[Relief] = []

    def relieve(relief: Relief) -> None:
        asked.append(relief)
        if len(asked) < 5:
            os.write(writing, b"x")
        else:
            os.close(writing)

    os.write(writing, b"x")
    watch(Source(reading, select.POLLIN), relieve, lambda: found)
    assert asked == [Relief.CONTEXT, *[Relief.MODEL] * 3, last]
    os.close(reading)


# ---- the engine


class Machine:
    """An engine with a scripted model, the memory that there is, and how often the model was loaded."""

    def __init__(self, kv: Path) -> None:
        self.model = Reader()
        self.memory: Memory | None = ENOUGH
        self.loads = 0
        self.fails = False
        self.engine = Engine(self._load, name="m", threads=1, states=States(kv), memory=lambda: self.memory)
        self.engine.start()
        self.wait_for("ready")

    def _load(self) -> Loaded:
        self.loads += 1
        if self.fails:
            raise OSError("the disk is gone")
        template = ChatTemplate(CHATML, bos="", eos="")
        return Loaded(self.model, template, "reader", resumable=self.model, fingerprint="mine", needs=NEEDS)

    def wait_for(self, state: str) -> None:
        self.wait_until(lambda: self.engine._status.state == state)

    def wait_until(self, true: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        with self.engine._changed:
            while not true():
                self.engine._changed.wait(0.02)
                assert time.monotonic() < deadline

    def give_back(self, relief: Relief) -> None:
        self.engine.relieve(relief)
        assert self.model.gave_back.wait(PATIENCE)

    def rest(self) -> None:
        self.give_back(Relief.MODEL)
        assert self.engine.status().state == "resting"

    def ask(self, text: str, keep: str | None = None) -> Job:
        job = Job([Message("user", text)], 100, Sampling(), keep=keep)
        self.engine.submit(job)
        return job


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setattr(engine_module, "LOOK", 0.02)
    machine = Machine(tmp_path / "kv")
    yield machine
    assert machine.engine.close(PATIENCE)


def news(job: Job) -> tuple[str, Result | Exception]:
    """What a job says, and how it ends."""
    found: list[News] = []
    while not found or isinstance(found[-1], str):
        assert select.select([job], [], [], PATIENCE)[0], found
        found += job.take()
    last = found.pop()
    assert not isinstance(last, str)
    return "".join(str(one) for one in found), last


def result(job: Job) -> Result:
    last = news(job)[1]
    assert isinstance(last, Result), last
    return last


def test_what_was_read_is_given_back_first_and_comes_from_the_disk_again(machine: Machine) -> None:
    first = result(machine.ask("how are you?", keep="one"))
    machine.give_back(Relief.CONTEXT)
    assert machine.model.given_back == ["context"]
    again = result(machine.ask("how are you?"))
    assert again.loaded_tokens == first.prompt_tokens - 1
    assert machine.loads == 1


def test_a_model_that_rests_says_so_and_the_next_question_loads_it(machine: Machine) -> None:
    first = result(machine.ask("how are you?", keep="one"))
    machine.rest()
    assert machine.model.given_back == ["model"]
    assert (machine.engine.status().context, machine.engine.status().name) == (4096, "m")
    machine.engine.relieve(Relief.MODEL)
    again = result(machine.ask("how are you?"))
    assert again.loaded_tokens == first.prompt_tokens - 1
    assert (machine.loads, machine.engine.status().state) == (2, "ready")


def test_an_answer_under_way_and_one_that_waits_are_not_cut_at_low_pressure(machine: Machine) -> None:
    machine.model.gate = threading.Semaphore(1)
    jobs = [machine.ask("one"), machine.ask("two")]
    assert select.select([jobs[0]], [], [], PATIENCE)[0]
    for relief in (Relief.CONTEXT, Relief.MODEL):
        machine.engine.relieve(relief)
    machine.model.gate.release(100)
    assert [news(job)[0] for job in jobs] == ["yes", "yes"]
    assert machine.model.given_back == []


def test_at_critical_pressure_an_answer_ends_with_what_it_has_and_the_next_waits_for_memory(
    machine: Machine,
) -> None:
    machine.model.gate = threading.Semaphore(1)
    machine.memory = SCARCE
    first, second = machine.ask("one", keep="one"), machine.ask("two")
    assert select.select([first], [], [], PATIENCE)[0]
    machine.engine.relieve(Relief.ANSWER)
    text, last = news(first)
    assert isinstance(last, Result)
    assert (text, last.stop) == ("y", "memory")
    machine.wait_until(lambda: "needed" in machine.engine._status.detail)
    assert machine.model.given_back == ["model"]
    machine.model.gate.release(100)
    machine.memory = ENOUGH
    assert news(second)[0] == "yes"


def test_what_was_read_for_an_answer_that_was_cut_takes_no_memory_to_be_kept(
    machine: Machine, tmp_path: Path
) -> None:
    machine.model.gate = threading.Semaphore(1)
    job = machine.ask("how are you?", keep="one")
    assert select.select([job], [], [], PATIENCE)[0]
    machine.give_back(Relief.ANSWER)
    assert result(job).stop == "memory"
    assert list((tmp_path / "kv").iterdir()) == []


def test_without_enough_memory_waking_tells_what_is_missing_until_there_is(machine: Machine) -> None:
    machine.rest()
    machine.memory = SCARCE
    machine.engine.wake()
    status = machine.engine.status()
    assert status.state == "resting"
    assert status.detail == "waiting for memory: 300 MB are needed, 50 MB are free"
    machine.memory = ENOUGH
    machine.engine.wake()
    machine.wait_for("ready")
    assert machine.loads == 2


def test_a_machine_that_does_not_tell_its_memory_loads_at_once(machine: Machine) -> None:
    machine.rest()
    machine.memory = None
    assert result(machine.ask("one")).stop == "end"


def test_counting_tokens_loads_a_model_that_rests(machine: Machine) -> None:
    machine.rest()
    assert machine.engine.count(["four"]) == [4]
    assert machine.loads == 2


def test_patience_with_memory_ends_in_one_clear_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MEMORY_PATIENCE", 0.1)
    monkeypatch.setattr(engine_module, "COUNT_PATIENCE", 0.1)
    machine.rest()
    machine.memory = SCARCE
    last = news(machine.ask("one"))[1]
    assert isinstance(last, NotReady)
    assert (last.state, last.detail) == ("resting", "waiting for memory: 300 MB are needed, 50 MB are free")
    with pytest.raises(NotReady, match="300 MB are needed"):
        machine.engine.count(["four"])
    machine.memory = ENOUGH
    assert result(machine.ask("two")).stop == "end"


def test_a_question_that_waits_for_memory_can_be_cancelled(machine: Machine) -> None:
    machine.rest()
    machine.memory = SCARCE
    job = machine.ask("one")
    machine.engine.cancel(job)
    assert result(job).stop == "cancelled"


def test_a_model_that_cannot_be_loaded_again_is_told_to_who_waits(machine: Machine) -> None:
    machine.rest()
    machine.fails = True
    last = news(machine.ask("one"))[1]
    assert isinstance(last, NotReady)
    assert last.state == "unavailable"
    with pytest.raises(NotReady, match="the disk is gone"):
        machine.ask("two")


def test_what_was_read_is_forgotten_while_the_model_rests(machine: Machine, tmp_path: Path) -> None:
    result(machine.ask("how are you?", keep="one"))
    machine.rest()
    assert machine.engine.forget(None) == 1
    assert result(machine.ask("how are you?")).loaded_tokens == 0
