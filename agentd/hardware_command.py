"""`agent hardware`: what this machine is, for a person or as the report that the builder reads.

Needs no agentd: a machine whose model or memory does not work can still tell what it is. Not for: looking
at the machine itself (hardware/probe.py).
"""

from agentd import display
from agentd.errors import AgentError


def show(as_json: bool) -> int:
    """Write the report of this machine; the exit status. Raises AgentError if /sys shows nothing."""
    # Imported here: no other command should wait for it.
    from hardware import report_json, report_text
    from hardware.probe import probe

    found = probe()
    if not found.devices:
        raise AgentError("this machine shows no devices", "is /sys mounted?", 1)
    display.write(report_json.dumps(found) if as_json else "\n".join(report_text.lines(found)) + "\n")
    return 0
