"""A model worker whose every answer is in the file that its script names. Run as fake_model_worker.py is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_model_worker


class SayingModel(fake_model_worker.FakeModel):
    """The scripted model, but for what it writes."""

    def __init__(self, script: dict[str, Any], states: Any) -> None:
        super().__init__(script, states)
        self.says = Path(script["says"])

    def Generate(self, *_: Any, _more: bool = False) -> Iterator[dict[str, Any]]:  # noqa: N802
        """The same whatever was asked."""
        yield {"text": self.says.read_text(), "done": False, "_continues": True}
        numbers = dict.fromkeys(("prompt_tokens", "reused_tokens", "loaded_tokens", "completion_tokens"), 1)
        yield {"text": "", "done": True, "stop": "end", **numbers, "_continues": False}


if __name__ == "__main__":
    fake_model_worker.FakeModel = SayingModel  # type: ignore[misc]
    fake_model_worker.main()
