"""How many arguments of requests are found: `python -m bench.slots tests/data/routing/dev.jsonl [--misses]`.

A line has a request, its tool, and the words of it that each argument is. Right is a value that is those
words' own: what the finder makes of these words alone, or the words themselves.
"""

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentd.routing.slot_text import plain, trim
from agentd.routing.slots import answer, fill
from agentd.tools.tool import Argument, Kind
from bench.slot_world import MORE_UNITS, TOOLS, UNITS, WORLD

_SMALL_WORDS = re.compile(r"^(?:(?:the|my|a|that|mon|le|la|el|folder|about)\s+)+|\s+(?:folder|file)$")


def _files(words: str) -> Sequence[str]:
    """Every description fits one file: measured is whether it was found in the sentence."""
    return [f"/home/tom/{words}"]


def _bare(value: Any) -> str:
    text = re.sub(r"^/home/tom/", "", plain(str(value)))
    return _SMALL_WORDS.sub("", trim(re.sub(r"\s+", " ", text)))


def _verdict(argument: Argument, words: str, value: Any, alone: Any, question: str) -> str:
    if value is None:
        return "asked" if " or " in question else "nothing"
    if value in (alone, words) or _bare(value) == _bare(words):
        return "right"
    inside = (
        argument.kind in (Kind.WORDS, Kind.NAME, Kind.PATH)
        and _bare(words)
        and (_bare(words) in _bare(value) or _bare(value) in _bare(words))
    )
    return "partly" if inside else "wrong"


def main() -> int:
    """Print how many are right, partly, wrong, asked for (of several) and not found, per kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    units = UNITS | {f"{name}.service": name for name in MORE_UNITS}
    links = ("lo", "enp4s0", "wlan0", "eth1", "enp2s0", "enp0s25", "eth0", "usb0")
    world = replace(WORLD, units=lambda: units, files=_files, links=lambda: links)
    counts: dict[Kind, Counter[str]] = {}
    took = []
    for line in options.requests.read_text().splitlines():
        request = json.loads(line)
        tool = TOOLS.get(request["tool"])
        if tool is None:
            continue
        begun = time.perf_counter()
        filled = fill(tool, request["text"], world)
        took.append(time.perf_counter() - begun)
        for argument in tool.arguments:
            words = request["arguments"].get(argument.name)
            if words is None:
                continue
            value = filled.arguments.get(argument.name)
            verdict = _verdict(argument, words, value, answer(tool, argument, words, world), filled.question)
            counts.setdefault(argument.kind, Counter())[verdict] += 1
            if options.misses and verdict != "right":
                sys.stdout.write(
                    f"{verdict:8} {tool.name:19} {words!r} {value!r} {filled.question} | {request['text']}\n"
                )
    columns = ("right", "partly", "wrong", "asked", "nothing")
    sys.stdout.write(f"{'kind':10}{''.join(f'{column:>9}' for column in columns)}\n")
    for kind, row in (*counts.items(), ("all", sum(counts.values(), Counter[str]()))):
        sys.stdout.write(f"{kind:10}{''.join(f'{row[column]:9}' for column in columns)}\n")
    took.sort()
    sys.stdout.write(f"ms a request: median {1e3 * took[len(took) // 2]:.2f}, most {1e3 * took[-1]:.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
