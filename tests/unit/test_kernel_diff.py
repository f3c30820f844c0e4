"""Two configurations side by side, with our layer and reason for each difference."""

import json
from pathlib import Path

import pytest
from kernel_fixture import row, subject, want

from builder import kernel_diff
from builder.kernel_subject import Subject, stock_lines


@pytest.fixture
def two(tmp_path: Path) -> tuple[Subject, Subject]:
    here = [row("SAME", "y"), row("MINE", "y"), row("OFF"), row("HZ", "100", type="integer")]
    wanted = [
        want("MINE", "y", "vm", "a guest"),
        want("OFF", "n", "security", "a door"),
        want("HZ", "100", "vm"),
    ]
    there = [
        row("SAME", "y"),
        row("MINE"),
        row("OFF", "m", type="tristate"),
        row("HZ", "250", type="integer"),
    ]
    stock = [want("SAME", "y", "debian"), want("OFF", "m", "debian"), want("HZ", "250", "debian")]
    return subject(tmp_path, here, wanted), subject(tmp_path, there, stock, "debian", stock=True)


def test_each_difference_is_of_one_of_three_kinds_and_all_are_counted(two: tuple[Subject, Subject]) -> None:
    found = kernel_diff.compare(*two)
    assert [(one.symbol, one.kind) for one in found] == [
        ("HZ", "different"),
        ("MINE", "only_here"),
        ("OFF", "only_there"),
    ]
    assert kernel_diff.counts(*two, found) == {
        "here": 3,
        "there": 3,
        "alike": 1,
        "only_here": 1,
        "only_there": 1,
        "different": 1,
    }


def test_our_side_says_its_layer_and_reason_also_for_what_is_off_on_purpose(
    two: tuple[Subject, Subject],
) -> None:
    said = kernel_diff.lines(*two, kernel_diff.compare(*two))
    assert said[0] == "symbols set: lab 3, debian 3; alike 1, different 1, only in lab 1, only in debian 1"
    assert "  MINE=y  vm: a guest" in said
    assert "  OFF=m  (here off, security: a door)" in said
    assert "  HZ=100, there 250  vm: a reason" in said


def test_json_has_both_sides(two: tuple[Subject, Subject]) -> None:
    values = json.loads(json.dumps(kernel_diff.values(*two, kernel_diff.compare(*two))))
    [off] = values["only_there"]
    assert (off["here"]["layer"], off["here"]["value"], off["there"]["value"]) == ("security", "n", "m")
    [mine] = values["only_here"]
    assert mine["there"] is None


def test_a_configuration_does_not_differ_from_itself(two: tuple[Subject, Subject]) -> None:
    assert kernel_diff.compare(two[0], two[0]) == []


def test_debians_configuration_is_read_line_by_line(tmp_path: Path) -> None:
    config = tmp_path / "stock.config"
    config.write_text('#\n# General\n#\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="x # y"\n')
    assert [(one.symbol, one.value, one.line) for one in stock_lines(config)] == [
        ("A", "y", 4),
        ("B", "m", 5),
        ("C", "n", 6),
        ("D", '"x # y"', 7),
    ]
