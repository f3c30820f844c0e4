"""A machine's serial line on this terminal, with a documented way out.

The terminal is raw, so that every key, Ctrl-C included, is the guest's; only Ctrl-A is ours, with the
letters of QEMU's own terminal. Whatever happens the terminal is put back as it was. Not for: what the
guest shows there.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import termios
import tty
from collections.abc import Iterator

from builder.qemu_process import Gone, QemuProcess, ShutdownReason

ESCAPE = 0x01  # Ctrl-A
HELP = (
    "Ctrl-A X  power down (a second time: cut the power)",
    "Ctrl-A R  reset",
    "Ctrl-A Ctrl-A  send Ctrl-A",
    "Ctrl-A H  this help",
)
SIGNALLED_SECONDS = 60.0  # to power down when we are told to end


class Keys:
    """Divides what is typed into the guest's bytes and our commands."""

    def __init__(self) -> None:
        self._escaped = False

    def take(self, typed: bytes) -> Iterator[bytes | str]:
        """The guest's bytes as bytes, our commands as one small letter, in order."""
        guest = bytearray()
        for byte in typed:
            if not self._escaped and byte == ESCAPE:
                self._escaped = True
                continue
            if not self._escaped or byte == ESCAPE:
                guest.append(byte)
            else:
                if guest:
                    yield bytes(guest)
                    guest.clear()
                yield chr(byte).lower()
            self._escaped = False
        if guest:
            yield bytes(guest)


def size_words() -> tuple[str, ...]:
    """Kernel words that tell the guest this terminal's type and size (systemd(1), systemd.tty.*)."""
    columns, rows = os.get_terminal_size(sys.stdin.fileno())
    words = [f"systemd.tty.rows.ttyS0={rows}", f"systemd.tty.columns.ttyS0={columns}"]
    term = os.environ.get("TERM", "vt220")
    return (f"systemd.tty.term.ttyS0={term}", *(words if rows and columns else []))


@contextlib.contextmanager
def raw(fd: int) -> Iterator[None]:
    """The terminal without line editing, echo and signals; as it was afterwards."""
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def say(text: str) -> None:
    """A line of ours between the guest's, in a terminal that is raw."""
    print(f"\r\n[{text}]\r\n", end="", file=sys.stderr, flush=True)


async def join(process: QemuProcess) -> ShutdownReason:
    """Join the machine's serial line to this terminal until the machine ends; why it ended."""
    line = process.serial
    assert line is not None, "the machine was made without on_terminal"
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    keys = Keys()
    to_guest: asyncio.Queue[bytes | str] = asyncio.Queue()

    def typed() -> None:
        data = os.read(keyboard, 4096)
        if not data:
            loop.remove_reader(keyboard)
        for part in keys.take(data):
            to_guest.put_nowait(part)

    def told_to_end() -> None:
        to_guest.put_nowait("x")

    with raw(keyboard), contextlib.ExitStack() as undo:
        loop.add_reader(keyboard, typed)
        undo.callback(loop.remove_reader, keyboard)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, told_to_end)
            undo.callback(loop.remove_signal_handler, number)
        tasks = [
            asyncio.create_task(_show(line, screen)),
            asyncio.create_task(_obey(process, line, to_guest)),
        ]
        try:
            await process.wait_for(lambda: True if process.exited else None, 365 * 86400)
            # What the guest wrote last may still be on its way.
            await asyncio.wait(tasks[:1], timeout=1)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, OSError | Gone):
            raise result
    return process.reason


async def _show(line: socket.socket, screen: int) -> None:
    """The guest's bytes to the screen, until the line closes."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(line, 65536):
        while data:
            data = data[os.write(screen, data) :]


async def _obey(process: QemuProcess, line: socket.socket, queue: "asyncio.Queue[bytes | str]") -> None:
    """Typed bytes to the guest, our commands to QEMU."""
    loop = asyncio.get_running_loop()
    pressed = False
    while True:
        part = await queue.get()
        if isinstance(part, bytes):
            await loop.sock_sendall(line, part)
        elif part == "x" and pressed:
            say("cutting the power")
            process.kill()
        elif part == "x":
            pressed = True
            say("pressing the power button; Ctrl-A X again cuts the power")
            await process.command("system_powerdown")
        elif part == "r":
            say("reset")
            await process.command("system_reset")
        else:
            say("; ".join(HELP))
