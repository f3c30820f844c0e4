"""What agentd gives the real model to read: a conversation that only grows, a log cut to the context."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worker_process import PATIENCE, Process

from agentd.call import calling
from builder import native
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native


class Agentd(Process):
    """A running agentd whose worker is ready."""

    def __init__(self, argv: list[str], state: Path) -> None:
        super().__init__(argv, state / "agentd.log")
        self.socket = str(state / "agent.sock")
        self.wait_for(": ready: ")

    def ask(self, text: str, **parameters: Any) -> dict[str, Any]:
        with calling(self.socket, "io.aetheros.Agent", PATIENCE) as agent:
            *_, last = agent.Ask(text=text, **parameters, _more=True)
        reply: dict[str, Any] = last
        return reply


@pytest.fixture(scope="module")
def agentd(
    tools: Toolchain, llama_tree: Path, smollm2: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agentd]:
    state = tmp_path_factory.mktemp("agentd")
    running = Agentd(native.agentd_argv(tools, llama_tree, smollm2, state, ["--context", "1024"]), state)
    yield running
    assert running.end() == 0
    assert "Traceback" not in running.log.read_text()
    running.close()


def test_a_conversation_continues_and_its_beginning_is_not_read_again(agentd: Agentd) -> None:
    first = agentd.ask("What is the opposite of hot?", max_tokens=24)
    assert "cold" in first["text"].lower()
    agentd.wait_for("(0 known)")
    second = agentd.ask("And of big?", session=first["session"], max_tokens=24)
    assert second["text"]
    agentd.wait_for(" tokens read (")
    known = int(agentd.log.read_text().rsplit(" tokens read (", 1)[1].split(" known")[0])
    assert known > 20


def test_a_long_log_is_cut_to_the_context_and_its_end_is_read(agentd: Agentd) -> None:
    log = "".join(f"Nov 22 17:00:00 host systemd[1]: Started unit{n}.service.\n" for n in range(2000))
    log += "Nov 22 17:01:04 host systemd[1]: nginx.service: Failed with result 'exit-code'.\n"
    answer = agentd.ask("Which service failed?", attachment=log, max_tokens=32)
    assert answer["status"] == "complete"
    assert "were left out to fit the context" in answer["notes"][0]
    assert answer["text"]
    # 1024 tokens less those kept for the answer, nearly filled.
    agentd.wait_for(f"turn {answer['turn']} of session {answer['session']}: complete, ")
    read = int(agentd.log.read_text().rsplit(": complete, ", 1)[1].split(" tokens read")[0])
    assert 850 < read <= 1024 - 32
