"""The image's units, read by the systemd of the same release."""

import re
import subprocess
from pathlib import Path

import pytest

from builder.image import TEMPLATES
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

FOLDERS = ("files/usr/lib/systemd/system", "stock/files/usr/lib/systemd/system")
UNITS = [
    unit
    for folder in FOLDERS
    for unit in sorted((TEMPLATES / folder).iterdir())
    if unit.is_file() and not unit.is_symlink()
]
# What the image has and the place where the unit is read has not.
ELSEWHERE = (
    r"Command .* is not executable: No such file or directory|Unit .* not found|service .* not loaded"
)


def said(tools: Toolchain, unit: Path) -> list[str]:
    argv = tools.argv(["systemd-analyze", "verify", "--man=no", unit], readable=[unit])
    lines = subprocess.run(argv, capture_output=True, text=True, check=False).stderr.splitlines()
    return [line for line in lines if not re.search(ELSEWHERE, line)]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_every_line_of_the_unit(tools: Toolchain, unit: Path) -> None:
    assert said(tools, unit) == []


def test_a_line_that_systemd_does_not_understand_is_told(tools: Toolchain, tmp_path: Path) -> None:
    unit = tmp_path / "broken.service"
    unit.write_text("[Service]\nExecStart=/bin/sh -c 'one\\'s\n")
    assert "Unbalanced quoting" in " ".join(said(tools, unit))
