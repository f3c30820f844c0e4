"""A sentence encoder made into a GGUF file: from the safetensors in a wheel, for llama.cpp.

The conversion (bert_gguf.py) runs in the tools tree with Debian's numpy and safetensors and with the package
`gguf` that lies in llama.cpp's own source, so the file is the same on every host and its sha256 can stand in
the catalogue. Not for: fetching the wheel or checking the file (models.py), or using it.
"""

import shutil
from pathlib import Path

from builder import toolchain, wheels
from builder.cache import cache_dir
from builder.progress import step

PROGRAM = Path(__file__).with_name("bert_gguf.py")
# Where llama.cpp's source distribution has the package.
GGUF = f"{wheels.NAME}-{wheels.VERSION}/vendor/llama.cpp/gguf-py"


def convert(wheel: Path, folder: str, gguf: Path) -> None:
    """Make the file `gguf` of the model in `folder` of a wheel; 46 MB take about a second.

    Needs the tools tree and llama.cpp's source, which are fetched if the cache has them not. Raises
    StepFailed for a model that it cannot convert; an earlier file at that place is written over.
    """
    tools, sdist = toolchain.ensure(), wheels.fetch()
    work = gguf.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    (work / "out").mkdir(parents=True)
    try:
        tools.output(
            ["tar", "--extract", "--no-same-owner", "--file", sdist, "--directory", work, f"{GGUF}/gguf"],
            readable=[sdist],
            writable=[work],
        )
        with step("Make the model's GGUF file"):
            tools.run(
                ["python3", PROGRAM, wheel, folder, work / "out/model.gguf"],
                what="making the GGUF file",
                log=cache_dir() / "logs/embedder.log",
                readable=[PROGRAM, wheel, work / GGUF],
                writable=[work / "out"],
                env={"PYTHONPATH": str(work / GGUF), "PYTHONDONTWRITEBYTECODE": "1"},
            )
        (work / "out/model.gguf").rename(gguf)
    finally:
        shutil.rmtree(work)
