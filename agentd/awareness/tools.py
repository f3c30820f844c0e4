"""What happened on the machine as tools: the open notices, and a brief of what somebody missed."""

from agentd.awareness.notices import Notices
from agentd.awareness.rules import PRIVATE
from agentd.errors import StoreUnavailable
from agentd.memory.memory import OWNER
from agentd.tools.render import count, moment, table
from agentd.tools.tool import Answer, Arguments, Context, Lacking, Level, Tool

SOURCES = ("the notices of agentd",)
SHOWN = 50


class AwarenessTools:
    """The tools over the notices of this machine."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices

    def tools(self) -> tuple[Tool, ...]:
        """The declarations."""
        return (
            Tool(
                "agent.brief",
                "what happened since the person was last here",
                Level.READ,
                run=self._brief,
            ),
            Tool("agent.notices", "notices and warnings that are open", Level.READ, run=self._open),
        )

    def _brief(self, context: Context, arguments: Arguments) -> Answer:
        from agentd.awareness.brief import compose

        try:
            found = compose(self._notices, context.person, context.person == OWNER)
        except StoreUnavailable as refusal:
            raise _lacking(refusal) from refusal
        return Answer(found.text, found.facts, SOURCES)

    def _open(self, context: Context, arguments: Arguments) -> Answer:
        from agentd.awareness.brief import notice_facts

        try:
            found = self._notices.notices()
        except StoreUnavailable as refusal:
            raise _lacking(refusal) from refusal
        found = [one for one in found if context.person == OWNER or one.kind not in PRIVATE]
        found.sort(key=lambda one: (-one.severity.rank, -one.id))
        facts = [notice_facts(one) for one in found]
        if not found:
            return Answer("No notice is open.", facts, SOURCES)
        rows = [(one.id, one.severity.value, moment(one.last), one.count, one.text) for one in found[:SHOWN]]
        lines = [
            f"{count(len(found), 'notice is', 'notices are')} open:",
            table(("Id", "Severity", "Last", "Times", "Notice"), rows),
        ]
        if len(found) > SHOWN:
            lines.append(f"... and {len(found) - SHOWN} more: agent notices")
        lines += [f"{one.id} may be helped by: {one.proposal}" for one in found[:SHOWN] if one.proposal]
        return Answer("\n".join(lines), facts, SOURCES)


def _lacking(refusal: StoreUnavailable) -> Lacking:
    return Lacking(str(refusal.parameters.get("detail", refusal)), "agent health")
