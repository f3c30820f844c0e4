"""The builder's one family of errors: what a person reads when something is wrong.

Not for: printing (cli.py) or deciding an exit status (cli.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class AetherError(Exception):
    """Something the person can do something about: one line of what is wrong, one of what to do."""

    exit_status = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> list[str]:
        """The error as a person reads it, without a trailing newline."""
        return [f"error: {self.message}", *([f"hint: {self.hint}"] if self.hint else [])]


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file that a person wrote; `line` counts from 1, 0 where there is none."""

    path: Path
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{place}: {self.message}" + (f" (hint: {self.hint})" if self.hint else "")


class Mistakes(AetherError):
    """Every mistake found in the files a person wrote, all at once."""

    def __init__(self, what: str, mistakes: Sequence[Mistake], *, hint: str = "") -> None:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) != 1 else ''}"
        super().__init__(f"{what}: {count}", hint=hint)
        self.mistakes = tuple(mistakes)

    def lines(self) -> list[str]:
        head, *tail = super().lines()
        return [head, *(f"  {mistake}" for mistake in self.mistakes), *tail]


class StepFailed(AetherError):
    """A build step failed; the message names its log file, the hint the command that repeats it."""

    exit_status = 1

    def __init__(self, message: str, *, log: Path | None = None, repeat: str = "") -> None:
        tail = ""
        if log is not None and log.exists():
            last = log.read_text(errors="replace").splitlines()[-15:]
            tail = "".join(f"\n  | {line[:300]}" for line in last)
        where = f" (log: {log})" if log is not None else ""
        super().__init__(f"{message}{where}{tail}", hint=f"repeat it with: {repeat}" if repeat else "")
        self.log = log
