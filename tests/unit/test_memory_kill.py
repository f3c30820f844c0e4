"""agentd killed at 50 random moments of remembering, correcting, forgetting, importing and asking.

Whatever was acknowledged is there afterwards, nothing is there by half, and index, vault and turns agree.
The same with what a disk had not flushed is tests/boot's.
"""

import base64
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import varlink
from agentd_process import DEADLINE, Agentd, running

from agentd.call import calling

KILLS = 50
CONTEXT = 512  # tokens: a session is compacted every few questions


class Story:
    """What a person does with their memory, and what was promised to them."""

    def __init__(self, agentd: Agentd, seed: int) -> None:
        self.agentd = agentd
        self.random = random.Random(seed)
        self.promised: dict[str, str] = {}  # memories by id
        self.gone: set[str] = set()  # ids that were acknowledged to be forgotten
        self.unsure: set[str] = set()  # texts of memories whose change was under way
        self.turns: dict[int, str] = {}
        self.imported: set[str] = set()  # ids of turns in imports that were acknowledged
        self.half: list[set[str]] = []  # imports that were under way: all or nothing
        self.session: str | None = None
        self.number = 0

    def memory(self, method: str, **parameters: Any) -> dict[str, Any]:
        with calling(self.agentd.socket, "io.aetheros.Memory", DEADLINE) as found:
            reply: dict[str, Any] = getattr(found, method)(**parameters)
        return reply

    def go_on(self) -> None:
        """Do one thing after the other until agentd is gone."""
        works: list[Callable[[], None]] = [
            self.add,
            self.add,
            self.ask,
            self.correct,
            self.forget,
            self.take,
        ]
        while True:
            try:
                self.random.choice(works)()
            except (OSError, varlink.VarlinkError):
                return

    def add(self) -> None:
        self.number += 1
        text = f"Thing {self.number} lies in drawer {self.number * 7}."
        self.unsure.add(text)
        stored = self.memory("Add", text=text)["memory"]
        self.promised[stored["id"]] = text

    def correct(self) -> None:
        if not self.promised:
            return
        id = self.random.choice(list(self.promised))
        self.number += 1
        text = f"Thing {self.number} was moved to shelf {self.number * 3}."
        self.unsure |= {text, self.promised[id]}
        old = self.promised.pop(id)
        stored = self.memory("Correct", id=id, text=text)["memory"]
        self.unsure.add(old)
        self.promised[stored["id"]] = text

    def forget(self) -> None:
        if len(self.promised) < 5 or self.random.random() < 0.5:
            return
        id = self.random.choice(list(self.promised))
        self.unsure.add(self.promised.pop(id))
        self.memory("Forget", token=self.memory("Preview", id=id)["token"])
        self.gone.add(id)

    def ask(self) -> None:
        self.number += 1
        text = f"Sentence {self.number} of a long talk about ropes and sails."
        with calling(self.agentd.socket, "io.aetheros.Agent", DEADLINE) as agent:
            question: int | None = None
            for reply in agent.Ask(text=text, session=self.session, _more=True):
                self.session = reply["session"]
                if question is None:  # the question is on the disk with the first reply
                    question = reply["turn"]
                    self.turns[question] = text
                if reply["done"]:
                    self.turns[reply["turn"]] = reply["text"]

    def take(self) -> None:
        self.number += 1
        ids = {f"{self.number}:{line}" for line in range(30)}
        lines = [{"id": id, "session": f"s{self.number}", "text": f"Line {id}."} for id in ids]
        data = base64.b64encode("\n".join(map(json.dumps, lines)).encode()).decode()
        self.half.append(ids)
        self.memory("Import", data=data, format="jsonl", last=True)
        self.half.remove(ids)
        self.imported |= ids

    def assert_kept(self) -> None:
        """Everything that was promised is there, and nothing by half."""
        listed = {one["id"]: one["text"] for one in self.memory("List", limit=1000)["memories"]}
        assert {id: listed.get(id) for id in self.promised} == self.promised
        assert not self.gone & listed.keys()
        assert set(listed.values()) <= set(self.promised.values()) | self.unsure
        self.promised = listed
        if self.session is not None:
            turns = self.agentd.call("History", session=self.session)["turns"]
            kept = {turn["id"]: turn["text"] for turn in turns}
            assert {id: kept.get(id) for id in self.turns} == self.turns
        database = sqlite3.connect(f"file:{self.agentd.state / 'agent.db'}?mode=ro", uri=True)
        rows = database.execute("SELECT ref, text FROM turns WHERE ref IS NOT NULL").fetchall()
        database.close()
        there = {ref for ref, text in rows if text == f"Line {ref}."}
        assert self.imported <= there
        for ids in self.half:
            assert ids & there in (set(), ids)
        self.half.clear()
        self.imported = there


def test_whenever_agentd_is_killed_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    seed = 20261125
    with running(tmp_path / "state", context=CONTEXT) as agentd:
        story = Story(agentd, seed)
        for _ in range(KILLS):
            work = threading.Thread(target=story.go_on)
            work.start()
            # The moment is what is random here, and the only wait by the clock.
            time.sleep(story.random.uniform(0.01, 0.25))
            agentd.kill()
            work.join(DEADLINE)
            assert not work.is_alive()
            agentd.restart()
            story.assert_kept()
        checked = story.memory("Check", repair=True)
        assert checked["problems"] == []
        story.assert_kept()
        assert story.memory("Check")["problems"] == []
        assert len(story.promised) > 10 and len(story.imported) > 30 and len(story.turns) > 5
