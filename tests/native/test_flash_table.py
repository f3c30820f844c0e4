"""The image's partition table, fitted to disks of other sizes by the tools tree's sfdisk."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from builder import toolchain
from builder.flash import fitted_table
from builder.flash_write import EDGE

pytestmark = pytest.mark.native

MIB = 1 << 20
IMAGE_SIZE, DATA_END = 8 * MIB + 20480, 8 * MIB  # systemd-repart leaves 20 KiB for the backup
TABLE = "label: gpt\nfirst-lba: 2048\nstart=2048, size=8192, type=uefi\nstart=10240, size=6144, name=data\n"


@pytest.fixture(scope="module")
def tools() -> toolchain.Toolchain:
    return toolchain.ensure()


@pytest.fixture(scope="module")
def image(tools: toolchain.Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "image.raw"
    path.touch()
    os.truncate(path, IMAGE_SIZE)
    argv = tools.argv(["sfdisk", "--quiet", path], writable=[path])
    subprocess.run(argv, input=TABLE, text=True, check=True)
    return path


@pytest.mark.parametrize(
    "size", [IMAGE_SIZE, IMAGE_SIZE + 512, IMAGE_SIZE + 300 * 1024, 64 * MIB, 2_000_398_934_016]
)
def test_the_table_is_valid_on_a_disk_of_any_size_and_its_backup_is_at_the_end(
    tools: toolchain.Toolchain, image: Path, tmp_path: Path, size: int
) -> None:
    head, tail = fitted_table(tools, image, DATA_END, size)
    assert (len(head), len(tail)) == (EDGE, min(EDGE, size - DATA_END))
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.write(head)
        file.truncate(size)
        file.seek(size - len(tail))
        file.write(tail)
    assert head[512:520] == tail[-512:][:8] == b"EFI PART"
    argv = tools.argv(["sfdisk", "--verify", disk], readable=[disk])
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert (done.stderr, "No errors detected" in done.stdout) == ("", True)
    table = json.loads(tools.output(["sfdisk", "--json", disk], readable=[disk]))["partitiontable"]
    assert [(part["start"], part["size"]) for part in table["partitions"]] == [(2048, 8192), (10240, 6144)]
    assert table["lastlba"] == size // 512 - 34
    # Either header alone is enough to find the partitions.
    for offset in (512, size - 512):
        with disk.open("r+b") as file:
            file.seek(offset)
            kept = file.read(512)
            file.seek(offset)
            file.write(bytes(512))
        alone = json.loads(tools.output(["sfdisk", "--json", disk], readable=[disk]))["partitiontable"]
        assert alone["partitions"] == table["partitions"]
        with disk.open("r+b") as file:
            file.seek(offset)
            file.write(kept)
