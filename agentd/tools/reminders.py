"""Reminders, timers and what comes again, as tools, and who does their own steps.

Each has a timer of systemd's, which the broker sets and which knows no more than an id. The timer comes
first and what it is about second: if the broker cannot set it, nothing of the reminder is kept. Not for:
ringing (agentd/reminders.py).
"""

import math
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from agentd import recurrence
from agentd.acting import StepFailed
from agentd.approval import MOST_WAITING
from agentd.errors import Refusal
from agentd.exec import arguments as exec_arguments
from agentd.memory.memory import OWNER
from agentd.reminder_display import listing, local
from agentd.reminders import Reminder, ReminderStore
from agentd.tools.render import count, span, visible
from agentd.tools.tool import (
    Answer,
    Argument,
    Arguments,
    Context,
    Kind,
    Lacking,
    Level,
    Plan,
    Step,
    Tool,
    Unfit,
)

KEEP, DROP = "reminder.keep", "reminder.drop"
SET, REMOVE = "timer.set", "timer.remove"
_LONGEST = timedelta(days=50 * 366)
_LETTERS = 60
_TOLD = 5


class Reminders:
    """The tools, and who does their steps: an acting.Executor."""

    def __init__(self, store: ReminderStore) -> None:
        self._store = store
        # When timers were asked for, by the arguments of the request: after a yes acting.py plans a request
        # again from the same object, and its end must not have moved by then.
        self._asked: deque[tuple[Arguments, datetime]] = deque(maxlen=MOST_WAITING)
        self._lock = threading.Lock()

    def tools(self) -> tuple[Tool, ...]:
        """The declarations."""
        text = Argument("text", Kind.WORDS, "what to remind of")
        return (
            Tool(
                "time.remind",
                "remind of something at a time",
                Level.CHANGE,
                plan=self._remind,
                arguments=(text, Argument("when", Kind.WHEN, "when to remind")),
                reversible=True,
            ),
            Tool(
                "time.timer",
                "a timer: an alarm after a while",
                Level.CHANGE,
                plan=self._timer,
                arguments=(Argument("duration", Kind.DURATION, "how long, in seconds"),),
                reversible=True,
            ),
            Tool(
                "time.repeat",
                "a reminder that comes again and again",
                Level.CHANGE,
                plan=self._repeat,
                arguments=(text, Argument("schedule", Kind.SCHEDULE, "when it comes")),
                reversible=True,
            ),
            Tool(
                "time.list", "reminders, timers and recurring tasks that are set", Level.READ, run=self._list
            ),
            Tool(
                "time.cancel",
                "cancel a reminder, a timer or a recurring task",
                Level.CHANGE,
                plan=self._cancel,
                arguments=(Argument("which", Kind.WORDS, "its id, its words or its time"),),
                reversible=True,
            ),
        )

    def can(self, verb: str) -> bool:
        """Whether a step is one of these."""
        return verb in (KEEP, DROP)

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        """Do the steps. Raises StepFailed."""
        for step in steps:
            given = step.arguments
            try:
                if step.verb == DROP:
                    self._store.drop(given["id"], given["person"])
                elif not self._store.keep(
                    given["id"], given["person"], given["text"], given.get("when"), given.get("schedule")
                ):
                    raise StepFailed(f"there is a reminder {given['id']} already.")
            except Refusal as refusal:
                raise StepFailed(f"{refusal.parameters.get('detail', refusal)}.") from refusal

    # ---- setting

    def _remind(self, context: Context, arguments: Arguments) -> Plan:
        text, moment = _text(arguments["text"]), datetime.fromisoformat(arguments["when"])
        now = self._store.clock()
        _check(moment, now)
        return self._set(
            context.person,
            text,
            {"when": _utc(moment)},
            f"Remind of “{_short(text)}” on {local(moment)}",
            (f"It comes in {_span(moment - now)}.",),
            f"I will remind you on {local(moment)}: {_short(text)}.",
        )

    def _timer(self, context: Context, arguments: Arguments) -> Plan:
        now, length = self._store.clock(), timedelta(seconds=arguments["duration"])
        # Whole seconds, and never too early.
        end = datetime.fromtimestamp(math.ceil((self._since(arguments) + length).timestamp()), UTC)
        _check(end, now)
        from agentd.tools import reminder_words

        text = reminder_words.timer(arguments["duration"])
        return self._set(
            context.person,
            text,
            {"when": _utc(end)},
            f"Set a {text[0].lower()}{text[1:]}",
            (f"It ends on {local(end)}.",),
            f"{text}: it ends on {local(end)}.",
        )

    def _repeat(self, context: Context, arguments: Arguments) -> Plan:
        text, schedule = _text(arguments["text"]), arguments["schedule"]
        if wrong := exec_arguments.schedule(schedule):
            raise Unfit(f"no timer can be set for '{schedule}': it {wrong}")
        try:
            coming = recurrence.first(schedule, self._store.clock(), 3)
        except ValueError as error:
            raise Unfit(str(error)) from error
        if not coming:
            raise Unfit(f"'{schedule}' never comes")
        return self._set(
            context.person,
            text,
            {"schedule": schedule},
            f"Remind of “{_short(text)}” again and again: {recurrence.said(schedule)}",
            (f"It comes on {', on '.join(local(one) for one in coming)} ...",),
            f"I will remind you {recurrence.said(schedule)}, first on {local(coming[0])}: {_short(text)}.",
        )

    def _set(
        self,
        person: str,
        text: str,
        comes: Mapping[str, str],
        summary: str,
        effects: tuple[str, ...],
        done: str,
    ) -> Plan:
        """The plan for a reminder that `comes` {when} or {schedule}. The same one always has the same id."""
        [at] = comes.values()
        id = sha256("\0".join((person, text, at)).encode()).hexdigest()[:12]
        if _known(self._store, id) is not None:
            raise Lacking(f"there is this reminder already, as {id}", "agent reminders")
        keep = Step(KEEP, {"id": id, "person": person, "text": text, **comes})
        set_timer = Step(SET, {"id": id, **comes})
        # A timer that was left alone by a power cut is the right one: its id says when it comes.
        has_timer = id in (self._store.timers() or ())
        return Plan(
            summary,
            (keep,) if has_timer else (set_timer, keep),
            (*effects, "It outlives a restart; what comes while the machine is off is told as missed."),
            (Step(REMOVE, {"id": id}), Step(DROP, {"id": id, "person": person})),
            "it is not set",
            done,
        )

    def _since(self, arguments: Arguments) -> datetime:
        with self._lock:
            for asked, moment in self._asked:
                if asked is arguments:
                    return moment
            now = self._store.clock()
            self._asked.append((arguments, now))
            return now

    # ---- looking, and taking away

    def _list(self, context: Context, arguments: Arguments) -> Answer:
        found = _of(self._store, context.person)
        sources = ("agentd's reminders", "/etc/systemd/system")
        now = self._store.clock()
        facts = [facts_of(one, now) for one in found]
        if not found:
            return Answer("No reminder, timer or recurring task is set.", facts, sources)
        return Answer(listing(facts, now), facts, sources)

    def _cancel(self, context: Context, arguments: Arguments) -> Plan:
        which, person = arguments["which"], context.person
        mine = [one for one in _of(self._store, person) if one.state == "set"]
        # It knows the words for times, of which there are many: not at agentd's start.
        from agentd.tools import reminder_words

        found = reminder_words.matching(which, mine, self._store.clock())
        if not found:
            if person == OWNER and (orphan := self._orphan(which.strip())):
                return orphan
            if not mine:
                raise Lacking("no reminder, timer or recurring task is set")
            raise Lacking("none that is set fits this", _candidates(mine))
        if len(found) > 1:
            # What they are about is in the hint: the audit keeps messages, and no words of a person.
            raise Lacking(f"{len(found)} fit this: say which, by its id", _candidates(found))
        [one] = found
        comes = {"when": one.moment} if one.moment is not None else {"schedule": one.schedule}
        drop = Step(DROP, {"id": one.id, "person": person})
        again = Step(KEEP, {"id": one.id, "person": person, "text": one.text, **comes})
        return Plan(
            f"Cancel “{_short(one.text)}”, {_comes(one)}",
            # Of one that has lost its timer there is nothing to ask the broker for.
            (drop,) if one.timer is False else (Step(REMOVE, {"id": one.id}), drop),
            undo=(Step(SET, {"id": one.id, **comes}), again),
            basis=f"{one.id} is set",
            done=f"Cancelled: {_short(one.text)}.",
        )

    def _orphan(self, id: str) -> Plan | None:
        """The plan that removes a timer with no reminder, if `id` is such a timer's."""
        if id not in (self._store.timers() or ()) or _known(self._store, id) is not None:
            return None
        return Plan(
            f"Take away the timer {id}, which belongs to no reminder",
            (Step(REMOVE, {"id": id}),),
            basis=f"{id} belongs to no reminder",
            done=f"The timer {id} was taken away.",
        )


def facts_of(one: Reminder, now: datetime) -> dict[str, Any]:
    """A reminder as JSON: `Reminder` in io.aetheros.Tools.varlink; what it has not is left out."""
    coming = one.next(now)
    found = {
        "id": one.id,
        "text": one.text,
        "when": one.moment,
        "schedule": one.schedule,
        "comes": recurrence.said(one.schedule) if one.schedule is not None else "once",
        "created": one.created,
        "state": one.state,
        "next": _utc(coming) if coming is not None else None,
        "due": one.due,
        "rung": one.rung,
        "missed": one.missed,
        "ring": one.ring,
        "unseen": one.unseen,
        "timer": one.timer,
    }
    return {name: value for name, value in found.items() if value is not None}


def _comes(one: Reminder) -> str:
    return recurrence.said(one.schedule) if one.schedule is not None else local(str(one.moment))


def _candidates(found: Sequence[Reminder]) -> str:
    told = "; ".join(f"{one.id}: {_short(one.text)}, {_comes(one)}" for one in found[:_TOLD])
    return f"{told}; and {count(len(found) - _TOLD, 'other')}" if len(found) > _TOLD else told


def _text(given: str) -> str:
    text = given.strip()
    if not text:
        raise Unfit("what shall the reminder say?")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unfit("that is no text") from error
    return text


def _check(moment: datetime, now: datetime) -> None:
    if moment <= now:
        raise Unfit("that moment has passed")
    if moment - now > _LONGEST:
        raise Unfit("that is more than fifty years away")


def _short(text: str) -> str:
    return visible(text, _LETTERS)


def _span(length: timedelta) -> str:
    return span(length.total_seconds()) if length.total_seconds() >= 10 else "a moment"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(exec_arguments.TIME)


def _of(store: ReminderStore, person: str) -> list[Reminder]:
    try:
        return store.of(person)
    except Refusal as refusal:
        raise Lacking(str(refusal.parameters.get("detail", refusal))) from refusal


def _known(store: ReminderStore, id: str) -> Reminder | None:
    try:
        return store.find(id)
    except Refusal as refusal:
        raise Lacking(str(refusal.parameters.get("detail", refusal))) from refusal
