"""The machine profile: the description of one machine that everything is built from.

A profile is a YAML file of machines/; this is its schema and how it is found and loaded, with every
mistake in it told at once. Not for: putting layers together (layers.py), or what the kernel or the
image make of a profile. The format is described for people in docs/profiles.md.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from builder import catalogue, cpu_names
from builder.errors import AetherError, Mistake, Mistakes
from builder.kconfig import FRAGMENTS, known_fragments
from builder.layers import stack
from builder.qemu_devices import DEVICES, MachineType, mistake
from builder.yamlfile import Document, Place, Written, check, nearest, wrong
from hardware.cpu_level import LEVELS

REPOSITORY = Path(__file__).parent.parent
NAME = r"[a-z0-9][a-z0-9._-]*"


@dataclass(frozen=True)
class Known:
    """What the names in a profile may be; reaches the schema's validators."""

    name: str  # the file's name without .yaml
    fragments: frozenset[str]
    models: Mapping[str, catalogue.Model]


def _known(info: ValidationInfo) -> Known:
    if not isinstance(info.context, Known):
        raise TypeError("a profile is validated by profile.load()")
    return info.context


def _is_size(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*[MG]", text):
        raise wrong(f"{text!r} is not a size", "a whole number with M or G: 512M, 2G")
    return text


Size = Annotated[str, AfterValidator(_is_size)]


def size_in_bytes(size: str) -> int:
    """Bytes of a profile's size: `512M`, `2G`."""
    return int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]


def _is_fragment(name: str, info: ValidationInfo) -> str:
    if name not in (known := _known(info).fragments):
        raise wrong(f"unknown fragment '{name}'", nearest(name, known))
    return name


def _is_symbol(symbol: str) -> str:
    if symbol.startswith("CONFIG_"):
        raise wrong(f"'{symbol}' begins with CONFIG_", f"write {symbol.removeprefix('CONFIG_')}")
    if not re.fullmatch(r"[A-Za-z0-9_]+", symbol):
        raise wrong(f"'{symbol}' is not a kernel symbol", "letters, digits and _, such as NVME_CORE")
    return symbol


def _is_device(name: str) -> str:
    if name not in DEVICES:
        raise wrong(f"unknown device '{name}'", nearest(name, DEVICES))
    return name


def _is_word(text: str) -> str:
    if not text or (re.search(r"\s", text) and '"' not in text):
        raise wrong(f"{text!r} is not one word", "write each word of the command line as its own entry")
    if not (text.isascii() and text.isprintable()):
        raise wrong(f"{text!r} holds more than letters", "the kernel's command line is printable ASCII")
    return text


def _is_driver(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise wrong(
            f"'{name}' is not the name of a driver", "the name of its module, such as nvme or e1000e"
        )
    return name


def _is_march(name: str) -> str:
    if name == "native":
        raise wrong(
            "'native' would be the computer that builds", "name the machine's level, such as x86-64-v3"
        )
    if name not in cpu_names.NAMES:
        otherwise = f"{', '.join(LEVELS)}, or a CPU as GCC names it: skylake, znver4"
        raise wrong(f"unknown CPU '{name}'", nearest(name, cpu_names.NAMES, otherwise))
    return name


def _is_firmware_name(name: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", name) or name.startswith("/") or ".." in name.split("/"):
        raise wrong(
            f"'{name}' is not the name of a firmware file",
            "a name below /usr/lib/firmware, or a pattern: iwlwifi-8265-*",
        )
    return name


March = Annotated[str, AfterValidator(_is_march)]
FirmwareName = Annotated[str, AfterValidator(_is_firmware_name)]


def _is_package(name: str) -> str:
    # Debian Policy 5.6.7
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
        raise wrong(f"'{name}' is not the name of a Debian package", "such as wpasupplicant")
    return name


Driver = Annotated[str, AfterValidator(_is_driver)]
Package = Annotated[str, AfterValidator(_is_package)]
Fragment = Annotated[str, AfterValidator(_is_fragment)]
Symbol = Annotated[str, AfterValidator(_is_symbol)]
Device = Annotated[str, AfterValidator(_is_device)]
Word = Annotated[str, AfterValidator(_is_word)]


class Cpu(Written):
    """The processor that the kernel, llama.cpp and everything else is compiled for."""

    march: March = Field(
        description="instructions that may be used: `x86-64`, `x86-64-v2`, `-v3`, `-v4`, or a CPU's GCC name"
    )
    variants: bool = Field(
        default=False,
        description="llama.cpp also for better CPUs than `march`; the best that runs is taken",
    )
    threads: Annotated[int, Field(ge=1, le=8192)] = Field(description="processors that Linux sees")


class KernelSource(Written):
    """Debian's package with the kernel's source."""

    suite: Literal["trixie"] = Field(default="trixie", description="Debian release")
    package: Literal["linux-source-6.12"] = Field(default="linux-source-6.12", description="source package")


class ConfigValue(Written):
    """The value of a kernel symbol, in the form that .config has it, and why it is so."""

    value: str | int = Field(description="`y`, `m`, `n`, a number, `0x` and hex digits, or `'\"text\"'`")
    reason: str = Field(default="", description="why it has this value; for the reader")

    @model_validator(mode="before")
    @classmethod
    def _from_plain(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {"value": value}

    @field_validator("value", mode="before")
    @classmethod
    def _is_config_form(cls, value: Any) -> Any:
        plain = isinstance(value, int) and not isinstance(value, bool)
        forms = r"[ymn]|-?[0-9]+|0x[0-9a-fA-F]+|\"[^\"\n]*\""
        if not plain and not (isinstance(value, str) and re.fullmatch(forms, value)):
            shown = str(value).lower() if isinstance(value, bool) else repr(value)
            words = {"yes": "y", "true": "y", "on": "y", "no": "n", "false": "n", "off": "n", "module": "m"}
            meant = words.get(str(value).lower(), str(value).lower())
            hint = (
                f"write {meant}" if meant in "ymn" and meant else "y, m, n, a number, or text as '\"text\"'"
            )
            raise wrong(f"{shown} is not a value of a kernel symbol", hint)
        return value


class Hardening(Written):
    """The gate over kernel-hardening-checker, before a kernel is compiled."""

    least: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=230, description="checks over the kernel's configuration that have to pass"
    )


class FirmwareFiles(Written):
    """Files that a kernel with the fragment `firmware` brings for its drivers and the processor."""

    microcode: tuple[FirmwareName, ...] = Field(
        default=(), description="the processor's microcode: `intel-ucode/06-8e-*`"
    )
    only: dict[Driver, tuple[FirmwareName, ...]] = Field(
        default={}, description="of what a driver may ask for, the files that fit: `i915: [i915/kbl_*]`"
    )


class Kernel(Written):
    """The kernel's source, configuration and command line."""

    source: KernelSource = Field(default=KernelSource(), description="where the source comes from")
    stock: bool = Field(
        default=False,
        description="Debian's own signed kernel with its modules, instead of one made for the machine",
    )
    fragments: tuple[Fragment, ...] = Field(
        default=(), description="files of kernel-config/, without .config, in layers"
    )
    config: dict[Symbol, ConfigValue] = Field(
        default={}, description="single symbols, the last word: `NVME_CORE: y` or `{value: y, reason: ...}`"
    )
    drivers: tuple[Driver, ...] = Field(
        default=(),
        description="drivers to build in, by the name of their module, with all that they need",
    )
    firmware: FirmwareFiles = Field(
        default=FirmwareFiles(), description="firmware and microcode; needs the fragment `firmware`"
    )
    command_line: tuple[Word, ...] = Field(default=(), description="words for the kernel's command line")
    hardening: Hardening = Field(default=Hardening(), description="the hardening gate")

    @model_validator(mode="after")
    def _is_made_or_stock(self) -> "Kernel":
        if self.stock and (self.fragments or self.config or self.drivers):
            raise wrong(
                "Debian's own kernel takes no fragments, config or drivers",
                "take them away, or kernel.stock",
            )
        if not self.stock and not self.fragments:
            raise wrong(
                "a kernel that is made here needs fragments", "such as base, systemd, security, agent"
            )
        if self.firmware != FirmwareFiles() and "firmware" not in self.fragments:
            raise wrong(
                "kernel.firmware is for a kernel with the fragment firmware",
                "add it to kernel.fragments, or take kernel.firmware away",
            )
        return self


class Data(Written):
    """The data partition: everything that changes."""

    encrypt: Literal["none"] = Field(default="none", description="how it is encrypted")


class Image(Written):
    """What `aether build` makes."""

    formats: tuple[Literal["raw", "qcow2", "uki"], ...] = Field(
        default=("raw",),
        description="disk image (`raw`, `qcow2`) or the kernel alone as an EFI program (`uki`)",
    )
    packages: tuple[Package, ...] = Field(
        default=(),
        description="Debian packages beside those of every image; nothing of them starts by itself",
    )
    data: Data = Field(default=Data(), description="the data partition")
    fallback: bool = Field(
        default=False,
        description="a second boot entry with Debian's own kernel, for when the machine's own fails",
    )


class ModelChoice(Written):
    """A model: its name in the catalogue, or where a GGUF file of one's own is."""

    name: str = Field(default="", description="name in models.yaml; `model: NAME` is the short form")
    url: catalogue.Address | None = Field(default=None, description="address of a GGUF file; needs `sha256`")
    file: str | None = Field(default=None, description="a GGUF file here; relative to the profile")
    sha256: catalogue.Sha256 | None = Field(default=None, description="sha256 of the file")
    size: Annotated[int, Field(ge=0)] = Field(default=0, description="bytes, for the progress shown")
    licence: str = Field(default="unknown", description="SPDX name of the model's licence")
    parameters: str = Field(default="", description="number of parameters, such as 135M")
    context: Annotated[int, Field(ge=1)] = Field(default=32768, description="tokens that it was trained for")
    dimension: Annotated[int, Field(ge=0)] = Field(
        default=0, description="numbers in a vector; of an embedder, and required there"
    )
    chat_template: catalogue.ChatTemplate = Field(
        default=catalogue.ChatTemplate(), description="`gguf` (the file's own) or `{text: ...}`"
    )

    tools: bool = Field(
        default=False, description="whether a chat model chooses tools better than the router alone"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self, info: ValidationInfo) -> "ModelChoice":
        if sum(map(bool, (self.name, self.url, self.file))) != 1:
            raise wrong("a model is one of name, url and file", "name one of them; see docs/profiles.md")
        if self.url and not self.sha256:
            raise wrong("a model from an address needs its sha256", "sha256sum prints it")
        if self.name and self.model_fields_set - {"name"}:
            raise wrong(f"everything about '{self.name}' is in the catalogue", "write the name alone")
        models = _known(info).models
        if self.name and self.name not in models:
            raise wrong(f"unknown model '{self.name}'", nearest(self.name, models))
        return self


class Agent(Written):
    """What the agent thinks with."""

    model: ModelChoice = Field(description="the model it talks with")
    embedder: ModelChoice | None = Field(
        default=None,
        description="the model it compares texts with, described as `agent.model` is",
    )
    context: Annotated[int, Field(ge=256, le=1 << 20)] = Field(
        default=2048, description="tokens that it has in view at once"
    )

    @field_validator("model", "embedder")
    @classmethod
    def _is_of_kind(cls, choice: ModelChoice | None, info: ValidationInfo) -> ModelChoice | None:
        if choice is not None and choice.name:
            kind = _known(info).models[choice.name].kind
            if kind != {"model": "chat", "embedder": "embedder"}[str(info.field_name)]:
                raise wrong(f"'{choice.name}' is for {kind}", f"it cannot be agent.{info.field_name}")
        elif choice is not None and (info.field_name == "embedder") != (choice.dimension > 0):
            raise wrong("an embedder has a dimension, and no other model has one", "such as dimension: 384")
        return choice

    @field_validator("context")
    @classmethod
    def _fits_the_model(cls, context: int, info: ValidationInfo) -> int:
        choice = info.data.get("model")
        if choice is not None:
            limit = _known(info).models[choice.name].context if choice.name else choice.context
            if context > limit:
                raise wrong(f"{context} is more than the model's {limit} tokens", f"at most {limit}")
        return context


class Qemu(Written):
    """How `aether run` shows this machine in QEMU."""

    machine: MachineType = Field(
        default="q35", description="QEMU's machine type: PCI Express (`q35`), or i440FX (`pc`)"
    )
    secure_boot: bool = Field(
        default=False, description="the firmware starts only what is signed with the keys that PCs have"
    )
    cpu: str = Field(default="max", description="QEMU's processor model")
    cpus: Annotated[int, Field(ge=1, le=255)] = Field(default=2, description="virtual processors")
    memory: Size = Field(default="2G", description="memory of the virtual machine")
    disk: Size = Field(default="8G", description="size of its disk; the data partition grows to it")
    devices: tuple[Device, ...] = Field(
        default=("disk", "net", "console", "rng", "balloon"),
        description="its devices: " + "; ".join(f"`{name}` {one.what}" for name, one in DEVICES.items()),
    )

    @field_validator("devices")
    @classmethod
    def _go_together(cls, devices: tuple[Device, ...]) -> tuple[Device, ...]:
        if found := mistake(devices):
            raise wrong(*found)
        return devices


@dataclass(frozen=True)
class Setting:
    """One entry of `kernel.config`, in the form of a .config file, and where it is written."""

    symbol: str  # without CONFIG_
    value: str  # "y", "m", "n", "128", "0x1f" or '"text"'
    reason: str
    path: Path
    line: int


class Profile(Written):
    """A machine, with all its layers put together."""

    name: str = Field(description="the file's name without .yaml")
    description: str = Field(default="", description="one line, shown by `aether list`")
    extends: str | None = Field(default=None, description="the profile that this one adds to")
    arch: Literal["x86_64"] = Field(description="architecture")
    cpu: Cpu = Field(description="the processor")
    memory: Size = Field(description="memory of the machine")
    firmware: Literal["uefi", "direct"] = Field(
        default="uefi", description="`uefi` boots the disk; `direct` lets QEMU load the kernel itself"
    )
    kernel: Kernel = Field(description="the kernel")
    image: Image = Field(default=Image(), description="what is built")
    agent: Agent = Field(description="the agent")
    qemu: Qemu = Field(default=Qemu(), description="how `aether run` shows it")

    _document: Document = PrivateAttr()

    @field_validator("name")
    @classmethod
    def _is_the_files(cls, name: str, info: ValidationInfo) -> str:
        if not re.fullmatch(NAME, name):
            raise wrong(f"{name!r} is not a name", "small letters, digits, dots, dashes: thinkpad-x1")
        if name != _known(info).name:
            raise wrong(
                f"'{name}' is not the file's name, '{_known(info).name}'",
                f"write name: {_known(info).name}, or rename the file",
            )
        return name

    @property
    def settings(self) -> list[Setting]:
        """The entries of `kernel.config` with their places."""
        found = []
        for symbol, entry in self.kernel.config.items():
            place = self.place("kernel", "config", symbol)
            found.append(Setting(symbol, str(entry.value), entry.reason, place.path, place.line))
        return found

    def place(self, *trail: str | int) -> Place:
        """The file and line of a value: `place("kernel", "fragments", 0)`."""
        return self._document.place(trail)

    def written_at(self, trail: tuple[str | int, ...]) -> Place | None:
        """Where a value is written; None for one that nobody wrote."""
        return self._document.places.get(trail)

    def short_form(self, trail: tuple[str | int, ...]) -> Any:
        """The word that stands for a mapping, as in `model: NAME`; None where there is none."""
        value = self._document.values
        for step in trail:
            if not isinstance(value, dict) or step not in value:
                return None
            value = value[step]
        return None if isinstance(value, dict | tuple) else value

    @property
    def chat_model(self) -> catalogue.Model:
        """The model that the agent talks with."""
        return self._model("model", self.agent.model, "chat")

    @property
    def embedder_model(self) -> catalogue.Model | None:
        """The model that the agent compares texts with, if it has one."""
        if self.agent.embedder is None:
            return None
        return self._model("embedder", self.agent.embedder, "embedder")

    def _model(self, key: str, choice: ModelChoice, kind: Literal["chat", "embedder"]) -> catalogue.Model:
        if choice.name:
            return catalogue.model(choice.name)
        if choice.file:
            # A relative path is meant from the file that it is written in.
            path = self.place("agent", key).path.parent / Path(choice.file).expanduser()
            source = catalogue.Source(file=str(path.absolute()))
        else:
            source = catalogue.Source(url=choice.url)
        stem = Path(choice.file or str(choice.url).partition("?")[0]).stem.lower()
        return catalogue.Model(
            name=re.sub(r"[^a-z0-9._-]", "-", stem).lstrip("._-") or "model",
            kind=kind,
            parameters=choice.parameters,
            licence=choice.licence,
            context=choice.context,
            dimension=choice.dimension,
            chat_template=choice.chat_template,
            tools=choice.tools,
            size=choice.size,
            sha256=choice.sha256,
            sources=(source,),
        )


def folders() -> list[Path]:
    """Where profiles are looked for: `$AETHER_MACHINES` if it is set, then the project's machines/."""
    own = os.environ.get("AETHER_MACHINES")
    return [*([Path(own).absolute()] if own else []), REPOSITORY / "machines"]


def names() -> dict[str, Path]:
    """Every machine by name, with its file; a machine of the person's own hides the project's."""
    found: dict[str, Path] = {}
    for folder in reversed(folders()):
        if not folder.is_dir():
            raise AetherError(
                f"the folder of machines {folder} does not exist", hint="AETHER_MACHINES names a folder"
            )
        found |= {file.stem: file for file in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def find(machine: str) -> Path:
    """The file of a machine, given by name or as the path of a .yaml file."""
    if machine.endswith((".yaml", ".yml")) or "/" in machine:
        path = Path(machine).absolute()
        if not path.is_file():
            raise AetherError(f"there is no profile {machine}", hint="`aether list` shows the machines")
        if path.suffix != ".yaml":
            raise AetherError(f"{machine} is not a .yaml file", hint="a profile is named NAME.yaml")
        return path
    known = names()
    if machine not in known:
        raise AetherError(
            f"unknown machine '{machine}'",
            hint=nearest(machine, known) or "`aether list` shows the machines",
        )
    return known[machine]


def load(machine: str) -> Profile:
    """The profile of a machine, given by name or as a path, with all its layers.

    Raises Mistakes with every mistake in all its files, AetherError for a machine that is not there.
    """
    path = find(machine)
    document, mistakes, whole = stack(path, folders())
    known = Known(path.stem, frozenset(known_fragments(FRAGMENTS)), catalogue.known())
    profile, more = check(Profile, document, context=known, incomplete=not whole)
    mistakes = sorted([*mistakes, *more], key=lambda m: (m.path != path, m.path, m.line))
    if mistakes or profile is None:
        raise Mistakes(f"the profile {_shown(path)} cannot be used", [_near(m) for m in mistakes])
    profile._document = document
    return profile


def _shown(path: Path) -> Path:
    """A path as short as the person can use it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _near(mistake: Mistake) -> Mistake:
    return Mistake(_shown(mistake.path), mistake.line, mistake.message, mistake.hint)
