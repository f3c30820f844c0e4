"""When KVM is trusted. The real host's answer is tested in tests/native/test_vm_qemu.py."""

from pathlib import Path

import pytest

from builder import accel
from builder.errors import AetherError


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a device and a processor that can, and an empty cache."""
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "kvm").write_bytes(b"")
    (tmp_path / "cpuinfo").write_text("model name\t: A CPU\nflags\t\t: fpu vme vmx sse\n")
    return tmp_path


def examine(host: Path, boots: object = None, *, prove: bool = True) -> accel.Accel:
    def short_boot() -> str:
        assert isinstance(boots, str), "no boot was expected"
        return boots

    return accel.examine(prove=prove, device=host / "kvm", cpuinfo=host / "cpuinfo", boots=short_boot)


def test_kvm_is_used_once_a_short_boot_has_worked_and_the_proof_is_kept(host: Path) -> None:
    assert examine(host, "").kind == "kvm"
    assert examine(host).kind == "kvm"  # without another boot


def test_a_failed_short_boot_means_emulation_and_is_kept_with_its_reason(host: Path) -> None:
    first = examine(host, "KVM internal error")
    assert (first.kind, "KVM internal error" in first.reason) == ("tcg", True)
    assert examine(host) == first


def test_a_device_on_a_processor_without_virtualization_is_not_even_tried(host: Path) -> None:
    (host / "cpuinfo").write_text("model name\t: A CPU\nflags\t\t: fpu vme hypervisor\n")
    found = examine(host)
    assert found.kind == "tcg"
    assert "neither vmx nor svm" in found.reason


def test_another_processor_is_proven_anew(host: Path) -> None:
    examine(host, "")
    (host / "cpuinfo").write_text("model name\t: Another CPU\nflags\t\t: svm\n")
    assert examine(host, "dies").kind == "tcg"


def test_no_device_means_emulation(host: Path) -> None:
    (host / "kvm").unlink()
    assert "does not exist" in examine(host).reason


def test_looking_alone_starts_nothing(host: Path) -> None:
    found = examine(host, prove=False)
    assert (found.kind, found.proven) == ("kvm", False)


def test_a_damaged_proof_is_made_again(host: Path) -> None:
    examine(host, "")
    (host / "cache/kvm-proof.json").write_text("{")
    assert examine(host, "dies").kind == "tcg"


def test_kvm_asked_for_by_name_is_refused_where_it_cannot_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "examine", lambda *, prove: accel.Accel("tcg", "no device"))
    with pytest.raises(AetherError, match="no device"):
        accel.choose("kvm")
    assert accel.choose("auto").kind == "tcg"
    assert accel.choose("tcg").reason == "asked for"
