"""What the journal says: errors, a search, and one entry with what stands around it.

Not for: reading the journal (journal.py), or what a model makes of an entry (that is added to
logs.explain's facts by who has the model).
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.tools import journal
from agentd.tools.journal import Entry, Query
from agentd.tools.render import count, moment, table, utc, visible
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool, Unfit

SOURCES = ("journalctl",)
# Entries that are read for a list of errors, kinds of errors that are told, entries of a search.
MOST_ERRORS = 2000
MOST_KINDS = 20
MOST_FOUND = 50
# Letters of a message in a table.
MESSAGE = 160
# To explain: entries that are compared, seconds and entries around the one.
COMPARED = 1000
AROUND_SECONDS = 60.0
AROUND = 5

# What differs between two entries of one kind: addresses, sectors, ids.
_NUMBERS = re.compile(r"0x[0-9a-fA-F]+|\d{4,}")
# What a question has and an entry is not about.
_ASKING = frozenset(
    (
        *("a", "an", "and", "are", "did", "do", "does", "explain", "for", "from", "have", "how", "i", "in"),
        *("is", "it", "its", "log", "mean", "message", "my", "of", "on", "or", "problem", "say", "says"),
        *("tell", "that", "the", "this", "to", "was", "what", "when", "where", "which", "why", "wrong"),
    )
)
# How a line of a log file begins: "Nov 25 09:00:32 host nginx[12]: ", or with an ISO date.
_LINE_BEGINS = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\d[T ][\d:.,+Z-]+) (?:\S+ )?\S+?(?:\[\d+\])?: "
)


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """The same message by the same unit: its newest entry, and how often it came."""

    entry: Entry
    times: int


def as_facts(entry: Entry) -> dict[str, object]:
    """An entry as JSON."""
    return {
        "time": utc(entry.seconds),
        "unit": entry.unit,
        "priority": journal.PRIORITIES[entry.priority],
        "message": entry.message,
        "pid": entry.pid,
    }


def said(entry: Entry) -> str:
    """An entry's message for a line that names its unit already."""
    return visible(entry.message.removeprefix(f"{entry.unit}: "), MESSAGE)


def as_table(entries: Sequence[Entry]) -> str:
    """Entries as lines: when, who, what."""
    rows = [(moment(one.seconds), one.unit, said(one)) for one in entries]
    return table(("When", "From", "Message"), rows)


def fold(entries: Sequence[Entry]) -> list[ErrorKind]:
    """Each message of a unit once, the newest first; long numbers do not make another message."""
    found: dict[tuple[str, str], ErrorKind] = {}
    for entry in entries:
        key = (entry.unit, _NUMBERS.sub("#", entry.message))
        before = found.pop(key, None)
        found[key] = ErrorKind(entry, before.times + 1 if before else 1)
    return list(reversed(found.values()))


def errors(context: Context, arguments: Arguments) -> Answer:
    """Errors since the boot, or since a moment; each kind once."""
    since = journal.since(arguments.get("since"))
    query = Query(priority=journal.ERROR, since=since, this_boot=since is None, lines=MOST_ERRORS)
    found = journal.read(query)
    kinds = fold(found.entries)
    when = _since_words(since)
    facts = {
        "since": utc(since) if since is not None else "boot",
        "complete": found.complete,
        "errors": len(found.entries),
        "kinds": [{**as_facts(kind.entry), "times": kind.times} for kind in kinds],
    }
    if not kinds:
        return Answer(f"No errors {when}.", facts, SOURCES)
    more = "" if found.complete else " or more (only the newest were read)"
    repeated = f", of {count(len(kinds), 'kind')}" if len(kinds) < len(found.entries) else ""
    rows = [
        (kind.times, moment(kind.entry.seconds), kind.entry.unit, said(kind.entry))
        for kind in kinds[:MOST_KINDS]
    ]
    lines = [f"{count(len(found.entries), 'error')}{more} {when}{repeated}, the newest first:"]
    lines.append(table(("Times", "Last", "From", "Message"), rows))
    if len(kinds) > MOST_KINDS:
        lines.append(f"and {count(len(kinds) - MOST_KINDS, 'more kind')}")
    return Answer("\n".join(lines), facts, SOURCES)


def search(context: Context, arguments: Arguments) -> Answer:
    """Entries that have all of the words."""
    words = _words(arguments.get("words"))
    since = journal.since(arguments.get("since"))
    found = journal.read(Query(words=words, since=since, lines=MOST_FOUND))
    sought = visible(" ".join(words), 80)
    when = "" if since is None else f" {_since_words(since)}"
    facts = {
        "words": list(words),
        "since": utc(since) if since is not None else None,
        "complete": found.complete,
        "entries": [as_facts(entry) for entry in found.entries],
    }
    if not found.entries:
        return Answer(f"Nothing in the journal{when} has the words: {sought}", facts, SOURCES)
    number = count(len(found.entries), "entry", "entries")
    head = f"{number}{when}" if found.complete else f"The newest {number}{when}"
    return Answer(f"{head} with the words: {sought}\n{as_table(found.entries)}", facts, SOURCES)


def explain(context: Context, arguments: Arguments) -> Answer:
    """The entry that fits the words best, and what stands around it."""
    text = arguments.get("words")
    words = _words(_LINE_BEGINS.sub("", text.strip()) if isinstance(text, str) else text)
    entry = _find(words)
    if entry is None:
        sought = visible(" ".join(words), 80)
        raise Lacking(f"nothing in the journal fits: {sought}", "use words of the entry itself")
    around = _around(entry)
    facts = {"entry": as_facts(entry), "around": [as_facts(one) for one in around]}
    priority = journal.PRIORITIES[entry.priority]
    pid = f", process {entry.pid}" if entry.pid else ""
    lines = [f"{entry.unit} at {moment(entry.seconds)} (priority {priority}{pid}):", f"  {entry.message}"]
    if around:
        lines += ["Around it:", as_table(around)]
    else:
        lines.append(f"Nothing else was written within {AROUND_SECONDS:.0f} seconds of it.")
    return Answer("\n".join(lines), facts, SOURCES)


def _words(text: object) -> tuple[str, ...]:
    words = journal.words_of(text) if isinstance(text, str) else ()
    if not words:
        raise Unfit("there are no words to look for")
    return words


def _since_words(since: float | None) -> str:
    return "since the boot" if since is None else f"since {moment(since)}"


def _find(words: tuple[str, ...]) -> Entry | None:
    exact = journal.read(Query(words=words, lines=COMPARED)).entries
    if exact:
        return max(exact, key=lambda one: (-one.priority, one.microseconds))
    # Not every word is one of the entry's: of what went wrong and of what has one of them, what fits best.
    candidates = {
        entry.cursor: entry
        for query in (Query(priority=journal.ERROR + 1, lines=COMPARED), Query(words=words, any_word=True))
        for entry in journal.read(query).entries
    }
    telling = [word for word in words if word.lower().strip("?!.,") not in _ASKING]
    return best(telling or words, list(candidates.values()))


def best(words: Sequence[str], entries: Sequence[Entry]) -> Entry | None:
    """The entry that has most of the words, rare ones counting more; None if none has a third of them."""
    texts = {entry.cursor: f"{entry.unit} {entry.message}".lower() for entry in entries}
    sought = [word.lower().strip(".,:;!?\"'") for word in words]
    sought = [word for word in sought if word]
    weights = {
        word: math.log(1 + len(texts) / held)
        for word in sought
        if (held := sum(word in text for text in texts.values()))
    }

    def rank(entry: Entry) -> tuple[float, int, int]:
        held = [weights[word] for word in weights if word in texts[entry.cursor]]
        fits = len(held) * 3 >= len(sought)
        return sum(held) if fits else 0.0, -entry.priority, entry.microseconds

    found = max(entries, key=rank, default=None)
    return found if found is not None and rank(found)[0] > 0 else None


def _around(entry: Entry) -> list[Entry]:
    at = entry.seconds
    before = Query(since=at - AROUND_SECONDS, until=at, lines=AROUND + 1)
    after = Query(since=at, until=at + AROUND_SECONDS, lines=AROUND + 1, first=True)
    found = {one.cursor: one for query in (before, after) for one in journal.read(query).entries}
    found.pop(entry.cursor, None)
    return list(found.values())


_SINCE = Argument("since", Kind.SINCE, "from when on; the boot if not said", required=False)

TOOLS = (
    Tool("logs.errors", "errors since the boot, or in a time span", Level.READ, errors, arguments=(_SINCE,)),
    Tool(
        "logs.search",
        "journal lines with these words",
        Level.READ,
        search,
        arguments=(
            Argument("words", Kind.WORDS, "words that the line has, in any order"),
            Argument("since", Kind.SINCE, "from when on", required=False),
        ),
    ),
    Tool(
        "logs.explain",
        "explain a log entry or error message",
        Level.READ,
        explain,
        arguments=(Argument("words", Kind.WORDS, "the message, or words of it"),),
    ),
)
