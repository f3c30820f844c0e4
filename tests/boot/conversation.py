"""What the boot tests say to the agent inside a machine, and what it has kept."""

import json
from typing import Any

from builder.vm import Machine

# The client writes to a pipe that it holds open itself, so it goes on when the shell has ended with
# the first reply: the moment at which agentd has promised that the question is on the disk.
BEGIN = """
pipe=$(mktemp -u /run/turn-XXXXXX); mkfifo "$pipe"; exec 3<>"$pipe"
agent --json ask --stream --max-tokens 200 -- "$1" >&3 2>&3 </dev/null &
read -r first <&3; printf '%s\\n' "$first"
"""

# Kills the worker with the signal $2 when the first piece of the answer has come; prints every reply.
KILL_WORKER = """
agent --json ask --stream --max-tokens 60 -- "$1" | {
    killed=
    while read -r reply; do
        printf '%s\\n' "$reply"
        case $reply in
        *'"delta": ""'*) ;;
        *'"delta": "'*) [ "$killed" ] || systemctl kill -s "$2" agentd-model.service; killed=yes ;;
        esac
    done
}
"""


def begin_turn(machine: Machine, question: str) -> dict[str, Any]:
    """Ask, return at the first reply (its session and the stored question's id), and let it go on."""
    done = machine.execute(["/bin/sh", "-c", BEGIN, "sh", question])
    reply: dict[str, Any] = json.loads(done.text)
    return reply


def ask_and_kill_worker(machine: Machine, question: str, signal: str) -> list[dict[str, Any]]:
    """The replies to a question whose worker is killed when the answer has begun."""
    done = machine.execute(["/bin/sh", "-c", KILL_WORKER, "sh", question, signal], timeout=300)
    return [json.loads(line) for line in done.text.splitlines()]


def kept_turns(machine: Machine) -> dict[int, dict[str, Any]]:
    """Every turn of every session that the agent has, by id; asked with systemd's own Varlink client."""
    turns: dict[int, dict[str, Any]] = {}
    for session in call(machine, "Sessions", {})["sessions"]:
        for turn in call(machine, "History", {"session": session["id"]})["turns"]:
            turns[turn["id"]] = turn
    return turns


def call(machine: Machine, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """What a method of the agent's Varlink interface returns."""
    method = f"io.aetheros.Agent.{method}"
    argv = ["varlinkctl", "--json=short", "call", "/run/agentd/agent.sock", method, json.dumps(parameters)]
    reply: dict[str, Any] = json.loads(machine.succeed(argv))
    return reply
