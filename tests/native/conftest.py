"""The fixtures of native_fixtures.py, for pytest. mypy skips this file: tests/boot has one of its name."""

from native_fixtures import llama_tree, smollm2, start_worker, tools, worker

__all__ = ["llama_tree", "smollm2", "start_worker", "tools", "worker"]
