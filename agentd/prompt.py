"""What the model reads: the system prompt, as much of the session as fits, and the question.

Everything is measured in the model's own tokens. What does not fit is left out in this order: the oldest
exchanges, what was recalled, the beginning of the attachment, the end of a skill's instructions, the end of
the question; each cut is a note for the person. A summary stands for exchanges that were left out before.

The prompt of a session only ever grows at its end, so that the worker need not read its beginning again
(0.6 s per token under emulation). When it is full, exchanges are dropped down to half of the space at
once, not one by one: each drop costs a full reading.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentd.session import Exchange

# Short, because reading it costs time at the first question. Of twelve candidates it was among the two best
# on ten simple questions to the default model (8 to 9 right); with a proper name in it that model gets 6
# right, some in half-French.
SYSTEM = "You are a helpful AI agent. Answer the question briefly."

# Tokens that a chat template puts around one message: role names and markers, 5 to 10 for ChatML and Llama.
AROUND_MESSAGE = 12
# More characters than this per token are never assumed, so a text is cut to it before it is counted.
CHARACTERS_PER_TOKEN = 8

# What was recalled may take this share of the space, one part of so many.
RECALL_SHARE = 4
SUMMARY = "Earlier in this conversation:"
# Of six forms tried on twelve questions, the one that the default model answered best from (11 of 12, and
# without repeating the ids).
NOTES = "Notes:"
FROM_NOTES = "Using the notes, answer in one sentence: "

Count = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The `messages` for the model; `asked` is the last one's content.

    `first` is the turn id of the oldest question in it when older ones had to be dropped, else None;
    `dropped` are those, and `recalled` is how many of the notes are in it.
    """

    messages: list[dict[str, str]]
    asked: str
    notes: list[str]
    first: int | None
    dropped: Sequence[Exchange] = ()
    recalled: int = 0


def system(summary: str = "") -> str:
    """The system message: what every prompt begins with, and the summary of what was left out."""
    return f"{SYSTEM}\n\n{SUMMARY}\n{summary}" if summary else SYSTEM


def prefix() -> list[dict[str, str]]:
    """The messages that every prompt begins with."""
    return [{"role": "system", "content": system()}]


def compose(
    question: str,
    attachment: str,
    left_out: int,
    exchanges: Sequence[Exchange],
    budget: int,
    count: Count,
    *,
    instructions: str = "",
    recalled: Sequence[str] = (),
    summary: str = "",
) -> Prompt:
    """Build the prompt of at most `budget` tokens.

    `left_out` is the number of characters that the caller cut off the attachment's beginning before.
    `question` is the turn's text without attachment, `instructions` come right before it, `recalled` are
    lines for the model, the best first.
    """
    first_message = system(summary)
    asked = _joined(attachment, _joined(instructions, _with_notes(question, recalled)))
    contents = [first_message, asked]
    for exchange in exchanges:
        contents += [exchange.asked, exchange.answered]
    # No token is shorter than a byte: what fits in bytes fits, and needs no counting.
    if not left_out and sum(len(text.encode()) + AROUND_MESSAGE for text in contents) <= budget:
        return Prompt(_messages(first_message, exchanges, asked), asked, [], None, recalled=len(recalled))

    notes: list[str] = []
    # The start of the assistant's message is one more.
    room = budget - count([first_message])[0] - 3 * AROUND_MESSAGE
    kept_question, tokens = _fit(question, room, count, keep_end=False)
    if len(kept_question) < len(question):
        notes.append(
            f"the last {len(question) - len(kept_question)} of {len(question)} characters of the question"
            " were left out to fit the context"
        )
    room -= tokens
    kept_instructions = ""
    if instructions:
        room -= AROUND_MESSAGE
        kept_instructions, tokens = _fit(instructions, room * 3 // 4, count, keep_end=False)
        room -= tokens
        if len(kept_instructions) < len(instructions):
            notes.append(
                f"the last {len(instructions) - len(kept_instructions)} of {len(instructions)} characters"
                " of the instructions were left out to fit the context"
            )
    kept_recalled, tokens = _fitting(recalled, room // RECALL_SHARE, count)
    room -= tokens
    kept_attachment = ""
    if attachment:
        room -= AROUND_MESSAGE
        kept_attachment, tokens = _fit(
            attachment, room * 3 // 4 if exchanges else room, count, keep_end=True
        )
        room -= tokens
        total = left_out + len(attachment)
        if len(kept_attachment) < total:
            notes.append(
                f"the first {total - len(kept_attachment)} of {total} characters were left out"
                " to fit the context"
            )
    kept = _newest(exchanges, room, count)
    first = None
    if len(kept) < len(exchanges):
        notes.append(
            f"the {len(exchanges) - len(kept)} oldest questions of this session no longer fit the context"
        )
        # Nothing fits any more: the next prompt begins after the last exchange there is.
        first = kept[0].question if kept else exchanges[-1].question + 1
    asked = _joined(kept_attachment, _joined(kept_instructions, _with_notes(kept_question, kept_recalled)))
    dropped = exchanges[: len(exchanges) - len(kept)]
    messages = _messages(first_message, kept, asked)
    return Prompt(messages, asked, notes, first, dropped, len(kept_recalled))


def _with_notes(question: str, recalled: Sequence[str]) -> str:
    if not recalled:
        return question
    lines = "\n".join(f"- {line}" for line in recalled)
    return f"{NOTES}\n{lines}\n\n{FROM_NOTES}{question}"


def _fitting(recalled: Sequence[str], room: int, count: Count) -> tuple[Sequence[str], int]:
    """As many lines as fit, and the tokens that they and what is around them take."""
    if not recalled or room <= 0:
        return (), 0
    around, *sizes = count([f"{NOTES}\n\n{FROM_NOTES}", *(f"- {line}\n" for line in recalled)])
    used = around
    for index, size in enumerate(sizes):
        if used + size > room:
            return recalled[:index], used if index else 0
        used += size
    return recalled, used


def _joined(before: str, question: str) -> str:
    # The question comes last: a small model follows what it read last.
    return f"{before.rstrip()}\n\n{question}" if before else question


def _messages(first: str, exchanges: Sequence[Exchange], asked: str) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": first}]
    for exchange in exchanges:
        messages.append({"role": "user", "content": exchange.asked})
        messages.append({"role": "assistant", "content": exchange.answered})
    messages.append({"role": "user", "content": asked})
    return messages


def _fit(text: str, room: int, count: Count, *, keep_end: bool) -> tuple[str, int]:
    """The end or the beginning of `text` that has at most `room` tokens, and how many it has."""
    if room <= 0:
        return "", 0

    def cut(characters: int) -> str:
        if not keep_end:
            return text[:characters]
        kept = text[len(text) - characters :] if characters < len(text) else text
        # Logs read better from the start of a line, if one is near.
        newline = kept.find("\n", 0, min(200, len(kept) // 2))
        return kept[newline + 1 :] if len(kept) < len(text) and newline >= 0 else kept

    kept = cut(min(len(text), room * CHARACTERS_PER_TOKEN))
    for _ in range(8):
        tokens = count([kept])[0]
        if tokens <= room:
            return kept, tokens
        kept = cut(int(len(kept) * room / tokens * 0.97))
    # So uneven a text that counting did not help: one byte is never more than one token.
    whole = kept.encode()
    kept = (whole[-room:] if keep_end else whole[:room]).decode("utf-8", "ignore")
    return kept, len(kept.encode())


def _newest(exchanges: Sequence[Exchange], room: int, count: Count) -> Sequence[Exchange]:
    """All exchanges if they fit `room`, else the newest that fill half of it."""
    if not exchanges:
        return exchanges
    counted = count([text for exchange in exchanges for text in (exchange.asked, exchange.answered)])
    sizes = [
        asked + answered + 2 * AROUND_MESSAGE
        for asked, answered in zip(counted[::2], counted[1::2], strict=True)
    ]
    if sum(sizes) <= room:
        return exchanges
    used = 0
    for index in range(len(exchanges) - 1, -1, -1):
        used += sizes[index]
        if used > room // 2:
            return exchanges[index + 1 :]
    return exchanges
