"""The network as networkd, the kernel or, from agentd's sandbox, systemd alone tell of it."""

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from recorded_bus import RecordedBus
from recorded_network import CABLE, IWD, IWD_OBJECTS, IWD_ORDERED, LOOPBACK, NETWORKD, RESOLVED, described

from agentd.tools import listening, network, network_state
from agentd.tools.bus import Refused
from agentd.tools.network_state import OFF
from agentd.tools.tool import Answer, Context, Lacking

TOOLS = {tool.name: tool for tool in network.TOOLS}


def ask(bus: RecordedBus, verb: str, **given: str | None) -> Answer:
    run = TOOLS[f"network.{verb}"].run
    assert run is not None
    found = run(Context(bus, "owner"), given)
    json.dumps(found.facts)
    assert found.sources
    return found


@pytest.fixture
def networkd() -> RecordedBus:
    return RecordedBus({f"{NETWORKD} Describe": described()})


@pytest.fixture(autouse=True)
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kernel that shows the loopback alone, as in a namespace of its own."""
    folder = tmp_path / "net"
    add_link(folder, "lo", flags="0x9", address="00:00:00:00:00:00", mtu="65536", carrier="1")
    monkeypatch.setattr(network_state, "LINKS", folder)
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    yield folder


def add_link(folder: Path, name: str, **attributes: str) -> Path:
    link = folder / name
    link.mkdir(parents=True)
    for attribute, value in attributes.items():
        (link / attribute).write_text(f"{value}\n")
    return link


def has_addresses(monkeypatch: pytest.MonkeyPatch, **links: list[tuple[int, str, str | None]]) -> None:
    found = {
        name: [
            SimpleNamespace(family=family, address=address, netmask=mask) for family, address, mask in those
        ]
        for name, those in links.items()
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)


# ---- systemd-networkd


def test_addresses_are_those_of_networkd(networkd: RecordedBus) -> None:
    found = ask(networkd, "addresses")
    assert found.facts[0] == {
        "link": "eth0",
        "addresses": ["10.0.2.15/24", "fe80::1/64"],
        "mac": "52:54:00:12:02:01",
    }
    assert [one["link"] for one in found.facts] == ["eth0", "eth1", "wlan0"]
    assert "127.0.0.1" not in found.text
    assert found.sources == (NETWORKD,)


def test_links_say_whether_they_are_up_connected_and_how_fast(networkd: RecordedBus, sysfs: Path) -> None:
    add_link(sysfs, "eth0", speed="1000")
    found = ask(networkd, "links")
    by_name = {one["name"]: one for one in found.facts}
    assert by_name["eth0"]["speed"] == 1000
    assert by_name["eth0"]["state"] == "routable (configured)"
    assert (by_name["eth0"]["is_up"], by_name["eth0"]["has_carrier"]) == (True, True)
    assert (by_name["wlan0"]["kind"], by_name["wlan0"]["is_up"], by_name["wlan0"]["speed"]) == (
        "wlan",
        False,
        None,
    )
    assert "1000 Mbit/s" in found.text


def test_the_default_gateway_is_the_first_route_and_the_kernels_own_are_left_out(
    networkd: RecordedBus,
) -> None:
    found = ask(networkd, "routes")
    assert found.facts == [
        {"to": "default", "gateway": "10.0.2.2", "link": "eth0", "metric": 1024, "source": "dhcp"},
        {"to": "10.0.2.0/24", "gateway": "", "link": "eth0", "metric": 1024, "source": "kernel"},
    ]


def test_a_machine_without_a_gateway_says_so() -> None:
    one = {**CABLE, "Routes": CABLE["Routes"][:1]}
    assert ask(RecordedBus({f"{NETWORKD} Describe": described(one)}), "routes").text.startswith(
        "There is no default gateway."
    )
    bare = RecordedBus({f"{NETWORKD} Describe": described(LOOPBACK)})
    assert ask(bare, "routes").text == "This machine has no routes, and no default gateway."


@pytest.mark.parametrize("told", ["{", "[]", '{"Interfaces": [{}]}', '{"Interfaces": null}'])
def test_words_of_networkd_that_are_not_known_are_one_line(told: str) -> None:
    with pytest.raises(Lacking, match="in words that agentd does not know"):
        ask(RecordedBus({f"{NETWORKD} Describe": [told]}), "links")


def test_what_does_not_run_is_not_started_by_asking() -> None:
    bus = RecordedBus()
    ask(bus, "addresses")
    assert not [asked for asked in bus.asked if asked[0] in (NETWORKD, RESOLVED, IWD)]


# ---- the kernel


def test_without_networkd_the_kernel_tells(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_link(
        sysfs, "enp3s0", flags="0x1003", address="52:54:00:12:02:01", mtu="1500", carrier="1", speed="2500"
    )
    add_link(sysfs, "docker0", flags="0x1002", address="02:42:00:00:00:01", mtu="1500", speed="-1")
    (add_link(sysfs, "wlan0", flags="0x1002", address="52:54:00:12:02:03", mtu="1500") / "wireless").mkdir()
    (sysfs / "bonding_masters").touch()
    has_addresses(
        monkeypatch,
        lo=[(socket.AF_INET, "127.0.0.1", "255.0.0.0")],
        enp3s0=[
            (socket.AF_INET, "192.168.1.20", "255.255.255.0"),
            (socket.AF_INET6, "fe80::1%enp3s0", "ffff:ffff:ffff:ffff::"),
            (17, "52:54:00:12:02:01", None),
        ],
    )
    found = ask(RecordedBus(), "addresses")
    by_name = {one["link"]: one for one in found.facts}
    assert by_name["enp3s0"]["addresses"] == ["192.168.1.20/24", "fe80::1/64"]
    assert OFF not in found.text  # another program than networkd has set it up
    links = {one["name"]: one for one in ask(RecordedBus(), "links").facts}
    assert links["enp3s0"]["speed"] == 2500
    assert links["docker0"]["speed"] is None
    assert (links["wlan0"]["kind"], links["wlan0"]["is_up"]) == ("wlan", False)


def test_a_network_that_is_off_says_what_turns_it_on(sysfs: Path) -> None:
    add_link(sysfs, "eth0", flags="0x1002", address="52:54:00:12:02:01", mtu="1500")
    assert ask(RecordedBus(), "links").text.endswith(OFF)
    with pytest.raises(Lacking, match="The network is off; `systemctl enable --now systemd-networkd`"):
        ask(RecordedBus(), "routes")


def test_addresses_that_the_sandbox_forbids_to_ask_for_are_none(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError(97, "Address family not supported by protocol")

    add_link(sysfs, "eth0", flags="0x1003", address="52:54:00:12:02:01", mtu="1500")
    monkeypatch.setattr(psutil, "net_if_addrs", refuse)
    assert ask(RecordedBus(), "addresses").facts[0]["addresses"] == []


def test_this_machines_own_links_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    links = {link.name: link for link in network_state.kernel_links()}
    assert links["lo"].is_loopback
    assert "127.0.0.1/8" in links["lo"].addresses


# ---- agentd's sandbox: a namespace of its own


@pytest.fixture
def hidden() -> RecordedBus:
    return RecordedBus(
        units={
            "sys-subsystem-net-devices-eth0.device": {},
            "sys-subsystem-net-devices-br\\x2dlan.device": {},
        }
    )


def test_in_a_namespace_of_its_own_agentd_says_what_it_does_not_see(hidden: RecordedBus) -> None:
    for verb in ("addresses", "links"):
        found = ask(hidden, verb)
        assert found.text.startswith("This machine has 2 network interfaces: br-lan, eth0.")
        assert OFF in found.text
        assert "no view of the machine's network" in found.text


def test_networkd_tells_all_of_it_even_there(hidden: RecordedBus) -> None:
    hidden.methods[f"{NETWORKD} Describe"] = described()
    assert ask(hidden, "addresses").facts[0]["addresses"] == ["10.0.2.15/24", "fe80::1/64"]


# ---- names


def test_a_name_is_looked_up_by_resolved() -> None:
    answer = [
        [[2, socket.AF_INET, [93, 184, 215, 14]], [2, socket.AF_INET6, [0x20, 1, *[0] * 13, 1]]],
        "example.org",
        1,
    ]
    bus = RecordedBus({f"{RESOLVED} ResolveHostname": answer})
    found = ask(bus, "dns", name="www.example.org")
    assert found.text == "www.example.org (example.org) is 93.184.215.14, 2001::1."
    assert bus.asked[-1] == (RESOLVED, "ResolveHostname", 0, "www.example.org", 0, 0)


def test_a_name_that_does_not_resolve_is_said_in_resolveds_words() -> None:
    why = Refused(f"{RESOLVED} refuses: 'x.invalid' not found", f"{RESOLVED}.DnsError.NXDOMAIN")
    with pytest.raises(Lacking, match=r"'x\.invalid' not found"):
        ask(RecordedBus({f"{RESOLVED} ResolveHostname": why}), "dns", name="x.invalid")


def test_without_a_name_the_servers_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bus = RecordedBus(
        properties={RESOLVED: {"DNS": [[0, 2, [9, 9, 9, 9]], [2, 2, [10, 0, 2, 3]], [3, 2, [9] * 4]]}}
    )
    assert ask(bus, "dns", name=None).text == "Names are resolved by 9.9.9.9, 10.0.2.3."
    monkeypatch.setattr(network, "RESOLV_CONF", tmp_path / "resolv.conf")
    assert "No server for names is set" in ask(RecordedBus(), "dns", name=None).text
    (tmp_path / "resolv.conf").write_text("# comment\nsearch lan\nnameserver 192.168.1.1\nnameserver\n")
    found = ask(RecordedBus(), "dns", name=None)
    assert found.facts == {"servers": ["192.168.1.1"]}
    assert "whether they answer is not known" in found.text


def test_without_resolved_agentd_says_that_it_cannot_look_up_a_name() -> None:
    with pytest.raises(Lacking, match="systemd-resolved does not run"):
        ask(RecordedBus(), "dns", name="example.org")


# ---- ports


def test_a_listening_port_is_told_with_its_process() -> None:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as client:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        client.connect(tcp.getsockname())
        found = ask(RecordedBus(), "ports").facts
        ports = {(one["port"], one["protocol"]): one["by"] for one in found}
        assert f"({psutil.Process().pid})" in ports[tcp.getsockname()[1], "tcp"]
        assert (udp.getsockname()[1], "udp") in ports
        assert (client.getsockname()[1], "tcp") not in ports


def test_ports_that_may_not_be_read_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kind: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with pytest.raises(Lacking, match="the kernel does not show its ports"):
        ask(RecordedBus(), "ports")


# Lines of proc_pid_net(5) without their last columns.
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1823
   1: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000 54321        0 1824
   2: 0F02000A:0016 0202000A:D2F0 01 00000000:00000000 02:000A6F30 00000000     0        0 1901
"""
NOWHERE = f"{'0' * 32}:0000 0A 00000000:00000000 00:00000000 00000000"
TCP6 = f"""\
  sl  local_address                         remote_address                        st ...
   0: {"0" * 32}:0050 {NOWHERE}     0        0 1825
   1: 0000000000000000FFFF00000100007F:1F90 {NOWHERE}     0        0 1826
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  301: 00000000:0044 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1711
  302: 0100007F:0045 0100007F:0046 01 00000000:00000000 00:00000000 00000000     0        0 1712
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a machine with the other order of octets")
def test_from_a_namespace_of_its_own_agentd_sees_the_machines_ports_by_user(
    hidden: RecordedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "OTHERS", tmp_path)
    with pytest.raises(Lacking, match="agentd cannot see the machine's ports") as caught:
        ask(hidden, "ports")
    assert caught.value.hint == "ss -tulpn"
    for name, text in (("tcp", TCP), ("tcp6", TCP6), ("udp", UDP)):
        (tmp_path / name).write_text(text)
    found = [(one["port"], one["protocol"], one["address"], one["by"]) for one in ask(hidden, "ports").facts]
    assert found == [
        (22, "tcp", "0.0.0.0", "user root"),
        (68, "udp", "0.0.0.0", "user root"),
        (80, "tcp", "::", "user root"),
        (631, "tcp", "127.0.0.1", "user 54321"),
        (8080, "tcp", "127.0.0.1", "user root"),
    ]
    (tmp_path / "tcp").write_text("odd\nodder\n")
    with pytest.raises(Lacking, match="agentd cannot see the machine's ports"):
        ask(hidden, "ports")


def test_both_ways_to_see_ports_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "OTHERS", Path("/proc/self/net"))
    with socket.socket(socket.AF_INET6) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("::1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        mine = {(tcp.getsockname()[1], "tcp", "::1"), (udp.getsockname()[1], "udp", "127.0.0.1")}
        for found in (listening.here(), listening.of_the_machine()):
            assert mine <= {(one.port, one.protocol, one.address) for one in found}


# ---- Wi-Fi


def test_networks_in_reach_are_those_of_iwds_last_scan() -> None:
    bus = RecordedBus({f"{IWD} GetManagedObjects": IWD_OBJECTS, f"{IWD} GetOrderedNetworks": IWD_ORDERED})
    found = ask(bus, "wifi_scan")
    assert [(one["name"], one["signal"], one["security"]) for one in found.facts] == [
        ("home", -48, "psk"),
        ("the office", -60, "8021x"),
        ("café", -72, "open"),
        ("next door", -88, "psk"),
    ]
    assert "connected" in found.text
    assert found.facts[1]["is_known"]


def test_without_wifi_one_line_says_what_is_missing() -> None:
    with pytest.raises(Lacking, match="iwd, which would do it, does not run"):
        ask(RecordedBus(), "wifi_scan")
    nothing = RecordedBus({f"{IWD} GetManagedObjects": [{"/net/connman/iwd": {f"{IWD}.Daemon": {}}}]})
    with pytest.raises(Lacking, match="no Wi-Fi adapter that is switched on"):
        ask(nothing, "wifi_scan")
    silent = RecordedBus({f"{IWD} GetManagedObjects": IWD_OBJECTS, f"{IWD} GetOrderedNetworks": [[]]})
    assert ask(silent, "wifi_scan").text == "No Wi-Fi network was heard in the last scan."
