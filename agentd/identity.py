"""What this machine is: its name and the manifest that the image was built with.

The manifest is written by the image's builder; agentd only shows it and reads two names from it.
"""

import json
import os
from pathlib import Path
from typing import Any

from agentd import log

MANIFEST = Path("/usr/lib/aetheros/manifest.json")
# A manifest is a few kilobytes; more would not fit a Status reply.
MANIFEST_BYTES = 1 << 20


def manifest(path: Path = MANIFEST) -> dict[str, Any] | None:
    """The image's manifest, None outside an image or when it cannot be read (which is logged)."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MANIFEST_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning(f"cannot read {path}: {error}")
        return None
    return found if isinstance(found, dict) else None


def machine_name(found: dict[str, Any] | None) -> str:
    """The machine's name in the manifest, else the host's name."""
    return named(found, "machine") or os.uname().nodename


def model_chooses(found: dict[str, Any] | None) -> bool:
    """Whether the manifest says of the model that it is good enough to choose tools (`tools`)."""
    model = (found or {}).get("model")
    return isinstance(model, dict) and model.get("tools") is True


def named(found: dict[str, Any] | None, key: str) -> str:
    """The name that the manifest gives under `key`, as text or as an object with a `name`; "" if none."""
    value = (found or {}).get(key)
    if isinstance(value, dict):
        value = value.get("name")
    return value if isinstance(value, str) else ""
