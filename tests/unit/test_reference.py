"""docs/profiles.md says what the code does."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from builder import profile, reference


def test_the_tables_of_the_page_are_those_of_the_schemas() -> None:
    page = reference.PAGE.read_text()
    assert page == reference.current(page), "run: python -m builder.reference"


def test_the_tables_name_every_key() -> None:
    table = reference.table(profile.Profile)
    for key in (
        "name",
        "cpu.march",
        "kernel.config.NAME.value",
        "agent.model.chat_template.text",
        "qemu.disk",
    ):
        assert f"| `{key}` |" in table
    assert "| `memory` | text | **required** |" in table


def test_the_example_of_the_page_is_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    [example] = re.findall(r"```yaml\n# machines/lab\.yaml\n(.*?)```", reference.PAGE.read_text(), re.DOTALL)
    (tmp_path / "lab.yaml").write_text(example)
    lab = profile.load("lab")
    assert (lab.memory, lab.chat_model.name, lab.qemu.cpus) == ("4G", "qwen2.5-coder-0.5b", 4)


def test_the_other_examples_of_the_page_fit_into_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHER_MACHINES", str(tmp_path))
    examples = re.findall(r"```yaml\n((?!# machines).*?)```", reference.PAGE.read_text(), re.DOTALL)
    assert len(examples) >= 4
    for number, example in enumerate(examples):
        assert YAML(typ="safe").load(example)
        (tmp_path / f"m{number}.yaml").write_text(f"name: m{number}\nextends: qemu-x86_64\n{example}")
        profile.load(f"m{number}")
