"""The fixtures of native_fixtures.py, where pytest finds them; mypy skips this file (one name, two folders)."""

from native_fixtures import llama_tree, smollm2, start_worker, tools, worker

__all__ = ["llama_tree", "smollm2", "start_worker", "tools", "worker"]
