"""Which service of this machine a request names: by its name, what it does, or its description.

Only units that exist are found, and one that the text writes out ("foo.service"). Not for: what happens
to the unit.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from agentd.routing.slot_text import LONGEST, Found, is_near, plain

_LITERAL = re.compile(
    r"(?<![\w/.:@\\-])[A-Za-z0-9][\w:@-]*(?:\.[\w:@-]+)*"
    r"\.(?:service|socket|target|timer|mount|path|slice|scope|swap|automount)(?![\w/@\\-]|\.\w)",
    re.ASCII,
)
# A word of a request that may be a unit's name; one in a path, of an option or with a shell's marks is none.
_WORD = re.compile(r"(?<![^\s\"'“”„‚‘’«»(,;:!?.¿¡=])[^\W_][\w.@+-]*(?![^\s\"'“”„’»),;:!?.])")  # noqa: RUF001
_SHELL = re.compile(r"\S*(?:[$`\\{}<>|*]\S*|[/;&]\S+)")
# Names that people say, and the units that they may be; the unit of the name itself is tried first.
_ALIASES = {
    "ssh": "ssh sshd", "sshd": "sshd ssh", "openssh": "ssh sshd", "mysql": "mysql mysqld mariadb",
    "mysqld": "mysqld mysql mariadb", "mariadb": "mariadb mysql", "postgres": "postgresql",
    "psql": "postgresql", "apache": "apache2 httpd", "httpd": "httpd apache2", "redis": "redis redis-server",
    "chronyd": "chronyd chrony", "ntpd": "ntpd ntp ntpsec", "ntp": "ntp ntpsec systemd-timesyncd chrony",
    "crond": "cron crond cronie", "cron": "cron crond cronie", "crontab": "cron crond", "samba": "samba "
                                                                                                 "smbd",
    "smb": "smbd samba", "plex": "plexmediaserver", "mongo": "mongod mongodb", "mongodb": "mongod mongodb",
    "bind": "named bind9", "wireguard": "wg-quick@wg0 wg-quick", "pihole": "pihole-FTL", "nfs": "nfs-server",
    "libvirt": "libvirtd", "homeassistant": "home-assistant", "hass": "home-assistant", "exim": "exim4",
    "journal": "systemd-journald", "syslog": "rsyslog", "udev": "systemd-udevd", "gdm": "gdm gdm3",
    "nm": "NetworkManager", "dockerd": "docker", "cupsd": "cups", "bluetoothd": "bluetooth",
    "pulse": "pulseaudio",
}  # fmt: skip
# What services do, in words of some languages, and the units that do it.
_FUNCTIONS = (
    ("nginx apache2 httpd lighttpd caddy", "web server|webserver|web service|http server|website|web site"
     "|serveur web|servidor web|server web|internetserver"),
    ("postgresql mariadb mysql mysqld mongod redis-server redis", "database|data base|database server"
                                                                  "|datenbank"
     "|base de donnees|base de datos|base dati|banco de dados|base de dados|db|sql server|serveur de base"),
    ("cups", "printer|printing|printers|print service|print server|print spooler|printserver|spooler|drucker"
             "|druckdienst"
     "|druckserver|imprimante|impression|service d'impression|impresora|impresion|stampante|stampa"
     "|impressora|impressao"),
    ("ssh sshd", "secure shell|remote login|remote shell|ssh server|serveur ssh|servidor ssh|ssh zugang"),
    ("postfix exim4 dovecot opensmtpd sendmail", "mail server|mailserver|mail service|mail|email server"
                                                 "|e-mail server"
     "|email|mailsystem|serveur mail|serveur de messagerie|servidor de correo|correo|posta|server di posta"),
    ("smbd samba nfs-server", "file sharing|file server|fileserver|windows share|windows shares|shares"
                              "|network share"
     "|freigabe|freigaben|dateiserver|partage de fichiers|serveur de fichiers"),
    ("nftables ufw firewalld", "firewall|fire wall|pare-feu|cortafuegos|brandmauer"),
    ("systemd-timesyncd chrony chronyd ntpsec ntp ntpd", "time sync|time synchronisation"
                                                         "|time synchronization|clock sync"
     "|time server|zeitsynchronisation|zeitserver|zeitabgleich|time service|serveur de temps"),
    ("pipewire pulseaudio", "sound server|sound service|audio service|audio server|sound daemon|audio daemon"
                            "|tonserver"),
    ("docker podman containerd", "containers|container engine|container runtime|conteneurs|contenedores"),
    ("NetworkManager systemd-networkd networking", "network manager|network service|networking service"
                                                   "|netzwerkdienst"
     "|gestionnaire de reseau"),
    ("systemd-resolved dnsmasq unbound named bind9", "dns|dns server|dns service|resolver|name server"
                                                     "|name resolution"),
    ("dnsmasq isc-dhcp-server kea-dhcp4-server", "dhcp|dhcp server"),
    ("openvpn tailscaled wg-quick@wg0", "vpn|vpn daemon|vpn service|vpn server"),
    ("jellyfin plexmediaserver emby-server minidlna", "media server|movie server|film server|mediaserver"
                                                      "|medienserver"),
    ("mpd mopidy navidrome", "music server|music player|music daemon|musikserver|serveur de musique"),
    ("gdm gdm3 sddm lightdm", "display manager|login screen|desktop manager|login manager"
                              "|anmeldebildschirm"),
    ("rsyslog systemd-journald", "syslog|system log|system logger"),
    ("wpa_supplicant iwd", "wifi service|wi-fi service|wlan service|wlan-dienst"),
    ("transmission-daemon qbittorrent-nox", "torrent|torrents|torrent client"),
    ("plocate-updatedb tracker-miner-fs-3 baloo_file", "indexer|search indexer|file indexer|search index"),
    ("gitea forgejo gitlab", "git server|git service"),
    ("prometheus grafana-server netdata", "monitoring"),
    ("cron crond anacron", "cron jobs|cronjob|job scheduler"),
    ("bluetooth", "bluetooth service|blue tooth"),
    ("avahi-daemon", "mdns|zeroconf|bonjour"),
)  # fmt: skip
# Words that are no hint of a unit by its description.
_EMPTY = frozenset(
    """rescue emergency reboot poweroff halt suspend exit report first debug power low rebooting about after
    again alive all and any are arranca arranque autostart back because been before being bitte
    boot bounce bring but can cause check could crash crashed daemon démarre demarre dead detén
    deten die dienst disable does doing don down enable error errors every everything fail failed
    fix for from getting give going has have healthy help hold how its itself just kick kill know
    last launch let like lines log logs look machine make manager message messages mir morning
    need neu never not now off only out output over please process program quite read relance
    reload restart running said say says see server serveur servicio service serviço services
    servidor should show start started starten starting startup state status stop stopped stops
    system systemd take tell thank that the their them then there they thing things this time
    today told turn until update usual wants was what when whether which while who why will with
    without work working works would write wrote yesterday your computer linux user file files
    folder home name local main access support utility general common control task tasks job jobs
    run runs journal journals logging console print up""".split()  # noqa: SIM905 - words to read
)
_ASKED_AT_MOST = 5
# So many telling words are taken as they are; of more only those as in "backup service".
_SHORT = 2
_BESIDE = re.compile(
    r"\b([\w-]+) (?:service|server|daemon|thing|unit|process|dienst)\b"
    r"|\b(?:service|serveur|servicio|servizio|servico|dienst|daemon)(?: (?:de|du|des|del|di|da|do|of|for"
    r"|fur))? ([\w-]+)"
)


def unit(text: str, units: Mapping[str, str]) -> Found:
    """The unit that a text names, of `units` (names with descriptions); candidates if there are several."""
    text = text[:LONGEST]
    if literal := _LITERAL.search(text):
        return Found(literal[0], (literal.span(),))
    clean = _SHELL.sub(lambda found: " " * len(found[0]), text)
    low = plain(clean)
    index = _index(tuple(units))
    words = [(found[0].rstrip(".-+@"), found.start()) for found in _WORD.finditer(low)]
    for look in (_named, _by_function):
        if found := look(words, index):
            return _found(found)
    absent = next((word for word, _ in words if word in _known_names()), "")
    if absent:
        return Found(question=f"There is no {absent} here. Which service?")
    if found := _mistyped(words, index):
        return _found(found)
    # Of "the mail server" where none is known, these two words are looked for in descriptions and no others.
    said = " ".join(word for word, _ in words)
    function = _functions()[0].search(said)
    telling = (function[0] if function else said).split()
    return _described(telling, units) or Found(candidates=_closest(words, index))


def _found(places: dict[str, tuple[int, int]]) -> Found:
    if len(places) == 1:
        ((name, span),) = places.items()
        return Found(name, (span,))
    return Found(candidates=tuple(places)[:_ASKED_AT_MOST])


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    """Names that are a service's on any machine: one that is not here is not taken for another."""
    listed = " ".join([*_ALIASES, *_ALIASES.values(), *(stems for stems, _ in _FUNCTIONS)])
    return frozenset(listed.lower().split()) - _EMPTY


@lru_cache(maxsize=8)
def _index(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What people may call a unit, in lower case, and the units that it can be."""
    stems: dict[str, str] = {}
    for name in names:
        stem, _, kind = name.rpartition(".")
        if stem.endswith("@"):
            continue  # a template is no unit that runs
        # Of foo.service and foo.socket people mean the service.
        if kind == "service" or (stem.lower() not in stems and kind in ("timer", "socket", "target")):
            stems[stem.lower()] = name
    index: dict[str, tuple[str, ...]] = {stem: (name,) for stem, name in stems.items()}
    for alias, listed in _ALIASES.items():
        there = [stems[stem] for stem in listed.lower().split() if stem in stems]
        if there:
            index.setdefault(alias, tuple(there[:1]))
    beginnings: dict[str, list[str]] = {}
    for stem, name in stems.items():
        if stem.startswith("systemd-"):
            # "resolved", not "reboot": systemd-reboot.service does what its name says.
            if stem.endswith("d"):
                index.setdefault(stem.removeprefix("systemd-"), (name,))
        elif name.endswith(".service"):
            first = re.split(r"[-_@.]", stem)[0]
            if first != stem and len(first) > 2 and first not in _EMPTY:
                beginnings.setdefault(first, []).append(name)
            if stem.endswith("d") and len(stem) > 4:
                index.setdefault(stem[:-1], (name,))
    for first, listed_names in beginnings.items():
        index.setdefault(first, tuple(sorted(listed_names)))
    return index


def _named(words: list[tuple[str, int]], index: dict[str, tuple[str, ...]]) -> dict[str, tuple[int, int]]:
    """Units that words of the text name exactly; two words may be one name ("network manager")."""
    places: dict[str, tuple[int, int]] = {}
    for at, (word, start) in enumerate(words):
        following = words[at + 1] if at + 1 < len(words) else None
        tried = [(word, start + len(word))]
        if following:
            end = following[1] + len(following[0])
            tried = [(f"{word}{join}{following[0]}", end) for join in ("-", "", "_")] + tried
        for name, end in tried:
            if name in index and name not in _EMPTY:
                places |= {one: (start, end) for one in index[name] if one not in places}
                break
    return places


@lru_cache(maxsize=1)
def _functions() -> tuple[re.Pattern[str], dict[str, str], frozenset[str]]:
    phrases = {phrase: listed for listed, said in _FUNCTIONS for phrase in said.split("|")}
    longest_first = "|".join(map(re.escape, sorted(phrases, key=len, reverse=True)))
    known = frozenset(word for phrase in phrases for word in phrase.split() if len(word) > 3)
    return re.compile(rf"\b(?:{longest_first})\b"), phrases, known


def _by_function(
    words: list[tuple[str, int]], index: dict[str, tuple[str, ...]]
) -> dict[str, tuple[int, int]]:
    """Units that do what the text says: "the web server", also mistyped ("web sevrer")."""
    pattern, phrases, known = _functions()
    said = " ".join(word for word, _ in words)
    for line in (said, " ".join(_corrected(word, known) for word, _ in words)):
        if found := pattern.search(line):
            there = [name for stem in phrases[found[0]].split() for name in index.get(stem.lower(), ())[:1]]
            start = words[line[: found.start()].count(" ")][1]
            last_word, last = words[line[: found.end()].count(" ")]
            return dict.fromkeys(there, (start, last + len(last_word)))
    return {}


def _corrected(word: str, known: Iterable[str]) -> str:
    if len(word) < 4 or word in known:
        return word
    return next((right for right in known if right[0] in word[:2] and is_near(word, right)), word)


def _mistyped(words: list[tuple[str, int]], index: dict[str, tuple[str, ...]]) -> dict[str, tuple[int, int]]:
    first = dict(reversed(words))
    for word, start in sorted(first.items(), key=lambda one: one[1]):
        if len(word) < 4 or word in _EMPTY:
            continue
        names = {
            name
            for called, listed in index.items()
            if len(called) > 2 and called[0] in word[:2] and is_near(word, called)
            for name in listed
        }
        if names:
            return dict.fromkeys(sorted(names), (start, start + len(word)))
    return {}


def _described(words: list[str], units: Mapping[str, str]) -> Found | None:
    """Services whose descriptions have most of the text's telling words."""
    telling = {word for word in words if len(word) > 3 and word not in _EMPTY}
    if len(telling) > _SHORT:
        line = " ".join(words)
        telling &= {word for found in _BESIDE.finditer(line) for word in found.groups() if word}
    if not telling:
        return None
    scores: dict[str, int] = {}
    for name, description in units.items():
        if name.endswith((".service", ".timer")) and "@." not in name:
            inside = set(re.findall(r"[^\W_]+", plain(f"{name.rpartition('.')[0]} {description}")))
            if score := len(telling & inside):
                scores[name] = score
    if not scores:
        return None
    best = [name for name, score in scores.items() if score == max(scores.values())]
    stems = {name.rpartition(".")[0] for name in best}
    if len(stems) == 1:
        return Found(next((name for name in best if name.endswith(".service")), best[0]))
    return Found(candidates=tuple(best[:_ASKED_AT_MOST])) if len(best) <= _ASKED_AT_MOST else None


def _closest(words: list[tuple[str, int]], index: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Names that look a little like a word of the text: to be asked about, not to be taken."""
    alike: dict[str, None] = {}
    for word, _ in words[-12:]:
        if len(word) > 3 and word not in _EMPTY:
            for name in difflib.get_close_matches(word, index, 2, 0.75):
                alike |= dict.fromkeys(index[name])
    return tuple(alike)[:_ASKED_AT_MOST]
