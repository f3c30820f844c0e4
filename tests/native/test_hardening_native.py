"""The real kernel-hardening-checker over real configurations: what the gate lets through and what not."""

import json
from pathlib import Path

import pytest

from builder import (
    apt,
    build,
    cache,
    cli,
    detected_profile,
    hardening,
    hardening_exceptions,
    kernel,
    kernel_source,
    network,
    profile,
    report_file,
)
from builder.errors import AetherError, Mistakes
from builder.hardening import Verdict
from builder.kernel_source import Source
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

REPORTS = Path(__file__).parent.parent / "data" / "hardware"


@pytest.fixture(scope="module")
def tree(tools: Toolchain) -> Source:
    return kernel_source.ensure(tools)


@pytest.fixture
def never_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gets as far as compiling fails."""

    def compiled(*_: object) -> None:
        raise AssertionError("it was about to be compiled")

    monkeypatch.setattr(kernel, "ensure", compiled)


def verdict(machine: profile.Profile, tools: Toolchain, tree: Source) -> Verdict:
    return build.hardness(
        machine, tools, kernel.configured(tools, tree, build.wanted_with_drivers(machine, tools, tree))
    )


def own(folder: Path, text: str, base: str = "qemu-x86_64") -> profile.Profile:
    """A machine that extends another by these lines of its `kernel:`."""
    path = folder / "mine.yaml"
    lines = "".join(f"  {line}\n" for line in text.splitlines())
    path.write_text(f"name: mine\nextends: {base}\nkernel:\n{lines}")
    return profile.load(str(path))


def refused(machine: profile.Profile, tools: Toolchain, tree: Source) -> list[str]:
    with pytest.raises(Mistakes, match="the hardening gate of mine") as caught:
        build.own_kernel(machine, tools, tree)
    return [f"{one.path.name}:{one.line}: {one.message}" for one in caught.value.mistakes]


def test_the_default_machine_passes_230_checks_and_every_other_has_its_reason(
    tools: Toolchain, tree: Source
) -> None:
    machine = profile.load("qemu-x86_64")
    found = verdict(machine, tools, tree)
    assert found.passed >= 230 == machine.kernel.hardening.least
    assert found.passed + found.failed >= 245
    assert (found.refused, found.stale, found.unknown) == ((), (), ())
    assert len(found.accepted) == found.failed + found.count("cmdline", passed=False)


@pytest.mark.parametrize(
    "name",
    [
        "framework-laptop-13-amd-ryzen-7040series",
        "lenovo-20l6s6ru00-thinkpad-t480",
        "dell-inc-poweredge-r760",
        "qemu-standard-pc-i440fx-piix-1996",
    ],
)
def test_a_real_machines_kernel_passes_the_gate(
    name: str, tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(
        detected_profile.make(name, report_file.load(str(REPORTS / f"{name}.json")), tools, tree).text
    )
    machine = profile.load(str(path))
    found = verdict(machine, tools, tree)
    assert found.passed >= 225 == machine.kernel.hardening.least
    assert found.holds, (found.refused, found.stale, found.unknown)


@pytest.mark.usefixtures("never_compiled")
def test_a_weaker_kernel_is_refused_before_compiling_with_the_line_that_weakens_it(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    machine = own(
        tmp_path,
        "config:\n  STACKPROTECTOR_STRONG: n\n  KEXEC: {value: y, reason: fast restarts}\n"
        "command_line: [mitigations=off, nokaslr]\n",
    )
    said = "\n".join(refused(machine, tools, tree))
    assert "mine.yaml:5: CONFIG_STACKPROTECTOR_STRONG fails: wanted `y`, found" in said
    assert 'mine.yaml:6: CONFIG_KEXEC fails: wanted `is not set`, found "y"; fast restarts' in said
    assert "mitigations on the kernel's command line fails" in said
    assert "nokaslr on the kernel's command line fails" in said


@pytest.mark.usefixtures("never_compiled")
def test_too_few_checks_are_told_where_the_limit_is_written(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    [said] = refused(own(tmp_path, "hardening: {least: 245}"), tools, tree)
    assert said.startswith("mine.yaml:4: ") and "have to" in said


@pytest.mark.usefixtures("never_compiled")
def test_an_exception_that_a_machine_does_not_need_is_told_with_its_line(
    tools: Toolchain, tree: Source, tmp_path: Path
) -> None:
    said = refused(own(tmp_path, "command_line: [init_on_free=1]"), tools, tree)
    line = next(
        number
        for number, text in enumerate(hardening_exceptions.EXCEPTIONS.read_text().splitlines(), 1)
        if text.strip() == 'init_on_free: "1"'
    )
    assert said == [
        f"hardening-exceptions.yaml:{line}: init_on_free (cmdline) passes on mine, its exception is stale"
    ]


def test_without_the_gate_the_kernel_is_compiled_and_that_is_said_and_recorded(
    tools: Toolchain,
    tree: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kernel, "ensure", lambda *_, **__: None)
    machine = own(tmp_path, "command_line: [nokaslr]")
    _, record = build.own_kernel(machine, tools, tree, gate=False)
    assert record == "skipped"
    assert "the hardening gate of mine is skipped" in capsys.readouterr().err
    _, record = build.own_kernel(profile.load("qemu-x86_64"), tools, tree)
    assert isinstance(record, dict)
    assert record.keys() == {"passed", "failed", "checker"}


def test_what_was_fetched_once_is_used_without_the_network(
    tools: Toolchain, tree: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardening.ensure(tools)
    monkeypatch.setattr(network, "_forbidden", True)
    assert verdict(profile.load("qemu-x86_64"), tools, tree).holds


@pytest.mark.usefixtures("never_compiled")
def test_without_a_checker_nothing_is_compiled(
    tools: Toolchain, tree: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = profile.load("qemu-x86_64")
    empty = apt.Archive("sid-that-was-never-read")
    monkeypatch.setattr(apt, "Archive", lambda *_: empty)
    monkeypatch.setattr(network, "_forbidden", True)
    with pytest.raises(AetherError, match="the hardening gate has no kernel-hardening-checker") as caught:
        build.own_kernel(machine, tools, tree)
    assert "--no-hardening-gate" in caught.value.hint
    assert not (cache.cache_dir() / "apt-sid-that-was-never-read").exists()


def test_the_command_shows_the_score_and_the_failing_checks_with_their_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["kernel", "qemu-x86_64", "--hardening"]) == 0
    said = capsys.readouterr().out
    assert "hardening checks pass, 230 have to" in said
    assert "CONFIG_FB (is not set), CONFIG_VT (is not set)" in said
    assert cli.main(["kernel", "qemu-x86_64", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["hardening"]
    assert facts["holds"] and facts["passed"] >= 230
    assert all(one["reason"] for one in facts["failing"])


def test_debians_own_kernel_has_a_score_and_no_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["kernel", "generic-x86_64", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["hardening"]
    assert not facts["gated"]
    assert 100 < facts["passed"] < 230
    assert not any(one["accepted"] for one in facts["failing"])
