"""One turn: take a question, store it, let the model answer, store the answer.

Knows no sockets but through `Watch`; service.py puts it on Varlink. What is said to the model is
prompt.py's concern, what is kept is session.py's.
"""

import dataclasses
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import cast

from agentd import compaction, log, prompt, recollection, steps
from agentd.acting import Acting, Outcome
from agentd.admission import Admission, Place
from agentd.call import AbandonedError, Watch
from agentd.choosing import Choice, Choosing
from agentd.errors import (
    InvalidArguments,
    InvalidQuestion,
    ModelUnavailable,
    NoSuchTool,
    Refusal,
    StoreUnavailable,
)
from agentd.memory import distil
from agentd.memory.background import Background
from agentd.memory.memory import OWNER
from agentd.policy import Origin
from agentd.recollection import Recollection, Source
from agentd.session import Begun, Conversations, Exchange, clean
from agentd.skills.library import Library
from agentd.skills.turn import Expanded, expand, perform
from agentd.worker import ContextExceededError, Finish, ModelWorker, WorkerError, WorkerStatus

MAX_QUESTION_BYTES = 256 * 1024
MAX_ATTACHMENT_BYTES = 512 * 1024
DEFAULT_TOKENS = 256
MAX_TOKENS = 8192
# Questions that may wait while one is answered.
MAX_WAITING = 16
# Seconds between two writes of an answer that is still growing: what a power cut may cost of it.
KEEP_EVERY = 3.0
# The summary of a long session may take this share of the context, one part of so many.
SUMMARY_SHARE = 8


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and by whom. `left_out` counts characters already cut off the attachment's beginning;
    `why` asks for all that was recalled; `used` is the skill or command that the text names."""

    text: str
    session: str | None = None
    attachment: str = ""
    left_out: int = 0
    max_tokens: int | None = None
    person: str = OWNER
    why: bool = False
    origin: Origin = field(default_factory=lambda: Origin(OWNER, True, "socket"))
    used: Expanded | None = None

    @property
    def said(self) -> str:
        """The person's own words, without the name of a skill or a command: all that may lead to a tool."""
        return self.text if self.used is None else self.used.question


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
    sources: tuple[Source, ...] | None = None
    outcome: Outcome | None = None


class _Answer:
    """An answer while it grows."""

    def __init__(self) -> None:
        self.text = ""
        self.prompt: str | None = None
        self.notes: list[str] = []
        self.finish: Finish | None = None
        self.recalled = Recollection()
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
    """The agent: its conversations, its memory and its model."""

    def __init__(
        self,
        conversations: Conversations,
        worker: ModelWorker,
        memory: Background,
        choosing: Choosing,
        acting: Acting,
        library: Library,
    ) -> None:
        self.conversations = conversations
        self.worker = worker
        self.memory = memory
        self.choosing = choosing
        self.acting = acting
        self.library = library
        self.admission = Admission(MAX_WAITING)

    def ask(self, question: Question, watch: Watch) -> Iterator[Reply]:
        """Answer `question`: a first reply once it is stored, the pieces, a last one once they are stored.

        Raises the errors of io.aetheros.Agent. When the client is gone, agentd stops, or the iterator is
        closed, the answer ends as "interrupted".
        """
        question = _checked(question)
        question = dataclasses.replace(question, used=expand(self.library, question.text, question.person))
        if question.used is not None and (question.used.calls or question.used.refusal):
            yield from self._use(question, question.used)
            return
        wish = None if question.attachment else distil.explicit(question.said)
        choice = self._chosen(question, watch) if wish is None else None
        tool = "memory.remember" if wish is not None else choice.tool if choice is not None else None
        if question.used is not None and tool is not None and (refusal := question.used.refuses(tool)):
            yield from self._use(question, dataclasses.replace(question.used, refusal=refusal))
            return
        if choice is not None:
            yield from self._act(question, choice, watch)
            return
        # What is forgotten meanwhile would be in what this one has read, and be stored with its end.
        with self.conversations.exclusion.answering(watch):
            if wish is None:
                yield from self._ask(question, watch)
            else:
                yield from self._remember(question, wish)

    def _ask(self, question: Question, watch: Watch) -> Iterator[Reply]:
        """Let the model answer."""
        with self.admission.place() as place:
            begun = self.conversations.begin(question.text, question.session, question.person)
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
                sources=tuple(answer.recalled.sources(why=question.why)) or None,
            )

    def _chosen(self, question: Question, watch: Watch) -> Choice | None:
        """The tool that is asked for, None for talk. A text that came with a question asks for nothing."""
        if question.attachment or not question.said:
            return None
        choice = self.choosing.choose(question.said, question.person, watch, question.session)
        return choice if choice.tool is not None else None

    def _use(self, question: Question, used: Expanded) -> Iterator[Reply]:
        """Do what a command calls, or say why it is not done; the answer is what the tools say."""
        begun = self.conversations.begin(question.text, question.session, question.person)
        text, status, outcome = used.refusal, "failed", None
        try:
            yield Reply(begun.session, begun.question)
            if not text and question.attachment:
                text = f"/{used.name} uses tools: nothing can be piped into it"
            elif not text:
                performed = perform(used, self.acting, question.origin)
                text, outcome = performed.text, performed.outcome
            status = "complete"
        finally:
            self.conversations.finish(begun, text, status, None)
            self.memory.wake()
        yield Reply(begun.session, begun.answer, text)
        yield Reply(begun.session, begun.answer, done=True, text=text, status=status, outcome=outcome)

    def _act(self, question: Question, choice: Choice, watch: Watch) -> Iterator[Reply]:
        """Use a tool, or ask for what it still needs; the answer is what the tool says, no model's words."""
        begun = self.conversations.begin(question.text, question.session, question.person)
        text, status, outcome = "", "failed", None
        try:
            yield Reply(begun.session, begun.question)
            if choice.question:
                text = choice.question
                self.choosing.keep(begun.session, choice)
            else:
                outcome = self.acting.do(choice.tool or "", choice.arguments, question.origin)
                taken = self._follow(question, choice, outcome, watch)
                text, outcome = "\n".join(map(_told, taken)), taken[-1]
            status = "complete"
        except (InvalidArguments, NoSuchTool) as refusal:
            text, status = f"{refusal.parameters.get('detail', refusal)}", "complete"
        finally:
            self.conversations.finish(begun, text, status, None)
            self.memory.wake()
        yield Reply(begun.session, begun.answer, text)
        yield Reply(begun.session, begun.answer, done=True, text=text, status=status, outcome=outcome)

    def _follow(
        self, question: Question, choice: Choice, outcome: Outcome, watch: Watch
    ) -> Sequence[Outcome]:
        """The outcome, and those of what a model that chooses does after it."""
        used = question.used
        return steps.follow(
            choice,
            outcome,
            self.choosing,
            self.acting,
            question.origin,
            lambda tool: used is None or not used.refuses(tool),
            watch,
        )

    def _remember(self, question: Question, wish: str) -> Iterator[Reply]:
        """Store what a person asks to remember; no model is needed for it."""
        memories = self.memory.memories
        begun = self.conversations.begin(question.text, question.session, question.person)
        text, status = "", "failed"
        try:
            yield Reply(begun.session, begun.question)
            trust = "owner" if question.person == OWNER else "untrusted"
            source = f"turn:{begun.question}"
            memory, superseded = memories.add(wish, question.person, source=source, trust=trust)
            text = f"I will remember: {memory.text}"
            status = "complete"
        finally:
            self.conversations.finish(begun, text, status, None)
            self.memory.wake()
        notes = tuple(f"instead of {old.id}: {old.text} (in the archive)" for old in superseded)
        yield Reply(begun.session, begun.answer, text, notes=notes)
        source_of = Source(memory.id, "memory", memory.text, memory.created, 0.0, 0.0, 0.0, True)
        yield Reply(
            begun.session,
            begun.answer,
            done=True,
            text=text,
            status=status,
            notes=notes,
            sources=(source_of,),
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
        exchanges = self.conversations.exchanges(begun)
        yield from self._recall(begun, question, exchanges, answer, watch)
        if answer.recalled.unknown:
            yield recollection.UNKNOWN
            return
        # The worker counts the template's tokens, which prompt.py only estimates: try again smaller.
        for _ in range(3):
            tokens = min(wanted, context // 2)
            composed, summary = self._compose(begun, question, exchanges, answer, context - tokens, watch)
            try:
                yield from self._generate(begun, composed, summary, tokens, answer, watch)
            except ContextExceededError as error:
                context -= max(error.tokens - error.context, 0) + context // 8
            else:
                return
        raise WorkerError("ready", "the question does not fit the model's context")

    def _recall(
        self, begun: Begun, question: Question, exchanges: list[Exchange], answer: _Answer, watch: Watch
    ) -> Iterator[str]:
        """Find what the answer may rest on. A question about a text that came with it needs nothing else."""
        if question.attachment or not question.said:
            return
        try:
            search = self.memory.memories.search(
                question.said,
                question.person,
                recollection.LOOKED_AT,
                watch=watch,
                without=(begun.session, begun.question),
            )
        except StoreUnavailable as unavailable:
            answer.notes.append(f"nothing could be recalled: {unavailable.parameters['detail']}")
            yield ""
            return
        read_from = exchanges[0].question if exchanges else begun.question
        answer.recalled = recollection.choose(question.said, search, begun.session, read_from)

    def _compose(
        self,
        begun: Begun,
        question: Question,
        exchanges: list[Exchange],
        answer: _Answer,
        budget: int,
        watch: Watch,
    ) -> tuple[prompt.Prompt, str | None]:
        """The prompt, and the session's new summary if exchanges had to give way to it."""

        def count(texts: Sequence[str]) -> list[int]:
            return self.worker.count(texts, watch)

        instructions = question.used.instructions if question.used is not None else ""
        summary = self.conversations.summary(begun.session).text
        if left := self.conversations.uncovered(begun):
            summary = compaction.summarise(left, summary, budget // SUMMARY_SHARE, count)
        kept, notes, first = exchanges, [], None
        while True:
            composed = prompt.compose(
                # A prompt that needs no more words is the question itself.
                question.said or instructions,
                question.attachment,
                question.left_out,
                kept,
                budget,
                count,
                instructions=instructions if question.said else "",
                recalled=recollection.notes(answer.recalled.used),
                summary=summary,
            )
            notes += [note for note in composed.notes if note not in notes]
            if not composed.dropped:
                break
            # The summary takes room too: once more, without what it stands for.
            first = composed.first
            summary = compaction.summarise(composed.dropped, summary, budget // SUMMARY_SHARE, count)
            kept = kept[len(composed.dropped) :]
        whole = dataclasses.replace(composed, notes=notes, first=first)
        return whole, summary if first is not None or left else None

    def _generate(
        self,
        begun: Begun,
        composed: prompt.Prompt,
        summary: str | None,
        tokens: int,
        answer: _Answer,
        watch: Watch,
    ) -> Generator[str, None, None]:
        pieces = self.worker.generate(composed.messages, tokens, watch, keep=begun.session)
        first = next(pieces)
        # The worker took the prompt: only now are the cuts a fact.
        if summary is not None:
            upto = composed.first if composed.first is not None else self.conversations.context_from(begun)
            self.conversations.compact(begun.session, summary, upto)
        answer.recalled = answer.recalled.cut(composed.recalled)
        answer.prompt = composed.asked
        answer.notes += composed.notes
        yield first
        answer.finish = yield from pieces
        if answer.finish is not None and answer.finish.stop == "length":
            answer.notes.append(f"the answer ended at its limit of {tokens} tokens")
            yield ""
        elif answer.finish is not None and answer.finish.stop == "memory":
            answer.notes.append("the answer ended early: the machine is short of memory")
            yield ""

    def _finish(self, begun: Begun, answer: _Answer, status: str) -> None:
        sources = recollection.stored(answer.recalled.sources(why=False))
        self.conversations.finish(begun, answer.text, status, answer.prompt, sources)
        self.memory.wake()
        finish = answer.finish
        numbers = ""
        if finish is not None:
            read = f"{finish.prompt_tokens} tokens read ({finish.reused_tokens} known)"
            numbers = f", {read}, {finish.completion_tokens} written"
        log.info(f"turn {begun.answer} of session {begun.session}: {status}{numbers}")


def _told(outcome: Outcome) -> str:
    return "\n  ".join([outcome.text, *outcome.effects])


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
    return answer.finish is not None and answer.finish.stop in ("cancelled", "memory")


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
    return dataclasses.replace(question, text=text, session=session, attachment=attachment)


def _too_long(what: str, size: int, limit: int) -> Refusal:
    return InvalidQuestion(f"the {what} has {size} bytes; the limit is {limit}")
