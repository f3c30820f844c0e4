"""Where sentences go: the rules before the head, its probabilities, and when the person is asked."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import routing_fixture as tiny

from agentd.routing import head, router
from agentd.routing.router import Route, Router

CHANGING = {"power.reboot"}


@pytest.fixture
def routing(tmp_path: Path) -> Router:
    return Router(head.load(tiny.write(tmp_path / "routing.bin")), CHANGING)


def no_encoder(text: str) -> None:
    return None


class Weighed(head.Head):
    """Says these probabilities of every text."""

    def __init__(self, chances: dict[str, float]) -> None:
        super().__init__(tiny.header(), tiny.payload())
        self.chances = chances

    def probabilities(self, text: str, meaning: Sequence[float] | None) -> dict[str, float]:
        return self.chances


def weighed(status: float, reboot: float, text: str = "x y z") -> Route:
    chances = {"machine.status": status, "power.reboot": reboot, "talk": 1 - status - reboot}
    return Router(Weighed(chances), CHANGING).route(text, no_encoder)


def test_a_request_goes_to_its_tool_and_says_what_came_next(routing: Router) -> None:
    route = routing.route("please reboot the machine", no_encoder)
    assert (route.tool, route.runner_up, route.reason) == ("power.reboot", "machine.status", "sure")
    assert 0 <= route.runner_up_confidence < route.confidence <= 1


def test_the_meaning_of_what_is_wanted_is_asked_for_once(routing: Router) -> None:
    asked: list[str] = []

    def encode(text: str) -> Sequence[float]:
        asked.append(text)
        return tiny.vector(0)

    route = routing.route("don't reboot, just tell me how long it has been up", encode)
    assert route.tool == "machine.status"
    assert asked == ["tell me how long it has been up"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("don't reboot the machine", "negated"),
        ("what happens if I reboot the machine", "about"),
        ("my boss said to reboot the machine", "reported"),
        ("tell me a joke", "talk"),
        ("", "talk"),
        (" \n", "talk"),
    ],
)
def test_what_asks_for_nothing_is_talk_and_says_why(routing: Router, text: str, reason: str) -> None:
    route = routing.route(text, no_encoder)
    assert (route.tool, route.reason) == (None, reason)


def test_a_question_about_a_thing_may_read_but_not_change(routing: Router) -> None:
    assert routing.route("what is the load", no_encoder).tool == "machine.status"
    assert routing.route("what is a reboot the machine", no_encoder).tool is None


def test_mistyped_words_are_put_right_before_anything_else(routing: Router) -> None:
    assert routing.route("don't rebot the computre", no_encoder).reason == "negated"
    assert routing.route("rebooot teh machine", no_encoder).tool == "power.reboot"


def test_a_quotation_changes_nothing_by_its_own_words(routing: Router) -> None:
    inside = routing.route('tell me a joke with "reboot the machine, reboot the machine"', no_encoder)
    assert inside.tool is None
    outside = routing.route('reboot the machine and call it "a joke"', no_encoder)
    assert outside.tool == "power.reboot"


@pytest.mark.parametrize(
    ("status", "reboot", "tool", "reason"),
    [
        (0.9, 0.05, "machine.status", "sure"),
        (0.05, 0.9, "power.reboot", "sure"),
        (0.45, 0.4, "machine.status", "close"),
        (0.31, 0.32, "power.reboot", "close"),
        (0.3, 0.15, None, "talk"),
        (0.05, 0.02, None, "talk"),
    ],
)
def test_two_close_tools_are_asked_about_and_weak_ones_are_talk(
    status: float, reboot: float, tool: str | None, reason: str
) -> None:
    route = weighed(status, reboot)
    assert (route.tool, route.reason) == (tool, reason)


def test_many_weak_tools_are_no_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "TOOL_LEAST", 0.6)
    assert (weighed(0.5, 0.3).tool, weighed(0.5, 0.3).reason) == (None, "unsure")


def test_a_whole_file_takes_no_longer_than_its_beginning(routing: Router) -> None:
    for piece in ("reboot the machine ", "don't ", "a, ", "I ", '"', "x"):
        began = time.perf_counter()
        routing.route(piece * (262144 // len(piece)), no_encoder)
        assert time.perf_counter() - began < 0.25


def test_what_the_encoder_raises_goes_through(routing: Router) -> None:
    def broken(text: str) -> Sequence[float]:
        raise OSError("gone")

    encode: Callable[[str], Sequence[float]] = broken
    with pytest.raises(OSError, match="gone"):
        routing.route("reboot", encode)
