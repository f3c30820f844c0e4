"""What a sentence looks like to the routing head: hashed n-grams of its words and characters.

Character n-grams see through typos and endings, marks (`<path>`, `<unit>`) through names that no example can
list. Pure Python, under a millisecond a sentence. Not for: meaning (the encoder), or weights (head.py).
"""

import math
import re
import unicodedata
import zlib
from collections.abc import Iterator

from agentd.routing.about import is_about, is_reported, unquoted

# What of a text is looked at; a request is a sentence, not a piped file.
CHARACTERS = 400
CHARACTER_GRAMS = (3, 4)
# The parts of a vector of length 1 that words and characters have, by their squares.
WORDS_SHARE = 0.4
CUES_SHARE = 0.3

# Services that people name without ".service"; others are words like any.
SERVICES = (
    "apache2?|avahi|bluetooth|chronyd?|cron|cups|dnsmasq|docker|fail2ban|grafana|haproxy|httpd|jellyfin"
    "|lighttpd|mariadb|mosquitto|mysqld?|networkd|networkmanager|nfs|nginx|ntpd?|openvpn|pipewire|plex|podman"
    "|postfix|postgres(?:ql)?|prometheus|pulseaudio|redis|resolved|rsyslog|samba|smbd|snapd|sshd?|syncthing"
    "|timesyncd|tor|transmission|wireguard"
)
# In this order; the first that matches at a place wins. None has a group of its own.
MARKS = {
    "zone": r"\b(?:africa|america|asia|atlantic|australia|europe|pacific)/[a-z_]+(?:/[a-z_]+)?",
    "locale": r"\b[a-z]{2}_[A-Z]{2}(?:\.utf-?8)?\b",
    "host": r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[\w-]+\.)+(?:com|org|net|io|lan|local|edu|gov|eu|fr|es|it)\b",
    "unit": rf"\b[\w@.-]+\.(?:service|timer|socket|target|mount)\b|\b(?:{SERVICES})\b",
    "path": (
        r"(?<!\w)(?:~|\.{1,2})?/[\w.+-][\w./+-]*|~/|\b[\w-]+\.(?:txt|md|pdf|odt|docx?|xlsx?|ods|csv|png"
        r"|jpe?g"
        r"|gif|mp[34]|zip|tar|gz|conf|cfg|ini|log|json|ya?ml|py|sh|html|iso|bak|sql|tex|db)\b"
    ),
    "link": r"\b(?:eth|enp|eno|ens|wlan|wlp|wwan|br|usb|veth|tun|wg)\d[\w.]*\b",
    "time": r"\b\d{1,2}(?::\d\d|h\d{0,2}| ?[ap]\.?m\b\.?| o'clock| uhr)",
    "num": r"\d+(?:[.,]\d+)?(?: ?%)?",
}
_MARK = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in MARKS.items()), re.IGNORECASE)
# Things that are not this machine, and words that mean it or the agent: a sentence without one is more often
# about the world.
_ELSEWHERE = re.compile(
    r"\b(?:i?phones?|smartphones?|androids?|samsung|i?pads?|tablets?|watch|telly|tv|television|macs?"
    r"|macbooks?|imac"
    r"|windows|xbox|playstation|console|routers?|fridge|oven|dishwasher|thermostat|heating|car|lamps?"
    r"|lights?|cisco"
    r"|alexa|siri|chromebook|camera|radio|stereo|\w+'s (?:laptop|computer|pc|printer|wifi)"
    r"|(?:git|bash|python|java|javascript|docker compose|rust|perl|regex|vim|sql|html|css|golang)"
    r"|handy|telefon|fernseher|portable|t[eé]l[eé]|tel[eé]fono|m[oó]vil|televisi[oó]n|telefono|cellulare"
    r"|televisore)\b",
    re.IGNORECASE,
)
_HERE = re.compile(
    r"\b(?:this|the|my|our|your) (?:computer|machine|laptop|pc|box|server|system|notebook|host|disk"
    r"|screen)\b|\bhere\b"
    r"|\b(?:you|your|me|it|my)\b",
    re.IGNORECASE,
)
_NOT = re.compile(r"(?<=[nN])['\u2019](?=[tT]\b)")  # people write "don't" and "dont"
_TOKEN = re.compile(r"<[a-z]+>|[^\W_]+|\?")


def marked(text: str) -> str:
    """The text with `<path>`, `<unit>` and the like in the place of what MARKS finds."""
    return _MARK.sub(lambda found: f" <{found.lastgroup}> ", text)


def names_in(text: str) -> list[str]:
    """What in a text stands for a thing of the machine: units, paths, links, hosts; in their order."""
    things = ("unit", "path", "link", "host")
    return [found[0] for found in _MARK.finditer(text) if found.lastgroup in things]


def tokens(text: str) -> list[str]:
    """The words of a text without case and accents, its marks, and "?"."""
    plain = unicodedata.normalize("NFKD", marked(_NOT.sub("", text[:CHARACTERS])).casefold())
    return _TOKEN.findall("".join(one for one in plain if not unicodedata.combining(one)))


def cues(text: str) -> Iterator[str]:
    """What tells talk from a request, whatever it is about."""
    if is_about(text):
        yield "<about>"
    if is_reported(text):
        yield "<reported>"
    if unquoted(text) != text:
        yield "<quotation>"
    if _ELSEWHERE.search(text):
        yield "<elsewhere>"
    if not _HERE.search(text):
        yield "<nowhere>"


def features(text: str, buckets: int) -> list[tuple[int, float]]:
    """The buckets of a text's n-grams with their weights, sorted; a vector of length 1."""
    words = tokens(text)
    groups = (set(_word_grams(words)), set(_character_grams(words)), set(cues(text[:CHARACTERS])))
    vector: dict[int, float] = {}
    for grams, share in zip(groups, (WORDS_SHARE, 1 - WORDS_SHARE, CUES_SHARE), strict=True):
        weight = math.sqrt(share / len(grams)) if grams else 0.0
        for gram in grams:
            bucket = zlib.crc32(gram.encode(errors="replace")) % buckets
            vector[bucket] = vector.get(bucket, 0.0) + weight
    length = math.hypot(*vector.values()) or 1.0
    return sorted((bucket, weight / length) for bucket, weight in vector.items())


def _word_grams(words: list[str]) -> Iterator[str]:
    for before, word in zip(["^", *words], [*words, "$"], strict=True):
        yield f"{before} {word}"
    yield from words


def _character_grams(words: list[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("<") or word == "?":
            continue
        padded = f"_{word}_"
        for size in CHARACTER_GRAMS:
            for start in range(len(padded) - size + 1):
                yield padded[start : start + size]
