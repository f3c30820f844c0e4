"""The ids of memories and of passages.

A memory's id is `m` and 13 letters of Crockford's base32 in lower case (https://www.crockford.com/base32.html,
no i, l, o, u): 9 for the milliseconds since 1970, 4 at random, so that ids sort as they were given out. A
passage's id is `p` and 12 hexadecimal digits; it follows from where the passage is and what it says. Ids of
sessions and turns are session.py's concern.
"""

import hashlib
import re
import secrets
import time

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 20
_END = 1 << 65
_ID = re.compile(f"m[{_LETTERS}]{{13}}")
_PASSAGE = re.compile("p[0-9a-f]{12}")
# How far an id may lie beyond `last`; the clock passes such a step in less than 0.1 ms.
_STEP = 1 << 16


def new_id(last: str = "", now: float | None = None) -> str:
    """A new memory id that sorts after `last` (the last one given out, "" if none), even if the clock jumps.

    `now` is in seconds since 1970, the clock's if None. Only after the last id that there is at all (nobody
    gets one from us before the year 3084, but a person may make one up) ids follow the clock again. Raises
    ValueError if `last` is not an id.
    """
    if last and not is_id(last):
        raise ValueError(f"{last!r} is not the id of a memory")
    milliseconds = max(0, int((time.time() if now is None else now) * 1000))
    number = (milliseconds << _RANDOM_BITS | secrets.randbelow(1 << _RANDOM_BITS)) % _END
    if last and number <= (previous := _number(last)) and previous + _STEP < _END:
        number = previous + 1 + secrets.randbelow(_STEP)
    return "m" + "".join(_LETTERS[number >> shift & 31] for shift in range(60, -1, -5))


def _number(memory_id: str) -> int:
    number = 0
    for letter in memory_id[1:]:
        number = number << 5 | _LETTERS.index(letter)
    return number


def is_id(text: str) -> bool:
    """`text` has the form of a memory's id."""
    return _ID.fullmatch(text) is not None


def passage_id(path: str, text: str, nth: int = 0) -> str:
    """The id of the passage `text` of the note at `path`; `nth` counts equal passages of one note from 0."""
    key = f"{path}\0{text}" + (f"\0{nth}" if nth else "")
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6)
    return "p" + digest.hexdigest()


def is_passage_id(text: str) -> bool:
    """`text` has the form of a passage's id."""
    return _PASSAGE.fullmatch(text) is not None
