"""Has a model write by grammars that nobody checked: what test_tool_choice.py runs in the tools tree.

    fit_grammars.py GGUF < grammars.json > ["what was written, or the error", ...]

Not for: grammars of the worker's own (agentd/routing/model_grammar.py).
"""

import json
import sys
from pathlib import Path

from agentd.model.fitting import UnfitError
from agentd.model.llama import Llama, Sampling


def written(model: Llama, grammar: str) -> str:
    """What the model writes by a grammar, or why it cannot."""
    text = b""
    try:
        for token in model.generate(model.tokenize("Hello"), Sampling(grammar=grammar)):
            text += model.token_bytes(token)
    except UnfitError as error:
        return str(error)
    return text.decode()


def main(gguf: str) -> None:
    """Print what came of each grammar."""
    with Llama(Path(gguf), context=512, threads=2) as model:
        json.dump([written(model, grammar) for grammar in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
