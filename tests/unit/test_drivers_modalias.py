"""Modaliases are matched with modules' patterns as kmod matches them."""

import time

import pytest

from builder.modalias import LONGEST, AliasIndex, Match, normalized

T480_GPU = "pci:v00008086d00005917sv000017AAsd0000225Dbc03sc00i00"
INDEX = AliasIndex(
    [
        ("pci:v00008086d00005917sv*sd*bc03sc*i*", "i915"),
        ("pci:v*d*sv*sd*bc03sc*i*", "any_graphics"),
        ("pci:v00008086d*sv*sd*bc03sc*i*", "any_graphics"),
        ("pci:v00001022d000015E[2-3]sv*sd*bc*sc*i*", "acp"),
        ("acpi*:INT34C5:*", "pinctrl"),
        ("platform:i2c-designware", "i2c_designware"),
        ("usb:v046Dp[!C]*", "not_c"),
    ]
)


def names(modalias: str) -> list[str]:
    return [one.module for one in INDEX.matches(modalias)]


@pytest.mark.parametrize(
    "modalias, expected",
    [
        (T480_GPU, ["i915", "any_graphics"]),
        ("pci:v000010DEd00005917sv000017AAsd0000225Dbc03sc00i00", ["any_graphics"]),
        ("pci:v00001022d000015E3sv0sd0bc04sc80i00", ["acp"]),
        ("pci:v00001022d000015E4sv0sd0bc04sc80i00", []),
        ("acpi:INT34C5:PNP0C02:", ["pinctrl"]),
        ("acpi:INT34C5", []),
        ("platform:i2c_designware", ["i2c_designware"]),
        ("platform:i2c-designware", ["i2c_designware"]),
        ("usb:v046DpA123", ["not_c"]),
        ("usb:v046DpC123", []),
        ("", []),
        ("PCI:V00008086", []),
    ],
)
def test_a_modalias_finds_every_module_whose_pattern_it_matches(modalias: str, expected: list[str]) -> None:
    assert names(modalias) == expected


def test_a_module_is_found_once_by_its_most_specific_pattern() -> None:
    found = INDEX.matches(T480_GPU)
    assert found[1] == Match("pci:v00008086d*sv*sd*bc03sc*i*", "any_graphics")


@pytest.mark.parametrize(
    "modalias", ["*", "pci:*", "pci:v*d*sv*sd*bc03sc*i[", "acpi*:INT34C5", "?" * 50, "[a-"]
)
def test_wildcards_in_a_modalias_match_nothing(modalias: str) -> None:
    assert "i915" not in names(modalias)
    assert "pinctrl" not in names(modalias)


def test_a_modalias_longer_than_a_page_matches_nothing_and_costs_nothing() -> None:
    started = time.monotonic()
    assert names("acpi:INT34C5:" + "A" * LONGEST) == []
    assert names("pci:v" + "00" * 50_000) == []
    assert time.monotonic() - started < 0.5


def test_dashes_are_underscores_outside_brackets_only() -> None:
    assert normalized("a-b[0-9]c-d[!-]") == "a_b[0-9]c_d[!-]"
