"""The routing file as a product: what is run for it, when it is made anew, and how agentd is told of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd import daemon, options
from builder import native, routing, wheels
from builder.models import ModelFile
from builder.toolchain import Toolchain
from builder.wheels import Wheels

ENCODER = ModelFile(Path("/models/encoder.gguf"), "aa")


class Tools(Toolchain):
    """Runs nothing; keeps the command and leaves a file where --out says."""

    ran: list[list[str]]

    def run(self, command: Sequence[str | Path], **_: Any) -> None:
        words = list(map(str, command))
        self.ran.append(words)
        Path(words[words.index("--out") + 1]).write_bytes(bytes(1_900_000))


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    made = Tools(Path("/mkosi"), Path("/tools"), "key")
    object.__setattr__(made, "ran", [])
    return made


def tree(folder: Path, name: str = "tree") -> Path:
    """A built llama_cpp that needs AVX2."""
    place = folder / name
    (place / "llama_cpp").mkdir(parents=True)
    (place / "llama_cpp/build.json").write_text(json.dumps({"march": "x86-64-v3", "cpu_flags": ["avx2"]}))
    return place


def processor(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor : 0\nflags : {flags}\n")
    return path


def test_agentds_own_module_trains_once_for_an_encoder_and_its_name(tools: Tools, tmp_path: Path) -> None:
    built, cpuinfo = tree(tmp_path), processor(tmp_path, "sse2 avx2")
    file = routing.ensure(tools, built, ENCODER, "minilm", cpuinfo=cpuinfo)
    assert file.name == "routing.bin" and file.stat().st_size == 1_900_000
    assert routing.ensure(tools, built, ENCODER, "minilm", cpuinfo=cpuinfo) == file
    [words] = tools.ran
    assert words[:3] == ["python3", "-m", "agentd.routing.train"]
    given = dict(zip(words[3::2], words[4::2], strict=True))
    assert (given["--encoder"], given["--name"]) == ("/models/encoder.gguf", "minilm")
    other = routing.ensure(tools, built, ModelFile(ENCODER.path, "bb"), "minilm", cpuinfo=cpuinfo)
    assert other != file


def test_other_examples_train_anew(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built, cpuinfo = tree(tmp_path), processor(tmp_path, "avx2")
    examples = tmp_path / "examples"
    examples.mkdir()
    monkeypatch.setattr(routing, "EXAMPLES", examples)
    made = set()
    for text in ("a: [x]", "a: [y]"):
        (examples / "a.yaml").write_text(text)
        made.add(routing.ensure(tools, built, ENCODER, "minilm", cpuinfo=cpuinfo))
    assert len(made) == 2


def test_everything_that_is_trained_with_is_part_of_the_key() -> None:
    """A module of the package that the trainer imports and that is not listed would leave a stale file."""
    package = routing.REPOSITORY / "agentd/routing"
    listed = {file.stem for file in routing.CODE if file.parent == package}
    seen, todo = set(), ["train"]
    while todo:
        name = todo.pop()
        seen.add(name)
        source = (package / f"{name}.py").read_text()
        todo += [
            file.stem
            for file in package.glob("*.py")
            if f"from agentd.routing.{file.stem} import" in source and file.stem not in seen
        ]
    assert seen == listed


def test_a_host_that_cannot_run_the_machines_llama_cpp_takes_one_of_its_own(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tree(tmp_path, "own")
    asked: list[str] = []

    def ensure(_: Toolchain, march: str) -> Wheels:
        asked.append(march)
        return Wheels(own, {})

    monkeypatch.setattr(wheels, "ensure", ensure)
    plain = "cmov cx8 fpu fxsr mmx syscall sse sse2"
    built = tree(tmp_path)
    first = routing.ensure(tools, built, ENCODER, "minilm", cpuinfo=processor(tmp_path, plain))
    assert asked == ["x86-64"]
    second = routing.ensure(tools, built, ENCODER, "minilm", cpuinfo=processor(tmp_path, f"{plain} avx2"))
    assert first != second


def test_agentd_is_told_where_the_file_is(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "routing/routing.bin"
    for given, told in ((file, True), (None, False)):
        argv = native.agentd_argv(
            tools, tmp_path, tmp_path / "m.gguf", tmp_path / "state", routing=given, name="m"
        )
        assert ("--routing" in argv) is told
        assert (str(file) in argv) is told


@pytest.mark.parametrize("worker", [["--model", "/m.gguf"], ["--model-socket", "/run/model.sock"]])
def test_the_option_reaches_the_configuration(worker: list[str]) -> None:
    plain = options.parse(["--state", "/s", *worker])
    assert plain.routing is None
    given = options.parse(["--state", "/s", *worker, "--routing", "~/routing.bin"])
    assert given.routing == Path("~/routing.bin").expanduser()


def test_an_image_without_the_file_has_no_routing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "IMAGE_ROUTING", tmp_path / "routing.bin")
    assert daemon.image_configuration().routing is None
    (tmp_path / "routing.bin").touch()
    assert daemon.image_configuration().routing == tmp_path / "routing.bin"
