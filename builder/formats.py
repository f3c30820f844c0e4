"""The forms in which a built image is handed out: raw disk, qcow2, the unified kernel image alone.

Not for: making the image (image.py).
"""

from pathlib import Path

from builder.build import BuiltImage
from builder.cache import cache_dir, digest, product
from builder.errors import AetherError
from builder.progress import step


def export(built: BuiltImage, name: str) -> Path:
    """The file of a built machine in the format `raw`, `qcow2` or `uki`, made now if need be."""
    match name:
        case "raw":
            return built.image
        case "uki":
            if built.given.kernel is None:
                raise AetherError(
                    f"{built.machine.name} has Debian's own kernel and no unified kernel image",
                    hint="take raw or qcow2",
                )
            return built.folder / "aetheros.efi"
        case "qcow2":
            return _qcow2(built)
    raise AetherError(f"unknown format '{name}'", hint="one of raw, qcow2, uki")


def _qcow2(built: BuiltImage) -> Path:
    file = f"{built.machine.name}.qcow2"

    def make(folder: Path) -> None:
        with step("Convert the image to qcow2", "qcow2"):
            built.toolchain.run(
                ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", built.image, folder / file],
                what="converting the image to qcow2",
                log=cache_dir() / "logs/qcow2.log",
                readable=[built.folder],
                writable=[folder],
            )

    return product("qcow2", digest(built.key, built.toolchain.key), make) / file
