"""A hardware report in a file: which format it is, and every way in which it can be unusable.

Our own JSON, a NixOS Facter report, the text of `hwinfo --all` and the reduced reports of the tests. Not
for: what the formats mean (hardware/report_json.py, report_facter.py, report_hwinfo.py,
report_reduced.py).
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from builder import report_facter, report_hwinfo, report_reduced
from builder.errors import AetherError
from hardware import clean, names, report_json
from hardware.report import Report
from hardware.report_json import ReportError

LARGEST = 32 << 20  # bytes; the largest report seen has 1 MB
ARCHITECTURE = "x86_64"
FORMATS = "our own (aether detect -o FILE), facter.json, or the text of hwinfo --all"
# The first bytes of what people hand over packed.
PACKED = {b"\x1f\x8b": "gunzip", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd", b"PK\x03\x04": "unzip"}


def load(source: str) -> Report:
    """The report of a file, or of standard input for `-`, with the names that this host knows.

    Raises AetherError if it cannot be read, is of no known format, is cut off, or is of another kind of
    computer.
    """
    shown = "standard input" if source == "-" else clean.shown(source, 200)
    content = _read(source, shown)
    try:
        report = _parse(_decoded(content))
        if report.architecture not in ("", ARCHITECTURE):
            raise ReportError(
                f"it is of an {clean.shown(report.architecture, 40)} machine",
                f"AetherOS is built for {ARCHITECTURE}",
            )
    except ReportError as error:
        raise AetherError(
            f"the report {shown} cannot be used: {error.message}",
            hint=error.hint or f"known formats: {FORMATS}",
        ) from error
    return names.name_report(report)


def _read(source: str, shown: str) -> bytes:
    try:
        if source == "-":
            content = sys.stdin.buffer.read(LARGEST + 1)
        else:
            # A named pipe that nobody writes into would keep the call waiting for ever.
            with os.fdopen(os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                os.set_blocking(file.fileno(), True)
                content = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise AetherError(f"{shown} is a folder, not a report", hint="name the file in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AetherError(
            f"the report {shown} cannot be read: {reason}", hint="aether detect -o FILE writes one"
        ) from None
    if len(content) > LARGEST:
        raise AetherError(
            f"the report {shown} has more than {LARGEST >> 20} MB", hint=f"known formats: {FORMATS}"
        )
    return content


def _decoded(content: bytes) -> str:
    for magic, program in PACKED.items():
        if content.startswith(magic):
            raise ReportError("it is packed", f"unpack it first, with {program}")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ReportError("it is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8 FILE > NEW")
    for name, zeros in (("LE", content[1::2].count(0)), ("BE", content[::2].count(0))):
        if zeros > len(content) // 4 and content.count(0) - zeros < zeros // 10:
            raise ReportError("it is UTF-16, not UTF-8", f"iconv -f UTF-16{name} -t UTF-8 FILE > NEW")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ReportError(
            f"line {line} is not UTF-8 text (byte 0x{content[error.start]:02x})",
            "if it is of another encoding: iconv -f ISO-8859-1 -t UTF-8 FILE > NEW",
        ) from None
    if not text.strip():
        raise ReportError("it is empty")
    if "\0" in text:
        raise ReportError("it is not a text file")
    return text


def _parse(text: str) -> Report:
    if not text.lstrip().startswith(("{", "[")):
        if report_hwinfo.is_hwinfo(text):
            return report_hwinfo.from_text(text)
        raise ReportError("it is of no known format")
    values = _json(text)
    if "schema" in values:
        return report_json.from_values(values)
    if report_facter.is_facter(values):
        return report_facter.from_values(values)
    if report_reduced.is_reduced(values):
        return report_reduced.from_values(values)
    raise ReportError("it is JSON, but no report")


def _json(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated"):
            raise ReportError(
                f"it ends in the middle, at line {error.lineno}", "copy or write the whole file again"
            ) from None
        raise ReportError(
            f"not JSON: {error.msg[0].lower()}{error.msg[1:]}, line {error.lineno} column {error.colno}",
            "copy or write the whole file again",
        ) from None
    except RecursionError:
        raise ReportError("its JSON is nested too deeply for a report") from None
    except ValueError:
        raise ReportError("it has a number too long for a report") from None
    if not isinstance(values, dict):
        raise ReportError("it is JSON, but no report")
    return values
