"""How `agent memory` writes for a person: memories, hits, commits, counts."""

from collections.abc import Sequence
from typing import Any

from agentd import display

_WIDTH = 100


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _date(time: str) -> str:
    return time[:10] or "          "


def memory(one: dict[str, Any]) -> None:
    """One memory as a line, and a second one for what has become of it."""
    marks = [one["kind"]]
    if one["trust"] != "owner":
        marks.append(one["trust"])
    if one["shared"]:
        marks.append("shared")
    if one.get("expires"):
        marks.append(f"until {one['expires']}")
    display.write(f"{one['id']}  {_date(one['created'])}  {_line(one['text'])}  ({', '.join(marks)})\n")
    if one.get("superseded_by"):
        display.write(f"                superseded by {one['superseded_by']}: {one.get('reason') or ''}\n")


def remembered(reply: dict[str, Any]) -> None:
    """What was stored, and what it took the place of."""
    memory(reply["memory"])
    for old in reply.get("superseded") or []:
        display.note(f"instead of {old['id']}: {_line(old['text'])} (in the archive)")


def memories(found: Sequence[dict[str, Any]]) -> None:
    """A list of memories."""
    if not found:
        display.note('nothing is remembered yet; agent memory add "..."')
    for one in found:
        memory(one)


def _hit(hit: dict[str, Any], text: str) -> None:
    who = f"{hit['speaker']}: " if hit["speaker"] else ""
    place = f"  [{hit['file']}]" if hit["type"] == "passage" else ""
    score = f"{hit['score']:5.2f}  " if hit["score"] else ""
    display.write(f"{score}{hit['id']:14}  {_date(hit['time'])}  {who}{text}{place}\n")


def hits(reply: dict[str, Any]) -> None:
    """What a search found, the best first."""
    for hit in reply["hits"]:
        _hit(hit, _line(hit["text"]))
    if not reply["hits"]:
        display.note("nothing was found")
    elif not reply["confident"]:
        display.note("none of it is a likely answer")
    if not reply["semantic"]:
        display.note("only words were compared: the embedder does not answer")


def preview(items: Sequence[dict[str, Any]]) -> None:
    """What would be forgotten, each text as a whole: nobody can agree to what they do not see."""
    for item in items:
        _hit({**item, "score": 0}, item["text"].strip().replace("\n", f"\n{' ' * 28}"))


def shown(reply: dict[str, Any]) -> None:
    """One item with what is around it."""
    if reply.get("memory"):
        memory(reply["memory"])
        display.write(f"source  {reply['memory']['source']}\nfile    {reply['memory']['file']}\n")
    else:
        display.write(f"{reply['text'].rstrip()}\n")
        for key in ("session", "file"):
            if reply.get(key):
                display.write(f"{key}  {reply[key]}\n")
    for said in reply["around"]:
        display.write(f"  {said['id']}  {said['time']}  {said['speaker']}: {_line(said['text'])}\n")


def changes(found: Sequence[dict[str, Any]]) -> None:
    """Commits, newest first."""
    if not found:
        display.note("there is no such change")
    for change in found:
        paths = ", ".join(change["paths"][:3]) + (" ..." if len(change["paths"]) > 3 else "")
        when = change["time"].replace("T", " ").removesuffix("Z")
        display.write(
            f"{change['revision'][:12]}  {when}  {change['author']}: {change['message']}  [{paths}]\n"
        )


def diff(reply: dict[str, Any]) -> None:
    """A unified diff."""
    display.write(reply["text"])


def restored(reply: dict[str, Any]) -> None:
    """Which files are as they were."""
    display.write("".join(f"{path}\n" for path in reply["paths"]))


def forgotten(reply: dict[str, Any]) -> None:
    """What was removed."""
    display.write(
        f"forgotten: {reply['items']} items, {reply['states']} saved states;"
        f" {reply['rewritten']} older versions of notes were rewritten\n"
    )


def imported(reply: dict[str, Any]) -> None:
    """Counts, and what was left out."""
    names = ("sessions", "turns", "memories", "files")
    counts = [f"{reply[name]} {name}" for name in names if reply[name]]
    display.write(f"imported: {', '.join(counts) or 'nothing new'}; {reply['known']} known already\n")
    for line in reply["bad"]:
        display.note(f"left out: {line}")


def stats(reply: dict[str, Any]) -> None:
    """How much there is."""
    rows = [
        ("memories", f"{reply['memories']}, and {reply['archived']} in the archive"),
        ("notes", f"{reply['files']} files, {reply['passages']} passages"),
        ("said", f"{reply['turns']} turns in {reply['sessions']} sessions"),
        ("index", f"{reply['indexed']} items, {reply['pending']} not embedded yet"),
        ("embedder", reply["embedder"]),
        ("size", f"{reply['bytes'] / 1e6:.1f} MB"),
    ]
    for name, value in rows:
        display.write(f"{name.ljust(8)}  {value}\n")
    for problem in reply["problems"]:
        display.note(problem)


def check(reply: dict[str, Any]) -> None:
    """What was found wrong and put right."""
    for line in reply["repaired"]:
        display.write(f"put right: {line}\n")
    for line in reply["problems"]:
        display.write(f"problem: {line}\n")
    if not reply["repaired"] and not reply["problems"]:
        display.write("vault, turns, index and history agree\n")
