"""A machine that does not change, and the tools by their arguments: for bench/slots.py and tests."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from agentd.routing.slots import World
from agentd.tools.tool import Argument, Kind, Level, Tool

# A Wednesday, 14:20.
NOW = datetime(2026, 5, 13, 14, 20, tzinfo=ZoneInfo("Europe/Berlin"))
# As systemctl list-units shows them on a Debian server with a few things installed.
_DESCRIPTIONS = """
nginx: A high performance web server and a reverse proxy server
ssh: OpenBSD Secure Shell server
cron: Regular background program processing daemon
cups: CUPS Scheduler
cups-browsed: Make remote CUPS printers available locally
docker: Docker Application Container Engine
bluetooth: Bluetooth service
postgresql: PostgreSQL RDBMS
redis-server: Advanced key-value store
systemd-resolved: Network Name Resolution
systemd-timesyncd: Network Time Synchronization
systemd-journald: Journal Service
systemd-logind: User Login Management
systemd-networkd: Network Configuration
systemd-udevd: Rule-based Manager for Device Events and Files
NetworkManager: Network Manager
avahi-daemon: Avahi mDNS/DNS-SD Stack
smbd: Samba SMB Daemon
nmbd: Samba NMB Daemon
borgmatic: borgmatic backup
minecraft: Minecraft game server
pipewire: PipeWire Multimedia Service
postfix: Postfix Mail Transport Agent
fail2ban: Fail2Ban Service
tailscaled: Tailscale node agent
jellyfin: Jellyfin Media Server
mpd: Music Player Daemon
nftables: nftables
dnsmasq: dnsmasq - A lightweight DHCP and caching DNS server
grafana-server: Grafana instance
haproxy: HAProxy Load Balancer
syncthing@tom: Syncthing - Open Source Continuous File Synchronization for tom
transmission-daemon: Transmission BitTorrent Daemon
home-assistant: Home Assistant
rsyslog: System Logging Service
wpa_supplicant: WPA supplicant
getty@tty1: Getty on tty1
user@1000: User Manager for UID 1000
dbus: D-Bus System Message Bus
polkit: Authorization Manager
unattended-upgrades: Unattended Upgrades Shutdown
agentd: AetherOS agent
"""
UNITS = {
    f"{name}.service": description
    for name, description in (line.split(": ", 1) for line in _DESCRIPTIONS.strip().splitlines())
} | {"dbus.socket": "D-Bus System Message Bus Socket", "apt-daily.timer": "Daily apt download activities"}
# What bench/slots.py adds for the names that dev.jsonl has: else most of its services would not exist.
MORE_UNITS = tuple(
    """apache2 mariadb mosquitto chrony vsftpd packagekit teamviewerd plexmediaserver pihole-FTL mongod
    wg-quick@wg0 plocate-updatedb""".split()  # noqa: SIM905 - words to read
)
LINKS = ("lo", "enp4s0", "wlan0")
FILES = ("/home/tom/Documents/letter-council.odt", "/home/tom/notes.txt", "/home/tom/Pictures/rosie.jpg")


def _files(words: str) -> Sequence[str]:
    wanted = words.lower().split()
    return [path for path in FILES if all(word in path.lower() for word in wanted)]


def _units() -> Mapping[str, str]:
    return UNITS


WORLD = World(
    units=_units,
    now=lambda: NOW,
    links=lambda: LINKS,
    zones=lambda: sorted(available_timezones()),
    files=_files,
)


def _tool(name: str, *given: tuple[str, Kind] | Argument) -> Tool:
    listed = tuple(one if isinstance(one, Argument) else Argument(one[0], one[1], one[0]) for one in given)
    return Tool(name, name, Level.READ, arguments=listed)


def _since() -> Argument:
    return Argument("since", Kind.SINCE, "from when on", required=False)


def _folder() -> Argument:
    return Argument("folder", Kind.PATH, "where", required=False)


_UNIT, _LINK, _PATH = ("unit", Kind.UNIT), ("link", Kind.LINK), ("path", Kind.PATH)
TOOLS = {
    tool.name: tool
    for tool in (
        *(
            _tool(f"services.{verb}", _UNIT)
            for verb in ("status", "start", "stop", "restart", "enable", "disable")
        ),
        _tool("services.logs", _UNIT, _since()),
        _tool(
            "machine.processes",
            Argument("by", Kind.CHOICE, "by", False, "cpu", ("cpu", "memory")),
            Argument("count", Kind.COUNT, "how many", False, 10),
        ),
        _tool("logs.errors", _since()),
        _tool("logs.search", ("words", Kind.WORDS), _since()),
        _tool("logs.explain", ("words", Kind.WORDS)),
        _tool("network.connect", _LINK),
        _tool("network.disconnect", _LINK),
        _tool("network.dns", Argument("name", Kind.HOST, "a name", required=False)),
        _tool("network.wifi_join", ("network", Kind.NETWORK)),
        _tool("files.find", ("name", Kind.NAME), _folder()),
        _tool("files.read", _PATH),
        _tool("files.space", _folder()),
        _tool("files.write", _PATH, ("text", Kind.WORDS)),
        _tool("files.move", _PATH, ("to", Kind.PATH)),
        _tool("files.delete", _PATH),
        _tool("files.restore", _PATH),
        _tool("time.zone", ("zone", Kind.ZONE)),
        _tool("time.remind", ("text", Kind.WORDS), ("when", Kind.WHEN)),
        _tool("time.timer", ("duration", Kind.DURATION)),
        _tool("time.repeat", ("text", Kind.WORDS), ("schedule", Kind.SCHEDULE)),
        _tool("time.cancel", ("which", Kind.WORDS)),
        _tool("memory.remember", ("text", Kind.WORDS)),
        _tool("memory.recall", ("query", Kind.WORDS)),
        _tool("memory.forget", ("query", Kind.WORDS)),
        _tool("settings.host_name", ("name", Kind.HOST)),
        _tool("settings.locale", ("locale", Kind.LOCALE)),
        _tool("settings.keyboard", ("layout", Kind.LAYOUT)),
        _tool("settings.brightness", ("level", Kind.LEVEL)),
        _tool("settings.volume", ("level", Kind.LEVEL)),
    )
}
