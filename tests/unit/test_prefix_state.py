"""The baked state of the prompt's beginning: what is run for it, and what happens where it cannot run."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder import prefix_state
from builder.toolchain import Toolchain


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An image's tree whose llama.cpp needs AVX2."""
    package = tmp_path / "tree/usr/lib/python3/dist-packages/llama_cpp"
    package.mkdir(parents=True)
    (package / "build.json").write_text(json.dumps({"march": "x86-64-v3", "cpu_flags": ["avx2", "fma"]}))
    (tmp_path / "tree/usr/lib/aetheros").mkdir()
    return tmp_path / "tree"


class Tools(Toolchain):
    """Runs nothing; leaves a file of two megabytes where the command may write."""

    def run(self, command: Sequence[str | Path], *, writable: Sequence[Path] = (), **_: Any) -> None:
        [place] = writable
        (place / "state").write_bytes(bytes(2_000_000))
        (place.parent / "command").write_text("\n".join(map(str, command)))


TOOLS = Tools(Path("/mkosi"), Path("/tools"), "key")


def processor(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor : 0\nflags : {flags}\n")
    return path


def test_agentd_reads_the_prefix_with_the_files_of_the_image(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix_state.lay(TOOLS, tree, cpuinfo=processor(tmp_path, "sse2 fma avx2"))
    home = tree / "usr/lib/aetheros"
    said = (home / "command").read_text().splitlines()
    assert said[:3] == ["python3", "-m", "agentd.model.bake"]
    given = dict(zip(said[3::2], said[4::2], strict=True))
    assert given == {
        "--manifest": str(home / "manifest.json"),
        "--models": str(home / "models"),
        "--states": str(home / "kv"),
    }
    assert (home / "kv/state").exists()
    assert "2.0 MB" in capsys.readouterr().err


def test_a_host_that_cannot_run_the_machines_llama_cpp_says_so_in_one_line_and_goes_on(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefix_state.lay(TOOLS, tree, cpuinfo=processor(tmp_path, "sse2 fma"))
    assert list((tree / "usr/lib/aetheros/kv").iterdir()) == []
    [told] = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert "this processor lacks avx2 of x86-64-v3" in told
