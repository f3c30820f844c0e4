"""Layers that disagree: both are told, with their reasons; the later one won."""

from pathlib import Path

from kernel_fixture import row, subject, want

from builder import kernel_layers
from builder.kernel_layers import Contradiction

CHOICE = {"choice": "k/Kconfig:1"}


def test_what_was_said_before_the_last_word_is_kept_with_its_place(tmp_path: Path) -> None:
    wanted = [
        want("A", "y", "base", "the base needs it", 4),
        want("A", "n", "laptop", "it drains the battery"),
        want("A", "y", "kernel.config", "I need it"),
    ]
    lab = subject(tmp_path, [row("A", "y")], wanted)
    [found] = kernel_layers.contradictions(lab.wanted, lab.symbols)
    assert found == Contradiction(wanted[2], (wanted[1],)), "base wants what won"
    assert kernel_layers.lines([found]) == [
        "A=y  kernel.config, /k/kernel.config.config:3: I need it",
        "  instead of A=n  laptop, /k/laptop.config:3: it drains the battery",
    ]


def test_layers_that_want_the_same_do_not_disagree(tmp_path: Path) -> None:
    wanted = [
        want("A", "y", "base"),
        want("A", "y", "systemd"),
        want("H", "0x1F", "a"),
        want("H", "0x1f", "b"),
    ]
    lab = subject(tmp_path, [row("A", "y"), row("H", "0x1f", type="hex")], wanted)
    assert kernel_layers.contradictions(lab.wanted, lab.symbols) == []


def test_of_a_choice_the_later_layers_member_beats_the_earlier_ones(tmp_path: Path) -> None:
    rows = [row("HZ_250", **CHOICE), row("HZ_100", "y", **CHOICE), row("OTHER", "y")]
    wanted = [want("HZ_250", "y", "base"), want("OTHER", "y", "base"), want("HZ_100", "y", "vm")]
    lab = subject(tmp_path, rows, wanted)
    assert kernel_layers.contradictions(lab.wanted, lab.symbols) == [Contradiction(wanted[2], (wanted[0],))]


def test_a_symbol_that_this_kernel_does_not_have_may_be_fought_over_too(tmp_path: Path) -> None:
    wanted = [want("GONE", "y", "base"), want("GONE", "n", "vm")]
    lab = subject(tmp_path, [row("A", "y")], wanted)
    assert len(kernel_layers.contradictions(lab.wanted, lab.symbols)) == 1
