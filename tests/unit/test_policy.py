"""Who may do what: the shipped rules, the owner's own, and files with mistakes."""

from pathlib import Path

import pytest

from agentd.policy import OWN_RULES, Origin, Policy, PolicyError, Rule, read
from agentd.tools.tool import Level

OWNER = Origin("owner", True, "console")
EVERY_PLACE = ("console", "ssh", "socket", "schedule", "network")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "policy.d"
    made.mkdir()
    return made


@pytest.fixture
def policy(folder: Path, tmp_path: Path) -> Policy:
    return Policy((folder, OWN_RULES), tmp_path / "kept.json")


def decision(policy: Policy, tool: str, level: Level, origin: Origin = OWNER, **arguments: str) -> str:
    return policy.judge(tool, level, arguments, origin).decision


@pytest.mark.parametrize("place", EVERY_PLACE)
@pytest.mark.parametrize("person", [("owner", True), ("ben", False)])
@pytest.mark.parametrize("trust", ["owner", "untrusted"])
def test_reading_is_allowed(policy: Policy, place: str, person: tuple[str, bool], trust: str) -> None:
    origin = Origin(*person, place, trust)  # type: ignore[arg-type]
    assert decision(policy, "machine.status", Level.READ, origin) == "allow"


@pytest.mark.parametrize(
    ("level", "place", "expected"),
    [
        (Level.CHANGE, "console", "ask"),
        (Level.CHANGE, "ssh", "ask"),
        (Level.CHANGE, "socket", "ask"),
        (Level.CHANGE, "schedule", "deny"),
        (Level.CHANGE, "network", "deny"),
        (Level.DANGER, "console", "ask"),
        (Level.DANGER, "socket", "ask"),
        (Level.DANGER, "ssh", "deny"),
        (Level.DANGER, "schedule", "deny"),
        (Level.DANGER, "network", "deny"),
    ],
)
def test_a_change_of_the_owners_asks_where_somebody_is(
    policy: Policy, level: Level, place: str, expected: str
) -> None:
    origin = Origin("owner", True, place)  # type: ignore[arg-type]
    assert decision(policy, "power.off", level, origin) == expected


def test_danger_is_approved_at_the_console_alone(policy: Policy) -> None:
    verdict = policy.judge("power.off", Level.DANGER, {}, Origin("owner", True, "socket"))
    assert verdict.approve == ("console",)
    assert policy.judge("services.stop", Level.CHANGE, {"unit": "cups.service"}, OWNER).approve == ()


@pytest.mark.parametrize("trust", ["agent", "untrusted", "system"])
def test_what_rests_on_anothers_text_is_approved_at_the_console_alone(policy: Policy, trust: str) -> None:
    origin = Origin("owner", True, "ssh", trust)  # type: ignore[arg-type]
    verdict = policy.judge("services.stop", Level.CHANGE, {"unit": "cups.service"}, origin)
    assert (verdict.decision, verdict.approve) == ("ask", ("console",))


@pytest.mark.parametrize("unit", ["agentd.service", "agentd-model.service", "systemd-journald.service"])
def test_the_agent_does_not_switch_itself_off(policy: Policy, unit: str) -> None:
    assert decision(policy, "services.stop", Level.CHANGE, unit=unit) == "deny"


def test_another_person_changes_nothing(policy: Policy) -> None:
    verdict = policy.judge("services.stop", Level.CHANGE, {"unit": "x"}, Origin("ben", False, "console"))
    assert (verdict.decision, verdict.rule) == ("deny", "changes are the owner's")


def test_the_owners_rules_decide_before_those_that_are_shipped(folder: Path, policy: Policy) -> None:
    (folder / "a.yaml").write_text("allow: [{tool: services.restart, arguments: {unit: 'nginx*'}}]")
    assert decision(policy, "services.restart", Level.CHANGE, unit="nginx.service") == "allow"
    assert decision(policy, "services.restart", Level.CHANGE, unit="cups.service") == "ask"


@pytest.mark.parametrize("trust", ["agent", "untrusted", "system"])
def test_no_rule_lets_anothers_text_change_something_unasked(
    folder: Path, policy: Policy, trust: str
) -> None:
    (folder / "a.yaml").write_text("allow: [{tool: '*'}]")
    verdict = policy.judge("services.stop", Level.CHANGE, {}, Origin("owner", True, "ssh", trust))  # type: ignore[arg-type]
    assert (verdict.decision, verdict.approve) == ("ask", ("console",))
    assert decision(policy, "services.stop", Level.CHANGE) == "allow"


def test_what_no_rule_names_is_denied(folder: Path, tmp_path: Path) -> None:
    policy = Policy((folder,), tmp_path / "kept.json")
    assert policy.judge("machine.status", Level.READ, {}, OWNER).rule == "(none)"
    assert decision(policy, "machine.status", Level.READ) == "deny"


def test_deny_comes_before_allow_whatever_the_file(folder: Path, policy: Policy) -> None:
    (folder / "90-late.yaml").write_text("deny:\n- {tool: machine.*, from: ssh, why: not from afar}\n")
    (folder / "10-early.yaml").write_text("allow:\n- {tool: machine.status}\n")
    assert decision(policy, "machine.status", Level.READ) == "allow"
    verdict = policy.judge("machine.status", Level.READ, {}, Origin("owner", True, "ssh"))
    assert (verdict.decision, verdict.rule, verdict.why) == ("deny", "90-late.yaml:2", "not from afar")


def test_a_changed_file_is_in_force_at_once(folder: Path, policy: Policy) -> None:
    assert decision(policy, "machine.status", Level.READ) == "allow"
    (folder / "mine.yaml").write_text("deny: [{level: read}]")
    assert decision(policy, "machine.status", Level.READ) == "deny"
    (folder / "mine.yaml").unlink()
    assert decision(policy, "machine.status", Level.READ) == "allow"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deny: [{tool: x}", "did not find expected ',' or ']'|expected ',' or ']'"),
        ("forbid: [{tool: x}]", ":1: 'forbid' is none of deny, ask, allow"),
        ("deny:\n- {tols: x}\n", ":2: a rule has no 'tols'"),
        ("deny:\n\n- {tool: [[x]]}\n", ":3: here belongs a text"),
        ("deny: [{level: big}]", "level: 'big' is none of read, change, danger"),
        ("deny: [{tool: x, from: moon}]", "from: 'moon' is none of"),
        ("deny: [{tool: x, trust: me}]", "trust: 'me' is none of"),
        ("allow: [{tool: x, approve: console}]", "'approve' is for what is asked"),
        ("allow: [{person: owner}]", "a rule names a tool or a level"),
        ("deny: [{tool: x, tool: y}]", "'tool' is there twice"),
        ("deny: {tool: x}", "'deny' needs a list"),
        ("- deny", ":1: here belongs 'name: value'"),
        ("allow: [{tool: }]", "here belongs a text"),
        ("\xff\xfe", "cannot be read"),
        ("x" * (257 << 10), "larger than 256 KiB"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_last_good_rules_stay(
    folder: Path, policy: Policy, text: str, message: str, tmp_path: Path
) -> None:
    (folder / "mine.yaml").write_text("deny: [{tool: logs.*}]")
    assert decision(policy, "logs.errors", Level.READ) == "deny"
    (folder / "mine.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(PolicyError, match=message):
        read(folder / "mine.yaml")
    assert decision(policy, "logs.errors", Level.READ) == "deny"
    assert policy.problem is not None
    # Also over a restart.
    again = Policy((folder, OWN_RULES), tmp_path / "kept.json")
    assert decision(again, "logs.errors", Level.READ) == "deny"
    assert again.problem is not None
    (folder / "mine.yaml").write_text("")
    assert decision(again, "logs.errors", Level.READ) == "allow"
    assert again.problem is None


def test_with_a_mistake_and_no_rules_before_it_the_shipped_ones_hold(folder: Path, policy: Policy) -> None:
    (folder / "mine.yaml").write_text("allow: [{tool: '*'}")
    assert decision(policy, "services.stop", Level.CHANGE, unit="cups.service") == "ask"


def test_aliases_cannot_blow_a_file_up(folder: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{two}: &{two} [*{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}]\n"
        for one, two in zip("abcdefgh", "bcdefghi", strict=True)
    )
    (folder / "bomb.yaml").write_text(bomb)
    with pytest.raises(PolicyError):
        read(folder / "bomb.yaml")


def test_a_rule_about_an_argument_needs_the_argument() -> None:
    rule = Rule("allow", "x", ("a.b",), arguments={"unit": ("nginx*",)})
    assert not rule.matches("a.b", Level.CHANGE, {}, OWNER)
    assert rule.matches("a.b", Level.CHANGE, {"unit": "nginx.service"}, OWNER)
