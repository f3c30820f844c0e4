"""`aether ask` and `aether run` as a person uses them, on a machine's own disk."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from builder import boot_record, run
from builder.build import BuiltImage
from builder.vmdisk import state_dir

MACHINE = "qemu-x86_64"
AETHER = [sys.executable, "-c", "import sys; from builder.cli import main; sys.exit(main())"]
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(built: BuiltImage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A person with a state folder of their own and a machine that is built."""
    state = tmp_path_factory.mktemp("state")
    path = os.pathsep.join([str(REPOSITORY), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return {**os.environ, "AETHER_STATE": str(state), "PYTHONPATH": path, "TERM": "xterm-256color"}


class Terminal:
    """A pseudo terminal with a command on it: what it shows, what is typed."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.ours, self.theirs = pty.openpty()
        termios.tcsetwinsize(self.theirs, (40, 100))
        self.before = termios.tcgetattr(self.theirs)
        end = self.theirs
        self.process = subprocess.Popen(argv, stdin=end, stdout=end, stderr=end, env=environment)
        self.seen = ""

    def read_until(self, pattern: str, seconds: float) -> re.Match[str]:
        """Read until the pattern has been shown since the last call."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"no {pattern!r} in:\n{self.seen}"
            if select.select([self.ours], [], [], min(left, 1))[0]:
                self.seen += os.read(self.ours, 65536).decode(errors="replace")
            else:
                assert self.process.poll() is None, self.seen
        self.seen = self.seen[match.end() :]
        return match

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


def test_run_shows_the_agent_on_this_terminal_and_gives_the_terminal_back(
    environment: dict[str, str],
) -> None:
    terminal = Terminal([*AETHER, "run", MACHINE, "--direct"], environment)
    try:
        terminal.read_until("Ctrl-A X powers it down", 60)
        terminal.read_until(r"What is your name\? \(Enter: later\) ", 240)
        terminal.type("Ada Lovelace\r")
        terminal.read_until(r"how shall I call you\? \(Enter: Ada Lovelace\) ", 60)
        terminal.type("Ada\r")
        terminal.read_until(r"Hello, Ada\.", 60)
        terminal.read_until(r"\n\S*> ", 60)
        terminal.type("Tell me a long story.\r")
        terminal.read_until(r"story\.\r*\n", 60)
        terminal.read_until(r"(?:^|\n)\"?[A-Z]\S*(?: \S+){3}", 300)  # its words; notes begin small
        terminal.type("\x03")  # Ctrl-C stops the answer, not the machine
        terminal.read_until(r"\n\S*> ", 60)
        assert terminal.process.poll() is None
        terminal.type("/shell\r")  # a login shell instead of the agent, and back
        terminal.read_until(r"root@aether:~# ", 120)
        terminal.type("echo is $((6 * 7))\r")
        terminal.read_until(r"is 42", 60)
        terminal.type("exit\r")
        terminal.read_until(r"This is qemu-x86_64", 120)
        terminal.read_until(r"\n\S*> ", 60)
        terminal.type("\x01x")
        terminal.read_until("ended: guest-shutdown", 120)
        assert terminal.process.wait(timeout=20) == 0
        assert termios.tcgetattr(terminal.theirs) == terminal.before
    finally:
        terminal.close()


def test_ask_prints_the_answer_and_nothing_else_and_powers_off(
    built: BuiltImage, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [*AETHER, "ask", MACHINE, "Who are you?", "--direct"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 3
    assert not re.search(r"[‣\[\x1b]", done.stdout)
    assert "Power down" in done.stderr
    # One machine, one memory: the disk is the one that `aether run` made.
    folder = Path(environment["AETHER_STATE"]) / MACHINE
    assert sorted(path.name for path in folder.glob("disk*")) == ["disk.json", "disk.raw", "disk.raw.lock"]
    # Both boots are kept for `aether report`; QEMU loaded the kernel, so there was no boot loader.
    kept = boot_record.read(folder / "boots.jsonl")
    assert [one.first for one in kept] == [True, False]
    assert {one.image for one in kept} == {built.key}
    assert kept[0].hardware == kept[1].hardware
    for one in kept:
        assert set(one.seconds) >= {"firmware", "kernel", "userspace", "agent", "ready"}
        assert "loader" not in one.seconds


def test_without_a_terminal_run_asks_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(name: str, question: str, options: run.Options) -> int:
        asked.append((name, question))
        return 0

    monkeypatch.setattr(run, "ask", ask)
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        assert run.run(MACHINE) == 0
    assert asked == [(MACHINE, run.QUESTION)]


def test_a_machine_in_use_is_one_clear_line(
    built: BuiltImage, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from builder.cache import lock

    monkeypatch.setenv("AETHER_STATE", environment["AETHER_STATE"])
    held = state_dir(MACHINE) / "disk.raw.lock"
    with lock(held, wait=False, busy=""):
        done = subprocess.run(
            [*AETHER, "ask", MACHINE, "hello?"], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert f"in use by a running machine (process {os.getpid()})" in lines[-2]
    assert lines[-1].startswith("hint: ")
