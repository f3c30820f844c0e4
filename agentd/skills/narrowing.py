"""`allowed-tools`: which tools may be used while a skill or a command is.

It only ever takes away: a tool that is in the list still goes to policy like any other. Skills made for
other agents name tools that are not ours (`Bash(git:*)`); such a name is kept, and stands for no tool here.
"""

import re
from collections.abc import Sequence

# A name, with what may stand in brackets right after it.
_NAME = re.compile(r"[^\s,()]+(?:\([^()]*\))?")
_FAMILY = re.compile(r"[a-z_]+\.\*")


def names(text: str) -> tuple[str, ...]:
    """The names in a text, which has blanks or commas between them."""
    return tuple(_NAME.findall(text))


def allows(allowed: Sequence[str] | None, tool: str) -> bool:
    """Whether `tool` is allowed: by its name or its family (`services.*`), or because there is no list."""
    return allowed is None or any(
        tool == one or (_FAMILY.fullmatch(one) and tool.startswith(one[:-1])) for one in allowed
    )
