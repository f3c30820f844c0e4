"""The errors of agentd and of the `agent` command, one small family.

`AgentError` is for a person: one line and one hint. `Refusal` is for a caller of io.aetheros.Agent:
its class name is the error's name in the interface file, `parameters` are the error's parameters.
Not for errors between agentd and its worker: those are in worker.py.
"""


class AgentError(Exception):
    """A line that says what is wrong, a `hint` that says what to do, and the exit `status`."""

    def __init__(self, message: str, hint: str = "", status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class Refusal(Exception):
    """The base of every error that io.aetheros.Agent declares."""

    def __init__(self, **parameters: str | int) -> None:
        super().__init__(f"{type(self).__name__}: {parameters.get('detail', parameters)}")
        self.parameters = parameters


class NoSuchSession(Refusal):
    """No session has this id."""

    def __init__(self, session: str) -> None:
        super().__init__(session=session)


class ModelUnavailable(Refusal):
    """The model could not answer; `turn` is the stored question's id."""

    def __init__(self, state: str, detail: str, session: str, turn: int) -> None:
        super().__init__(state=state, detail=detail, session=session, turn=turn)


class InvalidQuestion(Refusal):
    """The question is empty, too long, or asks for something impossible."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class Busy(Refusal):
    """Too many are waiting already."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class StoreUnavailable(Refusal):
    """The database cannot be read or written; nothing was acknowledged."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)
