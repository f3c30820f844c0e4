"""docs/tools.md, made from the declarations of the tools and their example requests.

`python -m agentd.tools.reference > docs/tools.md` makes it anew; a test sees that it is current. Its head is
written here. Not for: what a tool does, or which example requests there are (examples/).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from agentd.awareness.tools import AwarenessTools
from agentd.tools import own, registry
from agentd.tools.memory import MemoryTools
from agentd.tools.reminders import Reminders
from agentd.tools.tool import Argument, Level, Tool

EXAMPLES = Path(__file__).parent / "examples"
SHOWN = 3
_LONGEST = 60

HEAD = """\
# What the agent can do

    > how full is my disk?                         a sentence, in the chat or as agent "..."
    > /services.status nginx                       a tool by its name; in order, or as unit=nginx
    $ agent tool services.logs unit=nginx          the same for scripts; with --json for programs
    $ agent tools                                  all of them with their arguments
    $ agent route "restart the web server"         which tool a sentence means; nothing is done

What a sentence leaves out is asked for; the next thing that you say may be the answer. A sentence that asks
for no tool is talk, and goes to the model. With a text that is piped in no tool is used.

- **read** is done at once. What the tool found is the answer; the model adds no word and no number to it.
- **change** shows what it will do and asks. `agent approve` lists what waits; `agent approve ID` and
  `agent refuse ID` answer within five minutes. Where nobody answers nothing is done.
- **danger** asks as well, and is agreed to at the machine's own console alone.

**undo** says whether `agent undo` takes it back; `agent undo N` takes back the change N of `agent log`.
Where there was nothing before there is no way back: from a Wi-Fi network to none. These are the levels of
the shipped rules; yours come first ([security.md](security.md)). Tools for files reach the vault and, where
agentd may read it, your home folder; on the image that is the vault alone. What a machine lacks (Wi-Fi, a
battery, a screen) is told in one line. Several tools under a name of yours: [skills.md](skills.md). An
argument in brackets may be left out. `python -m agentd.tools.reference > docs/tools.md` writes this page.
"""


def declared() -> Mapping[str, Tool]:
    """Every tool by its name, as agentd has them (assembly.py). They can be read, not used."""
    nobody = cast(Any, None)
    of_agentd = (
        *Reminders(nobody).tools(),
        *MemoryTools(nobody).tools(),
        *AwarenessTools(nobody).tools(),
        *own.tools(nobody),
    )
    return {**registry.tools(), **{tool.name: tool for tool in of_agentd}}


def page() -> str:
    """docs/tools.md."""
    families: dict[str, list[Tool]] = {}
    for tool in declared().values():
        families.setdefault(tool.name.partition(".")[0], []).append(tool)
    examples = _examples()
    parts = [HEAD]
    for family, tools in families.items():
        rows = ["| tool | what it does | level | undo | for instance |", "|---|---|---|---|---|"]
        rows += [_row(tool, examples[tool.name]) for tool in tools]
        parts.append(f"\n## {family}\n\n" + "".join(f"{row}\n" for row in rows))
    return "".join(parts)


def _row(tool: Tool, examples: list[str]) -> str:
    what = "<br>".join([tool.purpose, *(_argument(one) for one in tool.arguments)])
    undo = "" if tool.level is Level.READ else "yes" if tool.reversible else "no"
    cells = [f"`{tool.name}`", what, tool.level.value, undo, "<br>".join(examples)]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _argument(one: Argument) -> str:
    name = one.name if one.required else f"[{one.name}]"
    choices = f": {' or '.join(one.choices)}" if one.choices else ""
    default = f" ({one.default})" if one.default is not None else ""
    return f"`{name}`: {one.purpose}{choices}{default}"


def _examples() -> dict[str, list[str]]:
    """Some requests for each tool: the first whole sentences, which are English in every file."""
    # Not needed by agentd, which does not read examples.
    import yaml

    found: dict[str, list[str]] = {}
    for file in sorted(EXAMPLES.glob("*.yaml")):
        for name, texts in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            found[name] = [text for text in texts if _is_plain(text)][:SHOWN]
    return found


def _is_plain(text: str) -> bool:
    # Whole paths are mostly of folders that the tools for files do not reach.
    is_sentence = text[0].isupper() and text[-1] in ".?"
    is_short = " " in text and len(text) <= _LONGEST
    return is_sentence and is_short and text.isascii() and " /" not in text


def main() -> int:
    """Write the page to standard output."""
    sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
