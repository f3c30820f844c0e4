"""Fragments are read with their reasons, and layers are put together in their order."""

from pathlib import Path

import pytest

from builder import kconfig
from builder.errors import Mistakes
from builder.kconfig import Wanted


def fragment(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.config"
    path.write_text(text)
    return path


def told(error: Mistakes) -> list[tuple[int, str]]:
    return [(one.line, one.message) for one in error.mistakes]


def test_a_symbol_takes_the_comment_above_it_as_its_reason(tmp_path: Path) -> None:
    path = fragment(
        tmp_path,
        "base",
        "# What this file is for.\n\n# The disk,\n# in two lines\nCONFIG_A=y\n# CONFIG_B is not set\n\n"
        '# Names\nCONFIG_C="x y"\n# and numbers\nCONFIG_D=-3\nCONFIG_E=0x1F\n',
    )
    assert kconfig.load_fragment(path) == [
        Wanted("A", "y", "The disk, in two lines", path, 5, "base"),
        Wanted("B", "n", "The disk, in two lines", path, 6, "base"),
        Wanted("C", '"x y"', "Names", path, 9, "base"),
        Wanted("D", "-3", "and numbers", path, 11, "base"),
        Wanted("E", "0x1F", "and numbers", path, 12, "base"),
    ]


def test_every_mistake_in_a_fragment_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = fragment(
        tmp_path,
        "bad",
        "# Why\nCONFIG_A=y\nCONFIG_A=n\nFOO=y\nCONFIG_B=maybe\nCONFIG_C=\n\nCONFIG_D=y\n",
    )
    with pytest.raises(Mistakes) as raised:
        kconfig.load_fragment(path)
    assert told(raised.value) == [
        (3, "CONFIG_A is named twice, first in line 2"),
        (4, "not a Kconfig line: FOO=y"),
        (5, "CONFIG_B: maybe is no value"),
        (6, "CONFIG_C: nothing is no value"),
        (8, "CONFIG_D has no reason"),
    ]


def test_a_fragment_that_is_no_text_is_a_mistake_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "blob.config"
    path.write_bytes(b"# why\nCONFIG_A=y\n\xff\xfe\n")
    with pytest.raises(Mistakes) as raised:
        kconfig.load_fragment(path)
    assert told(raised.value) == [(3, "not a Kconfig line: \\xff\\xfe")]


def test_an_unknown_fragment_comes_with_the_nearest_name_and_all_other_mistakes(tmp_path: Path) -> None:
    fragment(tmp_path, "base", "oops\n")
    fragment(tmp_path, "virtio", "# why\nCONFIG_V=y\n")
    with pytest.raises(Mistakes) as raised:
        kconfig.layers(["base", "virito", "quite-other"], tmp_path)
    assert [(one.message, one.hint) for one in raised.value.mistakes] == [
        ("not a Kconfig line: oops", "CONFIG_X=y or # CONFIG_X is not set"),
        ("no kernel fragment virito", "did you mean virtio?"),
        ("no kernel fragment quite-other", "there are base, virtio"),
    ]


def test_the_later_layer_wins_and_the_profile_comes_last(tmp_path: Path) -> None:
    fragment(tmp_path, "one", "# first\nCONFIG_A=y\nCONFIG_B=1\n")
    fragment(tmp_path, "two", "# second\n# CONFIG_A is not set\n")
    own = kconfig.user_wanted("B", 2, reason="mine", file=Path("m.yaml"), line=7)
    wanted = kconfig.layers(["one", "two"], tmp_path, [own])
    assert [(one.symbol, one.layer) for one in wanted] == [
        ("A", "one"),
        ("B", "one"),
        ("A", "two"),
        ("B", "kernel.config"),
    ]
    last = kconfig.effective(wanted)
    assert (last["A"].value, last["A"].reason) == ("n", "second")
    assert last["B"] == own


def test_of_a_choice_the_last_layer_stands_last_in_the_text_that_kconfig_reads(tmp_path: Path) -> None:
    fragment(tmp_path, "one", "# why\nCONFIG_HZ_250=y\nCONFIG_X=y\n")
    fragment(tmp_path, "two", "# why\nCONFIG_HZ_100=y\n# CONFIG_X is not set\n")
    wanted = kconfig.layers(["one", "two"], tmp_path)
    assert kconfig.seed(wanted) == "CONFIG_HZ_250=y\nCONFIG_HZ_100=y\n# CONFIG_X is not set\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "y"),
        (False, "n"),
        ("m", "m"),
        (64, "64"),
        ("0x10", "0x10"),
        ("-aether", '"-aether"'),
        ('"quoted"', '"quoted"'),
        ('say "x"', '"say \\"x\\""'),
    ],
)
def test_a_value_from_a_profile_becomes_kconfigs_own(value: object, text: str) -> None:
    wanted = kconfig.user_wanted("CONFIG_A", value, reason="", file=Path("m.yaml"), line=1)
    assert (wanted.symbol, wanted.value, wanted.layer) == ("A", text, "kernel.config")
    assert wanted.reason


def test_the_fragments_of_this_repository_are_sound_and_all_have_reasons() -> None:
    names = kconfig.known_fragments(kconfig.FRAGMENTS)
    assert {"base", "systemd", "virtio", "security", "agent"} <= set(names)
    for one in kconfig.layers(names, kconfig.FRAGMENTS):
        assert len(one.reason.split()) >= 1, one
