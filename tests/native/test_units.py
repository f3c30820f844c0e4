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


# 0 is the best, 10 the worst (systemd-analyze security); a unit of ours that gets worse has a reason.
@pytest.mark.parametrize(
    ("unit", "limit"),
    [
        ("agentd.service", 1.5),
        ("agentd-model.service", 0.6),
        ("agentd-exec.service", 3.0),
        ("agentd-reminder@.service", 1.5),
    ],
)
def test_the_agents_services_stay_shut_in(tools: Toolchain, unit: str, limit: float) -> None:
    place = TEMPLATES / FOLDERS[0] / unit
    argv = tools.argv(["systemd-analyze", "security", "--offline=yes", place], readable=[place])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= limit


def test_the_workers_one_writable_folder_is_made_before_it_starts() -> None:
    unit = (TEMPLATES / FOLDERS[0] / "agentd-model.service").read_text()
    [(source, inside)] = re.findall(r"^BindPaths=-(/\S+):(/\S+)$", unit, re.MULTILINE)
    assert f"NoExecPaths=-{inside}" in unit
    # What ProtectSystem=strict leaves open for everybody.
    assert "ReadOnlyPaths=/tmp /var/tmp -/run/lock -/dev/shm" in unit
    assert not re.search(r"^(ReadWritePaths|\w+Directory)=(?!/$)", unit, re.MULTILINE)
    assert re.search(r"^After=.*systemd-tmpfiles-setup\.service", unit, re.MULTILINE)
    rules = TEMPLATES / "files/usr/lib/tmpfiles.d/agentd.conf"
    made = {line.split()[1]: line.split()[2:] for line in rules.read_text().splitlines() if line[0] != "#"}
    assert made[source] == ["2770", "agentd", "agentd-model"]
