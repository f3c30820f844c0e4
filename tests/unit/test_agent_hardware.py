"""`agent hardware`: the report out of a booted image, without agentd and without the builder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agentd import cli
from builder import report_file

REPOSITORY = Path(__file__).parent.parent.parent


def test_it_writes_the_report_that_the_builder_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["hardware", "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["schema"] == "io.aetheros.hardware"
    file = tmp_path / "report.json"
    file.write_text(text)
    assert report_file.load(str(file)).source == "probe"


def test_it_shows_a_person_the_processor_and_needs_no_agentd(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--socket", "/nonexistent", "hardware"]) == 0
    assert "processor" in capsys.readouterr().out


def test_it_pulls_in_nothing_of_the_builder_nor_what_the_builder_needs() -> None:
    code = (
        "import sys; sys.argv = ['agent', 'hardware', '--json']\n"
        "from agentd.cli import main; main()\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(found & {'builder', 'pydantic', 'ruamel', 'requests'}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_the_report_and_the_probe_need_the_standard_library_alone() -> None:
    code = "import sys, hardware.probe, hardware.report_json, hardware.report_text; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(REPOSITORY)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - sys.stdlib_module_names - {"__main__", "hardware"} == set()


def test_other_commands_do_not_wait_for_the_probe() -> None:
    code = "import sys, agentd.cli; sys.exit(any(name.startswith('hardware') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
