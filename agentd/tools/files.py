"""Files that are read: found by name, shown as text, measured.

In a person's own folders alone (reach.py). Not for: changing them (file_changes.py).
"""

import codecs
import fnmatch
import os
import stat
from collections import Counter
from pathlib import Path

from agentd.tools import places, reach, render
from agentd.tools.reach import Spot, Walk
from agentd.tools.tool import Answer, Argument, Arguments, Context, Kind, Lacking, Level, Tool

MOST_FOUND = 50
MOST_LINES = 200
MOST_BYTES = 64 << 10
MOST_ROWS = 20
_PART = "Only a part was looked at: there is too much, or agentd may not look into some folders."


def find(context: Context, arguments: Arguments) -> Answer:
    """Files and folders whose name holds the words, or matches a pattern with * and ?, of either case."""
    wanted = arguments["name"].casefold()
    pattern = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
    walk = Walk()
    found = []
    folders = _folders(context, arguments["folder"])
    for spot in folders:
        with reach.told(spot), reach.folder(spot) as inside:
            for one, entry, state in walk.below(inside, spot, context.person):
                if fnmatch.fnmatchcase(entry.name.casefold(), pattern):
                    found.append((one, state))
    facts = {
        "files": [
            {"path": _path(one), "kind": reach.kind(state.st_mode), "bytes": state.st_size}
            for one, state in found[:MOST_FOUND]
        ],
        "found": len(found),
        "complete": walk.complete,
    }
    where = tuple(str(spot.path) for spot in folders)
    if found:
        rows = [
            (
                one.shown,
                "folder" if stat.S_ISDIR(state.st_mode) else render.size(state.st_size),
                render.moment(state.st_mtime),
            )
            for one, state in found[:MOST_FOUND]
        ]
        lines = [render.table(("path", "size", "changed"), rows)]
        if len(found) > MOST_FOUND:
            lines.append(f"... and {len(found) - MOST_FOUND} more.")
    else:
        name = render.visible(arguments["name"])
        lines = [f"No file of that name, {name}, is in {' or '.join(where)}."]
    if not walk.complete:
        lines.append(_PART)
    return Answer("\n".join(lines), facts, where)


def read(context: Context, arguments: Arguments) -> Answer:
    """A text file, cut after MOST_LINES lines or MOST_BYTES bytes; control characters by their codes."""
    spot = reach.spot(arguments["path"], context.person)
    data, state = reach.read(spot, MOST_BYTES)
    try:
        # final=False: a letter that the cut went through is no fault of the file's.
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=state.st_size <= len(data))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Lacking(f"{spot.shown} is no text file ({render.size(state.st_size)})")
    lines = text.removesuffix("\n").split("\n")
    cut = len(lines) > MOST_LINES or state.st_size > len(data)
    shown = "\n".join(_line(line.removesuffix("\r")) for line in lines[:MOST_LINES])
    facts = {"path": _path(spot), "text": shown, "bytes": state.st_size, "cut": cut}
    if cut:
        count = render.count(min(len(lines), MOST_LINES), "line")
        note = f"\n... cut after {count} of a file of {render.size(state.st_size)}."
        return Answer(shown + note, facts, (spot.shown,))
    return Answer(shown if text else f"{spot.shown} is empty.", facts, (spot.shown,))


def space(context: Context, arguments: Arguments) -> Answer:
    """What takes the space in a folder, the largest first, and how much of the disk is free."""
    walk = Walk()
    taken: Counter[Path] = Counter()
    seen = set()
    folders = _folders(context, arguments["folder"])
    for spot in folders:
        with reach.told(spot), reach.folder(spot) as inside:
            for one, _, state in walk.below(inside, spot, context.person):
                # One file under several names takes its space once.
                if (state.st_dev, state.st_ino) not in seen:
                    seen.add((state.st_dev, state.st_ino))
                    # st_blocks counts 512 bytes each on every file system (stat(2)).
                    taken[spot.root.joinpath(*one.names[: len(spot.names) + 1])] += state.st_blocks * 512
    disk = os.statvfs(folders[0].path)
    free = disk.f_bavail * disk.f_frsize
    total = taken.total()
    facts = {
        "entries": [
            {"path": _utf8(str(path)), "bytes": count} for path, count in taken.most_common(MOST_ROWS)
        ],
        "bytes": total,
        "free": free,
        "complete": walk.complete,
    }
    where = tuple(str(spot.path) for spot in folders)
    lines = [f"{render.size(total)} in {' and '.join(where)}; {render.size(free)} of the disk are free."]
    if taken:
        rows = [
            (render.visible(str(path)), render.size(count), render.percent(count, total))
            for path, count in taken.most_common(MOST_ROWS)
        ]
        lines.append(render.table(("path", "size", "share"), rows))
    if len(taken) > MOST_ROWS:
        lines.append(f"... and {len(taken) - MOST_ROWS} more.")
    if not walk.complete:
        lines.append(_PART)
    return Answer("\n".join(lines), facts, where)


def _folders(context: Context, given: str | None) -> list[Spot]:
    """The folder that was named, or all of the person's."""
    if given is None:
        roots = places.roots(context.person)
        if not roots:
            raise Lacking("agentd reaches no folder of yours on this machine")
        return [Spot(root, ()) for root in roots]
    spot = reach.spot(given, context.person)
    mode = reach.look(spot).st_mode
    if not stat.S_ISDIR(mode):
        raise Lacking(f"{spot.shown} is {reach.kind(mode)}, not a folder")
    return [spot]


def _line(text: str) -> str:
    """A line as it is, but for what would steer a terminal."""
    return "".join(
        letter if letter.isprintable() or letter in "\t\u00a0" else repr(letter)[1:-1] for letter in text
    )


def _path(spot: Spot) -> str:
    return _utf8(str(spot.path))


def _utf8(path: str) -> str:
    """A path as JSON can hold it: bytes that are no UTF-8 by their codes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


_FOLDER = Argument("folder", Kind.PATH, "the folder to look in; without it all of yours", required=False)

TOOLS = (
    Tool(
        "files.find",
        "find files by their names",
        Level.READ,
        run=find,
        arguments=(Argument("name", Kind.NAME, "a part of the name, or a pattern like *.pdf"), _FOLDER),
    ),
    Tool(
        "files.read",
        "show a text file",
        Level.READ,
        run=read,
        arguments=(Argument("path", Kind.PATH, "the file"),),
    ),
    Tool(
        "files.space",
        "show what takes the space in a folder",
        Level.READ,
        run=space,
        arguments=(_FOLDER,),
    ),
)
