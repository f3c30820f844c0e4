"""All tools by their names: the families and nothing else."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType

from agentd.tools.tool import Tool

# A family is a module of this package with TOOLS; a new one is a line here.
FAMILIES = (
    "machine",
    "services",
    "service_changes",
    "logs",
    "network",
    "network_changes",
    "files",
    "file_changes",
    "settings",
    "power",
)


@cache
def tools() -> Mapping[str, Tool]:
    """Every tool by its name, in the families' order; the families are imported with the first call."""
    found: dict[str, Tool] = {}
    for family in FAMILIES:
        for tool in import_module(f"agentd.tools.{family}").TOOLS:
            if tool.name in found:
                raise ValueError(f"two tools are called {tool.name}")
            found[tool.name] = tool
    return MappingProxyType(found)
