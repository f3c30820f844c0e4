"""Sentences to tools with the real encoder and the file that the image gets, on the lines of part "dev"."""

from collections.abc import Iterator

import pytest

from agentd.routing import head
from agentd.routing.head import TALK
from agentd.routing.router import Encode, Router
from bench import routing
from bench.native_worker import prepared

pytestmark = pytest.mark.native

MACHINE = "qemu-x86_64"
# What was reached when the thresholds were chosen, less three points.
RIGHT_TOOL = 88.6
RIGHT_TOOL_OF_WORDS = 83.3
TALK_KEPT = 85.6
TALK_KEPT_OF_WORDS = 84.1


@pytest.fixture(scope="module")
def router() -> Router:
    file = routing.file_of(MACHINE)
    assert file is not None
    return routing.router_of(file)


@pytest.fixture(scope="module")
def encode() -> Iterator[Encode]:
    with prepared(MACHINE) as place, place.worker() as worker:
        yield routing.encoder_of(worker)


def test_most_requests_find_their_tool_and_most_talk_stays_talk(router: Router, encode: Encode) -> None:
    print("\n".join(routing.report("dev", router, encode, mistakes=True)))
    found = routing.figures(routing.route_all(router, routing.load("dev"), encode))
    assert found["right_tool"] >= RIGHT_TOOL
    assert found["talk_kept"] >= TALK_KEPT
    # The figure is for a host that does nothing else; this is for one that runs tests.
    assert found["choice_without_embedding_p50"] < 15


def test_without_an_encoder_words_alone_find_most(router: Router) -> None:
    found = routing.figures(routing.route_all(router, routing.load("dev"), lambda _: None))
    assert found["right_tool"] >= RIGHT_TOOL_OF_WORDS
    assert found["talk_kept"] >= TALK_KEPT_OF_WORDS


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("restart nginx", "services.restart"),
        ("how long has this machine been up?", "machine.status"),
        ("how much disk space is left", "machine.disks"),
        ("remind me tomorrow at nine to call mum", "time.remind"),
        ("set a timer for ten minutes", "time.timer"),
        ("what is my IP address", "network.addresses"),
        ("shut down the computer", "power.off"),
        ("reboot please", "power.reboot"),
        ("show me the errors since yesterday", "logs.errors"),
        ("delete old.txt", "files.delete"),
        ("don't reboot, just tell me how long it's been up", "machine.status"),
        ("restrat ngnix pls", "services.restart"),
        ("don't reboot", None),
        ("what does restarting nginx do?", None),
        ("how do I reboot a Mac?", None),
        ("tell me a joke", None),
        ("what is the capital of Peru", None),
    ],
)
def test_sure_requests_are_sure(router: Router, encode: Encode, text: str, tool: str | None) -> None:
    route = router.route(text, encode)
    assert route.tool == tool
    assert tool is None or route.reason == "sure"


def test_every_tool_that_changes_something_is_known_to_the_head() -> None:
    file = routing.file_of(MACHINE)
    assert file is not None
    classes = set(head.load(file).classes)
    assert classes > routing.CHANGING
    assert TALK in classes
