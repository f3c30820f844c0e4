"""What is worth remembering of what a person said: rules over their sentences, no model.

A rule takes a whole sentence in the person's own words, so that nothing is invented, and the question that
it answers (its slot: "dentist", "home"), so that a later answer to the same question supersedes it. Rules
are for statements about the person's life in English; what they miss is still found, since every turn is
searchable. Not for: storing (memories.py).
"""

import re
from dataclasses import dataclass

# A sentence longer than this is a story, not a fact.
LONGEST = 240

_EXPLICIT = re.compile(
    r"^\s*(?:(?:hey|ok|okay|hi)[,!]?\s+)?(?:please\s+|can you\s+|could you\s+)?"
    r"(?:remember|memori[sz]e|note|don't forget|do not forget|keep in mind|recuerda|merk dir|rappelle-toi)\b"
    r"[\s:,]+(?:(?:this|that|que|dass)\b[\s:,]*)?(?P<what>\S.*)$",
    re.IGNORECASE | re.DOTALL,
)
# "Remember when we ...?" and "remember to ..." ask for something else, or for a reminder.
_NOT_EXPLICIT = re.compile(r"^(?:when|how|what|who|where|why|if|the time|me|my name\?|to)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n+")
_ABBREVIATION = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Prof|St|No|vs|e\.g|i\.e|etc)\.$")
# What a wish, a guess or a story begins with says nothing about the world.
_UNSURE = re.compile(
    r"\b(?:if|maybe|perhaps|might|would|could|should|wish|imagine|suppose|pretend|used to|thought|guess"
    r"|is (?:it|this|that)|not sure)\b",
    re.IGNORECASE,
)

# Things a person has one of, or few, and that stay for a while.
_LASTING = (
    r"name|birthday|address|home|phone(?: number)?|e-?mail(?: address)?|wife|husband|partner|spouse"
    r"|boyfriend|girlfriend|mother|mom|mum|father|dad|sister|brother|son|daughter|aunt|uncle|cousin|grandmother"
    r"|grandfather|grandma|grandpa|niece|nephew|boss|manager|landlord|landlady|neighbou?r|flatmate|roommate"
    r"|doctor|gp|dentist|therapist|lawyer|accountant|vet|hairdresser|mechanic|teacher|job|employer|company"
    r"|office|school|university|blood type|shoe size|car|bike|bicycle|boat|dog|cat|pet|bank|router|printer"
    r"|laptop|server|wi-?fi(?: password| network)?|time ?zone|native language|mother tongue|hobby"
    r"|favou?rite [a-z -]+|preferred [a-z -]+"
)
_OWNER = r"(?:my|our|[A-Z]\w+'s)"
_WHEN = r"(?:\s+(?:now|currently|these days|from now on))?"
_RULES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "fact",
        re.compile(
            rf"\b(?P<whose>{_OWNER})\s+(?:new\s+|current\s+)?(?P<slot>(?:[a-z]+\s+)?(?:{_LASTING}))"
            rf"(?:\s+(?:is|are)|'s){_WHEN}\s+(?:called\s+|named\s+)?(?P<value>\S+.*)",
        ),
    ),
    # Anything else of theirs, when what follows is a name, a date or a number.
    (
        "fact",
        re.compile(
            rf"\b(?P<whose>{_OWNER})\s+(?:new\s+|current\s+)?(?P<slot>[a-z]+(?:\s+[a-z]+){{0,3}}?)"
            rf"\s+(?:is|are){_WHEN}\s+(?:called\s+|named\s+|on\s+|at\s+|in\s+)?(?P<value>[A-Z0-9]\S*.*)",
        ),
    ),
    ("person", re.compile(r"\b(?:call me|my name is|i am called|i'm called)\s+(?P<name>[A-Z]\w+)", re.I)),
    ("fact", re.compile(r"\bI\s+(?:now\s+)?(?:live|moved)(?:\s+now)?\s+(?:in|to|at)\s+(?P<home>\S+.*)")),
    ("fact", re.compile(r"\bI\s+(?:now\s+)?work(?:\s+now)?\s+(?:at|for|as)\s+(?P<work>\S+.*)")),
    ("fact", re.compile(r"\bI(?:'m| am)\s+(?:also\s+)?allergic to\s+(?P<allergy>\w+.*)")),
    (
        "preference",
        re.compile(r"\bI(?:'m| am)\s+(?:a\s+)?(?P<diet>vegan|vegetarian|pescatarian|left-handed)\b"),
    ),
    (
        "preference",
        re.compile(
            r"\bI\s+(?:really\s+|don't\s+|do not\s+|no longer\s+|always\s+|never\s+)*"
            r"(?:like|love|prefer|enjoy|hate|dislike|can't stand|drink|eat)\s+(?P<taste>\w+.*)"
        ),
    ),
    ("preference", re.compile(r"^(?:from now on|always|never)\b[, ]+\S+", re.I)),
    ("fact", re.compile(r"\bI\s+(?:have|own|got)\s+(?:an?|two|three|four|\d+)\s+(?P<has>\w+.*)")),
    ("event", re.compile(r"\b(?:we|I)\s+(?:got married|had a baby|bought|sold|graduated|retired)\b", re.I)),
)
_TASTE_WORDS = 3
# "My car is in the garage": true for a day, and no answer to "what is my car?".
_PASSING = re.compile(
    r"^(?:\w+ing|in|at|on|off|out|away|here|there|not|very|so|too|really|still|broken|dead|late|sick|ill|fine"
    r"|ok|okay|great|good|bad|slow|full|empty|down|up|back|happy|sad|tired|angry|gone|lost)\b(?!\s+[A-Z0-9])"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence worth remembering, its kind, and the question it answers ("" where it is open)."""

    text: str
    kind: str
    slot: str


def explicit(text: str) -> str | None:
    """What a person asks to remember ("remember that X"), None if they ask for something else."""
    found = _EXPLICIT.match(text)
    if found is None:
        return None
    what = found["what"].strip()
    if _NOT_EXPLICIT.match(what) or what.endswith("?") or len(what) < 3:
        return None
    return what[0].upper() + what[1:]


def findings(text: str) -> list[Finding]:
    """What a person's turn says about their life, in the order in which it stands there."""
    found = [_finding(sentence) for sentence in _sentences(text)]
    return [one for one in found if one is not None]


def slot(text: str) -> str:
    """The question that a sentence answers, "" where no rule knows."""
    found = _finding(text, sure=True)
    return found.slot if found else ""


def kind(text: str) -> str:
    """The kind of memory that a sentence is; "fact" where no rule knows better."""
    found = _finding(text, sure=True)
    return found.kind if found else "fact"


def _sentences(text: str) -> list[str]:
    found: list[str] = []
    for part in _SENTENCE_END.split(text):
        if found and _ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {part}"
        else:
            found.append(part)
    return [part.strip() for part in found if part.strip()]


def _finding(sentence: str, *, sure: bool = False) -> Finding | None:
    """`sure`: the person asked to remember it, so nothing is too vague."""
    if len(sentence) > LONGEST or sentence.endswith("?"):
        return None
    if not sure and _UNSURE.search(sentence):
        return None
    # "my" at the beginning of a sentence is the same word.
    plain = re.sub(r"^(My|Our)\b", lambda word: word[0].lower(), sentence)
    for kind, rule in _RULES:
        match = rule.search(plain)
        if match is None:
            continue
        if not _PASSING.match(match.groupdict().get("value") or ""):
            return Finding(sentence, kind, _slot(match))
        if sure:
            return Finding(sentence, kind, "")
    return None


def _slot(match: re.Match[str]) -> str:
    groups = {name: value for name, value in match.groupdict().items() if value}
    if "slot" in groups:
        whose = groups["whose"].lower()
        owner = "" if whose in ("my", "our") else f"{whose.removesuffix(chr(39) + 's')} "
        return f"{owner}{' '.join(groups['slot'].lower().split())}"
    if "taste" in groups:
        words = re.findall(r"\w+", groups["taste"].lower())
        return f"taste {' '.join(words[:_TASTE_WORDS])}"
    for name in ("name", "home", "work", "diet"):
        if name in groups:
            return name
    return ""
