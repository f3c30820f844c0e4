"""A skill or a command in a turn: what "/NAME words" stands for, and doing what a command calls.

Nothing that a file says is the person's own word. A prompt or a skill is text for the model and leads to no
action. A command's calls have the trust of a text that the agent keeps ("agent"), even though a person named
the command: its file may have come with an import. So policy lets them read, and asks at the console for
every change.
"""

import re
from dataclasses import dataclass, replace

from agentd.acting import Acting, Outcome
from agentd.errors import InvalidArguments, NoSuchTool
from agentd.policy import Origin
from agentd.skills import narrowing
from agentd.skills.command import Call, Command, Misused
from agentd.skills.head import BadFile
from agentd.skills.library import Library

_CALLED = re.compile(r"/([a-z0-9-]{1,64})(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Expanded:
    """What "/NAME words" stands for. One of these is there:

    `refusal`, why it cannot be used, a line for each reason; `calls` of tools, in their order; or
    `instructions` for the model with the `question` after them, which may be empty. The question is the
    person's own words, the only ones that may lead to a tool, if refuses() has nothing against it.
    """

    name: str
    calls: tuple[Call, ...] = ()
    instructions: str = ""
    question: str = ""
    allowed_tools: tuple[str, ...] | None = None
    refusal: str = ""

    def refuses(self, tool: str) -> str:
        """Why a tool may not be used along with this, "" if it may be put to policy."""
        return "" if narrowing.allows(self.allowed_tools, tool) else f"/{self.name} does not allow {tool}"


@dataclass(frozen=True, slots=True)
class Performed:
    """How the calls of a command went: `text` for a person, and the outcome of the last that was tried."""

    text: str
    outcome: Outcome | None


def expand(library: Library, text: str, person: str) -> Expanded | None:
    """What `text` stands for if it names a skill or a command of the person's, else None.

    Raises StoreUnavailable, for a text that looks like one, when the vault cannot be read.
    """
    called = _CALLED.fullmatch(text.strip())
    if called is None:
        return None
    name, words = called[1], called[2] or ""
    try:
        found = library.find(name, person)
        if found is None:
            return None
        if not isinstance(found, Command):
            return Expanded(name, (), found.body, words, found.allowed_tools)
        prompt, calls = found.fill(words)
    except BadFile as bad:
        return Expanded(name, refusal="\n".join(bad.lines))
    except Misused as misused:
        return Expanded(name, refusal=str(misused))
    return Expanded(name, calls, prompt, "" if found.has_places() else words, found.allowed_tools)


def perform(expanded: Expanded, acting: Acting, origin: Origin) -> Performed:
    """Do the calls in their order; the first that is not done, or waits for a yes, ends it.

    What comes after a change that waits is meant for the machine as it will be then. Raises what Acting
    does, but for calls that do not fit a tool.
    """
    mine = origin if origin.trust == "untrusted" else replace(origin, trust="agent")
    said: list[str] = []
    outcome = None
    for number, call in enumerate(expanded.calls, 1):
        if refusal := expanded.refuses(call.tool):
            outcome = None
            said.append(refusal)
        else:
            try:
                outcome = acting.do(call.tool, dict(call.arguments), mine)
                said.append("\n  ".join([outcome.text, *outcome.effects]))
            except (InvalidArguments, NoSuchTool) as wrong:
                outcome = None
                said.append(f"{wrong.parameters.get('detail', wrong)}")
        if outcome is None or outcome.state != "done":
            said += [f"Not done: {left.line()}" for left in expanded.calls[number:]]
            break
    return Performed("\n\n".join(said), outcome)
