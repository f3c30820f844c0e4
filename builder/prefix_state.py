"""The state of the prompt's beginning that every machine of an image shares, computed here once.

What every prompt begins with is read by the model on the build host, so that a machine's very first question
need not wait for it. The text, the file and its name are agentd's own: a module of it runs in the tools tree
on the very files of the image, as the worker will find them. Not for: what the agent keeps of its own
prompts while it runs (agentd/model/states.py).
"""

import json
from pathlib import Path

from builder.cache import cache_dir
from builder.progress import step
from builder.toolchain import Toolchain
from hardware.cpu_level import flags_in

MODULE = "agentd.model.bake"
STATES = "usr/lib/aetheros/kv"


def lay(toolchain: Toolchain, tree: Path, *, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Lay the state into an image's tree that holds agentd, llama_cpp, the models and the manifest.

    Where this host's processor cannot run the machine's llama.cpp that is told in one line, and the machine
    reads its first prompt itself. Raises StepFailed if the model cannot be run.
    """
    libraries, home = tree / "usr/lib/python3/dist-packages", tree / "usr/lib/aetheros"
    states = tree / STATES
    states.mkdir(parents=True)
    build = json.loads((libraries / "llama_cpp/build.json").read_text())
    with step("Read the beginning of every prompt") as progress:
        lacking = set(build["cpu_flags"]) - set(flags_in(cpuinfo.read_text()))
        if lacking:
            progress.note(
                f"left out: this processor lacks {', '.join(sorted(lacking))} of {build['march']};"
                " the machine does it at its first question"
            )
            return
        given = {"--manifest": home / "manifest.json", "--models": home / "models", "--states": states}
        toolchain.run(
            ["python3", "-m", MODULE, *(word for pair in given.items() for word in pair)],
            what="reading the beginning of every prompt",
            log=cache_dir() / "logs/prefix-state.log",
            readable=[tree],
            writable=[states],
            env={"PYTHONPATH": str(libraries), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        size = sum(file.stat().st_size for file in states.iterdir())
        progress.note(f"{size / 1e6:.1f} MB")
