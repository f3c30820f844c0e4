"""Reminders as agentd keeps them: what each is about, when it comes, and when it came.

When its time has come systemd starts a unit for its id (exec/timers.py), and that calls `ring`. What rings
is decided here: a due time rings once, however often the unit runs and wherever the clock jumps. Not for:
what a person wants (tools/reminders.py), or setting a timer (the broker).
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agentd import log, recurrence
from agentd.database import Database
from agentd.errors import StoreUnavailable
from agentd.exec.arguments import TIME
from agentd.exec.timers import FOLDER
from agentd.reminder_display import local
from agentd.session import MAX_ID

# More than this after its due time a reminder was missed.
LATE = timedelta(minutes=5)
# A reminder that comes once is kept so long after it was seen.
KEPT = timedelta(days=30)
# Rings that are remembered of one reminder: the newest.
MOST_RINGS = 1000
# Seconds that a ring waits for its reminder: it is kept only after its timer is set.
PATIENCE = 10.0
_PREFIX, _SUFFIX = "agentd-reminder-", ".timer"
_COLUMNS = "id, person, text, moment, schedule, created"


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder; it comes once at `moment`, or by `schedule` (OnCalendar).

    Times are UTC: 2026-11-25T09:02:35Z. `due` and `rung` are the due time that rang last and when it rang,
    `ring` its number, `unseen` how many rings nobody has seen. `timer` is whether its timer's file is there;
    None where that cannot be told.
    """

    id: str
    person: str
    text: str
    moment: str | None
    schedule: str | None
    created: str
    due: str | None = None
    rung: str | None = None
    ring: int | None = None
    unseen: int = 0
    timer: bool | None = None

    @property
    def missed(self) -> bool:
        """Whether it rang last long after it was due."""
        return self.due is not None and self.rung is not None and _time(self.rung) - _time(self.due) > LATE

    @property
    def state(self) -> str:
        """ "set", or of one that comes once and came: "rung" or "missed"."""
        if self.schedule is not None or self.rung is None:
            return "set"
        return "missed" if self.missed else "rung"

    def next(self, now: datetime) -> datetime | None:
        """When it comes next, or should have come and did not; None if it comes no more."""
        if self.schedule is not None:
            return recurrence.parse(self.schedule).next(now)
        return _time(self.moment) if self.moment is not None and self.rung is None else None


@dataclass(frozen=True, slots=True)
class Ring:
    """What a unit's start did: `state` is rung, missed (rung late), again (it had rung), early or unknown.

    `text` says it without what the reminder is about; `seconds` is how long until it is due next.
    """

    state: str
    text: str
    seconds: float | None = None


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class ReminderStore:
    """The reminders in agentd's database. May be used by several threads; methods raise StoreUnavailable."""

    def __init__(
        self, database: Database, units: Path = FOLDER, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.clock = clock
        self._database = database
        self._units = units
        self._kept = threading.Condition()

    def keep(self, id: str, person: str, text: str, moment: str | None, schedule: str | None) -> bool:
        """Keep a reminder; False if there is one of this id already."""
        with self._database.writing() as connection:
            new = connection.execute(
                f"INSERT INTO reminders ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (id, person, text, moment, schedule, self.clock().strftime(TIME)),
            ).rowcount
        with self._kept:
            self._kept.notify_all()
        return new > 0

    def drop(self, id: str, person: str) -> None:
        """Remove a reminder of a person's, what it is about and its rings."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM reminders WHERE id = ? AND person = ?", (id, person))

    def find(self, id: str) -> Reminder | None:
        """The reminder of this id, whoever's it is."""
        return next(iter(self._select("r.id = ?", id)), None)

    def of(self, person: str, *, unseen: bool = False) -> list[Reminder]:
        """A person's reminders, those that come next first, then those that came, newest first.

        With `unseen` only those that rang without being seen, in the order in which they rang.
        """
        found = self._select("r.person = ?", person)
        if unseen:
            return sorted((one for one in found if one.unseen), key=lambda one: one.ring or 0)
        now = self.clock()
        nexts = {one.id: one.next(now) for one in found}
        coming = sorted((at, one.id, one) for one in found if (at := nexts[one.id]) is not None)
        came = [one for one in found if nexts[one.id] is None]
        return [*(one for _, _, one in coming), *sorted(came, key=lambda one: -(one.ring or 0))]

    def ring(self, id: str, patience: float = PATIENCE) -> Ring:
        """Have a reminder ring, if it is due and did not ring for that time yet."""
        recurrence.refresh_zone()
        with self._kept:
            if not self._kept.wait_for(lambda: self.find(id) is not None, patience):
                return _unknown(id)
        with self._database.writing() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM reminders WHERE id = ?", (id,)).fetchone()
            if row is None:
                return _unknown(id)
            reminder, now = Reminder(*row), self.clock()
            due = _due(reminder, now)
            coming = None if due and reminder.moment else reminder.next(now)
            seconds = (coming - now).total_seconds() if coming is not None else None
            if due is None:
                when = f": it is due {local(coming)}" if coming is not None else ""
                return Ring("early", f"reminder {id} does not ring yet{when}", seconds)
            is_new = connection.execute(
                "INSERT INTO rings (reminder, due, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (id, due.strftime(TIME), now.strftime(TIME)),
            ).rowcount
            if not is_new:
                return Ring("again", f"reminder {id} rang for {local(due)} already", seconds)
            connection.execute(
                "DELETE FROM rings WHERE reminder = ? AND number NOT IN"
                " (SELECT number FROM rings WHERE reminder = ? ORDER BY number DESC LIMIT ?)",
                (id, id, MOST_RINGS),
            )
        if now - due > LATE:
            return Ring("missed", f"reminder {id} was missed: was due at {local(due)}", seconds)
        return Ring("rung", f"reminder {id} rings", seconds)

    def see(self, person: str, ring: int) -> None:
        """Note that a person has seen what rang, up to the ring of this number."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE rings SET seen = 1 WHERE number <= ?"
                " AND reminder IN (SELECT id FROM reminders WHERE person = ?)",
                (max(0, min(ring, MAX_ID)), person),
            )
            connection.execute(
                "DELETE FROM reminders WHERE moment IS NOT NULL"
                " AND id IN (SELECT reminder FROM rings WHERE seen AND time < ?)",
                ((self.clock() - KEPT).strftime(TIME),),
            )

    def timers(self) -> frozenset[str] | None:
        """The ids of the timers on this machine, whatever they ring; None where that cannot be told."""
        try:
            names = [path.name for path in self._units.iterdir()]
        except OSError:
            return None
        return frozenset(
            name[len(_PREFIX) : -len(_SUFFIX)]
            for name in names
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX)
        )

    def compare(self) -> None:
        """Log which reminders have no timer, and which timers no reminder: a power cut came in between."""
        with suppress(StoreUnavailable):  # told where the database was opened
            found = self._select("TRUE")
            silent = [one.id for one in found if one.state == "set" and one.timer is False]
            if silent:
                log.warning(f"reminders without a timer: {' '.join(silent)}; see: agent reminders")
            orphans = (self.timers() or frozenset()) - {one.id for one in found}
            if orphans:
                log.warning(
                    f"timers without a reminder: {' '.join(sorted(orphans))};"
                    " to take one away: agent tool time.cancel which=ID"
                )

    def _select(self, condition: str, *values: str) -> list[Reminder]:
        with self._database.reading() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                f"SELECT {_COLUMNS}, last.due, last.time, last.number,"
                " (SELECT count(*) FROM rings WHERE reminder = r.id AND NOT seen)"
                " FROM reminders AS r LEFT JOIN rings AS last ON last.number ="
                " (SELECT max(number) FROM rings WHERE reminder = r.id)"
                f" WHERE {condition}",
                values,
            ).fetchall()
        timers = self.timers()
        return [replace(Reminder(*row), timer=None if timers is None else row[0] in timers) for row in rows]


def _due(reminder: Reminder, now: datetime) -> datetime | None:
    """The due time that a reminder may ring for now."""
    if reminder.schedule is None:
        moment = _time(str(reminder.moment))
        return moment if moment <= now else None
    due = recurrence.parse(reminder.schedule).last(now)
    # Nothing rings for a time before it was set: somebody started its unit by hand. A little earlier, as its
    # timer was set before it was kept; and a clock that was set back since then tells nothing.
    earliest = min(_time(reminder.created), now) - LATE
    return due if due is not None and due > earliest else None


def _unknown(id: str) -> Ring:
    return Ring(
        "unknown",
        f"there is no reminder {id}; its timer is taken away by: agent tool time.cancel which={id}",
    )


def _time(text: str) -> datetime:
    return datetime.strptime(text, TIME).replace(tzinfo=UTC)
