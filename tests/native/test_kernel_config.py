"""The real kernel tree's Kconfig, run in the tools tree: what is lost is told before compiling."""

from pathlib import Path

import pytest
from kbuild_names import linked

from builder import kconfig, kernel, kernel_proof, kernel_source, profile
from builder.errors import AetherError, Mistakes
from builder.kbuild_symbols import module_name
from builder.kconfig import Wanted
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

PROFILE = Path("machines/mine.yaml")
FRAGMENTS = list(profile.load("qemu-x86_64").kernel.fragments)


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


def own(symbol: str, value: object, line: int) -> Wanted:
    return kconfig.user_wanted(symbol, value, reason="a test", file=PROFILE, line=line)


def test_every_symbol_that_cannot_be_is_told_at_once_with_its_line_and_what_stands_in_its_way(
    tools: Toolchain, tree: Source
) -> None:
    user = [
        own("VIRTIO_BLOCK", "y", 1),
        own("EXT4_FS", "m", 2),
        own("SMP", "maybe", 3),
        own("NR_CPUS", 9999, 4),
        own("BPF", "n", 5),
        own("USB_STORAGE", "y", 6),
        own("HZ_1000", "y", 7),
        own("A_SYMBOL_OF_ANOTHER_KERNEL", "n", 8),
    ]
    with pytest.raises(Mistakes) as raised:
        kernel.configured(tools, tree, kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS, user))
    told = {one.line: (one.message, one.hint) for one in raised.value.mistakes}
    assert {one.path for one in raised.value.mistakes} == {PROFILE}, "no fragment may be blamed"
    assert told.keys() == {1, 2, 3, 4, 5, 6}
    assert told[1][0] == "CONFIG_VIRTIO_BLOCK does not exist in this kernel"
    assert "VIRTIO_BLK" in told[1][1]
    assert "there are no modules" in told[2][0]
    assert "SMP is of type bool" in told[3][0]
    assert "the range is 2 to 512" in told[4][0]
    assert "selected by NET and BPF_SYSCALL" in told[5][0]
    assert "USB (=n)" in told[6][0] and "SCSI (=n)" in told[6][0]
    assert "SCSI=y" in told[6][1]


def test_what_a_fragment_loses_because_of_the_profile_is_told_with_the_fragments_line(
    tools: Toolchain, tree: Source
) -> None:
    wanted = kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS, [own("MISC_FILESYSTEMS", "n", 1)])
    erofs = next(one for one in wanted if one.symbol == "EROFS_FS")
    with pytest.raises(Mistakes) as raised:
        kernel.configured(tools, tree, wanted)
    told = {(one.path, one.line): one.message for one in raised.value.mistakes}
    assert "depends on MISC_FILESYSTEMS (=n)" in told[erofs.file, erofs.line]


def test_the_fragments_of_this_repository_hold_within_the_limits(tools: Toolchain, tree: Source) -> None:
    wanted = kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS)
    configuration = kernel.configured(tools, tree, wanted)
    assert configuration.symbols_y <= 1_400
    assert "MODULES" not in configuration.values
    assert "BLK_DEV_INITRD" not in configuration.values
    for one in kconfig.effective(wanted).values():
        assert configuration.values.get(one.symbol, "n") == one.value


def test_too_many_symbols_stop_the_build_before_compiling(
    tools: Toolchain, tree: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "VM", kernel.Limits("virtual machine", 5_000_000, 100))
    with pytest.raises(AetherError, match=r"has \d+ symbols set to y, 100 are allowed"):
        kernel.configured(tools, tree, kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS))


def test_the_database_tells_every_symbols_dependencies_choice_and_place(
    tools: Toolchain, tree: Source
) -> None:
    symbols = kernel.configured(tools, tree, kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS)).symbols
    assert len(symbols) > 15_000
    erofs = symbols["EROFS_FS"]
    assert (erofs.type, erofs.value, erofs.file) == ("tristate", "y", "fs/erofs/Kconfig")
    assert "BLOCK" in [one.text for one in erofs.depends]
    assert symbols["HZ_100"].choice == symbols["HZ_1000"].choice is not None
    assert symbols["NR_CPUS"].range == ("2", "512")
    assert "EXT4_FS" in [one.text.split()[0] for one in symbols["JBD2"].selectors]
    assert [one.text for one in symbols["USB_STORAGE"].unmet]


def test_the_compiled_kernel_is_the_one_that_was_proven(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    """Compiles only if the cache does not hold the kernel of these fragments yet."""
    wanted = kconfig.layers(FRAGMENTS, kconfig.FRAGMENTS)
    built = kernel.ensure(tools, tree, wanted)
    assert built.config.read_text() == kernel.configured(tools, tree, wanted).text
    assert built.size_bytes == built.bzimage.stat().st_size <= 6_000_000
    assert built.version.startswith("6.12.")
    assert " start_kernel\n" in built.system_map.read_text()
    assert kernel.load(built.folder) == built
    # What was linked, as kbuild told the compiler, is what kbuild says without compiling.
    kept = set((built.folder / kernel_proof.LINKED).read_text().split())
    assert kept == linked(tools, tree, built.config, tmp_path)
    builtin = {module_name(one) for one in (built.folder / kernel_proof.BUILTIN).read_text().split()}
    assert builtin <= kernel_proof.modules(built.folder)
    assert {"ext4", "virtio_blk", "erofs"} <= builtin
