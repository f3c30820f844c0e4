"""The image: mkosi's configuration rendered, the tree that goes in, mkosi run, the manifest.

One GPT disk: ESP, read-only system partition, read-only model partition, data partition last. Not for:
what is in the kernel (kernel.py), the wheels (wheels.py) or the models (models.py), which come in as
finished folders; the ESP's contents (esp.py).
"""

import json
import math
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from ruamel.yaml import YAML

from builder import apt, bootloader, esp, network, prefix_state
from builder.cache import cache_dir, digest, file_sha256, lock, product, write_atomically
from builder.errors import AetherError
from builder.firmware import Firmware
from builder.progress import step
from builder.toolchain import Toolchain, run_mkosi

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATES = REPOSITORY / "image"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Slots:
    """Sizes in bytes of the partitions that a build fills, and what the system may take of its own.

    A slot is larger than what is in it, so that the layout of a disk stays the same from one build to the
    next and an update need not move the data partition.
    """

    esp: int
    system: int
    system_limit: int


OWN_KERNEL = Slots(64 * MIB, 192 * MIB, 120_000_000)
WITH_FALLBACK = Slots(256 * MIB, 320 * MIB, 300_000_000)  # Debian's modules are 120 MB
GENERIC = Slots(256 * MIB, 640 * MIB, 600_000_000)  # and the firmware of every device
MODELS_TYPE = "c33a5d3d-4d29-4b2c-8b0e-7a3a5c1f9e11"
# All UUIDs come from this one and the machine's name: equal input, equal image.
NAMESPACE = uuid.UUID("6a0f3bd2-5f0f-4a86-9f5b-2a1f7d1b6c55")
# Files get this date at the latest; a fixed one keeps builds equal. 2025-11-01.
EPOCH = 1761955200

# What the kernel is always told: where the root is, who is the first process, that partitions are found
# by early-mounts, not guessed, and that free memory is given out in random order, which
# CONFIG_SHUFFLE_PAGE_ALLOCATOR does only when told (measured in instructions: 0.5 % of a boot).
COMMAND_LINE = (
    "root=PARTLABEL=aetheros-system",
    "rootfstype=erofs",
    "ro",
    "init=/usr/lib/aetheros/early-mounts",
    "systemd.gpt_auto=0",
    "page_alloc.shuffle=1",
    "console=tty1",
    "console=ttyS0,115200",
)

# How long the kernel waits for its disk: for ever, or with a fallback until it gives up and restarts.
WAIT = ("rootwait",)
WAIT_WITH_FALLBACK = ("rootwait=30",)
# Debian's initramfs restarts the machine when it finds no root, instead of offering a shell.
STOCK_COMMAND_LINE = ("panic=10",)
FALLBACK_WORD = "aetheros.fallback"  # what the fallback's entry says to aetheros-fallback.service

# What of a package the machine does not need: example requests are what the router was trained with.
NOT_IN_IMAGE = ("__pycache__", "examples")

LAUNCHERS = {
    "usr/bin/agent": "agentd.cli",
    "usr/lib/aetheros/agentd": "agentd.daemon",
    "usr/lib/aetheros/agentd-model": "agentd.model.worker",
    "usr/lib/aetheros/agentd-exec": "agentd.exec.broker",
}


@dataclass(frozen=True)
class ImageInput:
    """Everything an image is made from."""

    machine: str
    version: str
    kernel: Path | None  # bzImage of the machine's own kernel; None: Debian's alone
    kernel_version: str  # as `uname -r` says it, of the kernel that starts first
    command_line: Sequence[str]  # of the kernel that starts first
    python_tree: Path  # the built llama_cpp, to lie in dist-packages
    model: Path
    model_card: Mapping[str, Any]  # name, sha256, size, licence, context ...
    profile: Mapping[str, Any]
    record: Mapping[str, Any]  # versions and keys of the parts, for the manifest
    embedder: Path | None = None
    embedder_card: Mapping[str, Any] = field(default_factory=dict)  # name, sha256, size, licence, dimension
    stock: str = ""  # Debian's kernel package, where the image carries it: alone or as the fallback
    stock_command_line: Sequence[str] = ()
    more_packages: Sequence[str] = ()  # the profile's own
    firmware: Firmware | None = None  # of the machine's own kernel
    routing: Path | None = None  # routing.bin; None without an embedder: every sentence is talk

    @property
    def weights(self) -> dict[str, Path]:
        """The GGUF files, by their names on the model partition."""
        files = {f"{self.model_card['name']}.gguf": self.model}
        if self.embedder:
            files[f"{self.embedder_card['name']}.gguf"] = self.embedder
        return files

    @property
    def slots(self) -> Slots:
        """How large the partitions are."""
        with_stock = WITH_FALLBACK if self.kernel else GENERIC
        slots = with_stock if self.stock else OWN_KERNEL
        if self.firmware is None:
            return slots
        # It is in the system, and on the ESP twice while an update is written beside its predecessor.
        more = math.ceil(self.firmware.size_bytes / (64 * MIB)) * 64 * MIB
        return Slots(
            slots.esp + 2 * more, slots.system + more, slots.system_limit + self.firmware.size_bytes
        )

    @property
    def packages(self) -> list[str]:
        """The names of the packages that are asked for, sorted."""
        listed = base_packages()
        names = {*listed["packages"], *self.more_packages}
        if self.stock:
            names |= {self.stock, *listed["stock"]}
            if not self.kernel:
                names |= set(listed["firmware"])
        return sorted(names)


def root_uuid(machine: str) -> str:
    """The UUID of a machine's system partition: a stick and a disk of two machines do not mix."""
    return str(uuid.uuid5(NAMESPACE, f"{machine}/system"))


def command_line(machine: str) -> list[str]:
    """What every kernel of a machine is told."""
    return [f"root=PARTUUID={root_uuid(machine)}", *COMMAND_LINE]


def base_packages() -> dict[str, dict[str, str]]:
    """The lists of image/packages.yaml: names of packages, and path globs, with their reasons."""
    listed: dict[str, dict[str, str]] = YAML(typ="safe").load(TEMPLATES / "packages.yaml")
    return listed


def ensure(toolchain: Toolchain, given: ImageInput) -> Path:
    """The finished image: a folder with image.raw and three .json that describe it.

    Beside it lies what can start it without a boot loader: aetheros.efi, the unified kernel image, or
    vmlinuz and initrd.img where Debian's kernel is the only one.
    """
    key = digest(
        toolchain.key,
        TEMPLATES,
        REPOSITORY / "agentd",
        REPOSITORY / "hardware",
        (REPOSITORY / "builder/image.py"),
        (REPOSITORY / "builder/esp.py"),
        (REPOSITORY / "builder/prefix_state.py"),
        given.routing.parent.name if given.routing else "",
        given.kernel or "",
        [given.stock, list(given.stock_command_line), given.packages],
        given.firmware.folder.name if given.firmware else "",
        given.command_line,
        str(given.python_tree),
        [dict(given.model_card), dict(given.embedder_card)],
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
            with step("Lay out agentd, wheels and models"):
                manifest = manifest_of(given, key)
                _lay_tree(toolchain, given, tree, manifest)
                unified = _lay_esp(toolchain, given, tree)
            with step("Run mkosi", "mkosi-image"):
                raw = _run_mkosi(toolchain, given, work, tree)
            layout = partitions(toolchain, raw)
            _check_system_size(raw, layout, given.slots.system_limit)
            write_atomically(
                folder / "image.json",
                json.dumps({"key": key, "size": raw.stat().st_size, "partitions": layout}, indent=1),
            )
            write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1))
            shutil.copy(raw.with_name("image.manifest"), folder / "packages.json")
            if unified is not None:
                shutil.copy(unified, folder / "aetheros.efi")
            else:
                _copy_from_esp(toolchain, raw, layout, folder)
            raw.rename(folder / "image.raw")
            shutil.rmtree(work)


def manifest_of(given: ImageInput, key: str) -> dict[str, Any]:
    """What agentd is told: which machine, kernel, model and versions it was built as."""
    models = {"model": given.model_card}
    if given.embedder:
        models["embedder"] = given.embedder_card
    cards = {kind: {**card, "file": f"{card['name']}.gguf"} for kind, card in models.items()}
    if given.routing:
        size, sha256 = given.routing.stat().st_size, file_sha256(given.routing)
        cards["routing"] = {"file": given.routing.name, "sha256": sha256, "size": size}
    return {
        "name": "AetherOS",
        "version": given.version,
        "build": key,
        "machine": given.machine,
        "kernel": given.kernel_version,
        "command_line": list(given.command_line),
        **cards,
        "profile": dict(given.profile),
        "parts": dict(given.record),
    }


def lay_agent(toolchain: Toolchain, given: ImageInput, tree: Path, manifest: Mapping[str, Any]) -> None:
    """The agent and what it needs: agentd, llama_cpp, launchers, models, manifest."""
    libraries = tree / "usr/lib/python3/dist-packages"
    shutil.copytree(given.python_tree, libraries, symlinks=True)
    for package in ("agentd", "hardware"):
        shutil.copytree(
            REPOSITORY / package, libraries / package, ignore=shutil.ignore_patterns(*NOT_IN_IMAGE)
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
    for name, file in given.weights.items():
        (models / name).hardlink_to(file)
    if given.routing:
        shutil.copyfile(given.routing, tree / "usr/lib/aetheros" / given.routing.name)
    (tree / "usr/lib/aetheros/manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    prefix_state.lay(toolchain, tree)


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
    if given.stock:
        shutil.copytree(TEMPLATES / "stock/files", tree, dirs_exist_ok=True, symlinks=True)
    if given.firmware:
        # The initramfs vanishes below the root; what a driver asks for later is looked up here.
        shutil.copytree(given.firmware.tree, tree, dirs_exist_ok=True, symlinks=True)
    open_to_all(tree)


def open_to_all(tree: Path) -> None:
    """Let every user of the machine read what is below a folder, whatever the builder's own umask was.

    agentd and its worker run as users of their own; a clone made under umask 077 would shut them out.
    """
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _lay_esp(toolchain: Toolchain, given: ImageInput, tree: Path) -> Path | None:
    """The boot loader and its entries, below /efi of the tree; the unified kernel image, if there is one."""
    esp.lay_loader(tree / "efi", bootloader.ensure() if given.stock else None, toolchain)
    if given.stock:
        title = f"AetherOS {given.version} ({given.machine}, Debian's kernel)"
        line = given.stock_command_line
        esp.lay_stock_entry(tree / "efi", version=given.version, title=title, command_line=line)
    if given.kernel is None:
        return None
    return esp.lay_unified(
        toolchain,
        tree,
        kernel=given.kernel,
        kernel_version=given.kernel_version,
        command_line=given.command_line,
        version=given.version,
        counted=bool(given.stock),
        microcode=given.firmware.microcode if given.firmware else None,
        initrd=given.firmware.initrd if given.firmware else None,
    )


def _copy_from_esp(
    toolchain: Toolchain, raw: Path, layout: Sequence[Mapping[str, Any]], folder: Path
) -> None:
    """Take Debian's kernel and its initramfs, which were made inside, out of the finished image."""
    offset = next(part["offset"] for part in layout if part["label"] == "aetheros-esp")
    names = [f"::/{esp.STOCK}/{name}" for name in ("vmlinuz", "initrd.img")]
    toolchain.output(["mcopy", "-i", f"{raw}@@{offset}", *names, folder], readable=[raw], writable=[folder])


def _run_mkosi(toolchain: Toolchain, given: ImageInput, work: Path, tree: Path) -> Path:
    models = sum(file.stat().st_size for file in given.weights.values())
    # erofs adds little to large files; slots in steps of 64 MiB keep the layout stable.
    models_slot = math.ceil(models * 1.02 / (64 * MIB)) * 64 * MIB
    sizes = {
        "esp_size": given.slots.esp,
        "system_size": given.slots.system,
        "system_uuid": root_uuid(given.machine),
        "models_size": models_slot,
        "models_type": MODELS_TYPE,
    }
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
    prepare = TEMPLATES / "stock/prepare.chroot" if given.stock else ""
    key = digest(toolchain.key, given.packages, prepare, apt.updated())
    incremental = cache_dir() / "mkosi" / key
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
        seed=uuid.uuid5(NAMESPACE, given.machine),
        tools=toolchain.root,
        cache=incremental,
        packages_cache=packages_cache,
        workspace=work / "workspace",
        sandbox=work / "sandbox",
        epoch=EPOCH,
        prepare=prepare,
        trees=[tree],
        packages=given.packages,
        remove=sorted(base_packages()["remove"]),
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
    """The partitions of a disk image in order: label, UUID, offset and size in bytes."""
    table = json.loads(toolchain.output(["sfdisk", "--json", raw], readable=[raw]))["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        {
            "label": part["name"],
            "uuid": part["uuid"].lower(),
            "offset": part["start"] * sector,
            "size": part["size"] * sector,
        }
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


def _check_system_size(raw: Path, layout: Sequence[Mapping[str, Any]], limit: int) -> None:
    system = next(part for part in layout if part["label"] == "aetheros-system")
    used = erofs_size(raw, int(system["offset"]))
    if used > limit:
        raise AetherError(
            f"the system partition holds {used / 1e6:.0f} MB, over the limit of {limit / 1e6:.0f} MB",
            hint="see image/packages.yaml for what is in it",
        )
