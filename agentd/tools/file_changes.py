"""Files that are written, moved, deleted and brought back: the plans of it, in a person's own folders.

Nothing is changed here; local_steps.py does it, and what was replaced or deleted is in kept.py's folders.
"""

import os
import stat
from contextlib import suppress

from agentd.tools import kept, places, reach, render
from agentd.tools.kept import Deleted
from agentd.tools.reach import Spot, Walk
from agentd.tools.tool import Argument, Arguments, Context, Kind, Lacking, Level, Plan, Step, Tool, Unfit

# Letters of a text that a person sees before it is written.
MOST_SHOWN = 500


def write(context: Context, arguments: Arguments) -> Plan:
    """Write a text to a file, whose folders are made if they are missing; the content before is kept."""
    spot = reach.spot(arguments["path"], context.person)
    text = arguments["text"]
    text += "" if text.endswith("\n") else "\n"
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Unfit("the text cannot be written as UTF-8") from None
    old = reach.content(spot)
    if data == old:
        raise Lacking(f"{spot.shown} holds this text already")
    missing = _writable(spot)
    size = render.size(len(data))
    if old is None:
        effects = [f"A new file, {size}."]
        back = _step("bin", context, spot, expect=kept.digest(data))
        basis = f"{spot.shown} is not there"
    else:
        effects = [f"Replaces {render.size(len(old))} by {size}; the version before is kept."]
        back = _step("write", context, spot, version=kept.digest(old), expect=kept.digest(data))
        basis = f"{spot.shown} has {render.size(len(old))} ({kept.digest(old)[:8]})"
    effects.append(f"The text: {render.visible(text, MOST_SHOWN)}")
    if missing:
        effects.append(f"Makes the folder {missing.shown}.")
    return Plan(
        f"Write {spot.shown}",
        (_step("write", context, spot, text=text, expect="" if old is None else kept.digest(old)),),
        tuple(effects),
        (back,),
        basis,
        f"{spot.shown} was written.",
    )


def move(context: Context, arguments: Arguments) -> Plan:
    """Move a file or folder to another name, or into a folder that is there; never over anything."""
    spot = reach.spot(arguments["path"], context.person)
    state = _there(spot)
    target = _target(spot, arguments["to"], context.person)
    if target == spot:
        raise Lacking(f"{spot.shown} is there already")
    if reach.find(target) is not None:
        raise Lacking(f"{target.shown} is there already, and nothing is written over")
    if target.root == spot.root and target.names[: len(spot.names)] == spot.names:
        raise Unfit(f"{spot.shown} cannot be moved into itself")
    _writable(spot)
    missing = _writable(target)
    effects = [_what(spot, state, context.person)]
    if missing:
        effects.append(f"Makes the folder {missing.shown}.")
    return Plan(
        f"Move {spot.shown} to {target.shown}",
        (_step("move", context, spot, to=str(target.path)),),
        tuple(effects),
        (_step("move", context, target, to=str(spot.path)),),
        _basis(spot, state),
        f"{spot.shown} is now {target.shown}.",
    )


def delete(context: Context, arguments: Arguments) -> Plan:
    """Put a file or folder into the recycle bin."""
    spot = reach.spot(arguments["path"], context.person)
    state = _there(spot)
    _writable(spot)
    return Plan(
        f"Put {spot.shown} into the recycle bin",
        (_step("bin", context, spot),),
        (
            _what(spot, state, context.person),
            "It stays in the bin, and takes its space, until it is restored.",
        ),
        (_step("unbin", context, spot, inode=state.st_ino),),
        _basis(spot, state),
        f"{spot.shown} is in the recycle bin.",
    )


def restore(context: Context, arguments: Arguments) -> Plan:
    """Bring back what was deleted last under a path or a name; never over anything."""
    given = arguments["path"]
    found = _deleted(given, context.person)
    if not found:
        raise Unfit(f"nothing in the recycle bin was {render.visible(given)}")
    last = found[0]
    spot = last.origin
    if reach.find(spot) is not None:
        raise Lacking(f"{spot.shown} is there already, and nothing is written over")
    missing = _writable(spot)
    # The bin's folders are named by the time.
    effects = [f"Deleted {last.entry[:4]}-{last.entry[4:6]}-{last.entry[6:8]} at {_clock(last.entry)} UTC."]
    if len(found) > 1:
        effects.append(f"{render.count(len(found) - 1, 'older one')} of this name stays in the bin.")
    if missing:
        effects.append(f"Makes the folder {missing.shown} again.")
    return Plan(
        f"Restore {spot.shown}",
        (_step("unbin", context, spot, inode=last.state.st_ino),),
        tuple(effects),
        (_step("bin", context, spot),),
        f"{spot.shown} is in the recycle bin as {last.entry}",
        f"{spot.shown} is back.",
    )


# ---- where


def _there(spot: Spot) -> os.stat_result:
    """The state of a file or folder that may be moved. Raises Lacking."""
    if not spot.names:
        raise Lacking(f"{spot.shown} is a folder as a whole, which agentd leaves where it is")
    state = reach.look(spot)
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        raise Lacking(f"{spot.shown} is {reach.kind(state.st_mode)}, neither a file nor a folder")
    if reach.holds_state(state):
        raise Lacking(f"{spot.shown} holds what agentd keeps itself")
    return state


def _target(spot: Spot, to: str, person: str) -> Spot:
    """Where it is moved: a name alone is beside it, a folder that is there takes it in."""
    if "/" in to.rstrip("/") or to == "~":
        target = reach.spot(to, person)
    else:
        target = reach.spot(str(spot.path.parent / to), person)
    state = reach.find(target)
    if state is not None and stat.S_ISDIR(state.st_mode) and target != spot:
        return Spot(target.root, (*target.names, spot.names[-1]))
    return target


def _writable(spot: Spot) -> Spot | None:
    """The first folder that has yet to be made for it. Raises Lacking where agentd may not write."""
    for length in range(len(spot.names) - 1, -1, -1):
        folder = Spot(spot.root, spot.names[:length])
        if reach.find(folder) is None:
            continue
        with reach.told(folder), reach.folder(folder) as descriptor:
            if not os.access(".", os.W_OK | os.X_OK, dir_fd=descriptor):
                raise Lacking(f"agentd may not write in {folder.shown}")
        return None if length == len(spot.names) - 1 else Spot(spot.root, spot.names[: length + 1])
    raise Lacking(f"{spot.shown} is a folder as a whole, which agentd leaves where it is")


def _deleted(given: str, person: str) -> list[Deleted]:
    """What the bins have under a path, or under a name wherever it was; the newest first."""
    wanted = reach.spots(given, person)
    found: list[Deleted] = []
    for root in places.roots(person):
        with suppress(OSError, Lacking):
            found += (
                one
                for one in kept.entries(root)
                if one.origin in wanted or ("/" not in given and one.origin.names[-1] == given)
            )
    return sorted(found, key=lambda one: one.entry, reverse=True)


# ---- words


def _what(spot: Spot, state: os.stat_result, person: str) -> str:
    if not stat.S_ISDIR(state.st_mode):
        return f"A file of {render.size(state.st_size)}, changed {render.moment(state.st_mtime)}."
    walk, files, size = Walk(), 0, 0
    with reach.told(spot), reach.folder(spot) as inside:
        for _, _, one in walk.below(inside, spot, person):
            if not stat.S_ISDIR(one.st_mode):
                files, size = files + 1, size + one.st_size
    more = "" if walk.complete else " or more"
    return f"A folder with {render.count(files, 'file')}{more}, {render.size(size)}."


def _basis(spot: Spot, state: os.stat_result) -> str:
    changed = f"{render.utc(state.st_mtime)}, {state.st_ino}"
    return f"{spot.shown} is {reach.kind(state.st_mode)} of {state.st_size} bytes ({changed})"


def _clock(entry: str) -> str:
    return f"{entry[9:11]}:{entry[11:13]}"


def _step(verb: str, context: Context, spot: Spot, **more: str | int) -> Step:
    return Step(f"file.{verb}", {"person": context.person, "path": str(spot.path), **more})


_PATH = Argument("path", Kind.PATH, "the file or folder")

TOOLS = (
    Tool(
        "files.write",
        "write a text to a file; its content before is kept",
        Level.CHANGE,
        plan=write,
        arguments=(Argument("path", Kind.PATH, "the file"), Argument("text", Kind.WORDS, "what is written")),
        reversible=True,
    ),
    Tool(
        "files.move",
        "move or rename a file",
        Level.CHANGE,
        plan=move,
        arguments=(_PATH, Argument("to", Kind.PATH, "its new name, or the folder that it goes to")),
        reversible=True,
    ),
    Tool(
        "files.delete",
        "put a file into the recycle bin",
        Level.CHANGE,
        plan=delete,
        arguments=(_PATH,),
        reversible=True,
    ),
    Tool(
        "files.restore",
        "bring a file back from the recycle bin",
        Level.CHANGE,
        plan=restore,
        arguments=(Argument("path", Kind.PATH, "the path that it had, or its name"),),
        reversible=True,
    ),
)
