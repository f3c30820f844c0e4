"""From a question to what is looked up: words, dates, and the text that is embedded.

English, by word lists and patterns: no model. Not for: running the query (index.py), scoring (recall.py).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

# A pasted page is a question too; each word costs a look into the index.
MAX_TERMS = 32
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Speakers that are roles: a question that holds such a word names nobody.
ROLES = frozenset({"agent", "assistant", "human", "owner", "person", "system", "user", "you"})
# As they are left by _WORD and _POSSESSIVE.
STOP_WORDS = frozenset(
    """a about above after again against all also am an and any anyone anything are aren't as ask asked at
    be because been before being below between both but by can can't cannot could couldn't did didn't do does
    doesn't doing don't down during each ever few for from further get gets getting give go going got had
    hadn't has hasn't have haven't having he he'd he'll her here hers herself him himself his how i i'd i'll
    i'm i've if in into is isn't it its itself just know let like many may me mentioned might more most much
    must my myself no nor not of off on once one only or other ought our ours ourselves out over own please
    said same say says shall she she'd she'll should shouldn't so some such tell than that the their theirs
    them themselves then there these they they'd they'll they're they've thing things this those through to
    told too under until up upon us very was wasn't we we'd we'll we're we've were weren't what when where
    which while who whom whose why will with won't would wouldn't yes yet you you'd you'll you're you've your
    yours yourself yourselves""".split()  # noqa: SIM905 - words to read, not a list to count
)

# Letters and digits as FTS5's unicode61 takes them; an apostrophe inside keeps "don't" and "O'Brien" whole.
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_POSSESSIVE = re.compile(r"'s$")


@dataclass(frozen=True, slots=True)
class Query:
    """A question taken apart.

    `terms` are words to look for, each once, in lower case; `dates` are words that only the column `extra`
    holds (see dated()); `people` are the known speakers that are named; `text` is the question without their
    names, which is what to embed: a name pulls a small encoder towards every turn that holds it.
    """

    terms: tuple[str, ...]
    dates: tuple[str, ...]
    people: tuple[str, ...]
    text: str


def parse(question: str, speakers: Iterable[str] = (), today: date | None = None) -> Query:
    """Take `question` apart. `today` (UTC; the clock's if None) is what "yesterday" counts from."""
    question = question.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = (_POSSESSIVE.sub("", word.lower()) for word in _WORD.findall(question))
    terms = list(dict.fromkeys(word for word in words if word not in STOP_WORDS))[:MAX_TERMS]
    people, text = _named(question, speakers)
    dates = dict.fromkeys(_dates(question, today or datetime.now(UTC).date()))
    return Query(tuple(terms), tuple(dates), people, text)


def dated(time: str) -> str:
    """The day of an ISO 8601 time in words: `Monday 8 May 2023 20230508 202305`; empty if it has none.

    The last two find one day, or one month, among all that share its number, its name or its year.
    """
    try:
        day = date.fromisoformat(time[:10])
    except ValueError:
        return ""
    name, month = DAYS[day.weekday()], MONTHS[day.month - 1]
    return f"{name} {day.day} {month} {day.year} {_day_word(day)} {_month_word(day)}"


def _day_word(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _month_word(day: date) -> str:
    return f"{day.year:04}{day.month:02}"


def _named(question: str, speakers: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The speakers that `question` names, by their whole or first name, and the question without them."""
    people: list[str] = []
    text = question
    for speaker in speakers:
        first = next(iter(_WORD.findall(speaker)), "")
        if not first or speaker.lower() in ROLES:
            continue
        # "will" is no name, "Will" may be one.
        case = re.NOFLAG if first.lower() in STOP_WORDS else re.IGNORECASE
        name = re.compile(rf"(?<!\w)(?:{re.escape(speaker)}|{re.escape(first)})(?:'s)?(?!\w)", case)
        if name.search(question):
            people.append(speaker)
            text = name.sub(" ", text)
    left = " ".join(text.split())
    # A question of names alone is still embedded as something.
    return tuple(people), left if _WORD.search(left) else question


def _dates(question: str, today: date) -> Iterator[str]:
    """The words of `extra` that the expressions of time in `question` stand for."""
    for pattern, words in _EXPRESSIONS:
        for match in pattern.finditer(question):
            try:
                yield from words(match, today)
            except (ValueError, OverflowError):
                # The 31st of February, or 9999 years ago: no date, just words.
                continue
        # What was understood is not read again as a shorter expression.
        question = pattern.sub(" ", question)


def _iso(match: re.Match[str], _: date) -> Iterator[str]:
    yield match[0].replace("-", "")


def _calendar_day(match: re.Match[str], today: date) -> Iterator[str]:
    year, month = match["year"], _month_number(match["month"])
    day = date(int(year or today.year), month, int(match["day"]))
    # Without a year it is the last such day: people ask about what was.
    yield _day_word(day if year or day <= today else day.replace(year=day.year - 1))


def _calendar_month(match: re.Match[str], _: date) -> Iterator[str]:
    yield _month_word(date(int(match["year"]), _month_number(match["month"]), 1))


def _month_name(match: re.Match[str], _: date) -> Iterator[str]:
    yield MONTHS[_month_number(match["month"]) - 1].lower()


def _weekday(match: re.Match[str], today: date) -> Iterator[str]:
    wanted = DAYS.index(match["name"].capitalize())
    yield from _span("day", (today.weekday() - wanted) % 7 or 7, today)


def _near_day(match: re.Match[str], today: date) -> Iterator[str]:
    words = match[0].lower()
    back = 2 if "before" in words else 1 if words in ("yesterday", "last night") else 0
    yield from _span("day", back, today)


def _ago(match: re.Match[str], today: date) -> Iterator[str]:
    number = match["number"].lower()
    yield from _span(match["unit"].lower(), _NUMBERS.get(number) or int(number), today)


def _this_or_last(match: re.Match[str], today: date) -> Iterator[str]:
    yield from _span(match["unit"].lower(), 0 if match["which"].lower() == "this" else 1, today)


def _span(unit: str, back: int, today: date) -> Iterator[str]:
    """The day, the days of the week, the month or the year that lies `back` such units before today's."""
    if unit == "day":
        yield _day_word(today - timedelta(days=back))
    elif unit == "week":
        monday = today - timedelta(days=today.weekday() + 7 * back)
        yield from (_day_word(monday + timedelta(days=day)) for day in range(7))
    elif unit == "month":
        year, month = divmod(today.year * 12 + today.month - 1 - back, 12)
        yield _month_word(date(year, month + 1, 1))
    else:
        yield str(date(today.year - back, 1, 1).year)


def _month_number(name: str) -> int:
    return [month[:3] for month in MONTHS].index(name[:3].capitalize()) + 1


_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
_MONTH = "(?P<month>" + "|".join(f"{month[:3]}(?:{month[3:]})?" for month in MONTHS) + r")\b\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b"
_YEAR = r"(?P<year>\d{4})\b"
# The longer ones first. "May" and "march" alone are months only after a word like "in".
_EXPRESSIONS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], date], Iterator[str]]], ...] = tuple(
    (re.compile(rf"\b(?:{pattern})", re.IGNORECASE | re.ASCII), words)
    for pattern, words in (
        (r"\d{4}-\d\d(?:-\d\d)?\b", _iso),
        (rf"{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?", _calendar_day),
        (rf"{_MONTH}\s+{_DAY}(?:,?\s+{_YEAR})?", _calendar_day),
        (rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}", _calendar_month),
        (rf"(?:in|last|this|during|since|until|by|of|early|late|mid)[\s-]+{_MONTH}", _month_name),
        (r"(?:(?:the\s+)?day\s+before\s+)?yesterday\b|last\s+night\b", _near_day),
        (r"today\b|tonight\b|this\s+(?:morning|afternoon|evening)\b", _near_day),
        (rf"(?P<number>\d{{1,4}}|{'|'.join(_NUMBERS)})\s+(?P<unit>day|week|month|year)s?\s+ago\b", _ago),
        (r"(?P<which>last|past|previous|this)\s+(?P<unit>week|month|year)\b", _this_or_last),
        (rf"(?:last|on|this)\s+(?P<name>{'|'.join(DAYS)})\b", _weekday),
    )
)
