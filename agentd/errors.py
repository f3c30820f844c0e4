"""The errors of agentd and of the `agent` command, one small family.

`AgentError` is for a person: one line and one hint. `Refusal` is for a caller of the interfaces:
its class name is the error's name in the interface file, `parameters` are the error's parameters.
Not for errors between agentd and its worker: those are in worker.py.
"""

# Characters of a refusal that quotes what it refuses: a caller may have sent megabytes.
LONGEST_DETAIL = 1000


class AgentError(Exception):
    """A line that says what is wrong, a `hint` that says what to do, and the exit `status`."""

    def __init__(self, message: str, hint: str = "", status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class Refusal(Exception):
    """The base of every error that io.aetheros.Agent and io.aetheros.Memory declare."""

    def __init__(self, **parameters: str | int | list[str]) -> None:
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


class NotOwner(Refusal):
    """Only the owner may do this."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class NoSuchMemory(Refusal):
    """Nothing that this person may see has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)


class InvalidMemory(Refusal):
    """The text, the kind or the date cannot be stored, or the revision names nothing."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class VaultConflict(Refusal):
    """A note was changed by somebody else meanwhile, or cannot be read as one; nothing was written."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path=path, detail=detail)


class PreviewExpired(Refusal):
    """What was shown before forgetting is too old, used up, or no longer what there is."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=detail)


class NoSuchTool(Refusal):
    """There is no tool of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name=_short(name))


class InvalidArguments(Refusal):
    """An argument of a tool is missing, unknown, or not what it has to be."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=_short(detail))


class NoSuchNotice(Refusal):
    """No notice is open under this id."""

    def __init__(self, id: int) -> None:
        super().__init__(id=id)


class NoSuchApproval(Refusal):
    """Nothing waits under this name for a yes of this person, from where they are."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail=_short(detail))


class BadImport(Refusal):
    """What was to be imported cannot be; nothing was stored. `bad` has a line for each record.

    `skippable` is whether the import would do without these records.
    """

    def __init__(self, detail: str, bad: list[str] | None = None, *, skippable: bool = False) -> None:
        super().__init__(detail=detail, bad=bad or [], skippable=skippable)


def _short(detail: str) -> str:
    return detail if len(detail) <= LONGEST_DETAIL else f"{detail[: LONGEST_DETAIL - 1]}…"
