"""The proof says of every lost symbol where it was wanted and what stands in its way."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from builder import kconfig_proof
from builder.errors import Mistakes
from builder.kconfig import Wanted
from builder.kconfig_symbols import Operand, Prompt, Symbol, read_symbols

FILE = Path("kernel-config/role.config")


def prove(wanted: Sequence[Wanted], symbols: Mapping[str, Symbol]) -> None:
    """What kernel.configured does with one configuration: raise over all that is malformed or lost."""
    wrong = kconfig_proof.malformed(wanted, symbols)
    lost = kconfig_proof.lost([one for one in wanted if one not in wrong], symbols)
    kconfig_proof.raise_mistakes([*wrong.values(), *lost])


def want(symbol: str, value: str, *, line: int = 1, layer: str = "role") -> Wanted:
    return Wanted(symbol, value, "a reason", FILE, line, layer)


def symbol(
    name: str,
    value: str,
    *,
    kind: str = "bool",
    depends: tuple[Operand, ...] = (),
    visible: tuple[Operand, ...] = (),
    selected_by: tuple[Operand, ...] = (),
    prompt: bool = True,
    choice: str | None = None,
    bounds: tuple[str, str] | None = None,
) -> Symbol:
    prompts = (Prompt("A question", (*visible, *depends)),) if prompt else ()
    return Symbol(name, kind, value, "K", 1, prompts, depends, selected_by, (), bounds, choice)


def told(wanted: list[Wanted], *symbols: Symbol) -> list[str]:
    """What the proof says, each as `line: message (hint)`."""
    try:
        prove(wanted, {one.name: one for one in symbols})
    except Mistakes as error:
        return [f"{one.line}: {one.message} ({one.hint})" for one in error.mistakes]
    return []


def test_nothing_is_said_of_symbols_that_have_their_values() -> None:
    wanted = [want("A", "y"), want("B", "n"), want("S", '"a \\"b\\""'), want("H", "0x1f"), want("I", "-5")]
    assert not told(
        wanted,
        symbol("A", "y"),
        symbol("B", "n"),
        symbol("S", 'a "b"', kind="string"),
        symbol("H", "0x1F", kind="hex"),
        symbol("I", "-5", kind="integer"),
    )


def test_a_lost_symbol_comes_with_each_unmet_dependency_and_its_value() -> None:
    unmet = (Operand("MISC_FILESYSTEMS", "n"), Operand("BLOCK", "y"), Operand("!FAST", "n"))
    assert told(
        [want("EROFS_FS", "y", line=7)],
        symbol("EROFS_FS", "n", depends=unmet),
        symbol("MISC_FILESYSTEMS", "n"),
        symbol("FAST", "y"),
    ) == [
        "7: CONFIG_EROFS_FS=y was lost, it is n: depends on MISC_FILESYSTEMS (=n) and !FAST (=n) "
        "(set MISC_FILESYSTEMS=y, FAST=n)"
    ]


def test_a_question_that_is_not_asked_counts_as_an_unmet_dependency() -> None:
    assert told(
        [want("UID16", "n")],
        symbol("UID16", "y", visible=(Operand("EXPERT", "n"),)),
        symbol("EXPERT", "n"),
    ) == ["1: CONFIG_UID16=n was lost, it is y: depends on EXPERT (=n) (set EXPERT=y)"]


def test_a_symbol_wanted_off_that_something_selects_names_the_one_that_does() -> None:
    selects = (Operand("EXT4_FS && CRC", "y"), Operand("BTRFS", "n"))
    assert told([want("JBD2", "n")], symbol("JBD2", "y", selected_by=selects)) == [
        "1: CONFIG_JBD2=n was lost, it is y: selected by EXT4_FS (set EXT4_FS to n, or leave JBD2 out)"
    ]


def test_a_symbol_that_does_not_exist_comes_with_the_nearest_names() -> None:
    assert told([want("VIRTIO_BLOCK", "y")], symbol("VIRTIO_BLK", "y"), symbol("USB", "y")) == [
        "1: CONFIG_VIRTIO_BLOCK does not exist in this kernel (did you mean VIRTIO_BLK?)"
    ]


def test_a_symbol_wanted_off_may_be_unknown_to_this_kernel() -> None:
    assert not told([want("DEVKMEM", "n")])


def test_a_value_of_the_wrong_type_says_which_type_it_is() -> None:
    assert told(
        [want("SMP", '"yes"', line=1), want("NR_CPUS", "y", line=2), want("NAME", "3", line=3)],
        symbol("SMP", "n"),
        symbol("NR_CPUS", "1", kind="integer"),
        symbol("NAME", "", kind="string"),
    ) == [
        '1: CONFIG_SMP="yes": SMP is of type bool (its value is y or n)',
        "2: CONFIG_NR_CPUS=y: NR_CPUS is of type integer (its value is a whole number)",
        '3: CONFIG_NAME=3: NAME is of type string (its value is text in double quotes, "...")',
    ]


def test_a_module_in_a_kernel_without_modules_is_lost() -> None:
    assert told([want("EXT4_FS", "m")], symbol("EXT4_FS", "y", kind="tristate")) == [
        "1: CONFIG_EXT4_FS=m was lost, it is y: there are no modules (MODULES=n) (want y)"
    ]


def test_a_number_out_of_its_range_is_told_the_range() -> None:
    assert told(
        [want("NR_CPUS", "9999")], symbol("NR_CPUS", "512", kind="integer", bounds=("2", "512"))
    ) == ["1: CONFIG_NR_CPUS=9999 was lost, it is 512: the range is 2 to 512 ()"]


def test_a_symbol_without_a_prompt_names_those_that_select_it() -> None:
    selects = (Operand("A && X", "n"), Operand("B", "n"))
    assert told([want("LIB", "y")], symbol("LIB", "n", prompt=False, selected_by=selects)) == [
        "1: CONFIG_LIB=y was lost, it is n: it has no prompt, the kernel decides it by itself "
        "(want one of those that select it: A, B)"
    ]


def test_a_later_layer_overrules_a_member_of_a_choice_but_the_same_layer_contradicts_itself() -> None:
    members = (symbol("HZ_250", "n", choice="K:9"), symbol("HZ_100", "y", choice="K:9"))
    assert not told([want("HZ_250", "y", layer="base"), want("HZ_100", "y", layer="virtio")], *members)
    assert told([want("HZ_250", "y"), want("HZ_100", "y")], *members) == [
        "1: CONFIG_HZ_250=y was lost, it is n: only one of its choice can be y, and HZ_100 is ()"
    ]


def test_mistakes_come_in_the_order_of_the_file() -> None:
    wanted = [want("B", "y", line=9), want("NONE", "y", line=2)]
    lines = told(wanted, symbol("B", "n", depends=(Operand("A", "n"),)))
    assert [line.partition(":")[0] for line in lines] == ["2", "9"]


def test_the_database_is_read_as_it_was_written(tmp_path: Path) -> None:
    line = {
        "name": "NR_CPUS",
        "type": "integer",
        "value": "64",
        "file": "arch/x86/Kconfig",
        "line": 1000,
        "prompts": [["Maximum", [["SMP", "y"]]]],
        "depends": [["X86", "y"]],
        "selected_by": [],
        "implied_by": [],
        "defaults": [],
        "range": ["2", "512"],
    }
    path = tmp_path / "symbols.jsonl"
    path.write_text(json.dumps(line) + "\n")
    read = read_symbols(path)["NR_CPUS"]
    assert (read.value, read.range, read.choice, read.unmet) == ("64", ("2", "512"), None, [])
    assert read.prompts == (Prompt("Maximum", (Operand("SMP", "y"),)),)


def test_no_mistake_raises_nothing() -> None:
    kconfig_proof.raise_mistakes([])
    with pytest.raises(Mistakes):
        prove([want("X", "y")], {})
