"""The machine off, restarted, asleep: by logind, org.freedesktop.login1(5). Done means that it has begun."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentd.tools.bus import Bus

_NAME, _PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
# Seconds: logind may have to be started for it.
_TIME = 30.0


def off(bus: "Bus") -> None:
    """Shut the machine down. Raises Lacking, as all of these do, if logind refuses or does not answer."""
    _ask(bus, "PowerOff")


def reboot(bus: "Bus") -> None:
    """Restart the machine."""
    _ask(bus, "Reboot")


def suspend(bus: "Bus") -> None:
    """Put the machine to sleep."""
    _ask(bus, "Suspend")


def _ask(bus: "Bus", method: str) -> None:
    bus.call(_NAME, _PATH, f"{_NAME}.Manager", method, "b", False, patience=_TIME)
