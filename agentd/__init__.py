"""The agent: agentd, its model worker and its command line. Never imports `builder`."""

__version__ = "0.1.0"
