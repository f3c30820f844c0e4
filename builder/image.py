"""The image: mkosi's configuration rendered, the tree that goes in, mkosi run, the manifest.

One GPT disk: ESP (systemd-boot and a unified kernel image), read-only system partition, read-only
model partition, data partition last. Not for: what is in the kernel (kernel.py), the wheels
(wheels.py) or the models (models.py); they come in as finished folders.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from ruamel.yaml import YAML

from builder import apt, network
from builder.cache import cache_dir, digest, lock, product, write_atomically
from builder.errors import AetherError
from builder.progress import step
from builder.toolchain import Toolchain, run_mkosi

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATES = REPOSITORY / "image"
MIB = 1024 * 1024

# The system partition's slot. It is larger than what is in it, so that the layout of a disk stays
# the same from one build to the next and an update need not move the data partition.
SYSTEM_SLOT = 192 * MIB
SYSTEM_LIMIT = 120 * 1000 * 1000
MODELS_TYPE = "c33a5d3d-4d29-4b2c-8b0e-7a3a5c1f9e11"
# Partition UUIDs and file system UUIDs come from this seed: equal input, equal image.
SEED = "6a0f3bd2-5f0f-4a86-9f5b-2a1f7d1b6c55"
# Files get this date at the latest; a fixed one keeps builds equal. 2025-11-01.
EPOCH = 1761955200

# What the kernel is always told: where the root is, who is the first process, and that partitions
# are found by early-mounts, not guessed.
COMMAND_LINE = (
    "root=PARTLABEL=aetheros-system",
    "rootfstype=erofs",
    "ro",
    "rootwait",
    "init=/usr/lib/aetheros/early-mounts",
    "systemd.gpt_auto=0",
    "console=tty1",
    "console=ttyS0,115200",
)

LAUNCHERS = {
    "usr/bin/agent": "agentd.cli",
    "usr/lib/aetheros/agentd": "agentd.daemon",
    "usr/lib/aetheros/agentd-model": "agentd.model.worker",
}


@dataclass(frozen=True)
class ImageInput:
    """Everything an image is made from."""

    machine: str
    version: str
    kernel: Path  # bzImage
    kernel_version: str
    command_line: Sequence[str]
    python_tree: Path  # the built llama_cpp, to lie in dist-packages
    model: Path
    model_card: Mapping[str, Any]  # name, sha256, size, licence, context ...
    profile: Mapping[str, Any]
    record: Mapping[str, Any]  # versions and keys of the parts, for the manifest


def base_packages() -> dict[str, dict[str, str]]:
    """`packages` and `remove` of image/packages.yaml: names and path globs with their reasons."""
    listed: dict[str, dict[str, str]] = YAML(typ="safe").load(TEMPLATES / "packages.yaml")
    return listed


def ensure(toolchain: Toolchain, given: ImageInput) -> Path:
    """The finished image: a folder with image.raw, aetheros.efi and three .json that describe it."""
    key = digest(
        toolchain.key,
        TEMPLATES,
        REPOSITORY / "agentd",
        REPOSITORY / "hardware",
        (REPOSITORY / "builder/image.py"),
        given.kernel,
        given.command_line,
        str(given.python_tree),
        dict(given.model_card),
        dict(given.record),
        dict(given.profile),
        [given.machine, given.version, apt.updated()],
    )
    return product("image", key, lambda folder: make(toolchain, given, folder, key))


def make(toolchain: Toolchain, given: ImageInput, folder: Path, key: str) -> None:
    """Assemble the image into `folder`, whether or not the cache holds it."""
    with step(f"Assemble the image of {given.machine}", "image"):
        work = cache_dir() / "work" / f"image-{given.machine}"
        with lock(work.with_suffix(".lock"), wait=True, busy=f"an image of {given.machine} is being built"):
            shutil.rmtree(work, ignore_errors=True)
            tree = work / "tree"
            with step("Lay out agentd, wheels and model"):
                manifest = manifest_of(given, key)
                _lay_tree(toolchain, given, tree, manifest)
                _lay_esp(toolchain, given, tree)
            with step("Run mkosi", "mkosi-image"):
                raw = _run_mkosi(toolchain, given, work, tree)
            layout = partitions(toolchain, raw)
            _check_system_size(raw, layout)
            write_atomically(
                folder / "image.json",
                json.dumps({"key": key, "size": raw.stat().st_size, "partitions": layout}, indent=1),
            )
            write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1))
            shutil.copy(raw.with_name("image.manifest"), folder / "packages.json")
            [uki] = (tree / "efi/EFI/Linux").glob("*.efi")
            shutil.copy(uki, folder / "aetheros.efi")
            raw.rename(folder / "image.raw")
            shutil.rmtree(work)


def manifest_of(given: ImageInput, key: str) -> dict[str, Any]:
    """What agentd is told: which machine, kernel, model and versions it was built as."""
    return {
        "name": "AetherOS",
        "version": given.version,
        "build": key,
        "machine": given.machine,
        "kernel": given.kernel_version,
        "command_line": list(given.command_line),
        "model": {**given.model_card, "file": f"{given.model_card['name']}.gguf"},
        "profile": dict(given.profile),
        "parts": dict(given.record),
    }


def lay_agent(toolchain: Toolchain, given: ImageInput, tree: Path, manifest: Mapping[str, Any]) -> None:
    """The agent and what it needs: agentd, llama_cpp, launchers, model, manifest."""
    libraries = tree / "usr/lib/python3/dist-packages"
    shutil.copytree(given.python_tree, libraries, symlinks=True)
    for package in ("agentd", "hardware"):
        shutil.copytree(
            REPOSITORY / package, libraries / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    # Byte code is made now: the system partition is read-only and the first start should be fast.
    toolchain.output(
        [
            *("python3", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"),
            *("-s", tree, "-p", "/", libraries),
        ],
        writable=[tree],
    )
    for place, module in LAUNCHERS.items():
        launcher = tree / place
        launcher.parent.mkdir(parents=True, exist_ok=True)
        launcher.write_text(
            f"#!/usr/bin/python3 -I\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
        )
        launcher.chmod(0o755)
    models = tree / "usr/lib/aetheros/models"
    models.mkdir(parents=True)
    (models / str(manifest["model"]["file"])).hardlink_to(given.model)
    (tree / "usr/lib/aetheros/manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _lay_tree(toolchain: Toolchain, given: ImageInput, tree: Path, manifest: Mapping[str, Any]) -> None:
    """The files of ours: the agent, os-release, units and the rest of image/files."""
    lay_agent(toolchain, given, tree, manifest)
    (tree / "usr/lib/os-release").write_text(
        f'PRETTY_NAME="AetherOS {given.version} ({given.machine})"\n'
        f'NAME="AetherOS"\nID=aetheros\nID_LIKE=debian\nVERSION_ID="{given.version}"\n'
        f"IMAGE_ID=aetheros\nIMAGE_VERSION={given.version}\nVARIANT_ID={given.machine}\n"
        f"BUILD_ID={manifest['build']}\n"
    )
    shutil.copytree(TEMPLATES / "files", tree, dirs_exist_ok=True, symlinks=True)
    open_to_all(tree)


def open_to_all(tree: Path) -> None:
    """Let every user of the machine read what is below a folder, whatever the builder's own umask was.

    agentd and its worker run as users of their own; a clone made under umask 077 would shut them out.
    """
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _lay_esp(toolchain: Toolchain, given: ImageInput, tree: Path) -> None:
    """systemd-boot and the unified kernel image, below /efi of the tree."""
    esp = tree / "efi"
    for folder in ("EFI/BOOT", "EFI/Linux", "loader"):
        (esp / folder).mkdir(parents=True)
    # No menu: the newest image at once; holding a key at power-on still shows it.
    (esp / "loader/loader.conf").write_text("timeout 0\neditor no\n")
    boot = toolchain.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    shutil.copy(boot, esp / "EFI/BOOT/BOOTX64.EFI")
    toolchain.output(
        [
            "ukify",
            "build",
            f"--linux={given.kernel}",
            f"--cmdline={' '.join(given.command_line)}",
            f"--os-release=@{tree / 'usr/lib/os-release'}",
            f"--uname={given.kernel_version}",
            f"--output={esp / 'EFI/Linux' / f'aetheros_{given.version}.efi'}",
        ],
        readable=[given.kernel],
        writable=[tree],
    )


def _run_mkosi(toolchain: Toolchain, given: ImageInput, work: Path, tree: Path) -> Path:
    listed = base_packages()
    models = given.model.stat().st_size
    # erofs adds little to one large file; slots in steps of 64 MiB keep the layout stable.
    models_slot = math.ceil(models * 1.02 / (64 * MIB)) * 64 * MIB
    sizes = {"system_size": SYSTEM_SLOT, "models_size": models_slot, "models_type": MODELS_TYPE}
    for name in ("repart", "sandbox/etc/apt/sources.list.d", "workspace", "output"):
        (work / name).mkdir(parents=True)
    repart_at_boot = tree / "usr/lib/repart.d"
    repart_at_boot.mkdir(parents=True)
    for template in sorted((TEMPLATES / "repart").glob("*.j2")):
        render(template, work / "repart" / template.stem, grow=False, **sizes)
        # At boot the same definitions find the same partitions, format none, and let the last one grow.
        text = render(template, repart_at_boot / template.stem, grow=True, **sizes)
        wanted = ("[", "Type", "Label", "Size", "Grow")
        kept = [line for line in text.splitlines() if line.startswith(wanted)]
        (repart_at_boot / template.stem).write_text("\n".join(kept) + "\n")
    (work / "sandbox/etc/apt/sources.list.d/mkosi.sources").write_text(apt.sources())
    incremental = cache_dir() / "mkosi" / digest(toolchain.key, sorted(listed["packages"]), apt.updated())
    packages_cache = cache_dir() / "packages"
    for folder in (incremental, packages_cache):
        folder.mkdir(parents=True, exist_ok=True)
    if not any(incremental.iterdir()):
        network.need("the image's Debian packages")
    render(
        TEMPLATES / "mkosi.conf.j2",
        work / "mkosi.conf",
        cache_only="always" if network.is_forbidden() else "auto",
        suite=apt.SUITE,
        mirror=apt.mirrors()[0],
        version=given.version,
        output=work / "output",
        repart=work / "repart",
        seed=SEED,
        tools=toolchain.root,
        cache=incremental,
        packages_cache=packages_cache,
        workspace=work / "workspace",
        sandbox=work / "sandbox",
        epoch=EPOCH,
        trees=[tree],
        packages=sorted(listed["packages"]),
        remove=sorted(listed["remove"]),
    )
    log = cache_dir() / f"logs/image-{given.machine}.log"
    # Machines with the same packages share mkosi's copy of the installed system.
    busy = "the image's packages are being installed"
    with lock(incremental.with_suffix(".lock"), wait=True, busy=busy):
        run_mkosi(toolchain.mkosi, ["-C", work, "--force", "build"], what="mkosi", log=log)
    return work / "output/image.raw"


def render(template: Path, place: Path, **values: object) -> str:
    """A template's text with its values, written to `place`; a value that is missing is an error."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(template.read_text()).render(**values)
    place.write_text(text)
    return text


def partitions(toolchain: Toolchain, raw: Path) -> list[dict[str, Any]]:
    """The partitions of a disk image in order: label, offset and size in bytes."""
    table = json.loads(toolchain.output(["sfdisk", "--json", raw], readable=[raw]))["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        {"label": part["name"], "offset": part["start"] * sector, "size": part["size"] * sector}
        for part in table["partitions"]
    ]


def erofs_size(raw: Path, offset: int) -> int:
    """Bytes that an erofs file system really uses, from its superblock (linux/fs/erofs/erofs_fs.h)."""
    with raw.open("rb") as file:
        file.seek(offset + 1024)
        block = file.read(128)
    if block[:4] != b"\xe2\xe1\xf5\xe0":
        raise AetherError(f"{raw}: no erofs at byte {offset}")
    return int.from_bytes(block[36:40], "little") << block[12]


def _check_system_size(raw: Path, layout: Sequence[Mapping[str, Any]]) -> None:
    system = next(part for part in layout if part["label"] == "aetheros-system")
    used = erofs_size(raw, int(system["offset"]))
    if used > SYSTEM_LIMIT:
        raise AetherError(
            f"the system partition holds {used / 1e6:.0f} MB, over the limit of {SYSTEM_LIMIT / 1e6:.0f} MB",
            hint="see image/packages.yaml for what is in it",
        )
