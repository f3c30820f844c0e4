"""The model worker: llama.cpp in a process of its own, which may crash without harm."""
