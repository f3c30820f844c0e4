"""Links that are taken up or down, and Wi-Fi networks that are joined: the plans of it.

Not for: how the network is (network.py).
"""

from difflib import get_close_matches

from agentd.tools import network_state, wireless
from agentd.tools.bus import Bus
from agentd.tools.network_state import Link, State
from agentd.tools.render import visible
from agentd.tools.tool import Argument, Arguments, Context, Kind, Lacking, Level, Plan, Step, Tool, Unfit

# What people call a link that has no other of its kind beside it.
_KINDS = {
    "wlan": ("wifi", "wi-fi", "wlan", "wireless"),
    "ether": ("ethernet", "cable", "lan", "wired"),
}


def connect(context: Context, arguments: Arguments) -> Plan:
    """Bring a link up."""
    state, link = _link(context.bus, arguments["link"])
    if link.is_up:
        raise Lacking(f"{link.name} is up already")
    effects = [_now(link)]
    if state.source != network_state.NETWORKD:
        effects.append("systemd-networkd does not run: the link gets no address by it.")
    return _plan(link, "up", "down", effects)


def disconnect(context: Context, arguments: Arguments) -> Plan:
    """Take a link down."""
    state, link = _link(context.bus, arguments["link"])
    if link.is_up is False:
        raise Lacking(f"{link.name} is down already")
    if link.is_loopback:
        raise Lacking(f"{link.name} is the machine itself: what talks to itself needs it")
    effects = [_now(link)]
    if link.addresses:
        effects.append("Whoever is connected over it, also by SSH, is cut off.")
    others = [one for one in state.links if one.name != link.name and not one.is_loopback]
    if link.is_up is not None and not any(one.addresses for one in others):
        effects.append("No other link has an address: the machine is without a network then.")
    return _plan(link, "down", "up", effects)


def wifi_join(context: Context, arguments: Arguments) -> Plan:
    """Join a Wi-Fi network that is open, or whose password iwd knows."""
    wanted = arguments["network"]
    found = wireless.networks(context.bus)
    there = [network for network in found if network.name == wanted]
    if not there:
        near = get_close_matches(wanted, sorted({network.name for network in found}), n=3, cutoff=0.6)
        question = f"; did you mean {' or '.join(map(visible, near))}?" if near else ""
        raise Unfit(f"no Wi-Fi network {visible(wanted)} is in reach{question}")
    network = there[0]
    if network.is_connected:
        raise Lacking(f"{network.link} is in the network {visible(wanted)} already")
    if not network.is_known and network.security != "open":
        raise Lacking(
            f"the password of {visible(wanted)} is not known to iwd, which asks for it once",
            f"iwctl station {network.link} connect '{visible(wanted)}'",
        )
    before = next((one for one in found if one.is_connected and one.link == network.link), None)
    effects = [f"{network.link} hears it with {network.signal} dBm; its security: {network.security}."]
    if before:
        effects.append(f"It leaves {visible(before.name)}.")
    if network.security == "open":
        effects.append("The network is open: others in reach can read what is not encrypted by itself.")
    return Plan(
        f"Join the Wi-Fi network {visible(wanted)}",
        (_join(network.link, wanted),),
        tuple(effects),
        (_join(before.link, before.name),) if before else (),
        f"{network.link} is in {f'the network {visible(before.name)}' if before else 'no network'}",
        f"{network.link} is in the network {visible(wanted)}.",
    )


def _link(bus: Bus, wanted: str) -> tuple[State, Link]:
    """The link of that name, or the only one of that kind. Raises Unfit."""
    state = network_state.look(bus)
    for link in state.links:
        if link.name == wanted:
            return state, link
    for kind, words in _KINDS.items():
        if wanted.casefold() in words:
            found = [link for link in state.links if link.kind == kind]
            if len(found) == 1:
                return state, found[0]
    names = [visible(link.name) for link in state.links if not link.is_loopback]
    there = f"there are {', '.join(names)}" if len(names) > 1 else f"there is {names[0]}" if names else ""
    raise Unfit(f"there is no link {visible(wanted)}; {there or 'this machine has none'}")


def _now(link: Link) -> str:
    known = ("up" if link.is_up else "down") if link.is_up is not None else "in an unknown state"
    return f"{visible(link.name)} is {known}, with {', '.join(link.addresses) or 'no address'}."


def _plan(link: Link, verb: str, back: str, effects: list[str]) -> Plan:
    name = visible(link.name)
    known = {True: "up", False: "down", None: "in an unknown state"}[link.is_up]
    return Plan(
        f"{'Bring' if verb == 'up' else 'Take'} {name} {verb}",
        (Step(f"link.{verb}", {"link": link.name}),),
        tuple(effects),
        (Step(f"link.{back}", {"link": link.name}),),
        f"{name} is {known}",
        f"{name} is {verb}.",
    )


def _join(link: str, network: str) -> Step:
    return Step("wifi.join", {"network": network, "link": link})


_LINK = Argument("link", Kind.LINK, "the network interface, like eth0")

TOOLS = (
    Tool(
        "network.connect", "bring a link up", Level.CHANGE, plan=connect, arguments=(_LINK,), reversible=True
    ),
    Tool(
        "network.disconnect",
        "take a link down",
        Level.CHANGE,
        plan=disconnect,
        arguments=(_LINK,),
        reversible=True,
    ),
    Tool(
        "network.wifi_join",
        "join a Wi-Fi network",
        Level.CHANGE,
        plan=wifi_join,
        arguments=(Argument("network", Kind.NETWORK, "the network's name"),),
        reversible=True,
    ),
)
