"""What the network is like: addresses, links, routes, names, ports, Wi-Fi in reach.

Not for: changing it (network_changes.py), or where it is read from (network_state.py).
"""

import socket
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from agentd.tools import listening, network_state, wireless
from agentd.tools.bus import Bus
from agentd.tools.network_state import Link, State
from agentd.tools.render import count, table, visible
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool

RESOLVED, RESOLVED_PATH = "org.freedesktop.resolve1", "/org/freedesktop/resolve1"
# resolv.conf(5)
RESOLV_CONF = Path("/etc/resolv.conf")
# Looking up a name waits for servers that may be far away; resolved gives up by itself.
PATIENCE = 20.0


def addresses(context: Context, arguments: Arguments) -> Answer:
    """The IP and MAC addresses of this machine, by link."""
    state = network_state.look(context.bus)
    rows = [
        (visible(link.name), ", ".join(link.addresses) or "none", link.mac or "-")
        for link in state.links
        if not link.is_loopback
    ]
    facts = [
        {"link": link.name, "addresses": list(link.addresses), "mac": link.mac}
        for link in state.links
        if not link.is_loopback
    ]
    if state.routes is None and not any(link.kind for link in state.links):
        return _told(state, f"This machine has {_names(state.links)}.", facts)
    text = table(("Link", "Addresses", "MAC"), rows) if rows else "This machine has no link but itself."
    return _told(state, text, facts)


def links(context: Context, arguments: Arguments) -> Answer:
    """The network interfaces, whether they are up and connected, and how fast they are."""
    state = network_state.look(context.bus)
    facts = [{**asdict(link), "addresses": list(link.addresses)} for link in state.links]
    if not any(link.kind for link in state.links):
        return _told(state, f"This machine has {_names(state.links)}.", facts)
    rows = [
        (
            visible(link.name),
            link.kind,
            "up" if link.is_up else "down",
            "yes" if link.has_carrier else "no",
            f"{link.speed} Mbit/s" if link.speed else "-",
            link.mac or "-",
            link.state or "-",
        )
        for link in state.links
    ]
    return _told(state, table(("Link", "Kind", "Is", "Carrier", "Speed", "MAC", "State"), rows), facts)


def routes(context: Context, arguments: Arguments) -> Answer:
    """Routes of the main table, the default gateway first."""
    state = network_state.look(context.bus)
    if state.routes is None:
        if state.note:
            raise Lacking(state.note.partition("\n")[0].rstrip("."))
        raise Lacking("routes are known only where systemd-networkd runs", "ip route")
    if not state.routes:
        return _told(state, "This machine has no routes, and no default gateway.", [])
    rows = [
        (route.to, route.gateway or "-", visible(route.link), route.metric, visible(route.source))
        for route in state.routes
    ]
    text = table(("To", "Gateway", "Link", "Metric", "Set by"), rows)
    if not any(route.to == "default" for route in state.routes):
        text = f"There is no default gateway.\n{text}"
    return _told(state, text, [asdict(route) for route in state.routes])


def dns(context: Context, arguments: Arguments) -> Answer:
    """Whether a name resolves; without one, which servers are asked."""
    name = arguments["name"]
    if not network_state.runs(context.bus, RESOLVED):
        if name:
            raise Lacking(
                "agentd cannot look up a name: systemd-resolved does not run, which would do it",
                f"getent ahosts {name}",
            )
        return _servers_of_file()
    if not name:
        return _servers(context.bus)
    found, canonical, _ = context.bus.call(
        RESOLVED,
        RESOLVED_PATH,
        f"{RESOLVED}.Manager",
        "ResolveHostname",
        "isit",
        # Any link, any family, no flags (org.freedesktop.resolve1(5)).
        *(0, name, socket.AF_UNSPEC, 0),
        patience=PATIENCE,
    )
    resolved = [str(ip_address(bytes(octets))) for _, _, octets in found]
    facts = {"name": name, "canonical": str(canonical), "addresses": resolved}
    also = f" ({visible(str(canonical))})" if canonical != name else ""
    return Answer(f"{name}{also} is {', '.join(resolved)}.", facts, (RESOLVED,))


def ports(context: Context, arguments: Arguments) -> Answer:
    """What listens on which port, with its process where agentd may see it."""
    is_hidden = network_state.is_hidden(context.bus)
    found = listening.of_the_machine() if is_hidden else listening.here()
    rows = [
        (one.port, one.protocol, one.address, visible(one.by) or "not visible to agentd") for one in found
    ]
    text = (
        table(("Port", "Protocol", "Address", "Process"), rows) if rows else "Nothing listens on any port."
    )
    return Answer(
        text, [asdict(one) for one in found], (str(listening.OTHERS) if is_hidden else "/proc/net",)
    )


def wifi_scan(context: Context, arguments: Arguments) -> Answer:
    """The Wi-Fi networks that were heard in the last scan, the best first."""
    found = wireless.networks(context.bus)
    facts = [asdict(network) for network in found]
    if not found:
        return Answer("No Wi-Fi network was heard in the last scan.", facts, (wireless.IWD,))
    rows = [
        (
            visible(network.name) or "(hidden)",
            f"{network.signal} dBm",
            network.security,
            "connected" if network.is_connected else "known" if network.is_known else "-",
            network.link,
        )
        for network in found
    ]
    text = table(("Network", "Signal", "Security", "State", "Link"), rows)
    return Answer(f"{count(len(found), 'network')} in the last scan:\n{text}", facts, (wireless.IWD,))


def _told(state: State, text: str, facts: Any) -> Answer:
    return Answer(f"{text}\n{state.note}" if state.note else text, facts, (state.source,))


def _names(links: tuple[Link, ...]) -> str:
    if not links:
        return "no network interface"
    return f"{count(len(links), 'network interface')}: {', '.join(visible(link.name) for link in links)}"


def _servers(bus: Bus) -> Answer:
    """The servers that resolved asks, of all links, and its own."""
    found = bus.get(RESOLVED, RESOLVED_PATH, f"{RESOLVED}.Manager", "DNS")
    servers = list(dict.fromkeys(str(ip_address(bytes(octets))) for _, _, octets in found))
    text = f"Names are resolved by {', '.join(servers)}." if servers else "No server for names is set."
    return Answer(text, {"servers": servers}, (RESOLVED,))


def _servers_of_file() -> Answer:
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    servers = [
        visible(line.split()[1]) for line in lines if line.startswith("nameserver") and line.split()[1:]
    ]
    text = (
        f"{RESOLV_CONF} names {', '.join(servers)}; whether they answer is not known to agentd."
        if servers
        else "No server for names is set, so no name resolves but those of /etc/hosts."
    )
    return Answer(text, {"servers": servers}, (str(RESOLV_CONF),))


TOOLS = (
    Tool("network.addresses", "the IP and MAC addresses of this machine", Level.READ, run=addresses),
    Tool(
        "network.links", "network interfaces, whether they are connected, their speed", Level.READ, run=links
    ),
    Tool("network.routes", "routes and the default gateway", Level.READ, run=routes),
    Tool(
        "network.dns",
        "whether a name resolves, and by which servers",
        Level.READ,
        run=dns,
        arguments=(Argument("name", Kind.HOST, "the name to look up", required=False),),
    ),
    Tool("network.ports", "what listens on which port", Level.READ, run=ports),
    Tool("network.wifi_scan", "Wi-Fi networks in reach", Level.READ, run=wifi_scan),
)
