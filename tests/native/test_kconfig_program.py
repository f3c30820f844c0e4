"""The remembered Kconfig against the tree's own: what it makes is the same."""

import subprocess
from pathlib import Path

import pytest

from builder import build, kconfig, kconfig_program, kernel_source, profile
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.mark.parametrize("name", ["pc", "qemu-x86_64"])
def test_a_configuration_is_the_one_that_the_trees_own_makefile_makes(
    name: str, tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    wanted = build.wanted(profile.load(name))
    (tmp_path / "seed").write_text(kconfig.seed(wanted))
    (tmp_path / "output").mkdir()
    tools.run(
        [
            *("make", "-s", "-C", tree.folder, f"O={tmp_path}/output"),
            *(f"KCONFIG_ALLCONFIG={tmp_path}/seed", "allnoconfig"),
        ],
        what="the tree's own configuration",
        log=tmp_path / "log",
        writable=[tmp_path],
        readable=[tree.folder],
    )
    assert kconfig.configure(tools, tree, wanted).text == (tmp_path / "output/.config").read_text()


def test_a_configuration_asks_the_compiler_nothing_that_was_answered_before(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    """Without a compiler, and with the answers alone, the outcome is the same."""
    home = kconfig_program.ensure(tools, tree)
    answers = sorted((home / "shell").iterdir())
    assert len(answers) > 50
    wanted = build.wanted(profile.load("pc"))
    kconfig_program.run(tools, tree, tmp_path, kconfig.seed(wanted))
    assert sorted((home / "shell").iterdir()) == answers
    without = tmp_path / "without"
    without.mkdir()
    argv = tools.argv(
        [home / "kconfig_dump", "Kconfig"],
        writable=[tmp_path],
        readable=[tree.folder, home],
        cwd=without,
        env={
            "PATH": "/nothing",
            "KCONFIG_HOME": str(home),
            "KCONFIG_ALLCONFIG": str(tmp_path / "seed.config"),
            "KCONFIG_DUMP": str(without / "symbols.jsonl"),
        },
    )
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    assert (without / ".config").read_text() == (tmp_path / "config").read_text()
    assert (without / "symbols.jsonl").read_text() == (tmp_path / "symbols.jsonl").read_text()
