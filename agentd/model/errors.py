"""What can be wrong with a model before it answers. Not for: mistakes of a caller (agentd/errors.py)."""


class ModelError(Exception):
    """The model cannot be used; `state` is "missing", "corrupt" or "unavailable"."""

    def __init__(self, state: str, detail: str) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail
