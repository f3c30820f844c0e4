"""`aether flash`: a machine's newest image, written to a disk, read back, and not to the wrong disk.

Not for: what disks there are (flash_disks.py), opening one (flash_target.py), or the order of the
writes (flash_write.py).
"""

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder import flash_disks, flash_target, profile
from builder.build import BuiltImage, build
from builder.cache import cache_dir
from builder.errors import AetherError
from builder.flash_disks import Disk, size_text
from builder.flash_target import Target
from builder.flash_write import EDGE, MB, Content, DiskFailed, Writer, Written
from builder.progress import span, step
from builder.toolchain import Toolchain


class Interrupted(AetherError):
    """Ctrl-C or SIGTERM ended the work; the message says what the disk holds now."""

    def __init__(self, message: str, *, hint: str = "", status: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = status


@dataclass(frozen=True)
class Flashed:
    """What was written: bytes, seconds of the writing alone and of reading back, MB (10^6) a second."""

    machine: str
    key: str  # of the image
    device: str
    bytes: int
    seconds: float
    mb_per_s: float
    verify_seconds: float
    verified: bool
    table_reread: bool  # the kernel has read the new partition table


def flash(machine: str, path: Path, *, yes: bool = False, gate: bool = True) -> Flashed:
    """Build a machine if need be and write its image to a disk or a plain file.

    `yes` asks nothing; `gate` as in build.build. AetherError for a disk that must not be written, before
    anything is built where that can be known; DiskFailed and Interrupted say what the disk holds now.
    """
    profile.load(machine)  # mistakes in it are told before anything is asked of the disk
    kind = flash_target.kind_of(path)
    disk = None
    if kind == "disk":
        disk = checked(path)
        flash_target.need_rights(path, machine)
        flash_target.check_free(path)
        if not yes and not sys.stdin.isatty():
            raise _nobody_to_ask(path)
    elif kind == "file" and not yes:
        raise AetherError(f"{path} exists: its contents would be lost", hint="--yes writes over it")
    built = build(machine, gate=gate)
    size = int(built.layout["size"])
    if disk is not None:
        _check_same(path, disk, size)
        if not yes:
            confirm(disk)
    opened = flash_target.open_file(path, size) if disk is None else flash_target.open_disk(path)
    with opened as target:
        if disk is not None:
            _check_same(path, disk, size)  # now that nobody can exchange it any more
        content = content_for(built, target.size)
        written = write(target, content)
        reread = target.reread_table()
    return Flashed(
        machine=built.machine.name,
        key=built.key,
        device=str(path),
        bytes=written.size,
        seconds=round(written.write_seconds, 2),
        mb_per_s=round(written.size / MB / max(written.write_seconds, 1e-3), 1),
        verify_seconds=round(written.verify_seconds, 2),
        verified=True,
        table_reread=reread,
    )


def checked(path: Path, *, needed: int = 0) -> Disk:
    """The disk at `path`; AetherError if it must not be written."""
    device = path.stat().st_rdev
    number = f"{os.major(device)}:{os.minor(device)}"
    disk = flash_disks.numbered(flash_disks.read_facts(), number, needed=needed)
    if disk.refusal:
        raise AetherError(f"{path} is not written: {disk.refusal}", hint=disk.hint)
    return disk


def _check_same(path: Path, disk: Disk, needed: int) -> None:
    """A build takes minutes and a person's answer longer; the stick may be another one by then."""
    now = checked(path, needed=needed)
    if (now.identity, now.model) != (disk.identity, disk.model):
        raise AetherError(f"{path} is another disk now", hint="run the same command again")


def confirm(disk: Disk) -> None:
    """Let the person type the disk's model (its path, if it has none); AetherError if it is not that."""
    wanted, what = (disk.model, "model") if disk.model else (str(disk.path), "path")
    print(
        f"Everything on {disk.described()} will be lost.\n"
        f"It holds: {disk.holds or 'nothing that is known'}\n"
        f"To write it, type its {what}, {wanted}: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    try:
        typed = sys.stdin.readline()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        raise Interrupted("interrupted; nothing was written", status=130) from None
    if " ".join(typed.split()).casefold() != wanted.casefold():
        raise AetherError(f"that is not the {what}; nothing was written", hint=f"type exactly: {wanted}")


def content_for(built: BuiltImage, size: int) -> Content:
    """What a disk of `size` bytes shall hold: the image, its partition table fitted to the disk."""
    last = built.layout["partitions"][-1]
    data_end, image_size = int(last["offset"]) + int(last["size"]), int(built.layout["size"])
    if size < image_size:
        raise AetherError(
            f"the disk is too small: {size_text(size)}, the image has {size_text(image_size)}",
            hint="choose a larger one",
        )
    head, tail = fitted_table(built.toolchain, built.image, data_end, size)
    tail_at = size - len(tail)
    return Content(built.image, size, head, tail, data_end, max(data_end, min(image_size, tail_at)))


def fitted_table(tools: Toolchain, image: Path, data_end: int, size: int) -> tuple[bytes, bytes]:
    """The first MiB of an image, and the end of a disk of `size` bytes (a MiB, or less down to `data_end`).

    The table's backup belongs at the disk's real end; firmware and partition tools complain about one
    elsewhere. sfdisk moves it in a sparse file of the disk's size, so that no other program writes
    to the disk and every byte that does go there is known before.
    """
    tail_at = max(data_end, size - EDGE)
    (cache_dir() / "work").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="flash-", dir=cache_dir() / "work") as folder:
        table = Path(folder) / "table"
        with image.open("rb") as give, table.open("wb") as take:
            take.write(give.read(EDGE))
            give.seek(data_end)
            take.seek(data_end)
            shutil.copyfileobj(give, take)  # the backup where the image has it
            try:
                take.truncate(size)
            except OSError as error:  # EFBIG: more than the cache's file system can have in one file
                raise AetherError(
                    f"the table for a disk of {size_text(size)} cannot be made: {error.strerror}",
                    hint="name a cache on another file system with AETHER_CACHE",
                ) from None
        tools.output(["sfdisk", "--relocate", "gpt-bak-std", table], writable=[table])
        with table.open("rb") as file:
            head = file.read(EDGE)
            file.seek(tail_at)
            return head, file.read()


def write(target: Target, content: Content) -> Written:
    """Wipe, write, read back, and make the table valid last; told to the person step by step."""
    writer = Writer(target, content)
    try:
        with _what_is_left(writer):
            writer.wipe()
            target.reread_table()  # the old partitions go away
            with step(f"Write {size_text(content.total)} to {target.path}", f"flash {target.path}") as shown:
                write_seconds = writer.write(shown.progress)
            with step("Read it back", f"verify {target.path}") as shown:
                verify_seconds = writer.verify(shown.progress)
            writer.seal()
    finally:
        writer.close()
    return Written(content.total, write_seconds, verify_seconds)


@contextlib.contextmanager
def _what_is_left(writer: Writer) -> Iterator[None]:
    """Whatever ends the writing, the disk gets no table, and the person is told what it holds."""
    try:
        yield
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        path = writer.target.path
        left = (
            f"{path} holds no usable system now" if writer.begun else f"nothing more was written to {path}"
        )
        if writer.target.reads_zero:
            left = f"{path} was taken away again"
        try:
            if writer.begun:
                writer.wipe()
        except (DiskFailed, KeyboardInterrupt):  # before the sealing there is no table to wipe
            if writer.sealing:
                left = f"{path} may start, but was not checked to the end: do not trust it"
        again = "the same command begins anew"
        if isinstance(error, AetherError):
            hint = "; ".join(text for text in (error.hint, again) if text)
            raise DiskFailed(f"{error.message}; {left}", hint=hint) from None
        if isinstance(error, KeyboardInterrupt | SystemExit):
            status = 130 if isinstance(error, KeyboardInterrupt) else 143  # as cli.py has them
            raise Interrupted(f"interrupted; {left}", hint=again, status=status) from None
        print(left, file=sys.stderr)
        raise


def _nobody_to_ask(path: Path) -> AetherError:
    return AetherError(
        f"nobody is here to be asked about {path}",
        hint="--yes writes it without asking: be sure of the disk",
    )


def report(done: Flashed) -> list[str]:
    """What was done and what to do next, for a person."""
    lines = [
        f"{done.device} holds {done.machine}: {size_text(done.bytes)} written in {span(done.seconds)} "
        f"({done.mb_per_s:.1f} MB/s) and read back in {span(done.verify_seconds)}, all equal"
    ]
    if done.device.startswith("/dev/"):
        lines.append(
            f"Next: eject {done.device}, put it into the machine, and choose it in the boot menu, as UEFI."
        )
        if not done.table_reread:
            lines.append("This computer has not read the new table: unplug the disk before you use it here.")
    return lines


def listed(disks: list[Disk]) -> list[tuple[str, ...]]:
    """The disks as rows of a table, with a heading."""
    rows: list[tuple[str, ...]] = [
        ("DISK", "SIZE", "MODEL", "TRANSPORT", "REMOVABLE", "HOLDS", "MAY BE WRITTEN")
    ]
    for disk in disks:
        rows.append(
            (
                str(disk.path),
                size_text(disk.size),
                disk.model or "-",
                disk.transport or "-",
                "yes" if disk.removable else "no",
                disk.holds or "-",
                f"no: {disk.refusal}" if disk.refusal else "yes",
            )
        )
    return rows


def not_named(disks: list[Disk], machine: str) -> AetherError:
    """The end of a command that named no disk."""
    free = [disk for disk in disks if not disk.refusal]
    if not free:
        return AetherError("no disk is named, and none here may be written", hint="plug in a USB stick")
    return AetherError(
        "no disk is named; everything on the one you name will be lost",
        hint=f"aether flash {machine} {free[0].path}",
    )
