"""What the tests of awareness share: events, a store, notices without their thread."""

from pathlib import Path
from typing import Any

from agentd.awareness.event import Event, Severity
from agentd.awareness.notices import Notices
from agentd.awareness.store import Store
from agentd.database import Database

WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL


def notices_in(folder: Path, **parameters: Any) -> Notices:
    """Notices whose events are written when they are read."""
    return Notices(Store(Database(folder / "agent.db")), **parameters)


def failed(unit: str = "nginx.service", why: str = "it crashed (SIGSEGV)", **more: Any) -> Event:
    """A unit that failed."""
    return Event("unit.failed", unit, why, WARNING, **more)


def texts(notices: Notices, **parameters: Any) -> list[str]:
    """The notices' texts, newest first."""
    return [one.text for one in notices.notices(**parameters)]
