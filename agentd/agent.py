"""One turn: take a question, store it, let the model answer, store the answer.

Knows no sockets but through `Watch`; service.py puts it on Varlink. What is said to the model is
prompt.py's concern, what is kept is session.py's.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from agentd import log, prompt
from agentd.admission import Admission, Place
from agentd.call import AbandonedError, Watch
from agentd.errors import InvalidQuestion, ModelUnavailable, Refusal
from agentd.session import Begun, Conversations
from agentd.worker import ContextExceededError, Finish, ModelWorker, WorkerError, WorkerStatus

MAX_QUESTION_BYTES = 256 * 1024
MAX_ATTACHMENT_BYTES = 512 * 1024
DEFAULT_TOKENS = 256
MAX_TOKENS = 8192
# Questions that may wait while one is answered.
MAX_WAITING = 16
# Seconds between two writes of an answer that is still growing: what a power cut may cost of it.
KEEP_EVERY = 3.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `left_out` counts characters already cut off the attachment's beginning."""

    text: str
    session: str | None = None
    attachment: str = ""
    left_out: int = 0
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply to a question; the fields are those of io.aetheros.Agent.Ask."""

    session: str
    turn: int
    delta: str = ""
    done: bool = False
    text: str | None = None
    status: str | None = None
    notes: tuple[str, ...] = ()


class _Answer:
    """An answer while it grows."""

    def __init__(self) -> None:
        self.text = ""
        self.prompt: str | None = None
        self.notes: list[str] = []
        self.finish: Finish | None = None
        self._told = 0
        self._kept = time.monotonic()

    def untold(self) -> tuple[str, ...]:
        """The notes that no reply has carried yet."""
        fresh = tuple(self.notes[self._told :])
        self._told = len(self.notes)
        return fresh

    def keep_now(self) -> bool:
        """Whether it is time to store what there is."""
        now = time.monotonic()
        if now - self._kept < KEEP_EVERY:
            return False
        self._kept = now
        return True


class Agent:
    """The agent: its conversations and its model."""

    def __init__(self, conversations: Conversations, worker: ModelWorker) -> None:
        self.conversations = conversations
        self.worker = worker
        self.admission = Admission(MAX_WAITING)

    def ask(self, question: Question, watch: Watch) -> Iterator[Reply]:
        """Answer `question`: a first reply once it is stored, the pieces, a last one once they are stored.

        Raises the errors of io.aetheros.Agent. When the client is gone, agentd stops, or the iterator is
        closed, the answer ends as "interrupted".
        """
        question = _checked(question)
        with self.admission.place() as place:
            begun = self.conversations.begin(question.text, question.session)
            answer = _Answer()
            status = "failed"
            try:
                yield Reply(begun.session, begun.question)
                with closing(self._answer(begun, question, place, answer, watch)) as pieces:
                    for piece in pieces:
                        answer.text += piece
                        if answer.keep_now():
                            self.conversations.keep(begun, answer.text)
                        notes = answer.untold()
                        if piece or notes:
                            yield Reply(begun.session, begun.answer, piece, notes=notes)
                status = "interrupted" if _was_cancelled(answer) else "complete"
            except GeneratorExit:
                status = "interrupted"
                raise
            except AbandonedError as abandoned:
                status = "interrupted"
                answer.notes.append(f"the answer was stopped: {abandoned}")
            except WorkerError as error:
                log.warning(f"turn {begun.answer}: {error.detail}")
                raise ModelUnavailable(
                    error.state, f"{error.detail}; your question is kept", begun.session, begun.question
                ) from error
            finally:
                self._finish(begun, answer, status)
            yield Reply(
                begun.session,
                begun.answer,
                done=True,
                text=answer.text,
                status=status,
                notes=tuple(answer.notes),
            )

    def _answer(
        self, begun: Begun, question: Question, place: Place, answer: _Answer, watch: Watch
    ) -> Generator[str, None, None]:
        """The pieces of the answer; an empty piece only lets new notes out."""
        ahead = place.ahead()
        if ahead:
            answer.notes.append(f"waiting for {ahead} other question{'s' if ahead > 1 else ''}")
            yield ""
        place.wait(watch)
        status = yield from _noting(self.worker.wait_ready(watch), answer)
        wanted = question.max_tokens or DEFAULT_TOKENS
        context = status.context or 0
        # The worker counts the template's tokens, which prompt.py only estimates: try again smaller.
        for _ in range(3):
            tokens = min(wanted, context // 2)
            composed = prompt.compose(
                question.text,
                question.attachment,
                question.left_out,
                self.conversations.exchanges(begun),
                context - tokens,
                lambda texts: self.worker.count(texts, watch),
            )
            try:
                yield from self._generate(begun, composed, tokens, answer, watch)
            except ContextExceededError as error:
                context -= max(error.tokens - error.context, 0) + context // 8
            else:
                return
        raise WorkerError("ready", "the question does not fit the model's context")

    def _generate(
        self, begun: Begun, composed: prompt.Prompt, tokens: int, answer: _Answer, watch: Watch
    ) -> Generator[str, None, None]:
        pieces = self.worker.generate(composed.messages, tokens, watch)
        first = next(pieces)
        # The worker took the prompt: only now are the cuts a fact.
        if composed.first is not None:
            self.conversations.forget_before(begun.session, composed.first)
        answer.prompt = composed.asked
        answer.notes += composed.notes
        yield first
        answer.finish = yield from pieces
        if answer.finish is not None and answer.finish.stop == "length":
            answer.notes.append(f"the answer ended at its limit of {tokens} tokens")
            yield ""

    def _finish(self, begun: Begun, answer: _Answer, status: str) -> None:
        self.conversations.finish(begun, answer.text, status, answer.prompt)
        finish = answer.finish
        numbers = ""
        if finish is not None:
            read = f"{finish.prompt_tokens} tokens read ({finish.reused_tokens} known)"
            numbers = f", {read}, {finish.completion_tokens} written"
        log.info(f"turn {begun.answer} of session {begun.session}: {status}{numbers}")


def _noting(
    waiting: Generator[str, None, WorkerStatus], answer: _Answer
) -> Generator[str, None, WorkerStatus]:
    """Turn each line that `waiting` yields into a note and an empty piece."""
    while True:
        try:
            answer.notes.append(next(waiting))
        except StopIteration as end:
            return cast(WorkerStatus, end.value)
        yield ""


def _was_cancelled(answer: _Answer) -> bool:
    return answer.finish is not None and answer.finish.stop == "cancelled"


def _checked(question: Question) -> Question:
    """The question with text that can be stored and read by the model. Raises InvalidQuestion."""
    text = clean(question.text).strip()
    session = None if question.session is None else clean(question.session)
    attachment = clean(question.attachment)
    if not text:
        raise InvalidQuestion("the question is empty")
    if len(text.encode()) > MAX_QUESTION_BYTES:
        raise _too_long("question", len(text.encode()), MAX_QUESTION_BYTES)
    if len(attachment.encode()) > MAX_ATTACHMENT_BYTES:
        raise _too_long("attachment", len(attachment.encode()), MAX_ATTACHMENT_BYTES)
    if question.max_tokens is not None and not 1 <= question.max_tokens <= MAX_TOKENS:
        raise InvalidQuestion(f"max_tokens is {question.max_tokens}; it must be from 1 to {MAX_TOKENS}")
    if question.left_out < 0:
        raise InvalidQuestion(f"left_out is {question.left_out}; it cannot be less than 0")
    return Question(text, session, attachment, question.left_out, question.max_tokens)


def _too_long(what: str, size: int, limit: int) -> Refusal:
    return InvalidQuestion(f"the {what} has {size} bytes; the limit is {limit}")


def clean(text: str) -> str:
    """The text of a message as it can be stored, looked up and read by the model."""
    # Half of a surrogate pair is valid JSON and no text; NUL ends a C string in the worker.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
