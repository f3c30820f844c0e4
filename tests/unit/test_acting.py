"""From a typed action to its result: what is asked, who may say yes, what is noted, and the way back."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd import approval
from agentd.acting import Acting, Outcome, StepFailed
from agentd.approval import Action, check, mint, steps_digest
from agentd.database import Database
from agentd.errors import InvalidArguments, NoSuchApproval, NoSuchTool
from agentd.machine_key import MachineKey
from agentd.policy import OWN_RULES, Origin, Policy
from agentd.tools.tool import Answer, Argument, Context, Kind, Lacking, Level, Plan, Step, Tool

OWNER = Origin("owner", True, "console")
UNIT = Argument("unit", Kind.UNIT, "which service")


class World:
    """A machine with services that run or not."""

    def __init__(self) -> None:
        self.running = {"cups.service": True}
        self.tokens: list[Mapping[str, str]] = []
        self.broken = False

    def can(self, verb: str) -> bool:
        return verb in ("unit.start", "unit.stop")

    def run(self, steps: Sequence[Step], token: Mapping[str, str]) -> None:
        self.tokens.append(token)
        if self.broken:
            raise StepFailed("the broker ended while it worked.")
        for step in steps:
            self.running[step.arguments["unit"]] = step.verb == "unit.start"

    def stop(self, context: Context, arguments: Mapping[str, Any]) -> Plan:
        unit = arguments["unit"]
        if unit not in self.running:
            raise Lacking(f"there is no {unit}", "agent tool services.list")
        return Plan(
            f"Stop {unit}",
            (Step("unit.stop", {"unit": unit}),),
            ("2 printers depend on it",),
            (Step("unit.start", {"unit": unit}),) if self.running[unit] else (),
            f"{unit} {'runs' if self.running[unit] else 'is stopped'}",
            f"{unit} was stopped.",
        )


def nothing(context: Context, arguments: Mapping[str, Any]) -> Plan:
    return Plan("Turn off", (Step("power.off", {}),))


def note(context: Context, arguments: Mapping[str, Any]) -> Plan:
    return Plan(f"Remind of {arguments['text']}", (Step("unit.start", {"unit": "x.service"}),))


def status(context: Context, arguments: Mapping[str, Any]) -> Answer:
    return Answer(f"{arguments['count']} fine", {"fine": True}, ("/proc/loadavg",))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def acting(tmp_path: Path, world: World) -> Iterator[Acting]:
    tools = [
        Tool(
            "machine.status",
            "status",
            Level.READ,
            status,
            None,
            (Argument("count", Kind.COUNT, "x", False, 3),),
        ),
        Tool("services.stop", "stop", Level.CHANGE, plan=world.stop, arguments=(UNIT,)),
        Tool("power.off", "off", Level.DANGER, plan=nothing),
        Tool(
            "time.remind", "remind", Level.CHANGE, plan=note, arguments=(Argument("text", Kind.WORDS, "x"),)
        ),
        Tool("agent.undo", "undo", Level.CHANGE, arguments=(Argument("change", Kind.COUNT, "x", False),)),
    ]
    database = Database(tmp_path / "agent.db")
    yield Acting(
        database,
        MachineKey(tmp_path),
        Policy((tmp_path / "policy.d", OWN_RULES), tmp_path / "kept.json"),
        lambda: {tool.name: tool for tool in tools},
        lambda origin: Context(None, origin.person),  # type: ignore[arg-type]
        [world],
    )
    database.close()


def said(outcome: Outcome) -> str:
    assert outcome.waiting is not None, outcome
    return outcome.waiting.id


def noted(acting: Acting) -> list[str]:
    return [entry.what for entry in reversed(acting.audit.entries(100))]


def test_reading_is_done_at_once_and_not_noted(acting: Acting) -> None:
    outcome = acting.do("machine.status", {}, OWNER)
    assert (outcome.state, outcome.text, outcome.facts) == ("done", "3 fine", {"fine": True})
    assert outcome.sources == ("/proc/loadavg",)
    assert noted(acting) == []


def test_a_change_is_shown_and_done_after_a_yes(acting: Acting, world: World) -> None:
    asked = acting.do("services.stop", {"unit": "cups"}, OWNER)
    assert (asked.state, asked.text, asked.effects) == (
        "asks",
        "Stop cups.service?",
        ("2 printers depend on it",),
    )
    assert world.running["cups.service"]
    done = acting.answer(said(asked), True, OWNER)
    assert (done.state, done.text) == ("done", "cups.service was stopped. To take it back: agent undo")
    assert not world.running["cups.service"]
    assert noted(acting) == ["asked", "approved", "began", "done"]
    assert acting.audit.verify() == (4, [])


def test_a_no_does_nothing(acting: Acting, world: World) -> None:
    asked = acting.do("services.stop", {"unit": "cups"}, OWNER)
    assert acting.answer(said(asked), False, OWNER).state == "denied"
    assert world.running["cups.service"]
    assert noted(acting) == ["asked", "refused"]


def test_a_yes_holds_once(acting: Acting) -> None:
    id = said(acting.do("services.stop", {"unit": "cups"}, OWNER))
    acting.answer(id, True, OWNER)
    with pytest.raises(NoSuchApproval):
        acting.answer(id, True, OWNER)


def test_a_yes_holds_five_minutes(acting: Acting, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    id = said(acting.do("services.stop", {"unit": "cups"}, OWNER))
    now = approval.now()
    monkeypatch.setattr(approval, "now", lambda: now + 301)
    with pytest.raises(NoSuchApproval, match="older than five minutes"):
        acting.answer(id, True, OWNER)
    assert world.running["cups.service"]


def test_nobody_says_yes_for_another_person(acting: Acting, world: World) -> None:
    id = said(acting.do("services.stop", {"unit": "cups"}, OWNER))
    with pytest.raises(NoSuchApproval):
        acting.answer(id, True, Origin("ben", False, "console"))
    assert world.running["cups.service"]
    assert acting.answer(id, True, OWNER).state == "done"


def test_what_is_dangerous_is_agreed_to_at_the_console_alone(acting: Acting) -> None:
    id = said(acting.do("power.off", {}, Origin("owner", True, "socket")))
    with pytest.raises(NoSuchApproval, match="console only"):
        acting.answer(id, True, Origin("owner", True, "socket"))
    # The broker of this test does not know the verb: it is asked for, and refuses.
    assert acting.answer(id, True, OWNER).state == "failed"
    assert acting.do("power.off", {}, Origin("owner", True, "ssh")).state == "denied"


def test_a_yes_is_to_how_things_were(acting: Acting, world: World) -> None:
    id = said(acting.do("services.stop", {"unit": "cups"}, OWNER))
    world.running["cups.service"] = False
    outcome = acting.answer(id, True, OWNER)
    assert (outcome.state, outcome.text) == (
        "failed",
        "Not done: it is not as it was shown any more (cups.service is stopped).",
    )
    assert world.tokens == []


def test_what_is_denied_is_noted_with_its_rule(acting: Acting, world: World) -> None:
    outcome = acting.do("services.stop", {"unit": "agentd"}, OWNER)
    assert outcome.state == "denied"
    assert "the agent stays" in outcome.text
    [entry] = acting.audit.entries(10)
    assert (entry.what, entry.about["rule"]) == ("denied", "the agent stays")


def test_the_owners_rule_lets_it_be_done_at_once(acting: Acting, world: World, tmp_path: Path) -> None:
    (tmp_path / "policy.d").mkdir()
    (tmp_path / "policy.d/mine.yaml").write_text("allow: [{tool: services.stop, name: printers}]")
    assert acting.do("services.stop", {"unit": "cups"}, OWNER).state == "done"
    assert json.loads(world.tokens[0]["token"])["by"] == "policy:printers"
    # But never because of a text that is not the owner's.
    told = Origin("owner", True, "console", "untrusted")
    world.running["cups.service"] = True
    assert acting.do("services.stop", {"unit": "cups"}, told).state == "asks"


def test_undo_takes_back_and_can_be_taken_back(acting: Acting, world: World) -> None:
    acting.answer(said(acting.do("services.stop", {"unit": "cups"}, OWNER)), True, OWNER)
    undo = acting.do("agent.undo", {}, OWNER)
    assert undo.text == "Take back: Stop cups.service?"
    assert acting.answer(said(undo), True, OWNER).state == "done"
    assert world.running["cups.service"]
    again = acting.do("agent.undo", {}, OWNER)
    assert acting.answer(said(again), True, OWNER).state == "done"
    assert not world.running["cups.service"]


def test_undo_of_nothing_is_one_line(acting: Acting) -> None:
    outcome = acting.do("agent.undo", {}, OWNER)
    assert (outcome.state, outcome.text) == (
        "failed",
        "there is no change that could be taken back (agent log)",
    )
    assert "17 is no change" in acting.do("agent.undo", {"change": 17}, OWNER).text


def test_nobody_takes_back_what_another_did(acting: Acting, world: World, tmp_path: Path) -> None:
    (tmp_path / "policy.d").mkdir()
    (tmp_path / "policy.d/mine.yaml").write_text("ask: [{level: change}]")
    acting.answer(said(acting.do("services.stop", {"unit": "cups"}, OWNER)), True, OWNER)
    assert acting.do("agent.undo", {}, Origin("ben", False, "console")).state == "failed"


def test_a_broker_that_dies_is_told_with_the_state_it_left(acting: Acting, world: World) -> None:
    world.broken = True
    outcome = acting.answer(said(acting.do("services.stop", {"unit": "cups"}, OWNER)), True, OWNER)
    assert (outcome.state, outcome.text) == (
        "failed",
        "Stop cups.service: the broker ended while it worked. Now: cups.service runs.",
    )
    assert noted(acting) == ["asked", "approved", "began", "failed"]
    assert acting.do("agent.undo", {}, OWNER).state == "failed"


def test_what_is_not_here_is_one_line_and_a_hint(acting: Acting) -> None:
    outcome = acting.do("services.stop", {"unit": "nginx"}, OWNER)
    assert (outcome.state, outcome.text) == (
        "failed",
        "there is no nginx.service (agent tool services.list)",
    )


def test_a_persons_words_are_not_in_the_audit(acting: Acting, tmp_path: Path) -> None:
    acting.answer(said(acting.do("time.remind", {"text": "xyzzy-secret"}, OWNER)), True, OWNER)
    assert len(acting.audit.entries(10)) == 4
    assert "xyzzy" not in str(acting.audit.entries(10))


@pytest.mark.parametrize(
    ("tool", "given", "message"),
    [
        ("services.stop", {}, "services.stop needs 'unit': which service"),
        ("services.stop", {"unit": "cups", "force": "1"}, "has no argument 'force'; it takes unit"),
        ("machine.status", {"count": "0"}, "is a number from 1 to 1000"),
        ("machine.status", {"count": "٣"}, "is a number from 1 to 1000"),
        *(
            ("services.stop", {"unit": unit}, "is no name of a unit")
            for unit in ("a;b", "--now", "a b", "a\nb", "../x", "a/b", "$(x)", "-a", "x" * 300, "a\0b")
        ),
    ],
)
def test_wrong_arguments_are_refused(acting: Acting, tool: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        acting.do(tool, given, OWNER)
    assert message in str(caught.value.parameters["detail"])
    assert noted(acting) == []


def test_an_unknown_tool_is_told(acting: Acting) -> None:
    with pytest.raises(NoSuchTool):
        acting.do("shell.run", {}, OWNER)


# ---- the token for the broker

STEPS = (Step("unit.stop", {"unit": "cups.service"}),)
ACTION = Action("services.stop", {"unit": "cups.service"}, Plan("Stop", STEPS))


def test_a_token_is_for_its_steps(tmp_path: Path) -> None:
    key = MachineKey(tmp_path)
    minted = mint(key, ACTION, STEPS, "person:owner")
    assert len(check(minted["token"], minted["signature"], key.public(), STEPS)) == 32
    for other in ((), (*STEPS, *STEPS), (Step("unit.stop", {"unit": "ssh.service"}),)):
        with pytest.raises(ValueError, match="something else"):
            check(minted["token"], minted["signature"], key.public(), other)


def test_a_token_of_another_key_or_with_another_word_is_refused(tmp_path: Path) -> None:
    key = MachineKey(tmp_path)
    (tmp_path / "b").mkdir()
    minted = mint(key, ACTION, STEPS, "person:owner")
    other = MachineKey(tmp_path / "b")
    with pytest.raises(ValueError, match="not signed"):
        check(minted["token"], minted["signature"], other.public(), STEPS)
    with pytest.raises(ValueError, match="not signed"):
        check(minted["token"].replace("owner", "other"), minted["signature"], key.public(), STEPS)
    signed = key.sign(b"[1]")
    with pytest.raises(ValueError, match="no approval"):
        check("[1]", signed, key.public(), STEPS)


def test_a_token_ends_with_its_time_and_its_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = MachineKey(tmp_path)
    minted = mint(key, ACTION, STEPS, "person:owner")
    now = approval.now()
    # The wall clock does not matter.
    monkeypatch.setattr(time, "time", lambda: 0.0)
    check(minted["token"], minted["signature"], key.public(), STEPS)
    for then in (now + 301, now - 301):
        monkeypatch.setattr(approval, "now", lambda then=then: then)
        with pytest.raises(ValueError, match="expired"):
            check(minted["token"], minted["signature"], key.public(), STEPS)
    monkeypatch.setattr(approval, "now", lambda: now)
    monkeypatch.setattr(approval, "boot", lambda: "another")
    with pytest.raises(ValueError, match="another boot"):
        check(minted["token"], minted["signature"], key.public(), STEPS)


def test_the_digest_is_of_everything_that_is_agreed_to() -> None:
    plans = [
        Plan("Stop", STEPS),
        Plan("Stop", STEPS, basis="it runs"),
        Plan("Stop", (Step("unit.start", {"unit": "cups.service"}),)),
    ]
    digests = {Action("services.stop", {"unit": "cups.service"}, plan).digest() for plan in plans}
    digests.add(Action("services.stop", {"unit": "ssh.service"}, plans[0]).digest())
    digests.add(Action("services.restart", {"unit": "cups.service"}, plans[0]).digest())
    assert len(digests) == 5
    assert steps_digest(STEPS) == steps_digest([Step("unit.stop", {"unit": "cups.service"})])
