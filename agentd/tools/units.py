"""Names of systemd's units, as systemd.unit(5) has them, and what people write for them."""

import re

from agentd.tools.render import visible
from agentd.tools.tool import Unfit

KINDS = (
    *("service", "socket", "target", "timer", "mount", "automount", "path", "swap"),
    *("slice", "scope", "device"),
)
_NAME = re.compile(rf"[A-Za-z0-9:_.\\@-]+\.(?:{'|'.join(KINDS)})", re.ASCII)
MOST_BYTES = 255


def is_unit_name(name: str) -> bool:
    """Whether it can be a unit's full name; no pattern, path or option is one."""
    return len(name) <= MOST_BYTES and _NAME.fullmatch(name) is not None


def unit_name(words: object) -> str:
    """A unit's full name: "nginx" is "nginx.service". Raises Unfit for what cannot be one."""
    text = words.strip(" ") if isinstance(words, str) else ""
    if not text:
        raise Unfit("no unit is named")
    for name in (text, f"{text}.service"):
        if is_unit_name(name):
            return name
    raise Unfit(f"{visible(text, 60)} cannot be the name of a unit")


def kind_of(name: str) -> str:
    """The kind of a unit by its full name: "service"."""
    return name.rpartition(".")[2]
