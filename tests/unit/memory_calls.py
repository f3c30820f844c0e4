"""Calls of io.aetheros.Memory for tests, and the files that go through its Export and Import."""

import base64
import io
import tarfile
from collections.abc import Mapping
from typing import Any

from agentd_process import DEADLINE, Agentd

from agentd.call import calling


def memory(agentd: Agentd, method: str, **parameters: Any) -> dict[str, Any]:
    """The reply to one method."""
    with calling(agentd.socket, "io.aetheros.Memory", DEADLINE) as found:
        reply: dict[str, Any] = getattr(found, method)(**parameters)
    return reply


def texts(agentd: Agentd) -> list[str]:
    """What is remembered, oldest first."""
    return [one["text"] for one in memory(agentd, "List")["memories"]][::-1]


def send(agentd: Agentd, data: bytes, format: str, **parameters: Any) -> dict[str, Any]:
    """Import a file in two pieces, or more if it is large."""
    size = min(len(data) // 2 + 1, 2 << 20)
    upload: str | None = None
    for start in range(0, len(data), size):
        reply = memory(
            agentd,
            "Import",
            data=base64.b64encode(data[start : start + size]).decode(),
            upload=upload,
            format=format,
            last=start + size >= len(data),
            **parameters,
        )
        upload = reply["upload"]
    return reply


def exported(agentd: Agentd) -> bytes:
    """The archive of everything."""
    with calling(agentd.socket, "io.aetheros.Memory", DEADLINE) as found:
        return b"".join(base64.b64decode(reply["data"]) for reply in found.Export(_more=True))


def members(archive: bytes) -> dict[str, bytes]:
    """The files in a tar file by name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar if one.isreg()}  # type: ignore[union-attr]


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar file with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()
