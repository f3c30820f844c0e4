"""The machine switched off, started anew, sent to sleep: the plans of it.

Asked of org.freedesktop.login1 (org.freedesktop.login1(5)). Who may do it is policy's concern, not logind's
answer to agentd: the broker does it, as root.
"""

from agentd.tools.bus import Bus, Refused
from agentd.tools.render import count, visible
from agentd.tools.services import MANAGER, SYSTEMD
from agentd.tools.services import PATH as SYSTEMD_PATH
from agentd.tools.tool import Arguments, Context, Lacking, Level, Plan, Step, Tool

LOGIND, PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
MOST_NAMED = 8


def off(context: Context, arguments: Arguments) -> Plan:
    """Shut the machine down."""
    return _plan(context.bus, "off", "CanPowerOff", "shutdown", "Shut the machine down", "It shuts down.")


def reboot(context: Context, arguments: Arguments) -> Plan:
    """Restart the machine."""
    return _plan(context.bus, "reboot", "CanReboot", "shutdown", "Restart the machine", "It restarts.")


def suspend(context: Context, arguments: Arguments) -> Plan:
    """Send the machine to sleep."""
    summary = "Send the machine to sleep"
    return _plan(context.bus, "suspend", "CanSuspend", "sleep", summary, "It goes to sleep.")


def _plan(bus: Bus, verb: str, can: str, inhibited: str, summary: str, done: str) -> Plan:
    if not _is_possible(bus, can):
        raise Lacking(f"this machine cannot do that: logind says so of {can.removeprefix('Can').lower()}")
    sessions = bus.call(LOGIND, PATH, f"{LOGIND}.Manager", "ListSessions")[0]
    people = sorted({visible(str(session[2])) for session in sessions})
    against = [
        (visible(str(who), 60), visible(str(why), 100), mode)
        for what, who, why, mode, _, _ in bus.call(LOGIND, PATH, f"{LOGIND}.Manager", "ListInhibitors")[0]
        if inhibited in str(what).split(":")
    ]
    effects = [f"Logged in: {', '.join(people)}." if people else "Nobody is logged in."]
    effects += [
        f"{who} asks to {'wait' if mode.startswith('delay') else 'leave it'}: {why or 'no reason given'}."
        for who, why, mode in against
    ]
    if verb == "suspend":
        effects.append("It does nothing until it is woken.")
    else:
        effects += _jobs(bus)
        effects.append("Everything that runs is ended.")
    blockers = sorted(who for who, _, mode in against if mode.startswith("block"))
    basis = f"logged in: {', '.join(people) or 'nobody'}; against it: {', '.join(blockers) or 'nobody'}"
    return Plan(summary, (Step(f"power.{verb}", {}),), tuple(effects), (), basis, done)


def _is_possible(bus: Bus, can: str) -> bool:
    """Whether the machine can; whether agentd's own user may is of no interest."""
    try:
        return bool(bus.call(LOGIND, PATH, f"{LOGIND}.Manager", can)[0] != "na")
    except Refused as refused:
        # Without polkit logind refuses to say what a user may do, after it has found that it can be done.
        return refused.name == "org.freedesktop.DBus.Error.AccessDenied"


def _jobs(bus: Bus) -> list[str]:
    """What systemd is doing at the moment."""
    try:
        found = bus.call(SYSTEMD, SYSTEMD_PATH, MANAGER, "ListJobs")[0]
    except Lacking as lacking:  # a machine that is stuck is to be restarted all the same
        return [f"What systemd does at the moment is not known: {lacking.message}."]
    jobs = sorted(f"{job[2]} {job[1]}" for job in found)
    if not jobs:
        return []
    named = ", ".join(jobs[:MOST_NAMED]) + (" ..." if len(jobs) > MOST_NAMED else "")
    return [f"{count(len(jobs), 'job')} of systemd not done yet: {named}."]


TOOLS = (
    Tool("power.off", "shut the machine down", Level.DANGER, plan=off),
    Tool("power.reboot", "restart the machine", Level.DANGER, plan=reboot),
    Tool("power.suspend", "send the machine to sleep", Level.CHANGE, plan=suspend),
)
