"""What `aether doctor` says about hosts of all kinds, and about this one."""

import fcntl
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from builder import apt, doctor, toolchain
from builder.accel import Accel
from builder.doctor import Need
from builder.errors import AetherError
from hardware.cpu_level import flags_of


def test_this_host_can_build() -> None:
    needs = doctor.examine()
    assert [need for need in needs if need.state == "missing"] == []
    assert {"system", "python", "root", "disk space", "memory", "processor", "kvm", "vsock"} <= {
        need.name for need in needs
    }


def test_whatever_is_not_ok_says_what_to_do() -> None:
    for need in doctor.examine():
        assert need.state == "ok" or need.hint, need


def test_an_old_python_is_missing() -> None:
    assert doctor.python((3, 10, 4)) == Need(
        "python", "missing", "3.10.4 is older than 3.11", "use Debian 12 or newer"
    )
    assert doctor.python((3, 11, 0)).state == "ok"


@pytest.mark.parametrize(
    ("release", "machine", "state"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, "x86_64", "ok"),
        ({"ID": "debian", "VERSION_ID": "13"}, "x86_64", "ok"),
        ({"ID": "debian", "VERSION_ID": "11"}, "x86_64", "degraded"),
        ({"ID": "debian"}, "x86_64", "degraded"),
        ({"ID": "fedora", "VERSION_ID": "43"}, "x86_64", "missing"),
        ({"ID": "debian", "VERSION_ID": "12"}, "aarch64", "missing"),
    ],
)
def test_builds_are_made_on_debian_12_and_13(release: dict[str, str], machine: str, state: str) -> None:
    assert doctor.system(release, machine).state == state


def test_a_machine_beyond_this_processor_is_degraded_and_named() -> None:
    marches = {"old": "x86-64", "new": "x86-64-v3", "same": "x86-64-v2", "named": "znver4"}
    need = doctor.against_machines(flags_of("x86-64-v2"), marches)
    assert (need.state, need.detail) == ("degraded", "x86-64-v2: less than new, named asks for")
    assert "emulation" in need.hint
    assert doctor.against_machines(flags_of("x86-64-v4"), {"new": "skylake"}).state == "ok"
    assert doctor.against_machines((), {"old": "x86-64"}).state == "degraded"


def test_a_kvm_that_opens_and_runs_no_guest_is_degraded() -> None:
    need = doctor.kvm(Accel("tcg", "/dev/kvm opens, but the processor shows neither vmx nor svm"))
    assert need.state == "degraded"
    assert need.hint == "virtual machines run by emulation, some ten times slower"


def test_a_kvm_that_may_not_be_opened_names_the_group() -> None:
    assert "adduser $USER kvm" in doctor.kvm(Accel("tcg", "/dev/kvm cannot be opened: denied")).hint
    assert "firmware" in doctor.kvm(Accel("tcg", "/dev/kvm does not exist")).hint
    assert doctor.kvm(Accel("kvm", "svm, and a short boot worked")).state == "ok"


def test_too_little_disk_is_missing_and_says_how_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path))
    assert doctor.disk_space(tmp_path / "not" / "made" / "yet").state == "ok"
    assert not (tmp_path / "not").exists()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 * doctor.GB))
    need = doctor.disk_space(tmp_path)
    assert (need.state, need.detail) == (
        "missing",
        f"3 GB free in {tmp_path}; a first build needs 8 GB",
    )
    (tmp_path / "tools" / toolchain.key()).mkdir(parents=True)
    assert doctor.disk_space(tmp_path).state == "degraded"


def test_a_mirror_that_answers_is_ok() -> None:
    need = doctor.mirror(apt.mirrors()[0])
    if need.state == "degraded":
        pytest.skip("this host's package mirror cannot be reached")
    assert need.detail.startswith("http")


def test_a_mirror_that_does_not_answer_is_degraded() -> None:
    need = doctor.mirror("http://127.0.0.1:9/debian")
    assert (need.state, need.detail) == ("degraded", "http://127.0.0.1:9/debian does not answer")
    assert "cache" in need.hint


def test_a_lock_that_is_held_names_its_process(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/.free.lock").write_text("1")
    held = tmp_path / "kernel/.busy.lock"
    with held.open("w+") as file:
        file.write("4711")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert doctor.held_locks(tmp_path) == ["kernel/.busy.lock is held by process 4711"]
    assert doctor.held_locks(tmp_path) == []


def test_a_check_that_fails_is_a_need_and_not_a_crash() -> None:
    def _mirror() -> list[Need]:
        raise AetherError("apt knows no Debian mirror", hint="see sources.list")

    assert doctor._answer(_mirror) == [
        Need("mirror", "missing", "apt knows no Debian mirror", "see sources.list")
    ]


def test_a_program_that_is_not_there_is_a_need_and_not_a_crash() -> None:
    def _root() -> list[Need]:
        raise FileNotFoundError(2, "No such file or directory", "unshare")

    [need] = doctor._answer(_root)
    assert (need.name, need.state) == ("root", "missing")
    assert "unshare" in need.detail


def test_a_host_without_apt_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AetherError, match="there is no apt-get here"):
        apt.mirrors()
