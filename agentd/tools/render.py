"""Facts as a person reads them: tables, sizes, spans of time."""

import re
import time
import unicodedata
from collections.abc import Iterable, Sequence

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
# A number with its unit: "12", "1.5 GB", "40 %", "-3 °C"; "-" is none.
_NUMBER = re.compile(r"-|-?\d[\d.]*(?: ?[%°/A-Za-z]{1,4})?")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines with the columns below each other; numbers to the right, where all of a column are."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    right = [
        bool(rows) and all(_NUMBER.fullmatch(row[column]) for row in cells[1:])
        for column in range(len(head))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    )


def size(count: float) -> str:
    """Bytes with a unit, in powers of 1000: "1.5 GB"."""
    unit = 0
    while count >= 999.5 and unit < len(_SIZES) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {_SIZES[unit]}" if unit == 0 or count >= 99.5 else f"{count:.1f} {_SIZES[unit]}"


def span(seconds: float) -> str:
    """A span of time in its two largest units: "2 hours 5 minutes"."""
    if seconds < 10:
        return f"{seconds:.1f} seconds"
    left, parts = round(seconds), []
    for length, name in _SPANS:
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts)


def percent(part: float, whole: float) -> str:
    """A share as whole percent; "-" of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def moment(seconds: float) -> str:
    """A moment (seconds since 1970) in the machine's time zone: "2026-11-25 08:55:13"."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def utc(seconds: float) -> str:
    """The same for facts: "2026-11-25T08:55:13Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def visible(text: str, most: int = 0) -> str:
    """A text of others on one line: what would steer a terminal or turn a line is shown by its code.

    A tab is a space, a newline "\\n", an escape "\\x1b"; what is longer than `most` letters ends in "…".
    """
    line = "".join(_shown(letter) for letter in text.strip())
    return f"{line[: most - 1]}…" if most and len(line) > most else line


def _shown(letter: str) -> str:
    if letter.isprintable():
        return letter
    # Other spaces (no-break ...) do no harm and need no code; the separators of lines and paragraphs do.
    if letter == "\t" or unicodedata.category(letter) == "Zs":
        return " "
    return letter.encode("unicode_escape").decode("ascii")


def count(number: int, one: str, more: str = "") -> str:
    """A number of things: "1 entry", "2 entries"."""
    return f"{number} {one if number == 1 else more or f'{one}s'}"


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """Lines of a name and its value, the values below each other; what has no value is left out."""
    kept = [(name, str(value)) for name, value in rows if value not in (None, "")]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in kept)
