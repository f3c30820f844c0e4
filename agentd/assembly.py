"""agentd's parts put together: what knows what. Starting and ending them is daemon.py's concern."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentd import identity, introduction
from agentd.acting import Acting
from agentd.agent import Agent
from agentd.awareness import netlink
from agentd.awareness.tools import AwarenessTools
from agentd.awareness.watching import Watching
from agentd.broker import Broker
from agentd.choosing import Choosing
from agentd.database import Database
from agentd.machine_key import MachineKey
from agentd.memory.background import Background
from agentd.memory.memories import Memories
from agentd.memory.transfer import Transfer
from agentd.policy import OWN_RULES, OWNER_RULES, SETTLED, Policy
from agentd.reminders import ReminderStore
from agentd.session import Conversations
from agentd.skills.library import Library
from agentd.tools import places
from agentd.tools.bus import Bus
from agentd.tools.local_steps import LocalSteps
from agentd.tools.memory import MemoryTools
from agentd.tools.own import tools as own_tools
from agentd.tools.registry import tools
from agentd.tools.reminders import Reminders
from agentd.tools.tool import Context, Tool
from agentd.worker import ModelWorker

if TYPE_CHECKING:
    from agentd.routing.slots import World


@dataclass(frozen=True, slots=True)
class Parts:
    """What serves the interfaces; the agent holds its conversations, memory, tools and skills."""

    agent: Agent
    transfer: Transfer
    key: MachineKey
    bus: Bus
    reminders: ReminderStore
    watching: Watching


def assemble(
    state: Path,
    routing: Path | None,
    database: Database,
    conversations: Conversations,
    worker: ModelWorker,
    *,
    by_model: bool = False,
) -> Parts:
    """The parts, nothing of them started. `state` is agentd's folder, `routing` the router's file.

    `by_model` lets the worker's model choose tools.
    """
    machine = identity.machine_name(identity.manifest())
    key, bus = MachineKey(state), Bus()

    def opened(memories: Memories) -> None:
        introduction.begin(memories, machine)
        transfer.resume()
        reminders.compare()
        choosing.warm()

    memory = Background(
        lambda: Memories(state, conversations, worker),
        database,
        lambda: agent.admission.busy() == 0,
        opened,
    )
    places.configure(state)
    reminders = ReminderStore(database)
    # Before the server looks for its own among the sockets that systemd passed.
    watching = Watching(state, database, bus, memory, identity.manifest(), netlink.inherited())
    noticing = AwarenessTools(watching.notices)
    remembering, reminding = MemoryTools(memory), Reminders(reminders)

    def all_tools() -> Mapping[str, Tool]:
        own = (*remembering.tools(), *reminding.tools(), *noticing.tools(), *own_tools(acting.audit))
        return {**tools(), **{tool.name: tool for tool in own}}

    acting = Acting(
        database,
        key,
        Policy((OWNER_RULES, OWN_RULES), state / "policy.json", SETTLED),
        all_tools,
        lambda origin: Context(bus, origin.person),
        (remembering, reminding, LocalSteps(), Broker()),
    )
    choosing = Choosing(routing, all_tools, lambda: _worlds(bus), worker, by_model=by_model)
    library = Library(lambda: memory.memories.vault, all_tools)
    agent = Agent(conversations, worker, memory, choosing, acting, library)
    transfer = Transfer(state, database, memory, key, machine)
    return Parts(agent, transfer, key, bus, reminders, watching)


def _worlds(bus: Bus) -> "Callable[[str], World]":
    # Its patterns and tables are many: they are loaded with the first request.
    from agentd.world import worlds

    return worlds(bus)
