"""Saved states: which are found, which are refused, how many are kept, and when the engine keeps them."""

import json
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from reader_model import Reader

from agentd.model import states as module
from agentd.model.engine import Engine, Job, Loaded, News, Result
from agentd.model.llama import Sampling, common
from agentd.model.messages import Message
from agentd.model.states import Saved, States, fingerprint
from agentd.model.template import CHATML, ChatTemplate

PATIENCE = 10.0
CONTEXT = 4096


def opened(folder: Path, *baked: Path, print_of: str = "mine", context: int = CONTEXT) -> States:
    states = States(folder, baked)
    states.open(print_of, context)
    return states


def save(
    states: States, name: str, tokens: Sequence[int], content: bytes = b"state", shared: bool = False
) -> None:
    states.save(name, list(tokens), lambda largest: bytearray(content), shared=shared)


def read(states: States, prompt: Sequence[int], held: int = 0) -> bytes | None:
    """The bytes of the best state for a prompt."""
    found = states.best(prompt, held)
    content = states.read(found) if found else None
    return None if content is None else bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [([], [1], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 3, 9], [1, 2, 4, 9], 2), ([5], [6], 0)],
)
def test_the_common_beginning_of_two_lists_is_found(one: list[int], other: list[int], same: int) -> None:
    assert common(one, other) == common(other, one) == same


def test_a_state_is_found_by_its_tokens_after_a_restart(tmp_path: Path) -> None:
    save(opened(tmp_path), "one", range(100), b"a hundred")
    again = opened(tmp_path)
    assert read(again, range(200)) == b"a hundred"
    assert read(again, range(1000, 1200)) is None


def test_the_state_that_saves_most_is_taken(tmp_path: Path) -> None:
    states = opened(tmp_path)
    save(states, "long", range(300), b"long")
    save(states, "short", range(100), b"short")
    save(states, "other", [*range(50), *range(900, 1500)], b"other")
    # Of two that save the same, the smaller one.
    assert read(states, [*range(100), *range(7000, 7050)]) == b"short"
    assert read(states, range(150)) == b"long"
    assert read(states, range(400)) == b"long"


def test_what_is_in_memory_already_is_not_read_again(tmp_path: Path) -> None:
    states = opened(tmp_path)
    save(states, "one", range(100))
    assert read(states, range(200), held=50) is not None
    assert read(states, range(200), held=90) is None


def test_a_state_is_not_written_again_for_a_few_tokens(tmp_path: Path) -> None:
    states = opened(tmp_path)
    save(states, "tiny", range(15))
    assert names(tmp_path) == []
    save(states, "one", range(100), b"first")
    save(states, "one", range(110), b"second")
    assert read(states, range(200)) == b"first"
    save(states, "one", range(116), b"third")
    assert read(states, range(200)) == b"third"
    assert names(tmp_path) == ["one.state"]


def test_a_saving_that_somebody_waits_for_is_given_up_and_what_was_there_stays(tmp_path: Path) -> None:
    states = opened(tmp_path)
    save(states, "one", range(100), b"first")
    looks = iter([False, True])
    states.save("one", list(range(200)), lambda largest: bytearray(b"second"), hurry=lambda: next(looks))
    assert names(tmp_path) == ["one.state"]
    assert read(opened(tmp_path), range(300)) == b"first"


def test_a_file_that_only_its_owner_may_read_is_whole_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(opened: int) -> None:
        order.append("fsync")
        fsync(opened)

    def watched_rename(path: Path, to: Path) -> Path:
        order.append("rename")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    save(opened(tmp_path), "one", range(100))
    assert order == ["fsync", "rename", "fsync"]
    assert (tmp_path / "one.state").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("limit", "value"), [("MOST", 3), ("LARGEST", 4000)])
def test_what_was_used_longest_ago_makes_room_and_the_shared_beginning_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(module, limit, value)
    states = opened(tmp_path)
    save(states, "prefix", range(100), bytes(500), shared=True)
    for number in (1, 2):
        save(states, f"s{number}", range(1000 * number, 1000 * number + 100), bytes(500))
    assert read(states, range(1000, 1200)) is not None
    save(states, "s3", range(3000, 3100), bytes(500))
    assert names(tmp_path) == ["prefix.state", "s1.state", "s3.state"]
    monkeypatch.setattr(module, limit, value - value // 3)
    assert names(tmp_path) == ["prefix.state", "s1.state", "s3.state"]
    opened(tmp_path)
    assert names(tmp_path) == ["prefix.state", "s3.state"]


def test_a_state_larger_than_all_may_be_together_is_not_asked_for(tmp_path: Path) -> None:
    states, asked = opened(tmp_path), []

    def state(largest: int) -> bytearray | None:
        asked.append(largest)
        return None

    states.save("one", list(range(100)), state)
    assert asked == [module.LARGEST]
    assert names(tmp_path) == []


def test_a_disk_that_is_almost_full_is_left_to_others_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    states = opened(tmp_path)
    save(states, "one", range(100))
    monkeypatch.setattr(module, "RESERVE", 1 << 60)
    save(states, "two", range(500, 600))
    save(states, "three", range(700, 800))
    assert "two.state" not in names(tmp_path)
    assert capfd.readouterr().err.count("almost full") == 1


@pytest.mark.parametrize("other", [{"print_of": "another"}, {"context": 99}])
def test_states_of_another_model_or_context_are_removed(tmp_path: Path, other: dict[str, str | int]) -> None:
    save(opened(tmp_path), "one", range(100))
    states = opened(tmp_path, **other)  # type: ignore[arg-type]
    assert read(states, range(200)) is None
    assert names(tmp_path) == []


def rubbish(folder: Path, how: str) -> None:
    place = folder / "bad.state"
    match how:
        case "a folder":
            place.mkdir()
        case "a link":
            (folder / "elsewhere").write_bytes((folder / "good.state").read_bytes())
            place.symlink_to(folder / "elsewhere")
        case "a pipe":
            os.mkfifo(place)
        case "nested":
            place.write_bytes(b"[" * 100_000 + b"\n")
        case "a list":
            place.write_bytes(b"[]\n")
        case "not utf-8":
            place.write_bytes(b'{"format": "\xff"}\n')
        case _:
            header = json.loads((folder / "good.state").read_bytes().split(b"\n")[0])
            header |= json.loads(how)
            place.write_bytes(json.dumps(header).encode() + b"\nstate")


@pytest.mark.parametrize(
    "how",
    [
        "a folder",
        "a link",
        "a pipe",
        "nested",
        "a list",
        "not utf-8",
        '{"size": 5.0}',
        '{"size": -1}',
        '{"crc32": null}',
        '{"tokens": {"1": 2}}',
        '{"tokens": [-1]}',
        '{"tokens": [99999999999]}',
        '{"tokens": []}',
    ],
)
def test_a_file_that_is_no_state_hides_none_that_is(tmp_path: Path, how: str) -> None:
    save(opened(tmp_path), "good", range(100), b"good")
    rubbish(tmp_path, how)
    states = opened(tmp_path)
    assert read(states, range(200)) == b"good"
    assert not (tmp_path / "bad.state").is_file()


def test_a_file_that_cannot_be_read_is_a_miss(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    states = opened(tmp_path)
    save(states, "one", range(100))
    (tmp_path / "one.state").unlink()
    assert read(states, range(200)) is None
    assert states.best(range(200), 0) is None
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_what_an_interrupted_worker_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "one.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"somebody's")
    opened(tmp_path)
    assert names(tmp_path) == ["notes.txt"]


def test_states_are_removed_by_name_even_where_no_model_could_be_loaded(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        save(opened(tmp_path), name, range(100))
    (tmp_path / "two.tmp").write_bytes(b"half")
    states = States(tmp_path)
    assert states.remove(["two", "../two", "never"]) == 1
    assert names(tmp_path) == ["one.state", "three.state"]
    assert states.remove(None) == 2
    assert names(tmp_path) == []
    assert States(tmp_path / "none").remove(None) == States(None).remove(None) == 0


def test_a_file_that_is_not_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(opened(tmp_path), "one", range(100))

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(PermissionError):
        States(tmp_path).remove(None)


def test_a_baked_state_is_found_and_neither_changed_nor_removed(tmp_path: Path) -> None:
    baked, own = tmp_path / "baked", tmp_path / "own"
    save(opened(baked), "default", range(100), b"baked", shared=True)
    whole = (baked / "default.state").read_bytes()
    states = opened(own, baked, tmp_path / "none")
    assert states.holds(list(range(100)))
    assert not states.holds(list(range(99)))
    assert read(states, range(200)) == b"baked"
    assert states.remove(None) == 0
    (baked / "default.state").write_bytes(whole[:-1] + b"?")
    assert read(states, range(200)) is None
    assert names(baked) == ["default.state"]


def test_the_fingerprint_is_that_of_the_file_and_of_how_it_is_used(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    content = bytearray(os.urandom(5 << 20))
    gguf.write_bytes(content)
    first = fingerprint(gguf, "0.3.36 4096 1 1")
    assert fingerprint(gguf, "0.3.36 4096 1 1") == first
    assert fingerprint(gguf, "0.3.37 4096 1 1") != first
    for place in (0, len(content) - 1, len(content) // 2):
        changed = bytearray(content)
        changed[place] ^= 1
        gguf.write_bytes(changed)
        assert fingerprint(gguf, "0.3.36 4096 1 1") != first
    gguf.write_bytes(content + b"\0")
    assert fingerprint(gguf, "0.3.36 4096 1 1") != first


# ---- the engine


@pytest.fixture
def model() -> Reader:
    return Reader()


@pytest.fixture
def start(tmp_path: Path, model: Reader) -> Iterator[Callable[[], Engine]]:
    """Starts an engine with that model and states in `tmp_path`/kv."""
    started: list[Engine] = []

    def start() -> Engine:
        template = ChatTemplate(CHATML, bos="", eos="")
        engine = Engine(
            lambda: Loaded(model, template, "reader", resumable=model, fingerprint="mine"),
            name="m", threads=1, states=States(tmp_path / "kv"),
        )  # fmt: skip
        started.append(engine)
        engine.start()
        with engine._changed:
            assert engine._changed.wait_for(lambda: engine._status.state != "loading", PATIENCE)
        return engine

    yield start
    for engine in started:
        assert engine.close(PATIENCE)


def ask(engine: Engine, text: str, keep: str | None = None, *, shared: bool = False) -> Job:
    role = "system" if shared else "user"
    job = Job([Message(role, text)], 100, Sampling(), keep=keep, shared=shared)
    engine.submit(job)
    return job


def result(job: Job) -> Result:
    found: list[News] = []
    while not found or isinstance(found[-1], str):
        ready, _, _ = select.select([job], [], [], PATIENCE)
        assert ready, found
        found += job.take()
    assert isinstance(found[-1], Result), found
    return found[-1]


def test_an_answer_that_is_to_be_kept_is_on_the_disk_when_the_engine_has_ended(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    first = result(ask(engine, "how are you?", keep="one"))
    assert first.loaded_tokens == 0
    assert engine.close(PATIENCE)
    assert names(tmp_path / "kv") == ["one.state"]
    model.memory.clear()
    again = result(ask(start(), "how are you?"))
    assert again.loaded_tokens == again.reused_tokens == first.prompt_tokens - 1


def test_what_was_read_for_an_answer_that_is_ended_by_closing_is_kept(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    model.gate = threading.Semaphore(1)
    job, waiting = ask(engine, "how are you?", keep="one"), ask(engine, "how is she?", keep="two")
    assert select.select([job], [], [], PATIENCE)[0]
    assert engine.close(PATIENCE)
    assert (result(job).stop, result(waiting).stop) == ("cancelled", "cancelled")
    assert names(tmp_path / "kv") == ["one.state"]


def test_nothing_is_kept_without_a_name(start: Callable[[], Engine], tmp_path: Path) -> None:
    engine = start()
    result(ask(engine, "how are you?", keep="one"))
    result(ask(engine, "how is she?"))
    assert engine.close(PATIENCE)
    assert "how is she?" not in "".join(chr(t) for s in saved(tmp_path / "kv") for t in s.tokens)


def saved(folder: Path) -> list[Saved]:
    return list(opened(folder)._saved.values())


def test_nothing_is_written_while_another_request_waits(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    model.gate = threading.Semaphore(0)
    first, second = ask(engine, "how are you?", keep="one"), ask(engine, "how is she?", keep="two")
    model.gate.release(8)
    result(first)
    result(second)
    assert engine.close(PATIENCE)
    assert names(tmp_path / "kv") == ["two.state"]


def test_a_state_that_llama_cpp_refuses_is_a_miss_and_removed(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    result(ask(engine, "how are you?", keep="one"))
    assert engine.close(PATIENCE)
    model.refuses = True
    model.memory.clear()
    engine = start()
    again = result(ask(engine, "how are you?"))
    assert (again.stop, again.reused_tokens, again.loaded_tokens) == ("end", 0, 0)
    assert names(tmp_path / "kv") == []


def test_the_shared_beginning_ends_before_the_text_of_the_next_message(
    start: Callable[[], Engine], tmp_path: Path
) -> None:
    engine = start()
    one = result(ask(engine, "You are a lighthouse.", keep="prefix", shared=True))
    (kept,) = saved(tmp_path / "kv")
    text = "".join(map(chr, kept.tokens))
    assert text == "<|im_start|>system\nYou are a lighthouse.<|im_end|>\n<|im_start|>user\n"
    assert (one.prompt_tokens, one.reused_tokens, kept.shared) == (len(text), 0, True)
    again = result(ask(engine, "You are a lighthouse.", keep="prefix", shared=True))
    assert again.reused_tokens == again.prompt_tokens


def test_what_is_forgotten_is_not_kept_by_requests_under_way_and_memory_is_overwritten(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    model.gate = threading.Semaphore(0)
    jobs = [ask(engine, "how are you?", keep=name) for name in ("gone", "stays", "gone")]
    assert engine.forget(["gone"]) == 0
    model.gate.release(12)
    for job in jobs:
        result(job)
    with engine._changed:
        engine._changed.notify_all()
    assert engine.close(PATIENCE)
    assert "gone.state" not in names(tmp_path / "kv")
    assert model.wiped >= 1


def test_everything_is_forgotten_when_no_name_is_given(
    start: Callable[[], Engine], model: Reader, tmp_path: Path
) -> None:
    engine = start()
    result(ask(engine, "You are a lighthouse.", keep="prefix", shared=True))
    assert engine.forget(None) == 1
    assert engine.close(PATIENCE)
    assert names(tmp_path / "kv") == []
    assert (model.memory, model.wiped) == ([], 1)
