"""Whether a model chooses tools better than the router alone: what `tools: true` in models.yaml rests on.

    python -m bench.model_choice MODEL [MACHINE] [--lines N] [--file ROUTING] [--json]

takes N lines of tests/data/routing/dev.jsonl, the same each time, and has agentd's own code choose for them,
once with the model and once without. The head and the encoder are the machine's. Not for: how well the
router alone does over all lines (bench/routing.py).
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from agentd.call import Watch
from agentd.choosing import Choosing
from agentd.routing.router import Route
from agentd.tools.reference import declared
from agentd.worker import ModelWorker
from bench.native_worker import prepared
from bench.routing import Line, Routed, figures, file_of, load
from bench.slot_world import WORLD
from builder import catalogue
from builder.errors import AetherError

LINES = 150
SEED = 7


def sample(count: int) -> list[Line]:
    """So many lines of the part "dev", the same each time."""
    lines = load("dev")
    return random.Random(SEED).sample(lines, min(count, len(lines)))


def chosen(file: Path, worker: ModelWorker, lines: Sequence[Line], *, by_model: bool) -> list[Routed]:
    """What agentd chooses for each line, and how long that takes."""
    choosing = Choosing(file, declared, lambda: lambda _: WORLD, worker, by_model=by_model)
    choosing.choose("what is the load", "owner", Watch())  # loads and reads what is needed once
    found = []
    for line in lines:
        began = time.perf_counter()
        choice = choosing.choose(line.text, "owner", Watch())
        seconds = time.perf_counter() - began
        route = Route(choice.tool, choice.confidence, None, 0.0, choice.reason)
        found.append(Routed(line, route, seconds, seconds))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.model_choice", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("model", help="a chat model of models.yaml")
    parser.add_argument("machine", nargs="?", default="qemu-x86_64", help="default: qemu-x86_64")
    parser.add_argument("--lines", type=int, default=LINES, help=f"default: {LINES}")
    parser.add_argument(
        "--file", type=Path, help="a routing.bin (default: the machine's, trained if need be)"
    )
    parser.add_argument("--json", action="store_true", help="for a program")
    args = parser.parse_args(argv)
    try:
        file = args.file or file_of(args.machine)
        if file is None:
            raise AetherError(f"{args.machine} has no embedder, so it routes nothing")
        with prepared(args.machine, catalogue.model(args.model)) as place, place.worker() as worker:
            lines = sample(args.lines)
            routed = {
                name: chosen(file, worker, lines, by_model=by_model)
                for name, by_model in (("router", False), ("model", True))
            }
    except AetherError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_status
    found = {name: figures(one) for name, one in routed.items()}
    asked = sum(one.route.reason == "model" for one in routed["model"])
    if args.json:
        print(json.dumps({"lines": len(lines), "asked_model": asked, **found}, indent=1))
        return 0
    print(f"{len(lines)} lines, the model was asked for {asked}\n  {'':<20}{'router':>9}{args.model:>22}")
    for key in ("right_tool", "taken_for_talk", "talk_kept", "wrong_change", "choice_p50", "choice_p95"):
        print(f"  {key:<20}{found['router'][key]:9.1f}{found['model'][key]:22.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
