"""What a symbol depends on is followed to its end, and what stands in its way is told."""

import pytest

from builder.kconfig_needs import Addition, Impossible, Needs, split
from builder.kconfig_symbols import Operand, Prompt, Symbol


def symbol(
    name: str,
    *depends: str,
    value: str = "n",
    visible: tuple[str, ...] | None = None,
    prompt: bool = True,
    selected_by: tuple[str, ...] = (),
    defaults: tuple[tuple[str, str], ...] = (),
    kind: str = "tristate",
) -> Symbol:
    operands = tuple(Operand(text, "?") for text in depends)
    seen = operands if visible is None else tuple(Operand(text, "?") for text in visible)
    return Symbol(
        name=name,
        type=kind,
        value=value,
        file="K",
        line=1,
        prompts=(Prompt("?", seen),) if prompt else (),
        depends=operands,
        selected_by=tuple(Operand(text, "n") for text in selected_by),
        implied_by=(),
        range=None,
        choice=None,
        defaults=defaults,
    )


def needs(*symbols: Symbol, off: dict[str, str] | None = None) -> Needs:
    return Needs({one.name: one for one in symbols}, off or {})


def added(found: Needs, name: str) -> list[str]:
    return [one.symbol for one in found.add(name)]


def test_dependencies_come_before_what_depends_on_them_each_with_who_needs_it() -> None:
    found = needs(
        symbol("WLAN"),
        symbol("VENDOR", "WLAN"),
        symbol("IWLWIFI", "NET", "VENDOR"),
        symbol("NET", value="y"),
    )
    assert found.add("IWLWIFI") == [
        Addition("WLAN", "VENDOR"),
        Addition("VENDOR", "IWLWIFI"),
        Addition("IWLWIFI", ""),
    ]
    assert found.add("VENDOR") == [], "it is on already"


@pytest.mark.parametrize(
    "depends, expected",
    [
        ("A && B", ["A", "B", "X"]),
        ("A || B", ["A", "X"]),
        ("ON || A", ["X"]),
        ("(A && B) || C", ["C", "X"]),
        ("MISSING || B", ["B", "X"]),
        ("A=y", ["A", "X"]),
        ("A!=n", ["A", "X"]),
        ("A || !A", ["X"]),
        ("A || A=n", ["X"]),
        ("!A", ["X"]),
        ("ON=y && (B || ON)", ["X"]),
        ("A=B", ["X"]),
    ],
)
def test_an_expression_is_satisfied_with_the_fewest_symbols(depends: str, expected: list[str]) -> None:
    found = needs(symbol("A"), symbol("B"), symbol("C"), symbol("ON", value="y"), symbol("X", depends))
    assert added(found, "X") == expected


@pytest.mark.parametrize(
    "depends, told",
    [
        ("!ON", "X needs !ON"),
        ("m", "X needs m"),
        ("A=m", "X needs A=m"),
        ("MISSING", "MISSING does not exist in this kernel"),
        ("NUMBER", "NUMBER is of type integer"),
        ("BARRED", "BARRED is off on purpose: base.config:12: nobody needs it"),
        ("MANY", "MANY cannot be asked for, it comes with P, Q"),
    ],
)
def test_what_stands_in_the_way_is_told_and_nothing_is_added(depends: str, told: str) -> None:
    found = needs(
        symbol("A"),
        symbol("ON", value="y"),
        symbol("NUMBER", kind="integer"),
        symbol("BARRED"),
        symbol("MANY", prompt=False, selected_by=("P", "Q && A")),
        symbol("X", "A", depends),
        off={"BARRED": "base.config:12: nobody needs it"},
    )
    before = set(found.on)
    with pytest.raises(Impossible) as caught:
        found.add("X")
    assert str(caught.value) == told
    assert found.on == before


def test_what_an_added_symbol_selects_is_on_when_the_selects_condition_holds() -> None:
    found = needs(
        symbol("LIB", prompt=False, selected_by=("DRIVER", "OTHER")),
        symbol("EXTRA", prompt=False, selected_by=("DRIVER && ABSENT",)),
        symbol("ABSENT"),
        symbol("OTHER"),
        symbol("DRIVER"),
        symbol("X", "DRIVER", "LIB"),
    )
    assert added(found, "X") == ["DRIVER", "X"]
    assert "LIB" in found.on and "EXTRA" not in found.on


def test_a_symbol_without_a_prompt_comes_with_the_one_that_selects_it() -> None:
    found = needs(symbol("LIB", prompt=False, selected_by=("ONLY",)), symbol("ONLY"), symbol("X", "LIB"))
    assert added(found, "X") == ["ONLY", "X"]


def test_a_driver_without_a_prompt_comes_with_the_model_that_adds_least() -> None:
    found = needs(
        symbol("CNL", prompt=False, selected_by=("CANNONLAKE", "COMETLAKE", "ICELAKE")),
        symbol("MENU"),
        symbol("CANNONLAKE", "MENU"),
        symbol("COMETLAKE"),
        symbol("ICELAKE", "m"),
    )
    assert found.add("CNL") == [Addition("COMETLAKE", "CNL")]
    assert "CNL" in found.on


def test_a_prompt_hidden_by_a_menu_puts_the_menu_on() -> None:
    found = needs(symbol("MENU"), symbol("X", visible=("MENU",)))
    assert added(found, "X") == ["MENU", "X"]


def test_a_default_that_counts_where_no_prompt_is_seen_needs_no_menu() -> None:
    found = needs(
        symbol("FILTER"),
        symbol("CAMERA", visible=("FILTER",), defaults=(("y", "!FILTER"),)),
        symbol("X", "CAMERA"),
    )
    assert "FILTER" not in added(found, "X")


def test_two_symbols_that_need_each_other_do_not_hang() -> None:
    found = needs(symbol("A", "B"), symbol("B", "A"))
    assert set(added(found, "A")) == {"A", "B"}


def test_an_expression_is_split_at_its_top_level_only() -> None:
    assert split("A && (B && C) && D", "&&") == ["A", "(B && C)", "D"]
    assert split("A && B || C && D", "||") == ["A && B", "C && D"]
