"""Several tools for one wish, where a model chooses: after what a tool says, the model may use the next one.

It goes on after a tool that reads, and only so many times; one that changes something is the last, whether
it is done or asks. What tools say is data that anybody may have written (the journal, files, names of
networks), so what is chosen after it rests on a text that is not the owner's: policy asks for a change at
the console. Not for: choosing (choosing.py), or doing (acting.py).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from agentd.acting import Acting, Outcome
from agentd.call import AbandonedError, Watch
from agentd.choosing import Choice, Choosing, Result
from agentd.errors import InvalidArguments, NoSuchTool
from agentd.policy import Origin
from agentd.tools.tool import Level

MOST = 3


def follow(
    first: Choice,
    outcome: Outcome,
    choosing: Choosing,
    acting: Acting,
    origin: Origin,
    allows: Callable[[str], bool],
    watch: Watch,
) -> list[Outcome]:
    """The outcome of the first tool and of those that the model uses after it, at most MOST together.

    Only what `allows` is used. What cannot be chosen or done ends it; what was found before is kept.
    """
    outcomes = [outcome]
    if first.reason != "model":
        return outcomes
    origin = replace(origin, trust="untrusted")
    results: list[Result] = []
    used: list[Choice] = [first]
    with suppress(AbandonedError, InvalidArguments, NoSuchTool):
        while len(outcomes) < MOST and _may_go_on(acting, used[-1], outcomes[-1]):
            results.append(Result(used[-1].tool or "", outcomes[-1].text))
            choice = choosing.go_on(first.text, results, origin.person, watch)
            if choice is None or choice.tool is None or choice.question or not allows(choice.tool):
                break
            if any((one.tool, one.arguments) == (choice.tool, choice.arguments) for one in used):
                break
            outcomes.append(acting.do(choice.tool, choice.arguments, origin))
            used.append(choice)
    return outcomes


def _may_go_on(acting: Acting, choice: Choice, outcome: Outcome) -> bool:
    return outcome.state == "done" and acting.tool(choice.tool or "").level is Level.READ
