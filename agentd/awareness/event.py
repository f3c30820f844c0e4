"""What an event is: something that happened on this machine, typed and safe to show.

Whatever a source puts into `subject` and `detail` (a device's name, a line of the journal) leaves here as
one visible line of bounded length. Not for: what a person is told of it (rules.py).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentd.tools.render import visible

LONGEST_SUBJECT = 100
LONGEST_DETAIL = 300

KINDS = frozenset(
    (
        *("boot", "shutdown", "sleep", "wake", "clock.changed"),
        *("unit.failed", "unit.recovered", "error"),
        *("login", "logout"),
        *("link.up", "link.down", "device.added", "device.removed"),
        *("pressure.memory", "pressure.cpu", "pressure.io", "pressure.over"),
        *("disk.full", "disk.free", "power.line", "power.battery"),
    )
)


class Severity(StrEnum):
    """How much it matters: told when asked, worth a look, or to be told at any hour."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """A number that grows with it."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `time` is in seconds since 1970.

    `kind` is one of KINDS, `subject` what it is about ("nginx.service", "eth0"), `detail` more words.
    `source` says who told it, `trust` is "untrusted" where `detail` is in the words of somebody else (the
    journal's lines, what a device calls itself). Raises ValueError for another kind or trust.
    """

    kind: str
    subject: str = ""
    detail: str = ""
    severity: Severity = Severity.INFO
    time: float = field(default_factory=time.time)
    source: str = ""
    trust: str = "system"
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.trust not in ("system", "untrusted"):
            raise ValueError(f"no event is '{self.kind}' with trust '{self.trust}'")
        object.__setattr__(self, "subject", visible(self.subject, LONGEST_SUBJECT))
        object.__setattr__(self, "detail", visible(self.detail, LONGEST_DETAIL))
