"""What an image is written to, opened for this program alone: a disk, or a plain file.

A disk is opened with O_EXCL: the kernel then refuses one that is mounted, in use as swap or held by
another driver, in any namespace, and lets nobody mount it until it is closed. Not for: what a disk
is (flash_disks.py), or what is written (flash_write.py).
"""

import contextlib
import errno
import fcntl
import os
import shlex
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.cache import cache_dir, lock
from builder.errors import AetherError
from builder.flash_disks import SECTOR, size_text

BLKRRPART = 0x125F  # linux/fs.h: read the partition table again
LOCK_SECONDS = 5.0  # udev holds its own lock while it looks at a disk that has just changed


@dataclass(frozen=True)
class Target:
    """An open disk or file of `size` bytes, a multiple of the sector size.

    On a disk, reads and writes pass the page cache by (O_DIRECT), so buffers, offsets and lengths must be
    multiples of the sector size. `reads_zero`: never written, so zeros are there already.
    """

    path: Path
    fd: int
    size: int
    is_disk: bool
    reads_zero: bool = False

    def reread_table(self) -> bool:
        """Let the kernel read the partition table again; False if it did not."""
        if not self.is_disk:
            return True
        try:
            fcntl.ioctl(self.fd, BLKRRPART)
        except OSError:  # a loop device without partitions, or no right to
            return False
        return True


def kind_of(path: Path) -> str:
    """`disk` for any block device, `file`, or `new` for a file that is to be made.

    AetherError for everything that is neither, and for a device that is not there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        real = path.resolve()
        if real.is_relative_to("/dev") and not real.is_relative_to("/dev/shm"):
            # Not a file: it would lie in memory, and the person would take it for the stick.
            raise AetherError(
                f"there is no device {path}", hint="aether flash MACHINE lists the disks"
            ) from None
        if not real.parent.is_dir():
            raise AetherError(f"{path}: there is no folder {real.parent}", hint="make it first") from None
        return "new"
    except OSError as error:
        raise AetherError(f"{path}: {error.strerror}") from None
    if stat.S_ISBLK(mode):
        return "disk"
    if stat.S_ISREG(mode):
        return "file"
    raise AetherError(
        f"{path} is not a block device", hint="name a disk such as /dev/sdX; aether flash MACHINE lists them"
    )


@contextlib.contextmanager
def open_disk(path: Path) -> Iterator[Target]:
    """A block device for this program alone. AetherError if it is in use or may not be written."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise _not_opened(path, error) from None
    try:
        _lock_disk(path, fd)
        yield Target(path, fd, os.lseek(fd, 0, os.SEEK_END) // SECTOR * SECTOR, is_disk=True)
    finally:
        with contextlib.suppress(OSError):  # a disk that was pulled
            os.close(fd)


def check_free(path: Path) -> None:
    """Ask the kernel whether a disk could be had for this program alone, and change nothing."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        raise _not_opened(path, error) from None


def need_rights(path: Path, machine: str) -> None:
    """AetherError with the command for root, where this person may not write the disk."""
    if os.geteuid() == 0 or os.access(path, os.W_OK):
        return
    # sudo would look for the cache and the profiles in root's home.
    kept = {"AETHER_CACHE": str(cache_dir())}
    kept |= {name: os.environ[name] for name in ("AETHER_MACHINES",) if name in os.environ}
    words = [f"{name}={value}" for name, value in kept.items()]
    program = str(Path(sys.argv[0]).absolute())
    again = shlex.join(["sudo", "env", *words, program, "flash", machine, str(path)])
    raise AetherError(f"only root may write {path}", hint=again)


@contextlib.contextmanager
def open_file(path: Path, size: int) -> Iterator[Target]:
    """A plain file for this program alone: a new one of `size` bytes, or an old one that is larger.

    A new file goes away again if what is done with it fails.
    """
    new = not path.exists()
    _check_file(path, size, new=new)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | ((os.O_CREAT | os.O_EXCL) if new else 0), 0o644)
    except OSError as error:
        raise AetherError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with _locked_file(path, fd):
            if new:
                os.ftruncate(fd, size)
            length = os.fstat(fd).st_size // SECTOR * SECTOR
            yield Target(path, fd, length, is_disk=False, reads_zero=new)
    except BaseException:
        if new:
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def _check_file(path: Path, size: int, *, new: bool) -> None:
    real = path.resolve()
    if real.is_relative_to(cache_dir().resolve()):
        raise AetherError(f"{path} lies in the builder's cache", hint="name a file elsewhere")
    folder = os.statvfs(real.parent)
    if new and folder.f_bavail * folder.f_frsize < size:
        raise AetherError(f"{real.parent} has no room for {size_text(size)}", hint="name a file elsewhere")
    if new:
        return
    if path.stat().st_size < size:
        raise AetherError(
            f"{path} is too small: {size_text(path.stat().st_size)}, the image has {size_text(size)}",
            hint=f"truncate -s {size} {path} makes it larger; a file that is not there is made",
        )
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().rstrip("\n") == str(real):
                raise AetherError(
                    f"{path} is in use by /dev/{backing.parts[3]}",
                    hint=f"losetup -d /dev/{backing.parts[3]}",
                )
    with contextlib.suppress(OSError):
        if str(real) in [line.split()[0] for line in Path("/proc/swaps").read_text().splitlines()[1:]]:
            raise AetherError(f"{path} is in use: this host swaps to it", hint="swapoff it first")


@contextlib.contextmanager
def _locked_file(path: Path, fd: int) -> Iterator[None]:
    """Hold the locks of those who use disk files: a machine of ours (vm.py), and any QEMU by its own."""
    with contextlib.ExitStack() as held:
        ours = path.with_name(f"{path.name}.lock")
        if ours.exists():
            busy = f"{path} is in use by a running machine"
            held.enter_context(lock(ours, wait=False, busy=busy))
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AetherError(f"{path} is in use by another program", hint="stop that first") from None
        yield


def _lock_disk(path: Path, fd: int) -> None:
    """Keep udev away while the disk is half written (systemd.io/BLOCK_DEVICE_LOCKING)."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AetherError(
                    f"{path} is locked by another program", hint=f"fuser -v {path} names it"
                ) from None
        time.sleep(0.1)


def _not_opened(path: Path, error: OSError) -> AetherError:
    if error.errno == errno.EBUSY:
        return AetherError(
            f"{path} is in use: the kernel does not give it away",
            hint=f"unmount it everywhere: lsblk {path}; fuser -v {path}",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return AetherError(f"{path} cannot be written: {error.strerror}", hint="is it write-protected?")
    if error.errno in (errno.ENOMEDIUM, errno.ENXIO, errno.ENODEV):
        return AetherError(f"{path}: no medium is in it", hint="put one in")
    return AetherError(f"{path}: {error.strerror}")
