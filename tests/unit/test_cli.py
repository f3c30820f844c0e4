"""The `aether` command: what a person reads, exit statuses, JSON, completion."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builder import cli, commands, network, vmdisk
from builder.errors import AetherError, StepFailed

REPOSITORY = Path(__file__).parent.parent.parent
AETHER = [sys.executable, "-m", "builder.cli"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("AETHER_MACHINES", raising=False)
    monkeypatch.delenv("AETHER_DEBUG", raising=False)
    return tmp_path / "cache"


def aether(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real command in its own process."""
    return subprocess.run(
        [*AETHER, *words], capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=60, **options
    )


def with_handler(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    """Let `aether list` do something else."""
    fill, _, line, more = cli.COMMANDS["list"]
    monkeypatch.setitem(cli.COMMANDS, "list", (fill, act, line, more))


def raising(error: BaseException) -> Any:
    def act(given: object) -> int:
        raise error

    return act


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["buid", "x"], ["error: unknown command 'buid'", "hint: did you mean 'build'?"]),
        (
            ["show", "qemu-x86_46"],
            ["error: unknown machine 'qemu-x86_46'", "hint: did you mean 'qemu-x86_64'?"],
        ),
        (
            ["show", "./gone.yaml"],
            ["error: there is no profile ./gone.yaml", "hint: `aether list` shows the machines"],
        ),
        (["show"], ["error: the following arguments are required: MACHINE", "hint: aether show --help"]),
        (
            ["build", "x", "--format", "qcow"],
            ["error: unknown --format 'qcow'", "hint: did you mean 'qcow2'?"],
        ),
        (["build", "x", "--frob"], ["error: unrecognized arguments: --frob", "hint: aether --help"]),
        (
            ["build", "qemu-x86_64", "--offline", "--update"],
            ["error: --update needs the network, --offline forbids it", "hint: leave one away"],
        ),
        (["models", "fetch"], ["error: no model to fetch is named", "hint: aether models lists them"]),
        (
            ["models", "fetch", "smollm"],
            ["error: unknown model 'smollm'", "hint: did you mean 'smollm2-135m'?"],
        ),
        (["completion", "tcsh"], ["error: unknown shell 'tcsh'", "hint: known: bash, fish, zsh"]),
    ],
)
def test_a_mistake_ends_in_two_lines_and_status_2(
    words: list[str], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert (told.err.splitlines(), told.out) == (lines, "")


def test_the_command_itself_ends_without_a_traceback() -> None:
    done = aether("show", "qemu-x86_46")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: unknown machine 'qemu-x86_46'\nhint: did you mean 'qemu-x86_64'?\n"


def test_every_mistake_in_a_profile_is_told_in_text_and_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("name: m\nextends: qemu-x86_64\nmemroy: 2G\nfirmware: bios\n")
    assert cli.main(["show", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: the profile {path} cannot be used: 2 mistakes",
        f"  {path}:3: unknown key 'memroy' (hint: did you mean 'memory'?)",
        f"  {path}:4: firmware: 'bios' is not one of 'uefi' or 'direct' (hint: see docs/profiles.md)",
    ]
    assert cli.main(["show", str(path), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["status"] == 2
    assert [m["line"] for m in told["mistakes"]] == [3, 4]


def test_building_a_machine_that_is_not_there_starts_nothing(cache: Path) -> None:
    done = aether("build", "gone")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: unknown machine 'gone'")
    assert not cache.exists()


def test_offline_with_an_empty_cache_says_what_is_not_there() -> None:
    done = aether("build", "qemu-x86_64", "--offline")
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()[-2:]
    assert error.startswith("error: ") and error.endswith(": not in the cache")
    assert hint == "hint: run it once with the network, without --offline"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    assert f"usage: aether {name}" in capsys.readouterr().out


def test_no_command_shows_the_help_and_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: aether" in capsys.readouterr().err


def test_the_machines_are_listed_with_the_broken_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.yaml").write_text("name: [\n")
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    assert cli.main(["list"]) == 0
    broken, generic, base, default = capsys.readouterr().out.splitlines()
    assert broken.startswith("broken          error: the profile")
    assert generic.startswith("generic-x86_64  Any PC or virtual machine")
    assert base.startswith("pc              What detected PCs are built on")
    assert default.startswith("qemu-x86_64     QEMU virtual machine")
    assert cli.main(["list", "--json"]) == 0
    names = [machine["name"] for machine in json.loads(capsys.readouterr().out)]
    assert names == ["broken", "generic-x86_64", "pc", "qemu-x86_64"]


def test_a_profile_is_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "qemu-x86_64", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["agent"]["model"]["name"]) == ("qemu-x86_64", "smollm2-135m")


def test_the_models_are_listed_with_what_the_cache_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "KIND", "PARAMETERS", "SIZE", "CONTEXT", "LICENCE", "CACHE"]
    assert first.split() == ["smollm2-135m", "chat", "135M", "98", "MB", "8192", "Apache-2.0", "absent"]
    assert cli.main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "absent"


def test_the_doctor_answers_in_json() -> None:
    done = aether("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["ok"] else 1)
    assert {"name", "state", "detail", "hint"} == set(told["needs"][0])


def test_a_missing_need_makes_the_doctors_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from builder import doctor

    needs = [doctor.Need("python", "ok", "3.11.2"), doctor.Need("root", "missing", "no", "be root")]
    monkeypatch.setattr(doctor, "examine", lambda: needs)
    assert cli.main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "missing   root             no\n" in out and "hint: be root" in out
    assert out.endswith("1 missing: builds do not work here yet\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "_ARGCOMPLETE" in capsys.readouterr().out


def test_bash_completes_commands_and_machines(tmp_path: Path) -> None:
    """The real shell, with the script that the command prints."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    program = binaries / "aether"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m builder.cli "$@"\n')
    program.chmod(0o755)
    script = """\
eval "$(aether completion bash)"
complete_line() { COMP_LINE=$1; COMP_POINT=${#1}; COMP_WORDS=($1); COMP_CWORD=$2; COMP_TYPE=9
    COMPREPLY=(); _python_argcomplete aether; echo "${COMPREPLY[@]}"; }
complete_line "aether bui" 1
complete_line "aether show qem" 2
"""
    environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert [line.strip() for line in done.stdout.splitlines()] == ["build", "qemu-x86_64"]


def test_ctrl_c_is_one_line_and_status_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_handler(monkeypatch, raising(KeyboardInterrupt()))
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "\ninterrupted; the next run goes on from here\n"


def test_sigterm_ends_the_command_and_cleans_up(tmp_path: Path) -> None:
    program = """\
import os, signal, sys
from builder import cli
fill, _, line, more = cli.COMMANDS["list"]
def act(given):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("cleaned up")
cli.COMMANDS["list"] = (fill, act, line, more)
sys.exit(cli.main(["list"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "cleaned up\n")


def test_a_reader_that_leaves_is_not_an_error() -> None:
    shell = f"{sys.executable} -m builder.cli show qemu-x86_64 | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # 0: all was written before the reader left


def test_a_full_pipe_whose_reader_left_is_status_141(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """\
import sys
from builder import cli
fill, _, line, more = cli.COMMANDS["list"]
def act(given):
    sys.stdin.read(1)  # the reader has left now
    print("x" * 100_000)
cli.COMMANDS["list"] = (fill, act, line, more)
sys.exit(cli.main(["list"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with_handler(monkeypatch, raising(OSError(number, os.strerror(number), str(tmp_path / "a/b"))))
    assert cli.main(["list"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: disk full: {tmp_path} has ")
    assert error.endswith(" MB free; the previous image is untouched")
    assert hint.startswith("hint: make room, or name a cache on another disk with AETHER_CACHE")


def test_a_really_full_disk_is_told_as_such(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """/dev/full answers every write as a full disk does."""

    def act(given: object) -> int:
        Path("/dev/full").write_text("x")
        return 0

    with_handler(monkeypatch, act)
    assert cli.main(["list"]) == 1
    assert capfd.readouterr().err.startswith("error: disk full: ")


@pytest.mark.parametrize(
    ("name", "words"), [("AETHER_CACHE", ["models", "fetch", "smollm2-135m"]), ("AETHER_STATE", ["list"])]
)
def test_a_folder_that_cannot_be_used_is_named_with_its_variable(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(given: object) -> int:
        vmdisk.state_dir("lab").mkdir(parents=True)
        return 0

    with_handler(monkeypatch, act)
    monkeypatch.setenv(name, "/dev/null/x")
    assert cli.main(words) == 2
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith("error: /dev/null/x/") and error.endswith(" cannot be used: Not a directory")
    assert hint == f"hint: name another folder with {name}"


def test_a_file_elsewhere_that_may_not_be_read_stays_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_handler(monkeypatch, raising(PermissionError(errno.EACCES, "no", str(tmp_path / "elsewhere"))))
    assert cli.main(["list"]) == 70


def test_a_step_that_ran_out_of_disk_says_so_after_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "step.log"
    log.write_text("cc1: fatal error: write error: No space left on device\n")
    with_handler(monkeypatch, raising(StepFailed("compiling failed", log=log, repeat="sh step.sh")))
    assert cli.main(["list"]) == 1
    told = capsys.readouterr().err
    assert "  | cc1: fatal error" in told and "\nerror: disk full: " in told


def test_a_fault_of_the_program_is_one_line_with_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path
) -> None:
    with_handler(monkeypatch, raising(ZeroDivisionError("oops")))
    assert cli.main(["list"]) == 70
    log = cache / "logs/aether-fault.log"
    assert capsys.readouterr().err == (
        f"error: internal error (ZeroDivisionError); report it with the log {log}\n"
    )
    assert "ZeroDivisionError: oops" in log.read_text()
    monkeypatch.setenv("AETHER_DEBUG", "1")
    assert cli.main(["list"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_step_that_failed_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_handler(monkeypatch, raising(StepFailed("compiling failed", repeat="sh x.sh")))
    assert cli.main(["list"]) == 1
    assert capsys.readouterr().err == "error: compiling failed\nhint: repeat it with: sh x.sh\n"


def test_words_after_two_dashes_belong_to_qemu() -> None:
    given = cli.parse(cli.create_parser(), ["run", "qemu-x86_64", "--direct", "--", "-m", "4G"])
    assert (given.machine, given.direct, given.extra) == ("qemu-x86_64", True, ["-m", "4G"])


def test_the_question_may_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    from builder import run

    asked: list[object] = []

    def ask(*words: object) -> int:
        asked.append(words)
        return 0

    monkeypatch.setattr(run, "ask", ask)
    monkeypatch.setattr("sys.stdin", io.StringIO("Who are you?\n"))
    assert cli.main(["ask", "qemu-x86_64", "-", "--accel", "tcg"]) == 0
    assert asked == [("qemu-x86_64", "Who are you?\n", run.Options(accel="tcg", extra=[]))]


@pytest.mark.parametrize("question", ["-", "\udcff"])
def test_a_question_that_is_no_text_is_a_mistake(
    question: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from builder import run

    monkeypatch.setattr(run, "ask", raising(AssertionError("it was asked")))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xff"), encoding="utf-8"))
    assert cli.main(["ask", "qemu-x86_64", question]) == 2
    assert capsys.readouterr().err.startswith("error: the question is not UTF-8 text\nhint: ")


def test_a_wrong_amount_of_memory_is_told_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from builder import run

    monkeypatch.setattr(run, "build", raising(AssertionError("it was built")))
    assert cli.main(["ask", "qemu-x86_64", "hi", "--memory", "much"]) == 2
    assert "error: 'much' is not an amount of memory" in capsys.readouterr().err


def test_offline_forbids_the_network_before_the_build_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    from builder import build

    monkeypatch.setattr(network, "_forbidden", False)
    seen: list[bool] = []

    def built(name: str, *, update: bool = False, gate: bool = True) -> None:
        seen.append(network.is_forbidden())
        raise AetherError("far enough")

    monkeypatch.setattr(build, "build", built)
    assert cli.main(["build", "qemu-x86_64"]) == 2
    assert cli.main(["build", "qemu-x86_64", "--offline"]) == 2
    assert seen == [False, True]


def test_a_table_has_its_columns_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    commands.print_table([("NAME", "SIZE"), ("longer", "1")])
    assert capsys.readouterr().out == "NAME    SIZE\nlonger  1\n"
