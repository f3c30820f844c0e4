"""The modules whose code a configuration would link in, by the real tree's kbuild and without compiling."""

import re
from pathlib import Path

from builder.kernel_source import Source
from builder.toolchain import Toolchain

MAKEFILE = Path(__file__).with_name("kbuild_names.mk")


def linked(tools: Toolchain, tree: Source, config: Path, folder: Path) -> set[str]:
    """Their paths without ending, such as `drivers/nvme/host/nvme`; about ten seconds."""
    auto = folder / "auto.conf"
    found = re.findall(r"^CONFIG_(\w+)=(.*)$", config.read_text(), re.MULTILINE)
    auto.write_text("".join(f"CONFIG_{symbol}={value.strip(chr(34))}\n" for symbol, value in found))
    words: list[str | Path] = [
        "make",
        "-j2",
        "-f",
        MAKEFILE,
        f"srctree={tree.folder}",
        f"auto={auto}",
        "obj=.",
    ]
    said = tools.output(words, readable=[tree.folder, folder, MAKEFILE])
    lines = [line.removeprefix("@ ") for line in said.splitlines() if line.startswith("@ ")]
    return {name.removeprefix("./") for line in lines for name in line.split()}
