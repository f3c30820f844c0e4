"""The machine profile: layers, every mistake with its line and hint, the project's own machines."""

import hashlib
from pathlib import Path

import pytest

from builder import catalogue, profile, profile_text
from builder.errors import AetherError, Mistakes
from builder.layers import stack
from builder.yamlfile import Place

GOOD = """\
name: {name}
arch: x86_64
cpu: {{march: x86-64-v3, threads: 2}}
memory: 2G
kernel:
  fragments: [base, systemd]
  command_line: [quiet]
agent: {{model: smollm2-135m}}
"""


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the person's own machines, which is also where they stand."""
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def mistakes(machine: str) -> list[str]:
    with pytest.raises(Mistakes) as caught:
        profile.load(machine)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_every_machine_of_the_project_loads() -> None:
    for name in (path.stem for path in (profile.REPOSITORY / "machines").glob("*.yaml")):
        assert profile.load(name).name == name


def test_the_default_machine_names_its_model_devices_and_layers() -> None:
    machine = profile.load("qemu-x86_64")
    assert machine.chat_model.name == "smollm2-135m"
    assert machine.cpu.march == "x86-64-v3"
    assert set(machine.qemu.devices) >= {"disk", "net", "console", "rng", "balloon", "vsock"}
    assert list(machine.kernel.fragments)[:1] == ["base"]
    assert machine.firmware == "uefi"


def test_debians_own_kernel_takes_nothing_of_ours_and_ours_needs_fragments(machines: Path) -> None:
    text = GOOD.format(name="mine").replace("fragments: [base, systemd]", "stock: true\n  drivers: [nvme]")
    write(machines, "mine", text)
    [told] = mistakes("mine")
    assert "Debian's own kernel takes no fragments, config or drivers" in told
    write(machines, "mine", text.replace("stock: true", "fragments: []"))
    assert "a kernel that is made here needs fragments" in mistakes("mine")[0]
    write(machines, "mine", text.replace("  drivers: [nvme]\n", ""))
    assert profile.load("mine").kernel.stock


def test_a_size_is_read_in_bytes() -> None:
    assert profile.size_in_bytes("512M") == 512 * 1024 * 1024
    assert profile.size_in_bytes("2G") == 2 * 1024**3


def test_an_unknown_machine_is_answered_with_the_nearest_name(machines: Path) -> None:
    with pytest.raises(AetherError) as caught:
        profile.load("qemu-x86_46")
    assert caught.value.lines() == [
        "error: unknown machine 'qemu-x86_46'",
        "hint: did you mean 'qemu-x86_64'?",
    ]
    assert caught.value.exit_status == 2


def test_a_machine_far_from_every_name_is_answered_with_all_of_them(machines: Path) -> None:
    write(machines, "mine", GOOD.format(name="mine"))
    with pytest.raises(AetherError) as caught:
        profile.load("zzz")
    assert caught.value.hint == "known: generic-x86_64, mine, pc, qemu-x86_64"


def test_a_profile_is_found_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, "here", GOOD.format(name="here"))
    assert profile.load(str(path)).name == "here"


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AetherError, match=r"there is no profile .*gone\.yaml"):
        profile.load(str(tmp_path / "gone.yaml"))


def test_a_folder_of_machines_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path / "gone"))
    with pytest.raises(AetherError) as caught:
        profile.names()
    assert caught.value.message == f"the folder of machines {tmp_path}/gone does not exist"


def test_layers_merge_mappings_append_lists_and_replace_the_rest(machines: Path) -> None:
    write(machines, "low", GOOD.format(name="low") + "qemu: {cpus: 4, memory: 1G}\n")
    write(
        machines,
        "high",
        """\
name: high
extends: low
memory: 8G
kernel:
  fragments: [virtio, base]
  config: {NVME_CORE: {value: y, reason: the disk}}
qemu: {memory: 3G}
""",
    )
    machine = profile.load("high")
    assert machine.memory == "8G"
    assert machine.kernel.fragments == ("base", "systemd", "virtio")  # what is there already is not repeated
    assert (machine.qemu.cpus, machine.qemu.memory) == (4, "3G")
    assert machine.place("kernel", "fragments", 2) == Place(machines / "high.yaml", 5)
    assert machine.place("kernel", "fragments", 0) == Place(machines / "low.yaml", 6)
    assert machine.place("qemu", "cpus").path == machines / "low.yaml"


def test_three_layers_have_their_order(machines: Path) -> None:
    write(machines, "one", GOOD.format(name="one"))
    write(machines, "two", "name: two\nextends: one\nmemory: 3G\nkernel: {command_line: [two]}\n")
    write(machines, "three", "name: three\nextends: two\nkernel: {command_line: [three]}\n")
    machine = profile.load("three")
    assert (machine.memory, machine.kernel.command_line) == ("3G", ("quiet", "two", "three"))


def test_a_model_is_replaced_as_a_whole_by_a_higher_layer(machines: Path) -> None:
    write(machines, "low", GOOD.format(name="low"))
    model_text = f"{{url: 'https://example.org/a.gguf', sha256: {hashlib.sha256(b'').hexdigest()}}}"
    write(machines, "high", f"name: high\nextends: low\nagent:\n  model: {model_text}\n")
    write(machines, "top", "name: top\nextends: high\nagent: {model: {file: weights/Own.gguf}}\n")
    assert profile.load("high").chat_model.sources[0].url == "https://example.org/a.gguf"
    model = profile.load("top").chat_model
    assert model.sources[0].file == str(machines / "weights/Own.gguf")
    assert (model.name, model.sha256, model.chat_template.origin) == ("own", None, "gguf")


def test_symbols_of_the_profile_keep_their_form_reason_and_place(machines: Path) -> None:
    text = GOOD.format(name="sym").replace(
        "  command_line: [quiet]\n",
        """\
  config:
    NVME_CORE: y
    NR_CPUS: 64
    PHYSICAL_START: 0x1000000
    BTRFS_FS: {value: n, reason: no such disk}
    DEFAULT_HOSTNAME: '"aether"'
""",
    )
    path = write(machines, "sym", text)
    found = [(s.symbol, s.value, s.reason, s.line) for s in profile.load("sym").settings]
    assert found == [
        ("NVME_CORE", "y", "", 8),
        ("NR_CPUS", "64", "", 9),
        ("PHYSICAL_START", "0x1000000", "", 10),
        ("BTRFS_FS", "n", "no such disk", 11),
        ("DEFAULT_HOSTNAME", '"aether"', "", 12),
    ]
    assert {s.path for s in profile.load("sym").settings} == {path}


@pytest.mark.parametrize(
    ("march", "mistake"),
    [
        ("znver44", "unknown CPU 'znver44' (hint: did you mean 'znver4'?)"),
        ("X86-64-V3", "unknown CPU 'X86-64-V3' (hint: did you mean 'x86-64-v3'?)"),
        (
            "m68k",
            "unknown CPU 'm68k' (hint: x86-64, x86-64-v2, x86-64-v3, x86-64-v4, or a CPU as GCC names it:"
            " skylake, znver4)",
        ),
        (
            "native",
            "'native' would be the computer that builds (hint: name the machine's level, such as x86-64-v3)",
        ),
    ],
)
def test_a_cpu_that_gcc_does_not_know_is_refused_with_the_nearest(
    machines: Path, march: str, mistake: str
) -> None:
    write(machines, "odd", f"name: odd\nextends: qemu-x86_64\ncpu: {{march: {march}}}\n")
    assert mistakes("odd") == [f"odd.yaml:3: cpu.march: {mistake}"]


def test_all_mistakes_of_all_layers_are_told_at_once_with_line_and_hint(machines: Path) -> None:
    write(machines, "base-box", "name: base-box\narch: arm\ncpu: {march: x86-64-v3}\nmemory: 2G\n")
    write(
        machines,
        "bad",
        """\
name: badd
extends: base-box
cpu: {threads: "8", frob: 1}
memory: 2 G
kernel:
  fragmnets: [base]
  fragments: [base, vritio]
  config:
    NVME_CORE: yes
    CONFIG_FOO: y
    BAR: true
    BAZ: {value: y, reasn: x}
  command_line: ["a b"]
image: raw
agent: {model: smollm2-153m, context: 5}
qemu: {devices: [disk, baloon]}
""",
    )
    assert mistakes("bad") == [
        "bad.yaml:1: name: 'badd' is not the file's name, 'bad' (hint: write name: bad, or rename the file)",
        "bad.yaml:3: cpu.threads: expected a whole number, found '8' (hint: write it without quotes)",
        "bad.yaml:3: unknown key 'frob' in cpu (hint: known: march, threads, variants)",
        "bad.yaml:4: memory: '2 G' is not a size (hint: a whole number with M or G: 512M, 2G)",
        "bad.yaml:6: unknown key 'fragmnets' in kernel (hint: did you mean 'fragments'?)",
        "bad.yaml:7: kernel.fragments: unknown fragment 'vritio' (hint: did you mean 'virtio'?)",
        "bad.yaml:9: kernel.config.NVME_CORE: 'yes' is not a value of a kernel symbol (hint: write y)",
        "bad.yaml:10: kernel.config.CONFIG_FOO: 'CONFIG_FOO' begins with CONFIG_ (hint: write FOO)",
        "bad.yaml:11: kernel.config.BAR: true is not a value of a kernel symbol (hint: write y)",
        "bad.yaml:12: unknown key 'reasn' in kernel.config.BAZ (hint: did you mean 'reason'?)",
        "bad.yaml:13: kernel.command_line: 'a b' is not one word"
        " (hint: write each word of the command line as its own entry)",
        "bad.yaml:14: image: expected `key: value` lines, found 'raw' (hint: see docs/profiles.md)",
        "bad.yaml:15: agent.model: unknown model 'smollm2-153m' (hint: did you mean 'smollm2-135m'?)",
        "bad.yaml:15: agent.context: 5 is too small (hint: at least 256)",
        "bad.yaml:16: qemu.devices: unknown device 'baloon' (hint: did you mean 'balloon'?)",
        "base-box.yaml:2: arch: 'arm' is not one of 'x86_64' (hint: see docs/profiles.md)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "m.yaml:1: the file is empty"),
        ("- a\n", "m.yaml:1: expected `key: value` lines (hint: see docs/profiles.md)"),
        (
            "name: m\nkernel: [a\nmemory: 2G\n",
            "m.yaml:3: not YAML: expected ',' or ']', but got ':'"
            " (hint: check the indentation, quotes and brackets of this line and the one above)",
        ),
        (
            "name: m\ncpu:\n\tmarch: x\n",
            "m.yaml:3: not YAML: found character '\\t' that cannot start any token"
            " (hint: indent with spaces, not tabs)",
        ),
        (
            "name: m\nmemory: 2G\nmemory: 3G\n",
            'm.yaml:3: not YAML: found duplicate key "memory" with value "3G" (original value: "2G")'
            " (hint: write the key once)",
        ),
        (
            "name: m\ndescription: a: b\n",
            "m.yaml:2: not YAML: mapping values are not allowed here"
            " (hint: a value that holds `: ` needs quotes)",
        ),
    ],
)
def test_a_file_that_is_not_yaml_is_told_with_its_line(machines: Path, text: str, expected: str) -> None:
    write(machines, "m", text)
    assert mistakes("m") == [expected]


def test_a_file_that_is_not_text_is_told(machines: Path) -> None:
    (machines / "m.yaml").write_bytes(b"name: \xff\xfe\n")
    [told] = mistakes("m")
    assert told.startswith("m.yaml:1: not YAML:")


def test_missing_keys_are_told_where_they_belong(machines: Path) -> None:
    write(machines, "m", "name: m\narch: x86_64\nmemory: 2G\ncpu:\n  threads: 2\nagent: {context: 512}\n")
    assert mistakes("m") == [
        "m.yaml:1: key 'kernel' is missing (hint: see docs/profiles.md)",
        "m.yaml:4: key 'march' is missing in cpu (hint: see docs/profiles.md)",
        "m.yaml:6: key 'model' is missing in agent (hint: see docs/profiles.md)",
    ]


def test_a_loop_of_layers_is_told_as_the_ring_that_it_is(machines: Path) -> None:
    write(machines, "a", "name: a\nextends: b\n")
    write(machines, "b", "extends: c\nname: b\n")
    write(machines, "c", "name: c\n\nextends: b\n")
    assert mistakes("a") == [
        "c.yaml:3: extends goes round in a loop: b -> c -> b (hint: take one of the extends away)"
    ]


def test_what_is_extended_is_a_name_so_that_every_loop_is_seen(machines: Path) -> None:
    write(machines, "a", f"name: a\nextends: ../{machines.name}/a\n")
    assert mistakes("a") == [
        f"a.yaml:2: extends '../{machines.name}/a', which is a path"
        " (hint: the name of a machine, without folder and .yaml)"
    ]


def test_a_file_of_nothing_but_brackets_is_a_mistake(machines: Path) -> None:
    write(machines, "deep", "[" * 500)
    assert mistakes("deep") == ["deep.yaml:1: not YAML: brackets too deep in each other"]


@pytest.mark.parametrize("word", [r"a\0b", r"a=\"b\nc\"", "a=\u00e4"])
def test_a_word_of_the_command_line_is_printable_ascii(machines: Path, word: str) -> None:
    write(machines, "m", f'name: m\nextends: qemu-x86_64\nkernel: {{command_line: ["{word}"]}}\n')
    [told] = mistakes("m")
    assert told.endswith("(hint: the kernel's command line is printable ASCII)")


def test_a_profile_that_extends_itself_is_a_loop(machines: Path) -> None:
    write(machines, "a", "name: a\nextends: a\n")
    assert mistakes("a") == [
        "a.yaml:2: extends goes round in a loop: a -> a (hint: take one of the extends away)"
    ]


def test_a_base_that_is_not_there_is_told_without_the_keys_it_would_have_had(machines: Path) -> None:
    write(machines, "m", "name: m\nextends: qemu-x8664\nmemroy: 2G\n")
    assert mistakes("m") == [
        "m.yaml:2: extends 'qemu-x8664', which is not a machine (hint: did you mean 'qemu-x86_64'?)",
        "m.yaml:3: unknown key 'memroy' (hint: did you mean 'memory'?)",
    ]


def test_a_broken_base_is_told_with_its_own_line(machines: Path) -> None:
    write(machines, "low", "name: low\nmemory: [2G\n")
    write(machines, "m", "name: m\nextends: low\n")
    [told] = mistakes("m")
    assert told.startswith("low.yaml:3: not YAML:")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{url: 'https://example.org/a.gguf'}", "a model from an address needs its sha256"),
        ("{url: 'ftp://example.org/a', sha256: 0}", "'ftp://example.org/a' is not an address"),
        ("{file: a.gguf, url: 'https://example.org/a'}", "a model is one of name, url and file"),
        ("{file: a.gguf, sha256: 12ab}", "'12ab' is not a sha256"),
        ("{name: smollm2-135m, licence: MIT}", "everything about 'smollm2-135m' is in the catalogue"),
        ("[a]", "expected `key: value` lines"),
    ],
)
def test_a_wrong_model_is_told(machines: Path, model: str, expected: str) -> None:
    write(machines, "m", GOOD.format(name="m").replace("model: smollm2-135m", f"model: {model}"))
    assert any(expected in told and told.startswith("m.yaml:8: agent.model") for told in mistakes("m"))


def test_a_context_beyond_the_models_is_told(machines: Path) -> None:
    write(machines, "m", GOOD.format(name="m").replace("135m}", "135m, context: 9000}"))
    assert mistakes("m") == [
        "m.yaml:8: agent.context: 9000 is more than the model's 8192 tokens (hint: at most 8192)"
    ]


def test_drivers_are_named_by_their_modules_with_the_place_of_each(machines: Path) -> None:
    text = GOOD.format(name="m").replace("  command_line", "  drivers: [nvme, 8250_pci]\n  command_line")
    write(machines, "m", text)
    machine = profile.load("m")
    assert machine.kernel.drivers == ("nvme", "8250_pci")
    assert machine.place("kernel", "drivers", 0).line == 7


def test_what_cannot_be_a_modules_name_is_told(machines: Path) -> None:
    text = GOOD.format(name="m").replace("  command_line", "  drivers: [../nvme]\n  command_line")
    write(machines, "m", text)
    assert mistakes("m") == [
        "m.yaml:7: kernel.drivers: '../nvme' is not the name of a driver"
        " (hint: the name of its module, such as nvme or e1000e)"
    ]


def test_a_chat_model_is_no_embedder(machines: Path) -> None:
    write(machines, "m", GOOD.format(name="m").replace("135m}", "135m, embedder: qwen2.5-coder-0.5b}"))
    assert mistakes("m") == [
        "m.yaml:8: agent.embedder: 'qwen2.5-coder-0.5b' is for chat (hint: it cannot be agent.embedder)"
    ]


def test_an_embedder_of_ones_own_needs_its_dimension_and_a_machine_may_have_none(machines: Path) -> None:
    text = GOOD.format(name="m")
    write(machines, "m", text.replace("135m}", "135m, embedder: {file: own.gguf}}"))
    assert mistakes("m") == [
        "m.yaml:8: agent.embedder: an embedder has a dimension, and no other model has one"
        " (hint: such as dimension: 384)"
    ]
    write(machines, "m", text.replace("135m}", "135m, embedder: {file: own.gguf, dimension: 5}}"))
    own = profile.load("m").embedder_model
    assert own is not None and (own.name, own.kind, own.dimension) == ("own", "embedder", 5)
    write(machines, "m", "name: m\nextends: qemu-x86_64\nagent: {embedder: null}\n")
    assert profile.load("m").embedder_model is None


def test_the_profile_as_text_says_where_every_value_is_written(machines: Path) -> None:
    write(machines, "low", GOOD.format(name="low"))
    write(machines, "high", "name: high\nextends: low\nmemory: 4G\n")
    shown = [" ".join(line.split()) for line in profile_text.lines(profile.load("high"))]
    assert 'memory: "4G" # high.yaml:3' in shown
    assert "model: smollm2-135m # low.yaml:8" in shown
    assert "- systemd # low.yaml:6" in shown
    assert "firmware: uefi # default" in shown


def test_the_profile_as_text_is_a_profile_again(machines: Path) -> None:
    original = profile.load("qemu-x86_64")
    write(machines, "qemu-x86_64", "\n".join(profile_text.lines(original)) + "\n")
    again = profile.load("qemu-x86_64")
    assert again.place("name").path == machines / "qemu-x86_64.yaml"
    assert again.model_dump() == original.model_dump()


def test_the_layers_of_a_file_are_read_beside_it_first(machines: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(machines, "low", "name: low\nmemory: 1G\n")
    write(other, "low", "name: low\nmemory: 2G\n")
    document, problems, whole = stack(write(other, "m", "name: m\nextends: low\n"), [machines])
    assert (document.values["memory"], problems, whole) == ("2G", [], True)


def test_the_catalogue_of_the_project_is_sound() -> None:
    models = catalogue.load()
    assert models["smollm2-135m"].size == 98_362_432
    assert models["qwen2.5-coder-1.5b"].sha256 == (
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
    )
    for model in models.values():
        assert model.sha256 and model.size and model.licence, model.name


def test_mistakes_in_a_catalogue_are_told_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(
        """\
models:
  - name: one
    kind: chatt
    licence: MIT
    context: 10
    sha256: abc
    sources:
      - url: https://example.org/a
        file: b
      - pypi: [{package: p, version: 1.0, member: m, sha256: 5}]
    chat_template: jinja
"""
    )
    with pytest.raises(Mistakes) as caught:
        catalogue.load(path)
    told = [f"{m.line}: {m.message}" for m in caught.value.mistakes]
    assert told == [
        "3: models.kind: 'chatt' is not one of 'chat' or 'embedder'",
        "6: models.sha256: 'abc' is not a sha256",
        "8: models.sources: a source is one of url, pypi, safetensors and file",
        "10: models.sources.pypi.version: expected text, found 1.0",
        "10: models.sources.pypi.sha256: expected text, found 5",
        "11: models.chat_template: 'jinja' is not 'gguf'",
    ]


def test_a_model_that_is_twice_in_a_catalogue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    entry = f"""\
  - name: one
    kind: chat
    licence: MIT
    context: 10
    sha256: {"a" * 64}
    sources: [{{file: a}}]
"""
    path.write_text("models:\n" + entry + entry)
    with pytest.raises(Mistakes) as caught:
        catalogue.load(path)
    assert [str(m) for m in caught.value.mistakes] == [f"{path}:8: model 'one' is there twice"]
