"""A virtual machine as a story: start it, wait until its agent is ready, ask it, cut its power.

    with Machine(spec) as m:
        m.start()
        m.wait_ready()
        print(m.ask("Who are you?").text)
        assert m.powerdown() is ShutdownReason.GUEST_SHUTDOWN

Every verb has a deadline in seconds and ends early when the machine does; a wait that fails keeps what
is known in a folder and says how to repeat the run. Used by `aether run`, `aether ask` and the boot
tests. Not for: the QEMU process itself (qemu_process.py), the guest agent's protocol (guest.py).
"""

import asyncio
import contextlib
import dataclasses
import json
import re
import shlex
import shutil
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from builder import accel, boot_phases, failure_bundle, guest, powercut, terminal, toolchain
from builder.cache import lock, write_atomically
from builder.errors import AetherError
from builder.guest import Completed, GuestAgent
from builder.qemu_command import (
    FIRMWARE,
    OVMF,
    Channels,
    Files,
    MachineSpec,
    qemu_argv,
    tpm_argv,
    visible_files,
    without_missing_devices,
)
from builder.qemu_process import Gone, QemuProcess, Ready, ShutdownReason, launch

T = TypeVar("T")

# A boot takes 2-5 s under KVM and 15-45 s when every instruction is emulated on two busy cores.
READY_SECONDS = {"kvm": 60.0, "tcg": 300.0}
ASK_SECONDS = {"kvm": 120.0, "tcg": 600.0}
POWERDOWN_SECONDS = {"kvm": 60.0, "tcg": 120.0}
PRESS_SECONDS = 10.0


class MachineFailed(AetherError):
    """A machine did not do what it was told; `folder` holds what is known about it."""

    exit_status = 1

    def __init__(self, message: str, *, folder: Path, repeat: str) -> None:
        super().__init__(f"{message} (see {folder})", hint=f"repeat the run with: {repeat}")
        self.folder = folder


class CommandFailed(AetherError):
    """A guest command ended otherwise than it was told to."""

    exit_status = 1

    def __init__(self, completed: Completed, wanted: str) -> None:
        out, err = completed.text.strip(), completed.stderr.decode(errors="replace").strip()
        said = "".join(f"\n  | {line}" for line in [*out.splitlines()[-15:], *err.splitlines()[-15:]])
        super().__init__(
            f"in the guest: {shlex.join(completed.argv)} ended with {completed.status}, not {wanted}{said}"
        )
        self.completed = completed


class AskFailed(AetherError):
    """The guest's agent answered that it cannot."""

    exit_status = 1


@dataclass(frozen=True)
class Answer:
    """What the guest's agent answered; `raw` is the whole JSON of `agent --json`."""

    text: str
    raw: dict[str, Any]
    status: int


class Machine:
    """A virtual machine with a life. Not started until `start`; a context manager that ends it."""

    def __init__(
        self, spec: MachineSpec, *, tools: toolchain.Toolchain | None = None, on_terminal: bool = False
    ) -> None:
        """`on_terminal` puts the serial line where `interact` can join it to this terminal."""
        self.accel = accel.choose("tcg" if spec.icount else spec.accel)
        devices, self.notes = without_missing_devices(spec.devices)
        self.spec = dataclasses.replace(spec, devices=devices)
        self.tools = tools or toolchain.ensure()
        self.ready: Ready | None = None
        self.boot: boot_phases.Boot | None = None
        self.boots = 0
        self._on_terminal = on_terminal
        self._runner = asyncio.Runner()
        self._held = contextlib.ExitStack()
        self._process: QemuProcess | None = None
        self._agent = GuestAgent(spec.folder / "guest-agent.sock")
        self._seen_boots: set[str] = set()
        self._closed = False

    # ---- life

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the machine, or start it again after it ended."""
        if self.running:
            raise AetherError(f"machine {self.spec.name} runs already", hint="power it down first")
        spec = self.spec
        spec.folder.mkdir(parents=True, exist_ok=True)
        if self.boots == 0 and spec.disk is not None:
            if not spec.disk.exists():
                raise AetherError(f"{spec.disk} does not exist", hint="build the machine first")
            busy = f"{spec.disk} is in use by a running machine"
            held = lock(spec.disk.with_name(f"{spec.disk.name}.lock"), wait=False, busy=busy)
            self._held.enter_context(held)
        self.boots += 1
        self.ready = None
        if spec.has_tpm:
            self.files.tpm.mkdir(exist_ok=True)
        if not self.files.variables.exists():
            shutil.copyfile(
                self.tools.root / OVMF.relative_to("/") / FIRMWARE[spec.secure_boot][1], self.files.variables
            )
        if spec.write_log is not None and spec.disk is not None:
            powercut.begin(spec.disk, spec.write_log)
        write_atomically(self.repeat_script, "#!/bin/sh\nexec " + shlex.join(self._argv(Channels())) + "\n")
        try:
            self._run(self._start())
        except Gone as error:
            if 'Failed to get "write" lock' in str(error):
                raise AetherError(
                    f"{spec.disk} is in use by another QEMU", hint="stop that machine first"
                ) from None
            raise self.failure(str(error)) from None

    async def _start(self) -> None:
        with guest.listener(self._agent.path) as agent_port:
            self._process = await launch(
                self._argv,
                self.files.qemu_log,
                agent_port,
                terminal=self._on_terminal,
                tpm_argv_for=self._tpm_argv if self.spec.has_tpm else None,
            )
        self._process.started = asyncio.get_running_loop().time()
        self._process.beside(boot_phases.watch_loader(self._process, self.files.serial_log))
        await self._process.command("cont")

    def close(self) -> None:
        """End the machine as a power cut does, if it still runs, and let go of its disk."""

        async def end() -> None:
            await self._agent.disconnect()
            if self._process is not None:
                await self._process.close()

        if self._closed:
            return
        self._closed = True
        try:
            self._run(end())
        finally:
            self._runner.close()
            self._held.close()

    @property
    def running(self) -> bool:
        """True while there is a QEMU process."""
        return self._process is not None and self._process.process.poll() is None

    @property
    def process_id(self) -> int:
        """The number of the QEMU process."""
        return self._alive().process.pid

    @property
    def files(self) -> Files:
        """The files of the present (or last) start."""
        folder = self.spec.folder
        return Files(
            folder / f"serial-{max(self.boots, 1)}.log",
            folder / "qemu.log",
            folder / "OVMF_VARS.fd",
            folder / "tpm",
        )

    @property
    def repeat_script(self) -> Path:
        """The script that starts this machine by hand, its serial line on the terminal."""
        return self.spec.folder / "repeat.sh"

    # ---- waits

    def wait_ready(self, timeout: float | None = None) -> Ready:
        """Wait for the guest's word that its agent is healthy, since the last start or reset."""
        process = self._alive()

        def look() -> Ready | None:
            for at, said in process.ready_lines:
                boot = str(said.get("boot_id", ""))
                if boot not in self._seen_boots:
                    return Ready(boot, str(said.get("agentd", "")), at - process.started, said)
            return None

        if self.ready is None:
            limit = READY_SECONDS[self.accel.kind] if timeout is None else timeout
            self.ready = self._wait(process.wait_for(look, limit), "its agent to be ready", limit)
            self._seen_boots.add(self.ready.boot_id)
        return self.ready

    def wait_event(self, *names: str, timeout: float = 30.0, since: int = 0) -> dict[str, Any]:
        """The data of the first QMP event of one of these names, counted from `events_seen`."""
        event = self._wait(
            self._alive().wait_event(names, since, timeout), f"the event {' or '.join(names)}", timeout
        )
        return event.data

    @property
    def events_seen(self) -> int:
        """How many QMP events have come so far: a mark for `wait_event`."""
        self._run(asyncio.sleep(0))
        return len(self._alive().events)

    def wait_serial(self, pattern: str, timeout: float = 60.0) -> re.Match[str]:
        """Wait for text on the serial line. For diagnosis and firmware: an agent says when it is ready."""
        found: list[re.Match[str]] = []

        async def look() -> None:
            while not (match := re.search(pattern, self.serial())):
                await asyncio.sleep(0.1)  # a log file has no event
            found.append(match)

        self._wait(self._alive().race(look(), timeout), f"{pattern!r} on the serial line", timeout)
        return found[0]

    def serial(self) -> str:
        """Everything the machine wrote on its serial line since it was started."""
        log = self.files.serial_log
        return log.read_text(errors="replace") if log.exists() else ""

    def wait_end(self, timeout: float = 60.0) -> ShutdownReason:
        """Wait until the machine has ended, and say why it did."""
        return self._wait(self._alive().wait_exit(timeout), "its end", timeout)

    # ---- in the guest

    def execute(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 120.0
    ) -> Completed:
        """Run a command in the guest as root, whatever its exit status."""
        pid = self.spawn(argv, stdin=stdin, timeout=timeout)
        return self.wait_spawned(argv, pid, timeout=timeout)

    def spawn(self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 60.0) -> int:
        """Start a command in the guest and do not wait for it; its process number there."""
        work = self._alive().race(self._agent.spawn(argv, stdin=stdin), timeout)
        return self._wait(work, f"the guest to start {argv[0]}", timeout)

    def wait_spawned(self, argv: Sequence[str], pid: int, *, timeout: float = 120.0) -> Completed:
        """Wait for a command that `spawn` started."""
        work = self._alive().race(self._agent.wait(argv, pid), timeout)
        return self._wait(work, f"the guest's {shlex.join(argv)}", timeout)

    def succeed(self, command: str | Sequence[str], *, timeout: float = 120.0) -> str:
        """Run a command (text goes to the guest's shell) that must exit 0; its standard output."""
        done = self.execute(_words(command), timeout=timeout)
        if done.status != 0:
            raise CommandFailed(done, "0")
        return done.text

    def fail(self, command: str | Sequence[str], *, timeout: float = 120.0) -> str:
        """Run a command that must not exit 0; its standard output and error."""
        done = self.execute(_words(command), timeout=timeout)
        if done.status == 0:
            raise CommandFailed(done, "a failure")
        return done.text + done.stderr.decode(errors="replace")

    def ask(
        self,
        question: str,
        *,
        session: str = "",
        max_tokens: int | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Ask the guest's agent, in a new session unless one is named, and wait for the whole answer.

        AskFailed with the agent's own words if it says that it cannot answer.
        """
        limit = ASK_SECONDS[self.accel.kind] if timeout is None else timeout
        argv = ask_argv(question, session=session, max_tokens=max_tokens)
        return answer_of(self.execute(argv, timeout=limit))

    # ---- power

    def powerdown(self, timeout: float | None = None) -> ShutdownReason:
        """Press the power button and wait until the machine has ended; why it ended.

        Pressed again while nothing happens: a guest that has just come up may not listen to it yet.
        """
        limit = POWERDOWN_SECONDS[self.accel.kind] if timeout is None else timeout
        process = self._alive()

        async def press_again() -> None:
            while True:
                await process.command("system_powerdown")
                await asyncio.sleep(PRESS_SECONDS)

        async def press() -> ShutdownReason:
            pressing = asyncio.ensure_future(press_again())
            try:
                return await process.wait_exit(limit)
            finally:
                pressing.cancel()
                await asyncio.gather(pressing, return_exceptions=True)

        return self._wait(press(), "it to power down", limit)

    def reset(self, timeout: float = 30.0) -> None:
        """Press the reset button: what the guest had not flushed stays in the host's page cache."""
        process = self._alive()
        mark = self.events_seen

        async def press() -> None:
            await self._agent.disconnect()
            await process.command("system_reset")
            await process.wait_event(["RESET"], mark, timeout)

        self._wait(press(), "its reset", timeout)
        self._seen_boots.update(str(said.get("boot_id", "")) for _, said in process.ready_lines)
        self.ready = None

    def crash(self) -> None:
        """Cut the power. With a write log, everything that the guest had not flushed is lost too.

        Without one the host's page cache keeps what QEMU had been given, as a disk with a battery does.
        """
        process = self._alive()

        async def cut() -> None:
            process.kill()
            await self._agent.disconnect()
            await process.wait_exit(10)

        self._wait(cut(), "its end", 10)
        if self.spec.write_log is not None and self.spec.disk is not None:
            powercut.lose_unflushed(self.spec.disk, self.spec.write_log)

    def pause(self) -> None:
        """Stop the virtual processors."""
        self._switch("stop", "STOP")

    def resume(self) -> None:
        """Let the virtual processors go on."""
        self._switch("cont", "RESUME")

    def _switch(self, command: str, event: str) -> None:
        process, mark = self._alive(), self.events_seen

        async def switch() -> None:
            await process.command(command)
            await process.wait_event([event], mark, 10)

        self._wait(switch(), f"the event {event}", 10)

    # ---- looking at it and changing it

    def qmp(self, command: str, **arguments: object) -> Any:
        """A QMP command's return value, for what has no verb here; `_` in names means `-`."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._wait(self._alive().command(command, named or None), f"the answer to {command}", 30)

    def status(self) -> str:
        """QEMU's run state: running, paused, shutdown ... (qapi/run-state.json)."""
        return str(self.qmp("query-status")["status"])

    def screendump(self, path: Path | None = None) -> Path:
        """A picture (PNG) of the machine's screen; needs the device `vga`."""
        made = self.spec.folder / "screen.png"
        self.qmp("screendump", filename=str(made), format="png")
        if path is not None:
            shutil.move(made, path)
        return path or made

    def balloon(self, memory: int, timeout: float = 60.0) -> None:
        """Leave the guest `memory` bytes and wait until it has given the rest back."""
        process = self._alive()

        async def inflate() -> None:
            mark = len(process.events)
            await process.command("balloon", {"value": memory})
            while (await process.command("query-balloon"))["actual"] != memory:
                await process.wait_event(["BALLOON_CHANGE"], mark, timeout)
                mark = len(process.events)

        self._wait(inflate(), f"its balloon to leave {memory >> 20} MiB", timeout)

    def interact(self) -> ShutdownReason:
        """Join the serial line to this terminal until the machine ends (terminal.py).

        Meanwhile the phases of its boot are read into `boot`, if it comes up.
        """
        process = self._alive()

        async def note() -> None:
            await process.wait_for(lambda: process.ready_lines or None, READY_SECONDS["tcg"])
            self.boot = await boot_phases.read(process, self._agent)

        async def joined() -> ShutdownReason:
            process.beside(note())
            return await terminal.join(process)

        return self._run(joined())

    def read_boot(self, patience: float = 60.0) -> boot_phases.Boot | None:
        """The phases of the boot that came up last, also in `boot`; None if the guest does not tell them.

        Waits up to `patience` seconds for the end of the boot: without it one figure is missing.
        """
        self.boot = self._run(boot_phases.read(self._alive(), self._agent, patience))
        return self.boot

    # ---- machinery

    def _argv(self, channels: Channels) -> list[str]:
        words = qemu_argv(self.spec, self.accel.kind, self.files, channels)
        readable, writable, devices = visible_files(self.spec, self.files)
        return self.tools.argv(
            words, readable=readable, writable=writable, devices=devices, network=self.spec.network
        )

    def _tpm_argv(self, channel: int) -> list[str]:
        return self.tools.argv(tpm_argv(self.files, channel), writable=[self.files.tpm])

    def _alive(self) -> QemuProcess:
        if self._process is None:
            raise AetherError(f"machine {self.spec.name} was not started", hint="call start()")
        return self._process

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def _wait(self, work: Coroutine[Any, Any, T], what: str, seconds: float) -> T:
        async def limited() -> T:
            # The work has its own limit; this one is for work that hangs inside a command.
            async with asyncio.timeout(seconds + 5):
                return await work

        try:
            return self._run(limited())
        except TimeoutError:
            raise self.failure(f"machine {self.spec.name}: waited {seconds:.0f} s for {what}") from None
        except Gone as error:
            raise self.failure(f"machine {self.spec.name}: waiting for {what}: {error}") from None

    def failure(self, message: str) -> MachineFailed:
        """An error for this machine, with what is known about it kept in a folder."""
        folder = self._run(
            failure_bundle.collect(self.spec.folder, self.files, message, self._process, self._agent)
        )
        return MachineFailed(message, folder=folder, repeat=f"sh {folder / 'repeat.sh'}")


def ask_argv(question: str, *, session: str = "", max_tokens: int | None = None) -> list[str]:
    """The guest's command that asks its agent."""
    words = ["agent", "--json", "ask"]
    if session:
        words += ["--session", session]
    if max_tokens is not None:
        words += ["--max-tokens", str(max_tokens)]
    return [*words, "--", question]


def answer_of(done: Completed) -> Answer:
    """The answer in what `agent --json ask` printed; AskFailed or CommandFailed if there is none."""
    try:
        raw = json.loads(done.stdout.decode())
        if "error" in raw:
            raise AskFailed(f"the agent could not answer: {raw['error']}", hint=str(raw.get("hint") or ""))
        return Answer(str(raw["text"]), raw, done.status)
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(done, "an answer in JSON") from None


def _words(command: str | Sequence[str]) -> Sequence[str]:
    return ["/bin/sh", "-c", command] if isinstance(command, str) else command
