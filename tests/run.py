"""Run every check and test in order and print what took how long; `make test` is this.

The quick ones come first. All run even when one fails; the exit status is 1 if any failed.
"""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parent.parent

CHECKS: dict[str, list[list[str | Path]]] = {
    "lint": [
        [BIN / "ruff", "check", "."],
        [BIN / "ruff", "format", "--check", "."],
        [BIN / "mypy"],
    ],
    "unit": [[BIN / "python", "-m", "pytest", "tests/unit"]],
    "build": [[BIN / "aether", "build", "qemu-x86_64"]],
    "native": [[BIN / "python", "-m", "pytest", "tests/native"]],
    "boot": [[BIN / "python", "-m", "pytest", "tests/boot"]],
    # One of three and the fallback test, which shares it; `make test-machines` runs all.
    "machines": [[BIN / "python", "-m", "pytest", "tests/machines", "-k", "q35-nvme"]],
}


def main() -> int:
    """Run the named groups (all by default); returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=CHECKS, action="append", help="run this group only (repeatable)")
    groups = parser.parse_args().only or list(CHECKS)
    # Whoever starts this in the background has it ignore Ctrl-C, and every child too; tests need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    took: list[tuple[str, float, bool]] = []
    for group in groups:
        for command in CHECKS[group]:
            started = time.monotonic()
            print(f"== {group}: {' '.join(map(str, command))}", flush=True)
            done = subprocess.run(command, cwd=REPOSITORY, check=False)
            name = " ".join([Path(command[0]).name, *map(str, command[1:3])])
            took.append((f"{group}: {name}", time.monotonic() - started, done.returncode == 0))
    print("\nWhat took how long:")
    for name, seconds, passed in took:
        print(f"  {seconds:8.1f} s  {'ok    ' if passed else 'FAILED'}  {name}")
    return 0 if all(passed for _, _, passed in took) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
