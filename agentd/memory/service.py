"""io.aetheros.Memory on Varlink: its methods in terms of memories.py and its neighbours, for one person.

The names and the order of parameters are those of the interface file. Who the person is, the kernel says.
"""

import base64
import binascii
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, TypeVar

import varlink

from agentd.call import Watch
from agentd.errors import InvalidMemory, InvalidQuestion, NotOwner, Refusal
from agentd.memory.background import Background
from agentd.memory.indexing import speaker_of
from agentd.memory.items import Item
from agentd.memory.memory import Memory
from agentd.memory.recall import Hit
from agentd.memory.shelf import item_path, path_of
from agentd.memory.transfer import Transfer
from agentd.people import Person
from agentd.session import clean

INTERFACE = "io.aetheros.Memory"
MOST_HITS = 100
HITS = 10
LISTED = 100
COMMITS = 50
# Bytes of an export in one reply.
_PIECE = 1 << 20

T = TypeVar("T")


def as_error(refusal: Refusal) -> varlink.VarlinkError:
    """The Varlink error of the same name."""
    name = "InvalidMemory" if isinstance(refusal, InvalidQuestion | NotOwner) else type(refusal).__name__
    return varlink.VarlinkError({"error": f"{INTERFACE}.{name}", "parameters": refusal.parameters})


class MemoryMethods:
    """The methods of io.aetheros.Memory; see the interface file for what each does."""

    def __init__(
        self, memory: Background, transfer: Transfer, who: Callable[[Any], Person], stop_fd: int
    ) -> None:
        self._memory = memory
        self._transfer = transfer
        self._who = who
        self._stop_fd = stop_fd

    def _do(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except Refusal as refusal:
            raise as_error(refusal) from refusal

    def Add(  # noqa: N802
        self,
        text: str,
        kind: str | None,
        expires: str | None,
        shared: bool | None,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """Remember a text."""
        person = self._who(_request)
        memory, old = self._do(
            lambda: self._memory.memories.add(
                clean(text),
                person.name,
                kind=kind,
                expires=clean(expires or ""),
                shared=bool(shared),
                trust="owner" if person.is_owner else "untrusted",
            )
        )
        self._memory.wake()
        return {"memory": _memory(memory), "superseded": [_memory(one) for one in old]}

    def Search(  # noqa: N802
        self, query: str, limit: int | None, archived: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Find memories, things said and passages."""
        person = self._who(_request)
        found = self._do(
            lambda: self._memory.memories.search(
                clean(query),
                person.name,
                _number(limit, HITS, MOST_HITS),
                watch=Watch(_request, self._stop_fd),
                archived=bool(archived),
            )
        )
        return {
            "hits": [_hit(hit) for hit in found.recalled.hits],
            "confident": found.confident,
            "confidence": found.recalled.confidence,
            "semantic": found.semantic,
        }

    def List(  # noqa: N802
        self,
        kind: str | None,
        archived: bool | None,
        limit: int | None,
        after: str | None,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """Memories, newest first."""
        person = self._who(_request)
        most = _number(limit, LISTED, 1000)
        found = self._do(
            lambda: self._memory.memories.listed(person.name, kind=kind, archived=bool(archived))
        )
        rest = [(item, memory) for item, memory in found if after is None or memory.id < after]
        listed = [_memory(memory, item_path(item)) for item, memory in rest[:most]]
        return {"memories": listed, "more": len(rest) > most}

    def Show(self, id: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """One item by its id."""
        person = self._who(_request)
        shown = self._do(lambda: self._memory.memories.show(clean(id), person.name))
        item = shown.item
        return {
            "type": item.type,
            "text": item.text,
            "memory": _memory(shown.memory, item_path(item)) if shown.memory else None,
            "session": item.session or None,
            "file": _shown_path(item) or None,
            "around": [
                {
                    "id": turn.id,
                    "speaker": speaker_of(turn),
                    "time": turn.time,
                    "text": turn.text,
                }
                for turn in shown.around
            ],
        }

    def Correct(  # noqa: N802
        self, id: str, text: str, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Replace a memory's text."""
        person = self._who(_request)
        memory, old = self._do(lambda: self._memory.memories.correct(clean(id), clean(text), person.name))
        self._memory.wake()
        return {"memory": _memory(memory), "superseded": [_memory(one) for one in old]}

    def Share(  # noqa: N802
        self, id: str, shared: bool, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Share a memory, or no longer."""
        person = self._who(_request)
        return {"memory": _memory(self._do(lambda: self._memory.memories.share(id, shared, person.name)))}

    def Preview(  # noqa: N802
        self, id: str | None, query: str | None, turns: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """What Forget would remove."""
        person = self._who(_request)
        token, items = self._do(
            lambda: self._memory.forgetting.preview(
                person.name,
                Watch(_request, self._stop_fd),
                id=None if id is None else clean(id),
                query=None if query is None else clean(query),
                turns=bool(turns),
            )
        )
        return {"token": token, "items": [_hit(Hit(0.0, item, 0.0, 0.0, 0.0, 0.0, 0.0)) for item in items]}

    def Forget(self, token: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """Remove what a preview showed."""
        person = self._who(_request)
        return asdict(self._do(lambda: self._memory.forgetting.forget(token, person.name)))

    def History(  # noqa: N802
        self, id: str | None, limit: int | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """The commits of the vault; of all of it for the owner alone."""
        person = self._who(_request)

        def changes() -> list[dict[str, Any]]:
            memories = self._memory.memories
            if id is None:
                _for_owner(person)
            elif not person.is_owner:
                memories.item(id, person.name)
            return [
                asdict(one) | {"paths": list(one.paths)}
                for one in memories.history.log(contains=id, limit=_number(limit, COMMITS, 1000))
            ]

        return {"changes": self._do(changes)}

    def Diff(self, revision: str, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """What a commit changed."""
        person = self._who(_request)

        def diff() -> str:
            _for_owner(person)
            return self._memory.memories.history.diff(revision)

        return {"text": self._do(diff)}

    def Restore(  # noqa: N802
        self, revision: str, id: str | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Bring back what was before a commit."""
        person = self._who(_request)

        def restore() -> list[str]:
            _for_owner(person)
            return self._memory.memories.restore(revision, id)

        paths = self._do(restore)
        self._memory.wake()
        return {"paths": paths}

    def Stats(self, _request: socket.socket | None = None) -> dict[str, Any]:  # noqa: N802
        """How much there is."""
        return self._do(lambda: self._memory.memories.stats(self._who(_request).name))

    def Check(  # noqa: N802
        self, repair: bool | None, _request: socket.socket | None = None
    ) -> dict[str, Any]:
        """Whether everything agrees."""
        person = self._who(_request)
        problems, repaired = self._do(lambda: self._memory.memories.check(person.name, repair=bool(repair)))
        return {"problems": problems, "repaired": repaired}

    def Export(  # noqa: N802
        self, _more: bool = False, _request: socket.socket | None = None
    ) -> Iterator[dict[str, Any]]:
        """Everything of the person's as one archive."""
        person = self._who(_request)
        if not _more:
            raise as_error(InvalidMemory('call it with "more"'))
        with self._do(lambda: self._transfer.export(person.name)) as file:
            while piece := file.read(_PIECE):
                yield {"data": base64.b64encode(piece).decode(), "done": False, "_continues": True}
        yield {"data": "", "done": True, "_continues": False}

    def Import(  # noqa: N802
        self,
        data: str,
        upload: str | None,
        format: str | None,
        source: str | None,
        skip: bool | None,
        last: bool | None,
        _request: socket.socket | None = None,
    ) -> dict[str, Any]:
        """Take in a piece, and with the last one all of it."""
        person = self._who(_request)

        def take() -> dict[str, Any]:
            try:
                piece = base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError) as error:
                raise InvalidMemory("the data is not base64") from error
            name = self._transfer.take(person.name, upload, piece, format or "")
            if not last:
                nothing = dict.fromkeys(("sessions", "turns", "memories", "files", "known"), 0)
                return {"upload": name, **nothing, "bad": []}
            counts = self._transfer.finish(
                person.name, name, format or "", clean(source or ""), skip=bool(skip)
            )
            return {"upload": name, **asdict(counts)}

        reply = self._do(take)
        if last:
            self._memory.wake()
        return reply


def _for_owner(person: Person) -> None:
    if not person.is_owner:
        raise NotOwner("the history is the owner's: it holds what everybody wrote")


def _number(given: int | None, default: int, most: int) -> int:
    if given is not None and given < 1:
        raise as_error(InvalidMemory(f"limit is {given}; it must be at least 1"))
    return min(given or default, most)


def _memory(memory: Memory, file: str | None = None) -> dict[str, Any]:
    out = {
        key: getattr(memory, key)
        for key in ("id", "text", "kind", "created", "seen", "source", "trust", "person", "shared")
    }
    out["file"] = path_of(memory.person) if file is None else file
    for key in ("expires", "superseded_by", "reason"):
        out[key] = getattr(memory, key) or None
    return out


def _shown_path(item: Item) -> str:
    return item_path(item).encode("utf-8", "replace").decode()


def _hit(hit: Hit) -> dict[str, Any]:
    item = hit.item
    return {
        "id": item.id,
        "type": item.type,
        "text": item.text,
        "time": item.time,
        "speaker": item.speaker,
        "score": hit.score,
        "lexical": hit.lexical,
        "semantic": hit.semantic,
        "nearby": hit.window,
        "session": item.session or None,
        "file": _shown_path(item) or None,
    }
