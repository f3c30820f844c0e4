"""What is kept of a machine that failed, where there is no machine to ask."""

import asyncio
from pathlib import Path

from builder.failure_bundle import collect
from builder.guest import GuestAgent
from builder.qemu_command import Files


def test_a_removed_failure_does_not_stop_the_next_one_from_being_kept(tmp_path: Path) -> None:
    files = Files(
        tmp_path / "serial-1.log", tmp_path / "qemu.log", tmp_path / "OVMF_VARS.fd", tmp_path / "tpm"
    )
    agent = GuestAgent(tmp_path / "guest-agent.sock")
    (tmp_path / "failure-2").mkdir()  # its owner took failure-1 away
    kept = asyncio.run(collect(tmp_path, files, "it failed", None, agent))
    assert kept.name == "failure-3"
    assert (kept / "error.txt").read_text() == "it failed\n"
