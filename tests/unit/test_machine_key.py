"""The machine's key: made once, never replaced, and what it signs nobody else could have."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.errors import AgentError
from agentd.machine_key import MachineKey, fingerprint, verify


def test_the_key_is_made_at_first_use_and_stays(tmp_path: Path) -> None:
    key = MachineKey(tmp_path)
    assert not key.path.exists()
    public = key.public()
    assert public.startswith("ed25519:")
    assert len(base64.b64decode(public.removeprefix("ed25519:"))) == 32
    assert MachineKey(tmp_path).public() == public
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]


@pytest.mark.parametrize("umask", [0, 0o777])
def test_the_key_file_is_one_line_that_only_its_owner_reads_whatever_the_umask_is(
    umask: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        MachineKey(tmp_path).public()
    finally:
        os.umask(before)
    path = tmp_path / "identity.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().count(b"\n") == 1
    assert len(base64.b64decode(path.read_text())) == 32


def test_a_signature_is_of_this_message_by_this_key_only(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    key, other = MachineKey(tmp_path), MachineKey(tmp_path / "other")
    signature = key.sign(b"what was exported")
    assert verify(key.public(), b"what was exported", signature)
    assert not verify(key.public(), b"what was imported", signature)
    assert not verify(other.public(), b"what was exported", signature)
    assert not verify(other.public(), b"what was exported", other.sign(b"what was imported"))


def test_the_known_signature_of_rfc_8032_comes_out(tmp_path: Path) -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    (tmp_path / "identity.key").write_bytes(base64.b64encode(seed) + b"\n")
    key = MachineKey(tmp_path)
    expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert base64.b64decode(key.public().removeprefix("ed25519:")).hex() == expected
    assert base64.b64decode(key.sign(b"")).hex().startswith("e5564300c360ac729086e2cc806e828a84877f1e")


@pytest.mark.parametrize("public", ["", "ed25519:", "ed25519:!", "ed25519:AAAA", "rsa:AAAA", "ed25519:ü"])
def test_what_is_no_key_verifies_nothing(public: str, tmp_path: Path) -> None:
    assert not verify(public, b"text", MachineKey(tmp_path).sign(b"text"))


@pytest.mark.parametrize("signature", ["", "AAAA", "!", "ü", "A" * 86 + "=="])
def test_what_is_no_signature_is_not_valid(signature: str, tmp_path: Path) -> None:
    assert not verify(MachineKey(tmp_path).public(), b"text", signature)


@pytest.mark.parametrize("content", [b"", b"\n", b"AAAA\n", b"\xff\x00", b"A" * 1000])
def test_a_damaged_key_is_an_error_with_a_hint_and_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "identity.key").write_bytes(content)
    with pytest.raises(AgentError, match="is damaged") as caught:
        MachineKey(tmp_path).sign(b"text")
    assert "backup" in caught.value.hint
    assert (tmp_path / "identity.key").read_bytes() == content


def test_a_key_that_another_process_made_in_between_is_not_replaced(tmp_path: Path) -> None:
    faster = []

    class Slow(MachineKey):
        def _create(self) -> None:
            faster.append(MachineKey(tmp_path).public())
            super()._create()

    assert [Slow(tmp_path).public()] == faster
    assert [path.name for path in tmp_path.iterdir()] == ["identity.key"]


def test_no_state_folder_is_an_error_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be used: No such file or directory"):
        MachineKey(tmp_path / "missing").public()


def test_a_link_in_the_key_s_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = MachineKey(tmp_path / "other")
    other.public()
    (tmp_path / "identity.key").symlink_to(other.path)
    with pytest.raises(AgentError, match="cannot be used"):
        MachineKey(tmp_path).public()


def test_the_fingerprint_is_short_and_of_this_key(tmp_path: Path) -> None:
    key = MachineKey(tmp_path)
    assert key.fingerprint() == fingerprint(key.public())
    assert [len(group) for group in key.fingerprint().split("-")] == [4] * 5
    assert key.fingerprint() != fingerprint("ed25519:" + base64.b64encode(bytes(32)).decode())


def test_nacl_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, agentd.machine_key; sys.exit('nacl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
