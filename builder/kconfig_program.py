"""The kernel tree's own Kconfig as one small program, made once for a source and a tools tree.

The tree's Makefile starts its `conf` anew for every configuration: four seconds of compiling it, of making
out the compiler's version and of trying out its options. Here that is done once; what comes out is the same
to the byte (tests/native/test_kernel_config.py). Not for: what is configured (kconfig.py).
"""

from pathlib import Path

from builder.cache import cache_dir, digest, product
from builder.kernel_source import Source
from builder.progress import step
from builder.toolchain import Toolchain

SOURCE = Path(__file__).with_name("kconfig_dump.c")

# $1 source tree, $2 the program's folder, $3 kconfig_dump.c
_MAKE = """\
tree=$1 home=$2 dump=$3
mkdir "$home/output" "$home/shell"
make -s -C "$tree" O="$home/output" KCONFIG_ALLCONFIG=/dev/null allnoconfig
cd "$home/output/scripts/kconfig"
compile() { gcc -O2 -I "$tree/scripts/kconfig" -I "$tree/scripts/include" -I . "$@"; }
compile -Dmain=conf_main -c -o conf_main.o "$tree/scripts/kconfig/conf.c"
compile -Dpopen=remembered_popen -Dpclose=fclose -c -o answers.o "$tree/scripts/kconfig/preprocess.c"
compile -Wall -o kconfig_dump "$dump" conf_main.o answers.o \\
    confdata.o expr.o lexer.lex.o menu.o parser.tab.o symbol.o util.o
KCONFIG_HOME="$home" KCONFIG_DUMP=/dev/null KCONFIG_ALLCONFIG=/dev/null \\
    make -s -C "$tree" O="$home/output" config-prog=kconfig_dump config
cp kconfig_dump "$home/kconfig_dump"
rm -r "$home/output"
"""


def key(toolchain: Toolchain, source: Source) -> str:
    """What the program, and with it every configuration, is made of."""
    return digest(source.key, str(source.folder), toolchain.key, SOURCE, _MAKE)


def ensure(toolchain: Toolchain, source: Source) -> Path:
    """The folder with `kconfig_dump` and what it remembers; about 8 s if the cache does not have it."""

    def make(folder: Path) -> None:
        with step("Make the kernel's Kconfig", "kconfig-program"):
            toolchain.run(
                ["sh", "-euc", _MAKE, "sh", source.folder, folder, SOURCE],
                what="making the kernel's Kconfig",
                log=cache_dir() / "logs/kconfig-program.log",
                writable=[folder],
                readable=[source.folder, SOURCE],
            )

    return product("kconfig-program", key(toolchain, source), make)


def run(toolchain: Toolchain, source: Source, folder: Path, seed: str) -> None:
    """Configure from a seed in an empty folder: leaves `config` and `symbols.jsonl` there; half a second."""
    home = ensure(toolchain, source)
    seed_file = folder / "seed.config"
    seed_file.write_text(seed)
    toolchain.run(
        [home / "kconfig_dump", "Kconfig"],
        what="configuring the kernel",
        log=cache_dir() / "logs/kernel-config.log",
        writable=[folder],
        readable=[source.folder, home],
        cwd=folder,
        env={
            "KCONFIG_HOME": str(home),
            "KCONFIG_ALLCONFIG": str(seed_file),
            "KCONFIG_DUMP": str(folder / "symbols.jsonl"),
        },
    )
    (folder / ".config").rename(folder / "config")
