"""Reminders' timers: a unit file for each that says when, and nothing of what it is about.

The service that a timer starts is the image's own, agentd-reminder@.service. A moment that passed while the
machine was off is made up for at the next boot (Persistent=, systemd.timer(5)).
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd.exec import units
from agentd.exec.arguments import TIME
from agentd.memory.repository import sync_folder
from agentd.tools.tool import Lacking

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

FOLDER = Path("/etc/systemd/system")
MOST = 500
_PREFIX, _SERVICE = "agentd-reminder-", "agentd-reminder@{id}.service"
_TIMER = f"{units.SYSTEMD}.Timer"
# What systemd says where there is no next time (USEC_INFINITY), and before it knows.
_NEVER = (0, 2**64 - 1)
_UNIT = """\
# Written by agentd-exec.
[Unit]
Description=Reminder {id} of the agent

[Timer]
OnCalendar={calendar}
Persistent=yes
AccuracySec=1s
Unit={service}

[Install]
WantedBy=timers.target
"""


def add(bus: "Bus", folder: Path, arguments: Mapping[str, Any]) -> None:
    """Have a reminder `id` come once, `when`, or by a `schedule`; a moment that passed is now.

    Raises Lacking, and then there is no timer.
    """
    id, when = arguments["id"], arguments.get("when")
    calendar = f"{datetime.strptime(when, TIME):%Y-%m-%d %H:%M:%S} UTC" if when else arguments["schedule"]
    timer, file = _timer(folder, id)
    if len(list(folder.glob(f"{_PREFIX}*.timer"))) >= MOST:
        raise Lacking(f"there are {MOST} reminders already")
    service = _SERVICE.format(id=id)
    _write(file, _UNIT.format(id=id, calendar=calendar, service=service), id)
    try:
        units.enable_file(bus, timer)
        units.reload(bus)
        # systemd does not start what it cannot parse.
        units.run_job(bus, "StartUnit", timer)
        state = bus.get_all(units.SYSTEMD, units.load(bus, timer), _TIMER)
        if state["NextElapseUSecRealtime"] in _NEVER and not state["LastTriggerUSec"]:
            if not when:
                raise Lacking(f"{calendar} never comes")
            # Not waited for: the timer's part is done.
            bus.call(units.SYSTEMD, units.PATH, units.MANAGER, "StartUnit", "ss", service, "replace")
    except Lacking:
        with suppress(Lacking):  # what is told is why it failed in the first place
            _take_away(bus, timer, file)
        raise


def remove(bus: "Bus", folder: Path, id: str) -> None:
    """Have a reminder come no more. Raises Lacking."""
    timer, file = _timer(folder, id)
    if not file.exists():
        raise Lacking(f"there is no reminder {id}")
    _take_away(bus, timer, file)


def _take_away(bus: "Bus", timer: str, file: Path) -> None:
    from agentd.tools.bus import Refused

    try:
        units.disable_file(bus, timer)
    finally:
        # Without its file it does not come back at the next boot, whatever else goes wrong.
        try:
            file.unlink(missing_ok=True)
            sync_folder(file.parent)
        except OSError as error:
            raise Lacking(f"{file}: {error.strerror}") from error
    with suppress(Refused):  # it was not loaded
        units.run_job(bus, "StopUnit", timer)
    with suppress(Refused):  # it has no stamp of its last time
        bus.call(units.SYSTEMD, units.PATH, units.MANAGER, "CleanUnit", "sas", timer, ["state"])
    units.reload(bus)


def _timer(folder: Path, id: str) -> tuple[str, Path]:
    name = f"{_PREFIX}{id}.timer"
    return name, folder / name


def _write(file: Path, text: str, id: str) -> None:
    """Make a new unit file, on the disk when this returns. Raises Lacking."""
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o644), "w") as opened:
            os.fchmod(opened.fileno(), 0o644)
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        try:
            # Unlike a rename a link never replaces another reminder.
            file.hardlink_to(temporary)
        finally:
            temporary.unlink()
        sync_folder(file.parent)
    except FileExistsError as error:
        raise Lacking(f"there is a reminder {id} already") from error
    except OSError as error:
        raise Lacking(f"{file}: {error.strerror}") from error
