"""How well memory finds what was said: questions about long conversations, and the turns that answer them.

`python -m bench.recall [MACHINE] [--tune]` reads tests/data/recall, where the dialogues of the part "dev"
are for choosing weights and those of the part "test" for the figures. Texts are embedded by the machine's
own worker, run on this host. Not for: how long a search takes (recall_speed.py).
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

from agentd.call import Watch
from agentd.memory import recall
from agentd.memory.index import Index
from agentd.memory.items import Scope, TurnItem
from agentd.memory.memory import OWNER
from agentd.memory.recall import WEIGHTS, Recalled, Weights
from agentd.worker import ModelWorker
from bench.native_worker import prepared
from bench.table import Row, Section
from builder.errors import AetherError

DIALOGUES = Path(__file__).parent.parent / "tests/data/recall"
KINDS = ("single", "several", "time", "open")
UNANSWERABLE = "unanswerable"
DEPTHS = (5, 10, 25)
WORDS_ALONE = replace(WEIGHTS, speaker=0.0, session=0.0)
MEANING_ALONE = replace(WEIGHTS, lexical=0.0, speaker=0.0, session=0.0)
# What --tune tries, one after the other.
CHOICES: Mapping[str, Sequence[Any]] = {
    "semantic": (0.0, 0.4, 0.6, 0.85, 1.1, 1.5),
    "window": (0.0, 0.4, 0.6, 0.85, 1.1, 1.5),
    "speaker": (0.0, 0.1, 0.2, 0.4, 0.6),
    "session": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "full": (0.0, 0.3, 0.5, 0.7, 1.0, 1.5),
    "columns": ((1.0, 0.5, 0.3, 0.5), (1.0, 0.3, 0.3, 0.5), (1.0, 0.5, 0.5, 0.5), (1.0, 0.5, 0.3, 0.2)),
}

Encoder = Callable[[str], Sequence[float]]


@dataclass(frozen=True)
class Question:
    """A question, and the ids of the turns that hold its answer: none if it has no answer."""

    id: str
    kind: str
    text: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Dialogue:
    """A conversation over many sessions, and what is asked after its last day."""

    name: str
    part: str
    last_day: date
    turns: Sequence[TurnItem]
    questions: Sequence[Question]


@dataclass(frozen=True)
class Answer:
    """What a question found: ids of turns, best first, and how sure it was."""

    question: Question
    found: Sequence[str]
    confidence: float

    def recall(self, depth: int) -> float:
        """The share of the evidence among the first `depth`."""
        return len(self.question.evidence.intersection(self.found[:depth])) / len(self.question.evidence)


def load(folder: Path = DIALOGUES, part: str | None = None) -> list[Dialogue]:
    """The dialogues of a part, or all."""
    loaded = [_dialogue(json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    return [dialogue for dialogue in loaded if part in (None, dialogue.part)]


def _dialogue(given: Mapping[str, Any]) -> Dialogue:
    said = [(session["id"], turn) for session in given["sessions"] for turn in session["turns"]]
    turns = [
        TurnItem(turn["id"], row, session, OWNER, turn["speaker"], turn["time"], turn["text"])
        for row, (session, turn) in enumerate(said, start=1)
    ]
    questions = [
        Question(each["id"], each["kind"], each["question"], frozenset(each["evidence"]))
        for each in given["questions"]
    ]
    last_day = date.fromisoformat(max(turn.time for turn in turns)[:10])
    return Dialogue(given["dialogue"], given["part"], last_day, turns, questions)


class Kept:
    """The encoder of a worker, which is asked for each text once."""

    def __init__(self, worker: ModelWorker) -> None:
        self._worker = worker
        self._vectors: dict[str, Sequence[float]] = {}

    def __call__(self, text: str) -> Sequence[float]:
        if text not in self._vectors:
            self._vectors[text] = self._worker.embed([text], Watch())[0]
        return self._vectors[text]


@contextmanager
def indexed(dialogues: Sequence[Dialogue], encoder: Encoder | None) -> Iterator[list[Index]]:
    """An index for each dialogue, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="recall-") as folder:
        made = [Index(Path(folder) / f"{dialogue.name}.db") for dialogue in dialogues]
        for dialogue, index in zip(dialogues, made, strict=True):
            index.add_turns(dialogue.turns)
            if encoder:
                pending = index.pending_vectors(len(dialogue.turns))
                index.put_vectors((row, encoder(text)) for row, text in pending)
        try:
            yield made
        finally:
            for index in made:
                index.close()


def ask(
    dialogues: Sequence[Dialogue],
    indexes: Sequence[Index],
    encoder: Encoder | None,
    weights: Weights = WEIGHTS,
) -> list[Answer]:
    """Every question of the dialogues, as deep as the deepest of DEPTHS."""
    answers = []
    for dialogue, index in zip(dialogues, indexes, strict=False):
        scope = Scope(OWNER, dialogue.last_day.isoformat())
        for question in dialogue.questions:
            query = recall.understand(index, question.text, dialogue.last_day)
            vector = encoder(query.text) if encoder else None
            found: Recalled = recall.recall(index, query, vector, scope, DEPTHS[-1], weights)
            answers.append(Answer(question, [hit.item.id for hit in found.hits], found.confidence))
    return answers


def mean_recall(answers: Sequence[Answer], depth: int, kind: str | None = None) -> float:
    """The mean over the answerable questions of a kind, or of all."""
    wanted = [one for one in answers if one.question.evidence and kind in (None, one.question.kind)]
    return sum(one.recall(depth) for one in wanted) / max(1, len(wanted))


def silent(answers: Sequence[Answer], threshold: float) -> tuple[float, float]:
    """The shares of unanswerable and of answerable questions whose confidence is below `threshold`."""
    shares = []
    for answerable in (False, True):
        sure = [one.confidence for one in answers if bool(one.question.evidence) == answerable]
        shares.append(sum(confidence < threshold for confidence in sure) / max(1, len(sure)))
    return shares[0], shares[1]


def foreign(dialogues: Sequence[Dialogue]) -> list[Dialogue]:
    """Each dialogue with the questions of the next one: nothing that was said in it is about them."""
    if len(dialogues) < 2:
        return []
    return [
        replace(one, questions=[replace(asked, evidence=frozenset()) for asked in other.questions])
        for one, other in zip(dialogues, [*dialogues[1:], *dialogues[:1]], strict=True)
    ]


def section(part: str, encoder: Encoder | None) -> Section:
    """The figures of a part: ours is everything that there is, the baseline is BM25 alone."""
    dialogues = load(part=part)
    with indexed(dialogues, encoder) as indexes:
        ours = ask(dialogues, indexes, encoder)
        words = ask(dialogues, indexes, None, WORDS_ALONE)
    rows = [
        Row(
            f"recall_{depth}_{kind or 'all'}",
            f"recall@{depth}, {kind or 'all answerable'}",
            "%",
            [100 * mean_recall(ours, depth, kind)],
            [100 * mean_recall(words, depth, kind)],
        )
        for kind, depth in itertools.product((*KINDS, None), DEPTHS)
    ]
    threshold = recall.THRESHOLD if encoder else recall.THRESHOLD_OF_WORDS
    right, wrong = silent(ours, threshold)
    rows.append(Row("abstained", "unanswerable, and so it is said", "%", [100 * right]))
    rows.append(Row("abstained_wrongly", "answerable, but not thought so", "%", [100 * wrong]))
    used = "words and meaning" if encoder else "words, speaker and session; no encoder"
    return Section(f"Recall, {part} dialogues", rows, f"Ours: {used}. Baseline: BM25 alone.")


def report(part: str, encoder: Encoder | None) -> str:
    """A table of a part: the recall of each way to find, for each kind of question and depth."""
    dialogues = load(part=part)
    with indexed(dialogues, encoder) as indexes:
        ways = {
            "BM25 alone": ask(dialogues, indexes, None, WORDS_ALONE),
            "no encoder": ask(dialogues, indexes, None),
        }
        strange = {"no encoder": ask(foreign(dialogues), indexes, None)}
        if encoder:
            strange["fused"] = ask(foreign(dialogues), indexes, encoder)
            ways["embeddings alone"] = ask(dialogues, indexes, encoder, MEANING_ALONE)
            ways["fused"] = ask(dialogues, indexes, encoder)
    asked = [question for dialogue in dialogues for question in dialogue.questions]
    lines = [
        f"{part}: {len(dialogues)} dialogues, {len(asked)} questions; recall@{'/'.join(map(str, DEPTHS))}"
    ]
    for kind in (*KINDS, None):
        count = sum(bool(one.evidence) and kind in (None, one.kind) for one in asked)
        lines.append(f"  {kind or 'all answerable'} ({count})")
        for way, answers in ways.items():
            shown = "  ".join(f"{100 * mean_recall(answers, depth, kind):5.1f}" for depth in DEPTHS)
            lines.append(f"    {way:<18}{shown}")
    for way, threshold in (("no encoder", recall.THRESHOLD_OF_WORDS), ("fused", recall.THRESHOLD)):
        if way in ways:
            right, wrong = silent(ways[way], threshold)
            other = f", {100 * silent(strange[way], threshold)[0]:.0f} % of another dialogue's"
            lines.append(
                f"  {way}: silent below {threshold:.2f} on {100 * wrong:.0f} % of the answerable,"
                f" {100 * right:.0f} % of the unanswerable{other if strange[way] else ''}"
            )
    return "\n".join(lines)


def quality(answers: Sequence[Answer]) -> float:
    """What --tune maximises: the mean recall over all DEPTHS."""
    return sum(mean_recall(answers, depth) for depth in DEPTHS) / len(DEPTHS)


def tune(encoder: Encoder | None, rounds: int = 2) -> tuple[Weights, float, float]:
    """The best weights on the dev dialogues, one weight at a time; their quality, and the threshold.

    The threshold leaves one in 20 answerable questions below it.
    """
    dialogues = load(part="dev")
    with indexed(dialogues, encoder) as indexes:
        best, top = WEIGHTS, quality(ask(dialogues, indexes, encoder))
        for _, (name, values) in itertools.product(range(rounds), CHOICES.items()):
            for value in values:
                tried = replace(best, **{name: value})
                reached = quality(ask(dialogues, indexes, encoder, tried))
                if reached > top + 1e-9:
                    best, top = tried, reached
        answers = ask(dialogues, indexes, encoder, best)
    sure = sorted(one.confidence for one in answers if one.question.evidence)
    return best, top, sure[len(sure) // 20]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.recall", description=__doc__.partition("\n")[0])
    parser.add_argument("machine", nargs="?", default="qemu-x86_64", help="default: qemu-x86_64")
    parser.add_argument("--tune", action="store_true", help="look for better weights on the dev dialogues")
    args = parser.parse_args(argv)
    try:
        with prepared(args.machine) as place, place.worker() as worker:
            encoder = Kept(worker)
            if args.tune:
                weights, reached, threshold = tune(encoder)
                for field in fields(weights):
                    print(f"{field.name:<10}{getattr(weights, field.name)}")
                print(f"quality   {reached:.4f}\nthreshold {threshold:.2f}")
            else:
                print(report("dev", encoder), report("test", encoder), sep="\n")
    except AetherError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
