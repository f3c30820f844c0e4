"""What is told before a link is taken up or down, or a Wi-Fi network is joined."""

from pathlib import Path
from typing import Any

import psutil
import pytest
from recorded_bus import RecordedBus, for_the_broker
from recorded_network import CABLE, IWD, IWD_OBJECTS, IWD_ORDERED, LOOPBACK, NETWORKD, PORT, described

from agentd.tools import network_changes, network_state
from agentd.tools.tool import Context, Lacking, Plan, Step, Unfit

TOOLS = {tool.name: tool for tool in network_changes.TOOLS}


@pytest.fixture
def bus() -> RecordedBus:
    return RecordedBus(
        {
            f"{NETWORKD} Describe": described(),
            f"{IWD} GetManagedObjects": IWD_OBJECTS,
            f"{IWD} GetOrderedNetworks": IWD_ORDERED,
        }
    )


def plan(bus: RecordedBus, verb: str, **given: str) -> Plan:
    make = TOOLS[f"network.{verb}"].plan
    assert make is not None
    first = make(Context(bus, "owner"), given)
    assert make(Context(bus, "owner"), given) == first
    assert TOOLS[f"network.{verb}"].reversible
    # Nobody joins networks yet: our image has no iwd.
    return first if verb == "wifi_join" else for_the_broker(first)


def test_a_link_comes_up_and_the_way_back_takes_it_down(bus: RecordedBus) -> None:
    found = plan(bus, "connect", link="eth1")
    assert found.steps == (Step("link.up", {"link": "eth1"}),)
    assert found.undo == (Step("link.down", {"link": "eth1"}),)
    assert found.effects == ("eth1 is down, with no address.",)
    assert (found.basis, found.done) == ("eth1 is down", "eth1 is up.")


def test_taking_down_the_only_link_tells_that_the_machine_is_cut_off(bus: RecordedBus) -> None:
    found = plan(bus, "disconnect", link="eth0")
    assert found.effects == (
        "eth0 is up, with 10.0.2.15/24, fe80::1/64.",
        "Whoever is connected over it, also by SSH, is cut off.",
        "No other link has an address: the machine is without a network then.",
    )
    assert found.undo == (Step("link.up", {"link": "eth0"}),)
    second = {**CABLE, "Name": "eth2"}
    bus.methods[f"{NETWORKD} Describe"] = described(LOOPBACK, CABLE, second)
    assert len(plan(bus, "disconnect", link="eth0").effects) == 2


def test_a_link_may_be_called_by_its_kind_where_it_is_the_only_one(bus: RecordedBus) -> None:
    assert plan(bus, "connect", link="WiFi").steps[0].arguments == {"link": "wlan0"}
    with pytest.raises(Unfit, match="there is no link cable; there are eth0, eth1, wlan0"):
        plan(bus, "connect", link="cable")
    bus.methods[f"{NETWORKD} Describe"] = described(LOOPBACK, PORT)
    assert plan(bus, "connect", link="cable").steps[0].arguments == {"link": "eth1"}


@pytest.mark.parametrize(
    ("verb", "link", "why"),
    [
        ("connect", "eth0", "eth0 is up already"),
        ("disconnect", "eth1", "eth1 is down already"),
        ("disconnect", "lo", "lo is the machine itself"),
        ("connect", "eth9", "there is no link eth9; there are"),
    ],
)
def test_what_is_not_to_be_changed_is_said(bus: RecordedBus, verb: str, link: str, why: str) -> None:
    with pytest.raises(Lacking, match=why):
        plan(bus, verb, link=link)


def test_from_the_sandbox_a_link_can_be_changed_though_its_state_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_state, "LINKS", tmp_path)
    monkeypatch.setattr(psutil, "net_if_addrs", dict)
    bus = RecordedBus(units={"sys-subsystem-net-devices-eth0.device": {}})
    up = plan(bus, "connect", link="eth0")
    assert up.basis == "eth0 is in an unknown state"
    assert up.effects[1] == "systemd-networkd does not run: the link gets no address by it."
    assert plan(bus, "disconnect", link="eth0").effects == ("eth0 is in an unknown state, with no address.",)
    with pytest.raises(Unfit, match="there is no link wlan0; there is eth0"):
        plan(bus, "connect", link="wlan0")
    with pytest.raises(Unfit, match="this machine has none"):
        plan(RecordedBus(), "connect", link="eth0")


def join(network: str) -> Step:
    return Step("wifi.join", {"network": network, "link": "wlan0"})


def test_a_known_network_is_joined_and_the_one_before_is_the_way_back(bus: RecordedBus) -> None:
    found = plan(bus, "wifi_join", network="the office")
    assert (found.steps, found.undo) == ((join("the office"),), (join("home"),))
    assert "It leaves home." in found.effects
    assert found.basis == "wlan0 is in the network home"


def test_an_open_network_is_joined_with_a_warning(bus: RecordedBus) -> None:
    objects: dict[str, Any] = {**IWD_OBJECTS[0]}
    objects["/n/home"] = {f"{IWD}.Network": {**objects["/n/home"][f"{IWD}.Network"], "Connected": False}}
    bus.methods[f"{IWD} GetManagedObjects"] = [objects]
    found = plan(bus, "wifi_join", network="café")
    assert found.undo == ()
    assert found.effects[-1].startswith("The network is open")


def test_a_network_that_cannot_be_joined_says_why(bus: RecordedBus) -> None:
    with pytest.raises(Lacking, match="the password of next door is not known") as caught:
        plan(bus, "wifi_join", network="next door")
    assert caught.value.hint == "iwctl station wlan0 connect 'next door'"
    with pytest.raises(Lacking, match="wlan0 is in the network home already"):
        plan(bus, "wifi_join", network="home")
    with pytest.raises(Unfit, match=r"no Wi-Fi network hom is in reach; did you mean home\?"):
        plan(bus, "wifi_join", network="hom")
    with pytest.raises(Lacking, match="iwd, which would do it, does not run"):
        plan(RecordedBus(), "wifi_join", network="home")
