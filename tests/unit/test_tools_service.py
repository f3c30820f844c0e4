"""io.aetheros.Tools and the commands over it, on a running agentd: exact words need no router."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import varlink
from agentd_process import DEADLINE, Agentd, environment, running

from agentd.call import calling
from agentd.tools import journal


@pytest.fixture
def agentd(tmp_path: Path) -> Iterator[Agentd]:
    with running(tmp_path / "state") as agentd:
        yield agentd


def tools(agentd: Agentd, method: str, **parameters: Any) -> dict[str, Any]:
    with calling(agentd.socket, "io.aetheros.Tools", DEADLINE) as found:
        reply: dict[str, Any] = getattr(found, method)(**parameters)
    return reply


def refusal(agentd: Agentd, method: str, **parameters: Any) -> str:
    with pytest.raises(varlink.VarlinkError) as caught:
        tools(agentd, method, **parameters)
    return str(caught.value.error()).removeprefix("io.aetheros.Tools.")


def agent(agentd: Agentd, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agentd.cli", *words],
        input=stdin,
        env={**environment(), "AGENTD_SOCKET": agentd.socket},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_every_tool_is_listed_with_what_it_takes(agentd: Agentd) -> None:
    found = {tool["name"]: tool for tool in tools(agentd, "List")["tools"]}
    assert len(found) >= 50
    assert found["services.restart"]["level"] == "change"
    assert [one["name"] for one in found["services.restart"]["arguments"]] == ["unit"]
    assert found["power.off"]["level"] == "danger"
    listed = agent(agentd, "tools").stdout
    assert "services.restart unit" in listed
    assert "[danger]" in listed


def test_a_tool_that_reads_answers_with_facts(agentd: Agentd) -> None:
    done = tools(agentd, "Do", tool="machine.status", arguments={})["outcome"]
    assert done["state"] == "done"
    assert done["verdict"]["rule"] == "reading"
    assert "/proc/meminfo" in " ".join(done["sources"])
    shown = agent(agentd, "tool", "machine.status")
    assert shown.returncode == 0
    assert "memory" in shown.stdout.lower()
    as_json = json.loads(agent(agentd, "tool", "machine.status", "--json").stdout)
    assert as_json["facts"]
    listed = agent(agentd, "tool", "machine.processes", "--json", "by=memory", "count=2")
    assert len(json.loads(listed.stdout)["facts"]["processes"]) == 2


def test_a_line_with_a_slash_is_a_tool_in_a_conversation(agentd: Agentd) -> None:
    [*_, last] = agentd.ask("/machine.processes by=memory count=2")
    assert last["outcome"]["state"] == "done"
    assert last["text"] == last["outcome"]["text"]
    turns = agentd.call("History", session=last["session"])["turns"]
    assert [turn["status"] for turn in turns] == ["complete", "complete"]


def test_what_is_asked_about_a_text_uses_no_tool(agentd: Agentd) -> None:
    [*_, last] = agentd.ask("/machine.status", attachment="please restart nginx")
    assert last.get("outcome") is None


def test_a_change_asks_and_a_no_is_kept_in_the_log(agentd: Agentd) -> None:
    asked = tools(agentd, "Do", tool="memory.remember", arguments={"text": "My bike is green."})["outcome"]
    assert asked["state"] == "asks"
    waiting = asked["waiting"]
    assert 290 < waiting["seconds"] <= 300
    assert [one["id"] for one in tools(agentd, "Waiting")["waiting"]] == [waiting["id"]]
    assert tools(agentd, "Answer", id=waiting["id"], yes=False)["outcome"]["state"] == "denied"
    assert tools(agentd, "Waiting")["waiting"] == []
    assert refusal(agentd, "Answer", id=waiting["id"], yes=True) == "NoSuchApproval"
    log = tools(agentd, "Log")["entries"]
    assert [entry["what"] for entry in log] == ["refused", "asked"]
    assert "bike" not in json.dumps(log)
    verified = tools(agentd, "Verify")
    assert (verified["entries"], verified["journal"], verified["wrong"]) == (2, 0, [])
    # Without its confirmation nobody would see that the end was cut off.
    has_journal = any(next(folder.glob("*/*.journal"), None) for folder in journal.FOLDERS)
    assert ("problem" in verified) is not has_journal


def test_a_change_that_is_approved_by_the_command_is_done(agentd: Agentd) -> None:
    asked = agent(agentd, "tool", "memory.remember", "text=My bike is green.")
    assert asked.returncode == 1
    assert "Remember: My bike is green." in asked.stdout
    id = agent(agentd, "approve").stdout.split()[0]
    assert agent(agentd, "approve", id).stdout == "I will remember: My bike is green.\n"
    assert "My bike is green." in (agentd.state / "vault/MEMORY.md").read_text()
    assert "was answered" in agent(agentd, "approve", id).stderr
    assert agent(agentd, "tool", "memory.remember", "text=My car is red.", "--yes").returncode == 0


def test_a_request_over_the_socket_is_not_at_the_console(agentd: Agentd) -> None:
    [verdict] = [tools(agentd, "Check", tool="power.off")["verdict"]]
    assert (verdict["decision"], verdict["approve"]) == ("ask", ["console"])
    shown = agent(agentd, "policy", "check", "--tool", "power.off")
    assert "at the console only" in shown.stdout
    asked = agent(agentd, "tool", "power.off")
    # Nobody here can power a machine off: there is no bus, or no login manager on it, or the question stays.
    assert asked.returncode == 1


def test_whether_all_rules_are_in_force_is_told_without_a_request(agentd: Agentd) -> None:
    done = agent(agentd, "policy", "check")
    assert (done.returncode, done.stdout) == (0, "every file of rules is in force\n")
    assert tools(agentd, "Check") == {}
    assert refusal(agentd, "Check", tool="power.off", text="shut down") == "InvalidArguments"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("tool", "shell.run"), 2, "there is no tool 'shell.run'"),
        (("tool", "machine.processes", "count=0"), 2, "is a number from 1 to 1000"),
        (("tool", "services.status", "unit=a;b"), 2, "is no name of a unit"),
        (("tool", "services.status"), 2, "needs 'unit'"),
        (("tool", "machine.status", "x"), 2, "'x' is not NAME=VALUE"),
        (("tool", "machine.status", "{no json"), 2, "that is no JSON object"),
        (("approve", "0000"), 2, "nothing waits as 0000"),
        (("undo",), 1, "there is no change that could be taken back"),
        (("undo", "12"), 1, "12 is no change"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(
    agentd: Agentd, words: tuple[str, ...], status: int, message: str
) -> None:
    done = agent(agentd, *words)
    assert done.returncode == status, done
    assert message in done.stderr
    assert "hint:" in done.stderr or status == 1
    assert "Traceback" not in done.stderr


def test_without_a_router_every_sentence_is_talk(agentd: Agentd) -> None:
    routed = agent(agentd, "route", "--json", stdin="restart nginx\n\nhow are you\n").stdout.splitlines()
    assert [json.loads(line)["tool"] for line in routed] == [None, None]
    assert json.loads(routed[0])["text"] == "restart nginx"
