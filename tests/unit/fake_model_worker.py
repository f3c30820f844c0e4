"""A model worker for unit tests: serves io.aetheros.Model and does what its script says. No model in it.

Run as a program: `fake_model_worker.py --socket PATH --model NAME [--script JSON]`. The last line of the
last message chooses what happens, see `FakeModel.Generate`. A token is four characters here.
"""

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import varlink

INTERFACES = Path(__file__).parents[2] / "agentd" / "interfaces"


def tokens(text: str) -> int:
    return (len(text) + 3) // 4


def end_by(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    # The kernel may give the signal to another thread; this one must not say a word more.
    threading.Event().wait()


class FakeModel:
    """The scripted methods; `script` may hold state, context, how often a model that rests must be woken, a
    file that records every prompt, and one that lets "recite" end. What it has read is kept in the folder
    `states`, as the real one does."""

    def __init__(self, script: dict[str, Any], states: Path | None) -> None:
        self.state = script.get("state", "ready")
        self.context = script.get("context", 2048)
        self.record = script.get("record")
        self.loading_until = time.monotonic() + script.get("loading", 0.0)
        self.wakes = script.get("resting", 0)
        self.recite = script.get("recite", "recite")
        self.go_on = script.get("go_on")
        self.states = states
        self.cancelled: set[str] = set()

    def Status(self) -> dict[str, Any]:  # noqa: N802
        state = "loading" if time.monotonic() < self.loading_until else self.state
        detail = f"it is {state}"
        if self.wakes > 0:
            state, detail = "resting", "waiting for memory: 300 MB are needed, 100 MB are free"
        return {
            "state": state,
            "detail": detail,
            "name": "fake",
            "context": self.context,
            "threads": 1,
            "built_for": "x86-64-v3",
        }

    def Wake(self) -> dict[str, Any]:  # noqa: N802
        self.wakes -= 1
        return {}

    def Count(self, texts: list[str]) -> dict[str, Any]:  # noqa: N802
        return {"tokens": [tokens(text) for text in texts]}

    def Cancel(self, request: str) -> dict[str, Any]:  # noqa: N802
        self.cancelled.add(request)
        return {"cancelled": True}

    def Prefix(self, messages: list[dict[str, str]], name: str) -> dict[str, Any]:  # noqa: N802
        self.keep(name, messages)
        return {"tokens": sum(tokens(message["content"]) for message in messages), "evaluated": 0}

    def Forget(self, names: list[str] | None) -> dict[str, Any]:  # noqa: N802
        kept = list(self.states.glob("*")) if self.states else []
        for file in kept:
            file.unlink()
        return {"removed": len(kept)}

    def keep(self, name: str, messages: list[dict[str, str]]) -> None:
        if self.states is not None:
            self.states.mkdir(exist_ok=True)
            (self.states / name).write_text(json.dumps(messages))

    def Generate(  # noqa: N802
        self,
        messages: list[dict[str, str]],
        max_tokens: int | None,
        temperature: float | None,
        seed: int | None,
        request: str | None,
        keep: str | None,
        choices: list[dict[str, Any]] | None,
        _more: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """ "die" dies before a word, "die midway" after five, "hang" hangs after five, "short of memory"
        gives up after five, "slow" takes 0.1 s for each of ten words, "long" says 2000, what ends in
        "recite" (or the script's word for it) says a word and, once it may, all that it has read; anything
        else is repeated."""
        size = sum(tokens(message["content"]) + 6 for message in messages)
        if self.record:
            with Path(self.record).open("a", encoding="utf-8") as file:
                file.write(json.dumps(messages) + "\n")
        if size + (max_tokens or 0) > self.context:
            numbers = {"tokens": size + (max_tokens or 0), "context": self.context}
            raise varlink.VarlinkError({"error": "io.aetheros.Model.ContextExceeded", "parameters": numbers})
        asked = messages[-1]["content"].rsplit("\n", 1)[-1]
        if asked.endswith(self.recite):
            asked = "recite"
        if asked == "die":
            end_by(signal.SIGSEGV)
        words = {
            "die midway": "I was about to say",
            "hang": "I was about to say",
            "short of memory": "I was about to say",
            "slow": "one two three four five six seven eight nine ten",
            "long": "word " * 2000,
            "recite": " ".join(["There:", *(message["content"] for message in messages)]),
        }.get(asked, f"You said: {asked}")
        written = 0
        for word in words.split(" "):
            if written == (max_tokens or 10_000):
                break
            written += 1
            yield {"text": word + " ", "done": False, "_continues": True}
            if asked == "slow":
                time.sleep(0.1)
            while asked == "recite" and self.go_on and not Path(self.go_on).exists():
                time.sleep(0.02)
        if asked == "die midway":
            end_by(signal.SIGKILL)
        if asked == "hang":
            threading.Event().wait()
        if keep is not None:
            self.keep(keep, messages)
        yield {
            "text": "",
            "done": True,
            "stop": "memory"
            if asked == "short of memory"
            else "length"
            if written < len(words.split(" "))
            else "end",
            "prompt_tokens": size,
            "reused_tokens": 0,
            "loaded_tokens": 0,
            "completion_tokens": written,
            "_continues": False,
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    parser.add_argument("--model")
    parser.add_argument("--context", type=int)
    parser.add_argument("--name")
    parser.add_argument("--states", type=Path)
    parser.add_argument("--script", default="{}")
    given = parser.parse_args()
    service = varlink.Service(interface_dir=str(INTERFACES))
    script = json.loads(given.script)
    if given.context:
        script["context"] = given.context
    service.interface("io.aetheros.Model")(lambda: FakeModel(script, given.states))

    class Handler(varlink.RequestHandler):  # type: ignore[misc]
        pass

    class Server(varlink.ThreadingServer):  # type: ignore[misc]
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A caller that left is no error here."""

    Handler.service = service
    Path(given.socket).unlink(missing_ok=True)
    Server(f"unix:{given.socket}", Handler).serve_forever()


if __name__ == "__main__":
    main()
