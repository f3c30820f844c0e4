"""What can be said of the image without building it; tests/boot says the rest."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest

from builder import esp, image
from builder.errors import AetherError
from builder.toolchain import Toolchain

FILES = image.TEMPLATES / "files"


def test_every_package_and_every_removal_has_a_reason() -> None:
    listed = image.base_packages()
    assert set(listed) == {"packages", "stock", "firmware", "remove"}
    for reasons in listed.values():
        assert reasons
        assert all(isinstance(reason, str) and len(reason) > 2 for reason in reasons.values())


@pytest.mark.parametrize(
    "script",
    [
        "files/usr/lib/aetheros/early-mounts",
        "files/usr/lib/aetheros/console-login",
        "stock/prepare.chroot",
    ],
)
def test_the_shell_scripts_of_the_image_are_well_formed(script: str) -> None:
    subprocess.run(["sh", "-n", image.TEMPLATES / script], check=True)


def test_every_partition_that_early_mounts_looks_for_is_made() -> None:
    script = (FILES / "usr/lib/aetheros/early-mounts").read_text()
    wanted = set(re.findall(r"^    (aetheros-\w+)\)", script, re.MULTILINE))
    made = {
        label
        for template in (image.TEMPLATES / "repart").glob("*.j2")
        for label in re.findall(r"^Label=(.*)$", template.read_text(), re.MULTILINE)
    }
    assert wanted == {"aetheros-data", "aetheros-models", "aetheros-esp"}
    assert wanted < made
    assert made - wanted == {"aetheros-system"}  # the kernel's own


def test_the_kernel_takes_the_root_of_its_own_machine_and_no_other() -> None:
    """A stick and a disk in one PC have partitions of the same labels."""
    [one, other] = [image.command_line(name)[0] for name in ("lab", "generic-x86_64")]
    assert one == image.command_line("lab")[0] != other
    assert one == f"root=PARTUUID={image.root_uuid('lab')}"
    assert "UUID={{ system_uuid }}" in (image.TEMPLATES / "repart/20-system.conf.j2").read_text()


def test_a_template_with_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    template = tmp_path / "a.conf.j2"
    template.write_text("Size={{ size }}\n")
    assert image.render(template, tmp_path / "a.conf", size=5) == "Size=5\n"
    with pytest.raises(jinja2.UndefinedError):
        image.render(template, tmp_path / "b.conf", sise=5)


def test_the_size_of_an_erofs_is_read_from_its_superblock(tmp_path: Path) -> None:
    raw = tmp_path / "disk"
    block = bytearray(128)
    block[:4] = (0xE0F5E1E2).to_bytes(4, "little")
    block[12] = 12  # blocks of 4,096 bytes
    block[36:40] = (25).to_bytes(4, "little")
    raw.write_bytes(bytes(512 + 1024) + block)
    assert image.erofs_size(raw, 512) == 25 * 4096
    with pytest.raises(AetherError, match="no erofs at byte 0"):
        image.erofs_size(raw, 0)


def test_nothing_starts_that_the_preset_does_not_name() -> None:
    preset = (FILES / "usr/lib/systemd/system-preset/00-aetheros.preset").read_text().splitlines()
    rules = [line for line in preset if line and not line.startswith("#")]
    assert rules[-1] == "disable *"
    assert "enable agentd.service" in rules


# Lists what SQLite has open while it makes a file anew.
VACUUM = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("CREATE TABLE t (x)")
connection.execute("BEGIN")
connection.executemany("INSERT INTO t VALUES (randomblob(4000))", [()] * 3000)
connection.execute("COMMIT")
seen = set()
def look():
    for fd in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{fd}"):
            seen.add(os.readlink(f"/proc/self/fd/{fd}"))
connection.set_progress_handler(look, 1000)
connection.execute("VACUUM")
print(*{os.path.dirname(file) for file in seen if "etilqs_" in file})
"""


def test_sqlite_writes_its_temporary_files_to_agentds_state_and_not_to_memory(tmp_path: Path) -> None:
    unit = (FILES / "usr/lib/systemd/system/agentd.service").read_text()
    [(name, value)] = re.findall(r"^Environment=(SQLITE_\w+)=%S(/\S+)$", unit, re.MULTILINE)
    assert f"StateDirectory={value[1:]}\n" in unit
    state = tmp_path / value[1:]
    state.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", VACUUM, str(tmp_path / "x.db")],
        env={name: str(state)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(state)


def test_what_a_strict_umask_made_can_be_read_by_every_user_of_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "tree/lib"
    folder.mkdir(parents=True, mode=0o700)
    for name, mode in (("module.py", 0o600), ("program", 0o700)):
        (folder / name).touch()
        (folder / name).chmod(mode)
    (folder / "link").symlink_to("/nowhere")
    image.open_to_all(tmp_path / "tree")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir() if not path.is_symlink()}
    assert modes == {"module.py": 0o644, "program": 0o755}
    assert (tmp_path / "tree").stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o755


def given(**changes: Any) -> image.ImageInput:
    """What an image is made from, with a kernel of the machine's own unless it is changed."""
    plain = image.ImageInput(
        machine="lab",
        version="1",
        kernel=Path(__file__),
        kernel_version="6.12",
        command_line=["root=x"],
        python_tree=Path("/tree"),
        model=Path("/model"),
        model_card={},
        profile={"memory": "2G"},
        record={},
    )
    return dataclasses.replace(plain, **changes)


def test_an_image_whose_manifest_would_differ_is_another_image(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def product(kind: str, key: str, make: object) -> Path:
        made.append(key)
        return Path(kind)

    monkeypatch.setattr(image, "product", product)
    tools = Toolchain(Path("/mkosi"), Path("/tools"), "key")
    for one in (given(), given(), given(profile={"memory": "4G"}), given(stock="linux-image-x")):
        image.ensure(tools, one)
    assert made[0] == made[1]
    assert len(set(made)) == 3


def test_debians_kernel_comes_with_what_it_needs_and_only_where_it_is_alone_with_all_firmware() -> None:
    listed = image.base_packages()
    own, fallback = given().packages, given(stock="linux-image-x").packages
    generic = given(stock="linux-image-x", kernel=None).packages
    assert set(own) == set(listed["packages"])
    assert set(given(more_packages=("nano", "vim")).packages) - set(own) == {"vim"}
    assert set(fallback) - set(own) == {"linux-image-x", *listed["stock"]}
    assert set(generic) - set(fallback) == set(listed["firmware"])


def test_the_fallback_is_an_entry_after_the_machines_own_kernel(tmp_path: Path) -> None:
    """systemd-boot puts the smaller sort-key first; that of a unified image is its os-release's ID."""
    loader = tmp_path / "loader"
    (loader / "entries").mkdir(parents=True)
    esp.lay_stock_entry(tmp_path, version="1", title="AetherOS", command_line=["root=x", "ro"])
    [entry] = (loader / "entries").iterdir()
    said = dict(line.split(" ", 1) for line in entry.read_text().splitlines())
    assert said["sort-key"] > "aetheros"
    assert (said["linux"], said["initrd"]) == ("/aetheros/vmlinuz", "/aetheros/initrd.img")
    assert said["options"] == "root=x ro"
    prepared = (image.TEMPLATES / "stock/prepare.chroot").read_text()
    assert "/efi/aetheros/vmlinuz" in prepared and "/efi/aetheros/initrd.img" in prepared
