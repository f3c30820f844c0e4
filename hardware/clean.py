"""What may stand in a report: text that names no machine and no person, and shows as it is.

Every text from a machine or from a file passes here: shapes that tell one machine from the next (MAC
addresses, UUIDs, long identifiers) are taken out, and so is what a terminal or a YAML file would take for
more than text. Not for: which files are read at all (probe.py reads none that holds a serial number).
"""

import re
from collections.abc import Iterable

LEFT_OUT = "(left out)"
LONGEST = 512  # characters of a name; nothing that a machine says of itself needs more
LONGEST_MODALIAS = 16384  # a kernel writes 4096 at most; longer ones are kept to be told as wrong

_HEX = "[0-9A-Fa-f]"
UUID = re.compile(rf"(?<!{_HEX}){_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}(?!{_HEX})")
MAC = re.compile(rf"(?<![0-9A-Za-z:]){_HEX}{{2}}([:-]){_HEX}{{2}}(\1{_HEX}{{2}}){{4,6}}(?![0-9A-Za-z:])")
# enx001122334455 and wlx...: an interface named for its address.
NAMED_MAC = re.compile(rf"\b(?:en|wl|ww|eth)x{_HEX}{{12}}\b")
WORLD_WIDE_NAME = re.compile(rf"\b(?:eui|naa|nguid|t10)\.{_HEX}{{16,32}}\b|\b(?:wwn-)?0x{_HEX}{{16,32}}\b")
SERIAL = re.compile(r"\b(?:serial|s/n|sn)\b\s*(?:number|no\.?)?\s*[:=#]\s*\S+", re.IGNORECASE)
_SHAPES = (UUID, MAC, NAMED_MAC, WORLD_WIDE_NAME, SERIAL)

# Line ends and other controls, what turns the direction of writing, and the marks of line and paragraph.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

# What a maker's form says before anybody filled it in, in lower case.
PLACEHOLDERS = frozenset(
    (
        *("", "none", "n/a", "na", "unknown", "undefined", "default", "default string", "empty", "invalid"),
        *("not specified", "not applicable", "not available", "no asset information", "oem", "o.e.m."),
        *("to be filled by o.e.m.", "to be filled by oem", "type1productconfigid", "type2 - board version"),
        *("system manufacturer", "system product name", "system version", "system name", "product name"),
        *("base board", "base board product name", "board version", "x.x", "0123456789", "1234567890", "*"),
    )
)


def shown(text: str, limit: int = LONGEST) -> str:
    """The text on one line, without control characters, at most `limit` characters long."""
    # A lone surrogate cannot be printed; JSON can hold one.
    plain = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode())
    short = " ".join(plain.split())
    return short if len(short) <= limit else short[: limit - 3] + "..."


def name(text: str, private: Iterable[str] = ()) -> str:
    """A name as a report may have it: shapes of identifiers and the `private` words are left out."""
    found = shown(text)
    for shape in _SHAPES:
        found = shape.sub(LEFT_OUT, found)
    for word in private:
        found = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", LEFT_OUT, found, flags=re.IGNORECASE)
    return found


def filled_in(text: str) -> str:
    """A name out of SMBIOS; "" where the maker left the form empty."""
    found = name(text)
    return "" if found.lower() in PLACEHOLDERS or not found.strip("0 .-_") else found


def modalias(text: str) -> str:
    """A modalias as the kernel wrote it, without white space and controls, or "" if nothing is left."""
    plain = _CONTROL.sub("", text.encode("utf-8", "replace").decode()).strip()
    return MAC.sub(LEFT_OUT, plain)[:LONGEST_MODALIAS]


def address(text: str) -> str:
    """A device's name on its bus; "" for one that is an identifier itself."""
    found = shown(text, 128)
    return "" if any(shape.search(found) for shape in _SHAPES) else found
