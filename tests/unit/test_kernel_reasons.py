"""Every symbol of a configuration has a layer and a reason; what no layer named has Kconfig's."""

from pathlib import Path

import pytest
from kernel_fixture import row, subject, want


def test_a_symbol_has_the_layer_that_spoke_last_and_its_place(tmp_path: Path) -> None:
    wanted = [
        want("A", "y", "base"),
        want("A", "y", "vm", "a guest needs it", 9),
        want("B", "n", "security"),
    ]
    decided = subject(tmp_path, [row("A", "y"), row("B")], wanted).decided
    assert decided["A"].as_values() == {
        "symbol": "A",
        "value": "y",
        "layer": "vm",
        "reason": "a guest needs it",
        "file": "/k/vm.config",
        "line": 9,
    }
    assert (decided["B"].value, decided["B"].layer) == ("n", "security"), (
        "what a layer wants off is there too"
    )


@pytest.mark.parametrize(
    "more, reason",
    [
        ({"selected_by": [["EXT4 && BLOCK", "y"], ["BTRFS", "n"]]}, "selected by EXT4"),
        ({"implied_by": [["EXT4", "y"]]}, "implied by EXT4"),
        ({"choice": "k/Kconfig:1"}, "the default of its choice (k/Kconfig:7)"),
        (
            {"defaults": [["n", "BTRFS"], ["y", "EXT4 && !BTRFS"]]},
            "default of Kconfig (k/Kconfig:7): y if EXT4 && !BTRFS",
        ),
        ({"defaults": [["y", ""]]}, "default of Kconfig (k/Kconfig:7): y"),
        ({}, "default of Kconfig (k/Kconfig:7)"),
    ],
)
def test_a_symbol_that_nobody_named_says_how_kconfig_came_to_it(
    tmp_path: Path, more: dict[str, object], reason: str
) -> None:
    rows = [row("A", "y", prompt="", **more), row("EXT4", "y"), row("BTRFS")]
    one = subject(tmp_path, rows, [want("EXT4", "y", "base")]).decided["A"]
    assert (one.layer, one.reason, one.file, one.line) == ("kconfig", reason, "k/Kconfig", 7)


def test_symbols_that_are_off_and_that_nobody_named_are_left_out(tmp_path: Path) -> None:
    assert subject(tmp_path, [row("A"), row("B", "y")], []).decided.keys() == {"B"}


def test_a_symbol_wanted_off_that_this_kernel_does_not_have_is_off(tmp_path: Path) -> None:
    decided = subject(tmp_path, [row("A", "y")], [want("DEVKMEM", "n", "security")]).decided
    assert (decided["DEVKMEM"].value, decided["DEVKMEM"].layer) == ("n", "security")


def test_a_member_of_a_choice_that_lost_is_off_by_the_other_member(tmp_path: Path) -> None:
    rows = [row("HZ_250", choice="k:1"), row("HZ_100", "y", choice="k:1")]
    decided = subject(tmp_path, rows, [want("HZ_250", "y", "base"), want("HZ_100", "y", "vm")]).decided
    assert (decided["HZ_250"].value, decided["HZ_250"].layer) == ("n", "kconfig")
    assert decided["HZ_250"].reason == "another member of its choice is on"


def test_hexadecimal_numbers_and_texts_are_compared_as_what_they_mean(tmp_path: Path) -> None:
    rows = [row("START", "0x1000000", type="hex"), row("NAME", "lab", type="string")]
    wanted = [want("START", "0x01000000", "base"), want("NAME", '"lab"', "base")]
    decided = subject(tmp_path, rows, wanted).decided
    assert {one.layer for one in decided.values()} == {"base"}
