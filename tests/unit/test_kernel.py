"""What a kernel's build knows of itself without compiling: its record and its progress."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builder import build, cpu_names, kernel, profile
from builder.errors import AetherError
from builder.progress import Step
from hardware.cpu_level import LEVELS


class Shown(Step):
    """A step that keeps what it was told."""

    def progress(self, done: int, total: int, what: str = "") -> None:
        self.last = total
        self.counts = [*getattr(self, "counts", []), done]


LINES = [
    "  CC      kernel/fork.o",
    "  AR      kernel/built-in.a",
    "make[1]: Entering directory '/x'",
    "  CALL    scripts/checksyscalls.sh",
    "  LD      vmlinux",
]


def count(folder: Path, output: Path, lines: list[str]) -> tuple[list[int], float | None, "kernel.Counter"]:
    step = Shown("t", "", None)
    counter = kernel.Counter(step, folder / "files.json", output, 100)
    for line in lines:
        counter.line(line)
    return getattr(step, "counts", []), step.last, counter


def test_progress_counts_the_files_that_were_made(tmp_path: Path) -> None:
    counts, total, _ = count(tmp_path, tmp_path, LINES)
    assert counts == [1, 2, 3]
    assert total is not None and total > 100


def test_a_finished_build_tells_the_next_one_how_many_files_there_are(tmp_path: Path) -> None:
    count(tmp_path, tmp_path, LINES)[2].finished()
    counts, total, _ = count(tmp_path, tmp_path, LINES[:1])
    assert (counts, total) == ([1], 3)


def test_an_interrupted_build_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    count(tmp_path, tmp_path / "output", LINES[:2])
    for name in ("fork.o", "built-in.a"):
        (tmp_path / "output" / name).touch()
    counts, _, counter = count(tmp_path, tmp_path / "output", LINES[4:])
    assert counts == [3]
    counter.finished()
    assert json.loads((tmp_path / "files.json").read_text()) == {"files": 3, "whole": True}


def test_a_later_small_build_does_not_lower_the_count_of_a_whole_one(tmp_path: Path) -> None:
    count(tmp_path, tmp_path, LINES)[2].finished()
    count(tmp_path, tmp_path, LINES[:1])[2].finished()
    assert json.loads((tmp_path / "files.json").read_text())["files"] == 3


def test_a_kernel_is_read_back_from_its_record(tmp_path: Path) -> None:
    record = {"version": "6.12.1", "size_bytes": 5, "symbols_y": 7, "seconds": 1.5}
    (tmp_path / "kernel.json").write_text(json.dumps(record))
    built = kernel.load(tmp_path)
    assert (built.version, built.size_bytes, built.symbols_y, built.seconds) == ("6.12.1", 5, 7, 1.5)
    assert built.bzimage == tmp_path / "bzImage"


@pytest.mark.parametrize("line", ["", "  LD", "CC kernel/fork.o", "  CALL    scripts/x.sh"])
def test_other_lines_are_not_progress(tmp_path: Path, line: str) -> None:
    assert count(tmp_path, tmp_path, [line])[0] == []


def test_a_build_with_more_files_than_the_last_does_not_claim_to_be_done(tmp_path: Path) -> None:
    count(tmp_path, tmp_path, LINES)[2].finished()
    counts, total, _ = count(tmp_path, tmp_path, LINES * 3)
    assert (counts[-1], total) == (9, 10)


def test_a_kernel_for_a_named_cpu_is_tuned_for_it_and_uses_nothing_that_others_lack() -> None:
    assert kernel.make_words(cpu_names.tuning("znver4")) == ["KCFLAGS=-mtune=znver4"]
    for level in LEVELS:
        assert kernel.make_words(cpu_names.tuning(level)) == []


def test_a_guests_kernel_has_the_limits_of_a_guest_and_every_other_those_of_a_pc() -> None:
    def limits(name: str) -> kernel.Limits:
        return kernel.limits_of(build.wanted(profile.load(name)))

    assert (limits("qemu-x86_64").size_bytes, limits("qemu-x86_64").symbols_y) == (5_000_000, 1_400)
    assert limits("pc").symbols_y == 2_500


def test_a_kernel_above_its_limit_is_refused_also_when_the_cache_holds_it(tmp_path: Path) -> None:
    built = kernel.Kernel(tmp_path, tmp_path, tmp_path, tmp_path, "6.12", 5_000_001, 900, 1.0)
    kernel.need_size(replace(built, size_bytes=5_000_000), kernel.VM)
    kernel.need_size(built, kernel.PC)
    with pytest.raises(
        AetherError, match="bzImage has 5,000,001 bytes, 5,000,000 are allowed for a virtual"
    ):
        kernel.need_size(built, kernel.VM)
