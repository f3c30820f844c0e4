"""Why a unit ended as it did, in words: systemd's results and exit statuses (systemd.exec(5))."""

import signal
from collections.abc import Mapping
from typing import Any

# The property Result of a service (systemd.service(5), $SERVICE_RESULT) and of other kinds.
_RESULTS = {
    "success": "success",
    "exit-code": "it ended with an error",
    "signal": "it was killed",
    "core-dump": "it crashed",
    "watchdog": "it no longer gave its sign of life",
    "timeout": "it took too long",
    "oom-kill": "it was killed because memory ran out",
    "resources": "what it needs could not be had",
    "protocol": "it did not say that it was ready",
    "exec-condition": "its condition was not met",
    "start-limit-hit": "it was started too often in a short time",
    "mount-start-limit-hit": "it was mounted too often in a short time",
    "trigger-limit-hit": "it was triggered too often in a short time",
    "service-start-limit-hit": "its service was started too often in a short time",
    "unit-condition-failed": "its condition was not met",
}
# Exit statuses by which systemd says that it could not even start the program.
_BEFORE_START = {
    200: "its working folder cannot be entered",
    203: "its program cannot be executed",
    208: "its standard input cannot be set up",
    209: "its standard output cannot be set up",
    210: "its root folder cannot be entered",
    216: "its group does not exist",
    217: "its user does not exist",
    226: "its view of the file system cannot be set up",
    228: "its filter of system calls cannot be set up",
    238: "its state folder cannot be set up",
    243: "its credentials cannot be set up",
}
# si_code of a process that ended (waitid(2)).
_EXITED, _KILLED, _DUMPED = 1, 2, 3


def why(properties: Mapping[str, Any]) -> str:
    """A unit's last result in words, with the exit status or signal; "" where its kind has none."""
    result = str(properties.get("Result", ""))
    if result in ("", "success"):
        return result
    words = _RESULTS.get(result, result)
    code, status = properties.get("ExecMainCode", 0), properties.get("ExecMainStatus", 0)
    if code == _EXITED and status:
        before = _BEFORE_START.get(status)
        return f"{words} (exit status {status}{f': {before}' if before else ''})"
    if code in (_KILLED, _DUMPED):
        return f"{words} ({_signal(status)})"
    return words


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
