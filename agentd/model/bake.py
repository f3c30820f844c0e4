"""What every prompt begins with, read by the model ahead: run by the image's builder on the image's files.

The state that it leaves in --states is found by the worker of a machine that has the same model and
llama.cpp, so that the first question after the first boot reads only its own words. Not for a running
machine: there the worker keeps states by itself (states.py).
"""

import argparse
import select
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from agentd import log, prompt
from agentd.model.engine import Engine, Job, Result, load
from agentd.model.llama import Sampling
from agentd.model.messages import Message
from agentd.model.states import States
from agentd.model.worker import settings

NAME = "prefix"
# Seconds for loading the model and reading some hundred tokens, on a busy host.
PATIENCE = 600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Read and keep the beginning of every prompt; the exit status."""
    parser = argparse.ArgumentParser(prog="agentd.model.bake", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="the image's manifest")
    parser.add_argument("--models", type=Path, required=True, help="the folder with its models")
    parser.add_argument("--states", type=Path, required=True, help="where the state goes")
    given = parser.parse_args(argv)
    said = settings(["--manifest", str(given.manifest)])
    loader = partial(
        load,
        given.models / said.path.name,
        size=said.size,
        context=said.context,
        threads=said.threads,
        template=said.template,
    )
    engine = Engine(loader, name=said.name, threads=said.threads, states=States(given.states))
    engine.start()
    if not engine.wait_loaded(PATIENCE):
        log.error(f"the model cannot be used: {engine.status().detail}")
        return 1
    messages = [Message(one["role"], one["content"]) for one in prompt.prefix()]
    job = Job(messages, 1, Sampling(), keep=NAME, shared=True)
    engine.submit(job)
    result: str | Result | Exception = ""
    while isinstance(result, str):
        if not select.select([job], [], [], PATIENCE)[0]:
            log.error(f"nothing was read within {PATIENCE:g} s")
            return 1
        result = (job.take() or [""])[-1]
    if isinstance(result, Exception):
        log.error(str(result))
        return 1
    engine.close(PATIENCE)
    log.info(f"{result.prompt_tokens} tokens are read ahead")
    return 0 if any(given.states.iterdir()) else 1


if __name__ == "__main__":
    sys.exit(main())
