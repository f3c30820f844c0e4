"""A build that is interrupted, and two builds of one machine at the same time, with the real mkosi."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builder.cache import cache_dir

AETHER = [sys.executable, "-c", "import sys; from builder.cli import main; sys.exit(main())"]
REPOSITORY = Path(__file__).parents[2]
PROFILE = """\
name: interrupted
extends: qemu-x86_64
kernel: {{command_line: [test.run={run}]}}
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine of its own that differs from the default one in its image alone."""
    (tmp_path / "interrupted.yaml").write_text(PROFILE.format(run=os.getpid()))
    return {**os.environ, "AETHER_MACHINES": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*AETHER, "build", "interrupted"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process: subprocess.Popen[str], pattern: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(pattern, line):
            return
    raise AssertionError(f"the build ended without {pattern!r}")


def test_an_interrupted_build_leaves_nothing_half_made_and_two_at_once_make_one_image(
    environment: dict[str, str],
) -> None:
    subprocess.run([*AETHER, "build", "qemu-x86_64"], env=environment, check=True, timeout=3600)
    images = cache_dir() / "image"
    before = sorted(path.name for path in images.iterdir() if not path.name.startswith("."))

    stopped = start(environment)
    read_until(stopped, "Run mkosi")
    stopped.send_signal(signal.SIGINT)
    _, errors = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert "Traceback" not in errors
    assert sorted(path.name for path in images.iterdir() if not path.name.startswith(".")) == before
    assert not list(images.glob(".*.partial"))

    first = start(environment)
    read_until(first, "Run mkosi")
    second = start(environment)
    read_until(second, rf"is being built \(process {first.pid}\): waiting")
    made = [process.communicate(timeout=300)[0].strip() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert made[0] == made[1]
    layout = json.loads(Path(made[0]).with_name("image.json").read_text())
    assert [part["label"] for part in layout["partitions"]][-1] == "aetheros-data"
