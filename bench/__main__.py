"""`python -m bench MACHINE`: arguments, printing, exit statuses.

0 measured, 1 a machine or a build step failed, 2 a mistake in how the command was used, 130 Ctrl-C.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import suite, table
from builder.cache import write_atomically
from builder.errors import AetherError

DESCRIPTION = """\
Measure a machine (build, sizes, boot, answers, memory) beside a stock Debian image with the same agent,
both booted in turns by the same QEMU. The table goes to standard output. See docs/benchmark.md."""


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit status."""
    signal.signal(signal.SIGTERM, _terminate)
    given = _parser().parse_args(arguments)
    try:
        if given.repeat < 1 or given.tokens < 2:
            raise AetherError("there is nothing to measure", hint="--repeat from 1, --tokens from 2")
        if given.json and not given.json.parent.is_dir():
            raise AetherError(f"there is no folder {given.json.parent}", hint="make it first")
        report = suite.measure(given.machine, repeat=given.repeat, tokens=given.tokens, quick=given.quick)
        print(table.text(report.heading(), report.sections), end="", flush=True)
        if given.json:
            found = table.as_json(report.facts, report.sections)
            write_atomically(given.json, json.dumps(found, indent=1) + "\n")
    except KeyboardInterrupt:
        print("\ninterrupted; the images stay in the cache", file=sys.stderr)
        return 130
    except AetherError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_status
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=DESCRIPTION)
    parser.add_argument("machine", metavar="MACHINE", help="a profile's name: `aether list`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to this file too")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="boots of each (default: 5)")
    parser.add_argument(
        "--tokens", type=int, default=16, metavar="N", help="length of the answer at most (default: 16)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="neither count instructions nor rebuild the images"
    )
    return parser


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # An exception, so that machines are ended and scratch folders removed.
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
