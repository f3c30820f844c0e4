"""How well sentences find their tools: what people say to a machine, by families of speakers, and mere talk.

    python -m bench.routing [MACHINE] [--part dev|test] [--json]

reads tests/data/routing: the lines of "dev" are for choosing thresholds, those of "test" for the figures.
The head is the machine's own, and its own worker, run on this host, embeds. Not for: what a tool does.
"""

import argparse
import json
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.call import Watch
from agentd.routing import head
from agentd.routing.router import Encode, Route, Router
from agentd.worker import ModelWorker
from bench.native_worker import prepared
from bench.table import Row, Section
from builder import models, profile, routing, toolchain, wheels
from builder.errors import AetherError

LINES = Path(__file__).parent.parent / "tests/data/routing"
PARTS = ("dev", "test")
TALK = "talk"
# How many of the worst families, tools and mistaken pairs are shown.
WORST = 12
CHANGING = frozenset(
    f"{family}.{verb}"
    for family, verbs in {
        "agent": "undo",
        "files": "delete move restore write",
        "memory": "forget remember",
        "network": "connect disconnect wifi_join",
        "power": "off reboot suspend",
        "services": "disable enable restart start stop",
        "settings": "brightness host_name keyboard locale volume",
        "time": "cancel remind repeat timer zone",
    }.items()
    for verb in verbs.split()
)


@dataclass(frozen=True)
class Line:
    """What somebody says, who, and the tools that it may mean: none if it is talk."""

    text: str
    family: str
    tools: frozenset[str]
    tool: str  # the first of them, or TALK


@dataclass(frozen=True)
class Routed:
    """A line, where it went, and how long that took in seconds, in all and without the encoder."""

    line: Line
    route: Route
    seconds: float
    own_seconds: float

    @property
    def is_right(self) -> bool:
        """Whether it went to one of its tools, or to talk if it has none."""
        return self.route.tool in self.line.tools if self.line.tools else self.route.tool is None

    @property
    def went_to(self) -> str:
        """The tool, or TALK."""
        return self.route.tool or TALK


def load(part: str, folder: Path = LINES) -> list[Line]:
    """The lines of a part."""
    given = (json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines() if line)
    return [
        Line(
            one["text"],
            one["family"],
            frozenset(filter(None, (one["tool"], *(one.get("also") or ())))),
            one["tool"] or TALK,
        )
        for one in given
    ]


def file_of(machine: str) -> Path | None:
    """A machine's routing file, trained if need be; None for one without an encoder. Raises AetherError."""
    spec = profile.load(machine)
    encoder = spec.embedder_model
    if encoder is None:
        return None
    tools = toolchain.ensure()
    tree = wheels.ensure(tools, spec.cpu.march, variants=spec.cpu.variants).tree
    return routing.ensure(tools, tree, models.ensure(encoder), encoder.name)


def router_of(file: Path) -> Router:
    """The router with the head in a file. Raises HeadError."""
    return Router(head.load(file), CHANGING)


def encoder_of(worker: ModelWorker) -> Encode:
    """The worker's encoder, asked for one text at a time as agentd asks."""
    return lambda text: worker.embed([text], Watch())[0]


def route_all(router: Router, lines: Iterable[Line], encode: Encode) -> list[Routed]:
    """Where each line goes."""
    spent = 0.0

    def timed(text: str) -> Sequence[float] | None:
        nonlocal spent
        began = time.perf_counter()
        vector = encode(text)
        spent += time.perf_counter() - began
        return vector

    routed = []
    for line in lines:
        spent, began = 0.0, time.perf_counter()
        route = router.route(line.text, timed)
        seconds = time.perf_counter() - began
        routed.append(Routed(line, route, seconds, seconds - spent))
    return routed


def percent(some: Iterable[bool]) -> float:
    """The share of what is true, in %; 100 of nothing."""
    values = list(some)
    return 100 * sum(values) / len(values) if values else 100.0


def figures(routed: Sequence[Routed]) -> dict[str, float]:
    """The totals: shares in %, counts of lines, times in ms."""
    asked = [one for one in routed if one.line.tools]
    talk = [one for one in routed if not one.line.tools]
    wrong = [one for one in routed if one.route.tool in CHANGING and not one.is_right]
    times = {
        f"{name}_p{share}": 1000 * quantile(values, share)
        for name, values in (
            ("choice", [one.seconds for one in routed]),
            ("choice_without_embedding", [one.own_seconds for one in routed]),
        )
        for share in (50, 95)
    }
    return {
        "right_tool": percent(one.is_right for one in asked),
        "taken_for_talk": percent(one.route.tool is None for one in asked),
        "talk_kept": percent(one.is_right for one in talk),
        "asked_back": percent(one.route.reason == "close" for one in routed),
        "wrong_change": len(wrong),
        "wrong_change_sure": sum(one.route.reason == "sure" for one in wrong),
        "talk_to_change": sum(not one.line.tools for one in wrong),
        **times,
    }


def quantile(values: Sequence[float], share: int) -> float:
    """The value below which `share` % of the values are."""
    return statistics.quantiles(values, n=100)[share - 1] if len(values) > 1 else sum(values)


def section(part: str, router: Router, encode: Encode) -> Section:
    """The figures of a part: ours is words and meaning, the baseline is the head over n-grams alone."""
    lines = load(part)
    ours, words = (figures(route_all(router, lines, one)) for one in (encode, lambda _: None))
    titles = {
        "right_tool": ("right tool, of requests for one", "%"),
        "taken_for_talk": ("requests taken for talk", "%"),
        "talk_kept": ("talk that is kept as talk", "%"),
        "asked_back": ("the person is asked which tool", "%"),
        "wrong_change": ("wrong tools that change something", "lines"),
        "wrong_change_sure": ("... and nothing is asked back", "lines"),
        "talk_to_change": ("... for what was talk", "lines"),
        "choice_p50": ("choice, median", "ms"),
        "choice_p95": ("choice, 95 of 100 within", "ms"),
        "choice_without_embedding_p50": ("choice without embedding, median", "ms"),
        "choice_without_embedding_p95": ("choice without embedding, 95 of 100 within", "ms"),
    }
    rows = [Row(key, title, unit, [ours[key]], [words[key]]) for key, (title, unit) in titles.items()]
    asked = sum(bool(one.tools) for one in lines)
    note = f"{asked} requests, {len(lines) - asked} lines of talk. Baseline: words alone, no encoder."
    return Section(f"Routing, {part} sentences", rows, note)


def grouped(routed: Sequence[Routed], key: Callable[[Routed], str]) -> list[tuple[str, float, int]]:
    """The groups with the share of right lines in % and their size, the worst first."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for one in routed:
        groups[key(one)].append(one.is_right)
    shares = [(name, percent(values), len(values)) for name, values in groups.items()]
    return sorted(shares, key=lambda group: (group[1], group[0]))


def report(part: str, router: Router, encode: Encode, *, mistakes: bool) -> list[str]:
    """The table of a part for a person, with its mistakes where they are wanted."""
    lines = load(part)
    routed, words = (route_all(router, lines, one) for one in (encode, lambda _: None))
    told = [f"{part}: {len(lines)} lines", f"  {'':<32}{'meaning':>9}{'words':>9}"]
    alone = figures(words)
    told += [f"  {key:<32}{value:9.1f}{alone[key]:9.1f}" for key, value in figures(routed).items()]
    for title, key in (("family", lambda one: one.line.family), ("tool", lambda one: one.line.tool)):
        told.append(f"  right by {title}, the worst")
        told += [
            f"    {name:<28}{share:6.1f} % of {size}" for name, share, size in grouped(routed, key)[:WORST]
        ]
    pairs = Counter((one.line.tool, one.went_to) for one in routed if not one.is_right)
    told.append("  most often mistaken")
    told += [f"    {count:3} {wanted} -> {got}" for (wanted, got), count in pairs.most_common(WORST)]
    if mistakes:
        told += [
            f"  {one.line.tool} -> {one.went_to} ({one.route.reason}): {one.line.text}"
            for one in routed
            if not one.is_right
        ]
    return told


def as_json(part: str, router: Router, encode: Encode) -> dict[str, Any]:
    """The same for a program."""
    routed = route_all(router, load(part), encode)
    return {
        "part": part,
        **figures(routed),
        "families": {name: share for name, share, _ in grouped(routed, lambda one: one.line.family)},
        "tools": {name: share for name, share, _ in grouped(routed, lambda one: one.line.tool)},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__.partition("\n")[0])
    parser.add_argument("machine", nargs="?", default="qemu-x86_64", help="default: qemu-x86_64")
    parser.add_argument("--part", choices=PARTS, default="dev", help="default: dev")
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.add_argument("--mistakes", action="store_true", help="every line that goes wrong (dev alone)")
    args = parser.parse_args(argv)
    try:
        if args.mistakes and args.part == "test":
            raise AetherError("nobody looks at the mistakes of the test part", hint="--part dev")
        file = file_of(args.machine)
        if file is None:
            raise AetherError(
                f"{args.machine} has no embedder, so it routes nothing", hint="see docs/profiles.md"
            )
        with prepared(args.machine) as place, place.worker() as worker:
            router, encode = router_of(file), encoder_of(worker)
            if args.json:
                print(json.dumps(as_json(args.part, router, encode), indent=1))
            else:
                print("\n".join(report(args.part, router, encode, mistakes=args.mistakes)))
    except AetherError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
