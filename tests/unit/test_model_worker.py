"""The worker's command line and the manifest that it reads in an image."""

import json
import os
from pathlib import Path

import pytest

from agentd.errors import AgentError
from agentd.model import worker

CPUS = len(os.sched_getaffinity(0))


def manifest(folder: Path, **card: object) -> str:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"model": {"name": "m", "file": "m.gguf", **card}}))
    return str(path)


def test_the_manifest_says_which_model_how_large_and_what_context(tmp_path: Path) -> None:
    given = worker.settings(["--manifest", manifest(tmp_path, size=7, context=2048, chat_template="x")])
    assert given.path == Path("/usr/lib/aetheros/models/m.gguf")
    assert (given.name, given.size, given.context, given.template) == ("m", 7, 2048, "x")


def test_every_cpu_gets_a_thread(tmp_path: Path) -> None:
    assert worker.settings(["--manifest", manifest(tmp_path)]).threads == CPUS
    assert worker.settings(["--model", "/m.gguf"]).threads == CPUS


def test_a_machine_with_fewer_cpus_than_its_profile_gets_no_more_threads(tmp_path: Path) -> None:
    assert worker.settings(["--manifest", manifest(tmp_path, threads=4096)]).threads == CPUS


def test_the_command_line_wins_over_the_manifest(tmp_path: Path) -> None:
    words = ["--manifest", manifest(tmp_path, context=99), "--context", "512", "--threads", "3"]
    given = worker.settings(words)
    assert (given.context, given.threads) == (512, 3)


def test_a_named_model_needs_no_manifest(tmp_path: Path) -> None:
    given = worker.settings(["--model", str(tmp_path / "tiny.gguf"), "--manifest", "/nonexistent"])
    assert (given.name, given.size, given.context) == ("tiny", None, 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "manifest.json"),
        ("{}", "model"),
        ('{"model": {"name": "m"}}', "file"),
        ('{"model": {"file": "../../etc/shadow"}}', "not the name of a file"),
    ],
)
def test_a_manifest_that_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(AgentError, match=complaint):
        worker.settings(["--manifest", str(path)])


@pytest.mark.parametrize(
    "words", [["--threads", "0"], ["--context", "-1"], ["--manifest", "/nonexistent"], []]
)
def test_a_mistake_ends_with_one_line_and_a_status_of_two(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert worker.main(words) == 2
    error = capfd.readouterr().err
    assert error.startswith("agentd-model: ")
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 2


def test_without_a_socket_the_hint_says_how_to_give_one(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert worker.main(["--model", "/m.gguf"]) == 2
    assert "hint: give --socket PATH" in capfd.readouterr().err
