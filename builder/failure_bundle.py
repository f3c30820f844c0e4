"""What is kept when a virtual machine fails: one folder that explains the failure without the machine.

Not for: deciding that something failed (vm.py).
"""

import asyncio
import contextlib
import json
import shutil
from pathlib import Path

from builder.errors import AetherError
from builder.guest import GuestAgent, GuestRefused
from builder.qemu_command import Files
from builder.qemu_process import Gone, QemuProcess

JOURNAL = ["journalctl", "--boot", "--no-pager", "--output=short-monotonic"]
PING_SECONDS, PART_SECONDS = 5.0, 30.0  # for the guest agent to answer at all, for each part


async def collect(
    folder: Path, files: Files, message: str, process: QemuProcess | None, agent: GuestAgent
) -> Path:
    """Fill the next `FOLDER/failure-N`: error, serial log, QEMU's messages, state, screen, journal.

    Nothing here may hide the failure itself: a part that cannot be had is left out, and said so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (path.name.removeprefix("failure-") for path in folder.glob("failure-*"))
    # One more than the highest, not than how many: a person may have removed an old one.
    number = 1 + max((int(text) for text in numbers if text.isdigit()), default=0)
    bundle = folder / f"failure-{number}"
    bundle.mkdir()
    lines = [message]
    for kept in (files.serial_log, files.qemu_log, folder / "repeat.sh"):
        if kept.exists():
            shutil.copyfile(kept, bundle / kept.name)
    if process is not None:
        lines += [f"ready port said: {line}" for line in process.odd_lines]
        events = [
            {"name": event.name, "at": round(event.at, 3), "data": event.data} for event in process.events
        ]
        (bundle / "events.json").write_text(json.dumps(events, indent=1))
    if process is not None and process.process.poll() is None:
        for name, part in (
            ("status.json", _status(process)),
            ("screen.png", _screen(process, folder, bundle)),
            ("journal.txt", _journal(agent)),
        ):
            try:
                async with asyncio.timeout(PART_SECONDS):
                    text = await part
                if text:
                    (bundle / name).write_text(text)
            except TimeoutError:
                lines.append(f"no {name}: no answer in {PART_SECONDS:.0f} s")
            except (AetherError, Gone, OSError) as error:
                lines.append(f"no {name}: {error}")
            except Exception as error:  # the library's errors differ from one release to the next
                lines.append(f"no {name}: {type(error).__name__}: {error}")
    (bundle / "error.txt").write_text("\n".join(lines) + "\n")
    return bundle


async def _status(process: QemuProcess) -> str:
    return json.dumps(await process.command("query-status"), indent=1)


async def _screen(process: QemuProcess, folder: Path, bundle: Path) -> str:
    made = folder / "screen.png"  # QEMU sees no other folder
    try:
        await process.command("screendump", {"filename": str(made), "format": "png"})
        shutil.move(made, bundle / made.name)
    finally:
        with contextlib.suppress(OSError):
            made.unlink()
    return ""


async def _journal(agent: GuestAgent) -> str:
    try:
        async with asyncio.timeout(PING_SECONDS):
            await agent.command("guest-ping")
    except TimeoutError:
        raise GuestRefused("the guest agent does not answer") from None
    return (await agent.execute(JOURNAL)).text
