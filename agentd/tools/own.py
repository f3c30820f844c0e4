"""The agent's own actions as tools: what it did, and taking it back."""

from agentd.acting import UNDO
from agentd.audit import Audit
from agentd.errors import Refusal
from agentd.memory.memory import OWNER
from agentd.tools.render import table
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool

LOG = "agent.log"
SHOWN = 20


def tools(audit: Audit) -> tuple[Tool, ...]:
    """The declarations. How a change is taken back is acting.py's concern, which has its steps."""

    def log(context: Context, arguments: Arguments) -> Answer:
        try:
            found = audit.entries(arguments["count"])
        except Refusal as refusal:
            raise Lacking(str(refusal.parameters["detail"])) from refusal
        # Another person sees what they did themselves.
        mine = [entry for entry in found if context.person in (OWNER, entry.about.get("person"))]
        if not mine:
            return Answer("Nothing was changed, asked for or refused yet.", [], ("the audit",))
        rows = [
            [
                entry.number,
                entry.time[:16].replace("T", " "),
                entry.what,
                entry.about.get("tool", ""),
                " ".join(str(value) for value in entry.about.get("arguments", {}).values() if value),
            ]
            for entry in mine
        ]
        facts = [{"number": one.number, "time": one.time, "what": one.what, **one.about} for one in mine]
        return Answer(table(("number", "time", "what", "tool", "with"), rows), facts, ("the audit",))

    return (
        Tool(
            LOG,
            "what the agent did on this machine",
            Level.READ,
            run=log,
            arguments=(Argument("count", Kind.COUNT, "how many entries", False, SHOWN),),
        ),
        Tool(
            UNDO,
            "take back the last change",
            Level.CHANGE,
            arguments=(Argument("change", Kind.COUNT, "its number in the log", False, most=10**9),),
            reversible=True,
        ),
    )
