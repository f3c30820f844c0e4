"""Progress of long work: what is done, how far it is, how long the last run took.

A line a step on standard error; on a terminal the line is redrawn with a count or percentage.
Durations are kept in the cache, so that the next run can say what to expect, and the build can
print what took how long.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from builder.cache import cache_dir, write_atomically

_depth = 0


@dataclass
class Step:
    """A step under way; `progress` is called with real counts only."""

    title: str
    indent: str
    last: float | None
    started: float = field(default_factory=time.monotonic)
    _shown: float = 0.0
    _percent: int = -1

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Show that `done` of `total` (any unit, named by `what`) is finished."""
        now = time.monotonic()
        percent = 100 * done // total if total else 0
        if sys.stderr.isatty():
            if now - self._shown < 0.1 and done < total:
                return
            line = f"{self.indent}  {percent:3d} % ({done}/{total} {what})".rstrip()
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif percent // 10 > self._percent // 10 and now - self._shown > 5:
            print(f"{self.indent}  {percent:3d} % ({done}/{total} {what})", file=sys.stderr, flush=True)
        else:
            return
        self._shown, self._percent = now, percent

    def note(self, text: str) -> None:
        """A line below the step."""
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        print(f"{clear}{self.indent}  {text}", file=sys.stderr, flush=True)


def durations() -> dict[str, float]:
    """Seconds that each step took when it last ran, by the step's name."""
    try:
        kept: dict[str, float] = json.loads((cache_dir() / "durations.json").read_text())
    except (OSError, ValueError):
        return {}
    return kept


def span(seconds: float) -> str:
    """A duration for a person: `0.4 s`, `12 s`, `5 min 12 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


@contextlib.contextmanager
def step(title: str, name: str = "") -> Iterator[Step]:
    """Say what is being done and, at the end, how long it took; `name` is its name in the durations."""
    global _depth
    key = name or title
    last = durations().get(key)
    current = Step(title, "  " * _depth, last)
    expect = f" (last time {span(last)})" if last is not None else ""
    print(f"{current.indent}‣ {title}{expect}", file=sys.stderr, flush=True)
    _depth += 1
    try:
        yield current
    finally:
        _depth -= 1
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - current.started
    write_atomically(
        cache_dir() / "durations.json", json.dumps({**durations(), key: round(took, 2)}, indent=1)
    )
    if took > 1:
        print(f"{current.indent}  done in {span(took)}", file=sys.stderr, flush=True)
