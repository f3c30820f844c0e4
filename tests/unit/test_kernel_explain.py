"""Why a symbol is as it is, and what would make it otherwise."""

import json
from pathlib import Path

import pytest
from kernel_fixture import row, subject, want

from builder import kernel_explain
from builder.errors import AetherError
from builder.kernel_subject import Subject

ROWS = [
    row("BLOCK", "y", prompt="Block devices"),
    row("EXT4", "y", depends=[["BLOCK", "y"]]),
    row("JBD2", "y", prompt="", selected_by=[["EXT4 && BLOCK", "y"], ["OCFS2", "n"]]),
    row("OCFS2"),
    row("CRC", "y", prompt="", selected_by=[["JBD2", "y"]]),
    row("SHARED", "y", prompt="", selected_by=[["JBD2", "y"], ["EXT4", "y"]]),
    row("MODULES", prompt="Modules"),
    row("USB_SUPPORT", prompt="USB support"),
    row("USB", prompt="Host USB", depends=[["USB_SUPPORT", "n"]]),
    row("STORAGE", prompt="Disks", depends=[["USB", "n"], ["!BLOCK", "n"]]),
    row("DISKS", prompt="Disks", depends=[["USB", "n"]]),
    row("EITHER", depends=[["USB_SUPPORT || (OCFS2 && BLOCK)", "n"]]),
    row("LOADED", depends=[["MODULES", "n"]]),
    row("LIB", prompt="", selected_by=[["OCFS2", "n"]]),
    row("USES_LIB", depends=[["LIB", "n"]]),
    row("ARM_ONLY", depends=[["ARM", "n"]]),
    row("RANGED", "64", type="integer", range=["2", "512"]),
]
WANTED = [
    want("BLOCK", "y", "base", "disks"),
    want("EXT4", "y", "base", "the data"),
    want("RANGED", "8", "base", "few"),
    want("MODULES", "n", "base", "one kernel for one machine"),
    want("RANGED", "64", "kernel.config", "many"),
]


@pytest.fixture
def lab(tmp_path: Path) -> Subject:
    return subject(tmp_path, ROWS, WANTED)


def text(name: str, lab: Subject) -> list[str]:
    return kernel_explain.lines(kernel_explain.explain(name, lab))


def test_a_wanted_symbol_has_its_layer_place_and_reason_and_what_lost_against_it(lab: Subject) -> None:
    assert text("RANGED", lab) == [
        "CONFIG_RANGED=64",
        '  integer, "A question", k/Kconfig:7',
        "  from 2 to 512",
        "  layer kernel.config, /k/kernel.config.config:3: many",
        "  instead of RANGED=8: base, /k/base.config:3: few",
    ]


def test_a_selected_symbol_leads_to_the_first_one_that_a_layer_wants(lab: Subject) -> None:
    said = text("CRC", lab)
    assert said[2:5] == [
        "  no layer decided it: selected by JBD2",
        "    JBD2=y: kconfig, selected by EXT4",
        "    EXT4=y: base, the data",
    ]
    assert "    no   OCFS2" in text("JBD2", lab), "what else could select it is there"


def test_of_several_that_select_a_symbol_one_that_a_layer_wants_comes_first(lab: Subject) -> None:
    [first] = kernel_explain.explain("SHARED", lab).chain
    assert (first.symbol, first.layer) == ("EXT4", "base")


def test_dependencies_say_which_of_them_hold(lab: Subject) -> None:
    said = text("STORAGE", lab)
    assert said[said.index("  depends on") + 1 :][:2] == ["    no   USB", "    no   !BLOCK"]


def test_what_stands_in_the_way_is_followed_to_what_a_person_can_set(lab: Subject) -> None:
    said = text("DISKS", lab)
    assert said[said.index("  in the way") :] == [
        "  in the way",
        "    USB (=n): Host USB",
        "      USB_SUPPORT (=n): can be set: USB support",
        "  to have it, write into kernel.config: USB_SUPPORT=y, USB=y, DISKS=y",
    ]


def test_a_symbol_that_must_be_off_says_who_wants_it_on(lab: Subject) -> None:
    [usb, block] = kernel_explain.explain("STORAGE", lab).obstacles
    assert (block.expression, block.why, block.can_be_set) == ("!BLOCK", "BLOCK is y: base, disks", True)
    assert [one.expression for one in usb.below] == ["USB_SUPPORT"]


def test_of_alternatives_each_is_followed(lab: Subject) -> None:
    [either] = kernel_explain.explain("EITHER", lab).obstacles
    assert either.why == "one of these is needed"
    assert [(one.expression, one.can_be_set) for one in either.below] == [
        ("USB_SUPPORT", True),
        ("OCFS2 && BLOCK", False),
    ]
    assert [one.expression for one in either.below[1].below] == ["OCFS2"], "BLOCK is there"


def test_what_a_fragment_switched_off_is_told_with_its_reason(lab: Subject) -> None:
    explained = kernel_explain.explain("LOADED", lab)
    assert explained.obstacles[0].why == "switched off in /k/base.config:3: one kernel for one machine"
    assert "MODULES is off on purpose" in explained.impossible
    modules = kernel_explain.explain("MODULES", lab)
    assert modules.is_switched_off and modules.steps == ("MODULES=y",)
    assert "  switched off by the layer base, /k/base.config:3: one kernel for one machine" in text(
        "MODULES", lab
    )


def test_what_has_no_prompt_comes_with_those_that_select_it(lab: Subject) -> None:
    [lib] = kernel_explain.explain("USES_LIB", lab).obstacles
    assert lib.why == "cannot be set, it comes with OCFS2"
    assert kernel_explain.explain("LIB", lab).steps == ("OCFS2=y",)


def test_what_belongs_to_another_processor_cannot_be_had(lab: Subject) -> None:
    explained = kernel_explain.explain("ARM_ONLY", lab)
    assert explained.obstacles[0].why == "does not exist for this processor"
    assert "ARM does not exist" in explained.impossible


@pytest.mark.parametrize("name", ["EXT4", "CONFIG_EXT4", "ext4"])
def test_a_symbol_may_carry_config_or_be_written_small(lab: Subject, name: str) -> None:
    assert kernel_explain.explain(name, lab).symbol.name == "EXT4"


def test_an_unknown_symbol_comes_with_the_nearest_names(lab: Subject) -> None:
    with pytest.raises(AetherError) as caught:
        kernel_explain.explain("CONFIG_EXT5", lab)
    assert caught.value.lines() == ["error: 'EXT5' is no symbol of Linux 6.12", "hint: did you mean EXT4?"]


def test_a_choice_names_its_members_and_who_won(tmp_path: Path) -> None:
    rows = [row("HZ_250", choice="k:1"), row("HZ_100", "y", choice="k:1")]
    lab = subject(tmp_path, rows, [want("HZ_250", "y", "base", "smooth"), want("HZ_100", "y", "vm", "calm")])
    said = text("HZ_250", lab)
    assert said[3:7] == [
        "  HZ_100=y won: vm, /k/vm.config:3: calm",
        "  wanted HZ_250=y: base, /k/base.config:3: smooth",
        "  one of a choice",
        "    HZ_250, HZ_100 (=y)",
    ]
    assert "  instead of HZ_250=y: base, /k/base.config:3: smooth" in text("HZ_100", lab)


def test_dependencies_that_go_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    rows = [row("A", depends=[["B", "n"]]), row("B", depends=[["A", "n"]])]
    assert [
        one.expression for one in kernel_explain.explain("A", subject(tmp_path, rows, [])).obstacles
    ] == ["B"]


def test_debians_kernel_takes_no_wishes(tmp_path: Path) -> None:
    rows = [row("A"), row("M", "m", type="tristate"), row("B", depends=[["M", "m"]])]
    stock = subject(tmp_path, rows, [want("A", "n", "debian"), want("M", "m", "debian")], stock=True)
    assert text("A", stock)[-1].startswith("  switched off by the layer debian")
    assert kernel_explain.explain("B", stock).obstacles == (), "a module is there"
    assert kernel_explain.explain("M", stock).decided.layer == "debian"


def test_json_has_all_of_it(lab: Subject) -> None:
    values = kernel_explain.values(kernel_explain.explain("DISKS", lab))
    assert values["depends"] == [{"expression": "USB", "value": "n", "holds": False}]
    assert values["to_have_it"] == ["USB_SUPPORT=y", "USB=y", "DISKS=y"]
    assert json.loads(json.dumps(values))["in_the_way"][0]["below"][0]["can_be_set"] is True
