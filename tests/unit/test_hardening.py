"""The hardening gate: what the checker says, what is accepted with a reason, and what stops a build.

tests/data/hardening/checks.json is what the real checker said of the default machine, without most of the
checks that pass.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from builder import hardening, hardening_exceptions, hardening_text, network
from builder.errors import AetherError, Mistakes
from builder.hardening import Check, Verdict
from builder.kconfig import Configuration, Wanted
from builder.toolchain import Toolchain
from builder.yamlfile import Place

RECORDED = Path(__file__).parent.parent / "data" / "hardening" / "checks.json"
LIMIT = Place(Path("machines/m.yaml"), 12)
FIRST = """\
exceptions:
  - kconfig:
      FB: is not set
      VT: is not set
    reason: the console
  - cmdline: {spectre_v2: is not off}
    reason: on by itself
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "exceptions.yaml"
    path.write_text(text)
    return path


def check(name: str, *, wants: str = "is not set", found: str = "", cmdline: bool = False) -> Check:
    return Check(
        "cmdline" if cmdline else "kconfig", name, wants, not found, f"FAIL: {found}" if found else "OK"
    )


FB, VT = check("FB", found='"y"'), check("VT", found='"y"')
SPECTRE = check("spectre_v2", wants="is not off", found="is off, not found", cmdline=True)


def judge(
    path: Path,
    *checks: Check,
    values: Mapping[str, str] | None = None,
    least: int = 0,
    machine: str = "m",
    drivers: Sequence[str] = (),
) -> Verdict:
    entries = hardening_exceptions.load(path)
    return hardening.judge(machine, "1.0-1", checks, entries, values or {}, least, drivers)


def configuration(folder: Path, *symbols: Mapping[str, object]) -> Configuration:
    every: dict[str, object] = {"type": "bool", "file": "Kconfig", "line": 1, "prompts": [], "depends": []}
    every |= {"defaults": [], "selected_by": [], "implied_by": []}
    text = "".join(json.dumps(every | dict(one)) + "\n" for one in symbols)
    (folder / "symbols.jsonl").write_text(text)
    return Configuration("k", folder / "config")


def told(verdict: Verdict, path: Path, *wanted: Wanted, known: Configuration) -> dict[str, tuple[str, str]]:
    with pytest.raises(Mistakes) as caught:
        hardening.refuse(verdict, wanted, known, LIMIT, path)
    assert "--no-hardening-gate" in caught.value.hint
    return {f"{one.path.name}:{one.line}": (one.message, one.hint) for one in caught.value.mistakes}


def test_what_the_real_checker_says_is_read() -> None:
    checks = hardening.parse(RECORDED.read_text())
    assert Check("kconfig", "FB", "is not set", False, 'FAIL: "y"') in checks
    assert Check("cmdline", "nosmt", "is present", False, "FAIL: is not present") in checks
    assert [one.wants for one in checks if one.name == "LSM"].count("*selinux*") == 1
    assert {one.passed for one in checks} == {True, False}


def test_the_projects_exceptions_accept_all_that_the_checker_said_of_the_default_machine() -> None:
    checks = hardening.parse(RECORDED.read_text())
    entries = hardening_exceptions.load()
    found = hardening.judge("qemu-x86_64", "1", checks, entries, {}, 0)
    assert (found.refused, found.stale, found.unknown) == ((), (), ())
    assert len(found.accepted) == sum(not one.passed for one in checks) > 40


@pytest.mark.parametrize(
    "said", ["", "[+] Config check is finished", "{}", "[]", '[{"type": "kconfig"}]', '["FB"]', "[null]"]
)
def test_a_checker_that_says_something_else_is_no_pass(said: str) -> None:
    with pytest.raises(AetherError, match="kernel-hardening-checker"):
        hardening.parse(said)


def test_a_failing_check_needs_an_exception_that_wants_the_same(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    other = check("FB", wants="m", found='"y"')
    found = judge(path, FB, VT, SPECTRE, other, check("KEXEC", found='"y"'), check("BUG", wants="y"))
    assert set(found.accepted) == {FB, VT, SPECTRE}
    assert [(one.name, one.wants) for one in found.refused] == [("FB", "m"), ("KEXEC", "is not set")]
    assert (found.passed, found.failed, found.holds) == (1, 4, False)


def test_a_word_that_weakens_the_machine_is_not_accepted_as_a_missing_one(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    weak = check("spectre_v2", wants="is not off", found="is off", cmdline=True)
    assert judge(path, FB, VT, SPECTRE).holds
    assert judge(path, FB, VT, weak).refused == (weak,)


def test_too_few_passing_checks_stop_a_machine_whose_every_failing_one_is_accepted(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    checks = (FB, VT, SPECTRE, check("BUG", wants="y"), check("nokaslr", cmdline=True))
    assert judge(path, *checks, least=1).holds
    assert not judge(path, *checks, least=2).holds, "the command line does not count"


def test_an_exception_whose_check_passes_is_stale(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    found = judge(path, FB, check("VT"), SPECTRE)
    assert [(one.name, one.place.line) for one in found.stale] == [("VT", 4)]
    said = told(found, path, known=configuration(tmp_path))
    assert said.keys() == {"exceptions.yaml:4"}
    assert said["exceptions.yaml:4"][0] == "VT (kconfig) passes on m, its exception is stale"


@pytest.mark.parametrize(
    "limit", ["where: [DRM, DRM_PANEL]", "drivers: [vt6656_stage]", 'machines: ["lab-*"]']
)
def test_an_exception_may_hold_for_some_machines_alone(tmp_path: Path, limit: str) -> None:
    path = write(tmp_path, f"exceptions:\n  - kconfig: {{FB: is not set}}\n    {limit}\n    reason: r\n")
    for failing in (FB, check("FB")):
        there = judge(path, failing, machine="lab-1", values={"DRM": "y"}, drivers=["nvme", "vt6656-stage"])
        elsewhere = judge(path, failing, machine="m", values={"DRM": "n"}, drivers=["nvme"])
        assert (there.holds, bool(there.stale)) == (not failing.passed, failing.passed)
        assert (elsewhere.holds, bool(elsewhere.refused)) == (failing.passed, not failing.passed)


def test_an_exception_for_a_check_that_there_is_not_is_told_with_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    found = judge(path, check("FB_", found='"y"'), check("VT", wants="y", found="is not found"), SPECTRE)
    said = told(found, path, known=configuration(tmp_path))
    assert "FB_" in said["exceptions.yaml:3"][1]
    assert said["exceptions.yaml:4"][1] == "it wants: y"


def test_everything_against_a_machine_is_told_at_once_where_it_can_be_changed(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST)
    known = configuration(
        tmp_path,
        {"name": "KCMP", "value": "y", "selected_by": [["DRM", "y"], ["OTHER", "n"]]},
        {"name": "SELINUX", "value": "n", "depends": [["AUDIT", "n"]]},
    )
    kexec = Wanted("KEXEC", "y", "fast restarts", Path("machines/m.yaml"), 7, "kernel.config")
    checks = [
        check("KEXEC", found='"y"'),
        check("KCMP", found='"y"'),
        check("SELINUX", wants="y", found="is not found"),
        check("NEWER", wants="y", found="is not found"),
        check("nokaslr", found="is present", cmdline=True),
        FB,
        check("VT"),
        SPECTRE,
    ]
    found = judge(path, *checks, least=230)
    with pytest.raises(Mistakes) as caught:
        hardening.refuse(found, [kexec], known, LIMIT, path)
    lines = [str(one) for one in caught.value.mistakes]
    assert lines[0].startswith(
        'machines/m.yaml:7: CONFIG_KEXEC fails: wanted `is not set`, found "y"; fast restarts'
    )
    assert "it is selected by DRM (=y)" in lines[1] and "OTHER" not in lines[1]
    assert "it depends on AUDIT (=n)" in lines[2]
    assert "this kernel does not have it" in lines[3]
    assert "nokaslr" in lines[4] and "kernel.command_line" in lines[4]
    assert "exceptions.yaml:4: VT (kconfig) passes" in lines[5]
    assert "machines/m.yaml:12: 1 of 6 hardening checks pass, 230 have to" in lines[6]
    assert len(lines) == 7


def test_the_kernels_own_words_come_before_the_images() -> None:
    values = {"CMDLINE_BOOL": "y", "CMDLINE": '"lpj=5 pti=on"'}
    assert hardening.full_command_line(["quiet"], values) == "lpj=5 pti=on quiet"
    assert hardening.full_command_line(["quiet"], values | {"CMDLINE_OVERRIDE": "y"}) == "lpj=5 pti=on"
    assert hardening.full_command_line(["quiet"], {"CMDLINE": '""'}) == "quiet"


def test_every_mistake_in_the_exceptions_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "exceptions:\n"
        "  - kconfig: {FB: is not set}\n"
        "    reson: typed too fast\n"
        "  - reason: for nothing\n"
        "  - kconfig: {CONFIG_VT: is not set}\n"
        "    reason: r\n"
        "  - cmdline: {pti: 1}\n"
        "    reason: ' '\n",
    )
    with pytest.raises(Mistakes) as caught:
        hardening_exceptions.load(path)
    said = [(one.line, f"{one.message} ({one.hint})") for one in caught.value.mistakes]
    for line, text in [
        (2, "'reason' is missing"),
        (3, "did you mean 'reason'?"),
        (4, "it names no check"),
        (5, "write VT"),
        (7, "write it in quotes"),
        (8, "there is no reason"),
    ]:
        assert any(at == line and text in one for at, one in said), (line, text, said)


def test_where_the_checker_cannot_be_had_that_is_said_and_how_to_build_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path))
    monkeypatch.setattr(network, "_forbidden", True)
    with pytest.raises(AetherError) as caught:
        hardening.ensure(Toolchain(tmp_path / "mkosi", tmp_path / "tools", "key"))
    assert "the hardening gate has no kernel-hardening-checker" in caught.value.message
    assert "not in the cache" in caught.value.message
    assert "--no-hardening-gate" in caught.value.hint


def test_a_verdict_is_read_by_people_and_programs(tmp_path: Path) -> None:
    path = write(tmp_path, FIRST.replace("reason: the console", "reason: the console\n    measured: 4 %"))
    found = judge(path, FB, VT, SPECTRE, check("KEXEC", found='"y"'), check("BUG", wants="y"), least=1)
    assert hardening_text.summary(found).endswith("1 against it: the gate refuses it")
    lines = hardening_text.lines(found)
    assert lines[0] == '  CONFIG_KEXEC: wanted `is not set`, found "y"; NOT ACCEPTED'
    assert lines[1:3] == [
        "  CONFIG_FB (is not set), CONFIG_VT (is not set)",
        "    the console; measured: 4 %",
    ]
    facts = hardening_text.facts(found)
    json.dumps(facts)
    assert (facts["passed"], facts["failed"], facts["least"], facts["holds"]) == (1, 3, 1, False)
    assert [one["accepted"] for one in facts["failing"]] == [True, True, True, False]
    assert facts["failing"][0]["line"] == 3 and facts["failing"][0]["measured"] == "4 %"
