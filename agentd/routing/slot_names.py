"""Names that a request gives or means: network interfaces, Wi-Fi networks, hosts.

Not for: units (slot_units.py), files (slot_paths.py).
"""

import re
from collections.abc import Sequence

from agentd.routing.slot_text import LONGEST, NOTHING, Found, is_near, plain, quoted, trim

_LINK_NAME = re.compile(
    r"(?<![\w./:-])(?:eth|eht|en[ops]|wl[aop]n?|ww[aop]n?|usb|br|tun|tap|wg|bond|veth|docker"
    r"|virbr)\d[\w.-]*(?![\w/])",
)
_NUMBERED = re.compile(r"(?<![\w./:-])[a-z]{2,8}\d[\w.-]*")
# What people call an interface, and how the names of such begin (systemd.net-naming-scheme(7)).
_KINDS = (
    (("wl",), r"wi-?fi|wlan|wireless|w-lan|drahtlos\w*|sans[- ]fil|inalambric\w+"),
    (("ww",), r"wwan|mobile (?:data|broadband)|lte|modem|[345]g|cellular"),
    (("usb", "enx"), r"usb[\w\s-]{0,12}(?:network|net|ethernet|adapter|thing|stick|dongle)?"),
    (("wg", "tun", "tailscale"), r"vpn|wireguard|tunnel"),
    (("br", "docker", "virbr"), r"bridge"),
    (("eth", "en"), r"ethernet|wired|cable|lan|kabel\w*|filaire|cableado|netzwerkkabel|rj45"),
)
_LINKS = tuple((begins, re.compile(rf"\b(?:{words})\b")) for begins, words in _KINDS)


def link(text: str, links: Sequence[str]) -> Found:
    """The interface that a text names, of `links`; candidates if several are meant."""
    low = plain(text[:LONGEST])
    real = [name for name in links if name != "lo"]
    for name in real:
        if found := re.search(rf"(?<![\w.-]){re.escape(name.lower())}(?![\w-])", low):
            return Found(name, (found.span(),))
    for found in _NUMBERED.finditer(low):
        near = [name for name in real if is_near(found[0], name.lower())]
        if len(near) == 1:
            return Found(near[0], (found.span(),))
    if absent := _LINK_NAME.search(low):
        question = f"There is no {absent[0]} here. Which network interface?"
        return Found(candidates=tuple(real)[:5], question=question)
    # "drop the Wi-Fi, I'm on the cable": which of them is not guessed.
    fitting = [
        name for begins, words in _LINKS if words.search(low) for name in real if name.startswith(begins)
    ]
    if len(fitting) == 1:
        return Found(fitting[0])
    return Found(candidates=tuple(fitting or real)[:5])


# "the internet is called X", "join X", "wifi X"; what follows the name is cut below.
_NETWORK = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:called|named|namens|appelee?|llamada|chiamata|ssid|with the name|genannt)[\s:=]+(?P<it>.+)",
        r"\b(?:wi-?fi|wify|wlan|w-lan|wireless|network|netwrok|netz(?:werk)?|reseau|red|rede|rete"
        r"|hotspot)(?: (?:of|de|del|dell'|namens|called"
        r"|named|here is|is))?[\s:=]+(?P<it>(?!please|pls|for|and|on|off|here|again|now|it\b|that|is\b|in\b"
        r"|an\b|password)\S.*)",
        r"\b(?:join|conn?ect (?:me |us |this |it )?(?:to|with|it to)|conect to|conncet to|connect"
        r"|swi?t?ch to|log (?:in)?to|get (?:me |us )?(?:onto|on|into)"
        r"|go on(?:to)?|hook (?:me )?up (?:to|with)|use|on to|connecte-toi (?:a|au)|rejoins"
        r"|verbinde?(?: dich)? mit"
        r"|conectate (?:a|con)|entra en|liga-te a|collegati (?:a|al)|verbind met|geh ins|melde mich (?:im"
        r"|in))\s+(?P<it>.+)",
    )
)
_BEFORE_NETWORK = re.compile(
    r"^(?:(?:the|my|our|that|a|to|le|la|el|il|das|dem|der|les|het|connect|login|verbinden|join|conn?ect to"
    r"|network|netwrok|netzwerk|reseau|red|rede|rete|wi-?fi|wify|wlan|ssid|called|named"
    r"|hotspot|wireless)\b[\s:]*)+(?=\S)"
)
_AFTER_NETWORK = re.compile(
    r"(?:,|;|\.(?=\s|$)| (?:please|pls|for|with|and|not|password|wlan|network|an|bitte|now|again|instead"
    r"|hotspot|wireless)\b| (?:the )?[wW]i-[fF]i\b| the wifi\b).*$",
    re.DOTALL,
)
_FILE_ENDING = (".conf", ".txt", ".log", ".service")


def network(text: str, known: Sequence[str] = ()) -> Found:
    """The Wi-Fi network that a text names: one that is `known`, one in quotes, or one after "join"."""
    text = text[:LONGEST]
    low = plain(text)
    heard = [name for name in known if name and re.search(rf"(?<!\w){re.escape(plain(name))}(?!\w)", low)]
    if heard:
        return Found(max(heard, key=len))
    if inside := quoted(text):
        return Found(inside[0])
    for pattern in _NETWORK:
        if found := pattern.search(low):
            name = text[slice(*found.span("it"))]
            if before := _BEFORE_NETWORK.match(plain(name)):
                name = name[before.end() :]
            name = trim(_AFTER_NETWORK.sub("", name))
            if name and not name.endswith(" one"):
                return _in_reach(name, known)
    return NOTHING


def _in_reach(name: str, known: Sequence[str]) -> Found:
    """The network of those in reach that "guest" is a part of; the name as it is if none has it."""
    holding = [one for one in known if plain(name) in plain(one)]
    return (
        Found(candidates=tuple(holding)[:5]) if len(holding) > 1 else Found(holding[0] if holding else name)
    )


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(
    rf"(?<![\w.@/-])(?:{_LABEL}\.)+[a-z][a-z0-9-]*[a-z0-9](?![\w-])"
    rf"|(?<![\w.])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?![\w.])"
)
_NAME_IT = re.compile(
    r"(?:\b(?:be|is|was|are|named?|called|as|to|too|into|in|en|a|al|zu|naar|para|soll|with|durch|so|just"
    r"|gets|say|set-hostname|hostname"
    r"|host name|(?:computer|machine) name|call (?:yourself|it|(?:this|the|teh) \w+)|(?:make|name|call) it"
    r"|it's|how about|what about|baptise this \w+|noem \w+ \w+|by the name of|the name)\b|->|:=|=|:)[\s:=]*"
    rf"(?:as |to |be |called |named |just )?[\"'“”„«@]?(?P<it>{_LABEL})[\"'“”»]?"
    r"(?=[\s,.!?;)]*$|,| (?:now|please|pls|and|for me|sein|would|the host ?name|from now)\b)"
)
_NO_NAME = frozenset(
    """now it this that the machine computer pc laptop please better silly name host hostname box me again
    new be change called named""".split()  # noqa: SIM905 - words to read
)


def host_name(text: str) -> Found:
    """The new name that a text gives to the machine."""
    text = text[:LONGEST]
    for inside in reversed(quoted(text)):
        if re.fullmatch(_LABEL, plain(inside)):
            return Found(plain(inside))
    low = plain(text)
    for found in reversed(list(_NAME_IT.finditer(low))):
        if found["it"] not in _NO_NAME:
            return Found(found["it"], (found.span("it"),))
    for pattern in (
        rf"(?P<it>{_LABEL}) (?:would be (?:better|nice|good)|the host name|please$|it is$)",
        rf"(?:hostname|host name|name|name:|machine|pc|computer|box|hostnme|host"
        rf"|rename \S+ \S+)[\s:=]+(?P<it>{_LABEL})$",
    ):
        if (later := re.search(pattern, low)) and later["it"] not in _NO_NAME:
            return Found(later["it"], (later.span("it"),))
    alone = low.strip()
    return Found(alone) if re.fullmatch(_LABEL, alone) and alone not in _NO_NAME else NOTHING


def domain(text: str) -> Found:
    """The host with a domain, or the IP address, that a text names."""
    for found in _DOMAIN.finditer(plain(text[:LONGEST])):
        if not found[0].endswith(_FILE_ENDING):
            return Found(found[0], (found.span(),))
    return NOTHING
