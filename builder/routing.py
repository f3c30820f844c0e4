"""The routing head of a machine: trained here from the example requests, for the machine's own encoder.

agentd's own module does it in the tools tree, once for every encoder and set of examples. Not for: what is
trained (agentd/routing/train.py), or what a tool is.
"""

import json
from pathlib import Path

from builder import wheels
from builder.cache import cache_dir, digest, product
from builder.models import ModelFile
from builder.progress import step
from builder.toolchain import Toolchain
from hardware.cpu_level import flags_in, level_of

REPOSITORY = Path(__file__).resolve().parent.parent
MODULE = "agentd.routing.train"
EXAMPLES = REPOSITORY / "agentd/tools/examples"
FILE = "routing.bin"
# What a trained head depends on; another threshold or rule of the router trains nothing anew.
CODE = tuple(
    REPOSITORY / "agentd" / name
    for name in (
        "model/encoder.py",
        "routing/about.py",
        "routing/features.py",
        "routing/head.py",
        "routing/negation.py",
        "routing/regression.py",
        "routing/spelling.py",
        "routing/train.py",
    )
)


def ensure(
    toolchain: Toolchain,
    tree: Path,
    encoder: ModelFile,
    name: str,
    *,
    cpuinfo: Path = Path("/proc/cpuinfo"),
) -> Path:
    """The file routing.bin for an encoder called `name`; a minute or two if the cache does not hold it.

    `tree` is the machine's llama_cpp; where this host's processor cannot run that, one built for this host
    takes its place: the vectors differ in their last digits. Raises StepFailed if nothing can be trained.
    """
    tree = _runnable(toolchain, tree, cpuinfo)
    key = digest(toolchain.key, str(tree), encoder.sha256, name, EXAMPLES, *CODE)

    def make(folder: Path) -> None:
        with step("Learn which requests mean which tool", "routing") as progress:
            toolchain.run(
                [
                    *("python3", "-m", MODULE, "--examples", EXAMPLES),
                    *("--encoder", encoder.path, "--name", name, "--out", folder / FILE),
                ],
                what="training the routing head",
                log=cache_dir() / "logs/routing.log",
                readable=[REPOSITORY / "agentd", tree, encoder.path],
                writable=[folder],
                env={"PYTHONPATH": f"{REPOSITORY}:{tree}", "PYTHONDONTWRITEBYTECODE": "1"},
            )
            progress.note(f"{(folder / FILE).stat().st_size / 1e6:.1f} MB")

    return product("routing", key, make) / FILE


def _runnable(toolchain: Toolchain, tree: Path, cpuinfo: Path) -> Path:
    """This llama_cpp, or one that this host's processor can run."""
    have = flags_in(cpuinfo.read_text())
    needs = json.loads((tree / "llama_cpp/build.json").read_text())["cpu_flags"]
    return tree if set(needs) <= set(have) else wheels.ensure(toolchain, level_of(have)).tree
