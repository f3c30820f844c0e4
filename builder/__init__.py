"""The builder: from the description of one machine to a bootable image. Never imports `agentd`."""

__version__ = "0.1.0"
