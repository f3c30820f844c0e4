"""A request's words as typed arguments of the tool that was chosen, matched against what this machine has.

By code alone: tables and patterns, no model. What is missing or means several things becomes one question.
Each kind has its finder in a slot_ file; arguments.check() has the last word. Not for: which tool it is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agentd.errors import InvalidArguments
from agentd.routing import (
    negation,
    slot_names,
    slot_numbers,
    slot_paths,
    slot_places,
    slot_schedules,
    slot_times,
    slot_units,
    slot_words,
    wishes,
)
from agentd.routing.slot_text import LONGEST, NOTHING, Found, plain, without
from agentd.tools import arguments
from agentd.tools.tool import Argument, Kind, Level, Tool


def _none(*_: str) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class World:
    """What there is on this machine, asked when it is needed.

    `units` are unit names with descriptions; `now` is aware, in the machine's zone (a ZoneInfo);
    `zones` are names like Europe/Berlin; `layouts` keyboard layouts, `networks` Wi-Fi networks in
    reach; `files` are the paths of the person's files whose names have the words that it is given.
    """

    units: Callable[[], Mapping[str, str]]
    now: Callable[[], datetime]
    links: Callable[[], Sequence[str]] = _none
    zones: Callable[[], Sequence[str]] = _none
    layouts: Callable[[], Sequence[str]] = _none
    networks: Callable[[], Sequence[str]] = _none
    files: Callable[[str], Sequence[str]] = _none


@dataclass(frozen=True, slots=True)
class Filled:
    """The arguments that were found, as arguments.check() takes them.

    `missing` is the first required one that was not, `question` what to ask for it; "" if all are there.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    missing: Argument | None = None
    question: str = ""


_QUESTIONS = {
    Kind.UNIT: "Which service?",
    Kind.PATH: "Which file?",
    Kind.WHEN: "When?",
    Kind.DURATION: "How long?",
    Kind.SCHEDULE: "How often?",
    Kind.LEVEL: "To how many percent?",
    Kind.LINK: "Which network interface?",
    Kind.NETWORK: "Which Wi-Fi network?",
    Kind.HOST: "Which name?",
    Kind.ZONE: "Which time zone or city?",
    Kind.LOCALE: "Which language?",
    Kind.LAYOUT: "Which keyboard layout?",
}
_WORDS_QUESTIONS = {
    "memory.remember": "What shall I remember?",
    "memory.recall": "What about?",
    "memory.forget": "What shall I forget?",
    "time.remind": "What shall I remind you of?",
    "time.repeat": "What shall I remind you of?",
    "time.cancel": "Which one?",
    "logs.search": "Which words?",
    "logs.explain": "Which message?",
    "files.write": "What shall the file say?",
    "files.find": "Which name?",
}
# How people call the choices of an argument, the choice first.
_CHOICES = {
    "memory": r"memory|mem|meomry|ram|speicher|arbeitsspeicher|memoire|memoria|geheugen|swap",
    "cpu": r"cpu|processor|prozessor|processeur|procesador|processore|rechenzeit|load|busy|slow",
}


def fill(tool: Tool, text: str, world: World) -> Filled:
    """The arguments of `tool` that `text` has; what does not fit its kind is missing.

    Raises nothing, whatever the text, but what a callable of `world` raises.
    """
    text = wishes.first(_wanted(tool, text[:LONGEST]))
    found = _find(tool, text, world)
    filled: dict[str, Any] = {}
    for argument in tool.arguments:
        value = _checked(argument, found.get(argument.name, NOTHING).value)
        if value is not None:
            filled[argument.name] = value
    for argument in tool.arguments:
        if argument.required and argument.name not in filled:
            return Filled(filled, argument, _question(tool, argument, found.get(argument.name, NOTHING)))
    return Filled(filled)


def answer(tool: Tool, argument: Argument, text: str, world: World) -> Any:
    """The value of one argument from an answer to the question for it; None if it has none.

    Words are taken as they are.
    """
    if argument.kind is Kind.WORDS or (tool.name == "files.write" and argument.name == "text"):
        return _checked(argument, text.strip())
    return _checked(argument, _value(tool, argument, text, world).value)


def _wanted(tool: Tool, text: str) -> str:
    """The text without what it refuses ("not the daily one, ..."), where no word of it is to be kept."""
    kept = any(argument.kind in (Kind.WORDS, Kind.NAME, Kind.PATH, Kind.LINK) for argument in tool.arguments)
    if kept and tool.name != "time.cancel":
        return text
    return negation.wish_of(text).text or text


def _find(tool: Tool, text: str, world: World) -> dict[str, Found]:
    """What each argument may be, by its name. Words come last: what said a time is cut out of them."""
    if tool.name == "files.move":
        return dict(zip(("path", "to"), slot_paths.pair(text, world.files), strict=True))
    if tool.name == "files.write":
        return dict(zip(("path", "text"), slot_paths.note(text, world.files), strict=True))
    found = {
        argument.name: _value(tool, argument, text, world)
        for argument in tool.arguments
        if argument.kind is not Kind.WORDS
    }
    spans = [span for one in found.values() for span in one.spans]
    for argument in tool.arguments:
        if argument.kind is Kind.WORDS:
            said = slot_words.words(tool.name, without(text, spans) if spans else text)
            found[argument.name] = Found(said) if said else NOTHING
    return found


def _value(tool: Tool, argument: Argument, text: str, world: World) -> Found:
    match argument.kind:
        case Kind.UNIT:
            return slot_units.unit(text, world.units())
        case Kind.PATH:
            return _path(tool, argument, text, world)
        case Kind.NAME:
            return slot_paths.wanted_name(text)
        case Kind.SINCE:
            return slot_times.since(text, world.now())
        case Kind.WHEN:
            return slot_times.when(text, world.now())
        case Kind.DURATION:
            return slot_times.duration(text)
        case Kind.SCHEDULE:
            return slot_schedules.schedule(text)
        case Kind.COUNT:
            return Found(slot_numbers.count(text))
        case Kind.CHOICE:
            return _choice(argument, text)
        case Kind.LEVEL:
            return Found(slot_numbers.level(text))
        case Kind.LINK:
            return slot_names.link(text, world.links())
        case Kind.NETWORK:
            return slot_names.network(text, world.networks())
        case Kind.HOST:
            return (
                slot_names.host_name(text) if tool.name.startswith("settings.") else slot_names.domain(text)
            )
        case Kind.ZONE:
            return slot_places.zone(text, world.zones())
        case Kind.LOCALE:
            return slot_places.locale(text)
        case Kind.LAYOUT:
            return slot_places.layout(text, world.layouts())
        case _:
            said = slot_words.words(tool.name, text)
            return Found(said) if said else NOTHING


def _path(tool: Tool, argument: Argument, text: str, world: World) -> Found:
    if argument.name == "folder":
        return slot_paths.folder(text)
    there = slot_paths.file_in(text)
    if tool.name == "files.restore":
        # It is in the recycle bin, not where files are looked for.
        return Found(there.name) if there else slot_paths.wanted_name(text)
    if there:
        return slot_paths.resolve(there.name, world.files)
    return slot_paths.described(slot_paths.description(text), world.files)


def _choice(argument: Argument, text: str) -> Found:
    low = plain(text)
    places = {
        choice: match.start()
        for choice in argument.choices
        if (match := re.search(rf"\b(?:{_CHOICES.get(choice, re.escape(choice))})\b", low))
    }
    return Found(min(places, key=lambda choice: places[choice])) if places else NOTHING


def _checked(argument: Argument, value: Any) -> Any:
    """The value as arguments.check() makes it, None if it does not fit."""
    if value is None or value == "":
        return None
    alone = Tool("", "", Level.READ, arguments=(argument,))
    try:
        return arguments.check(alone, {argument.name: value})[argument.name]
    except InvalidArguments:
        return None


def _question(tool: Tool, argument: Argument, found: Found) -> str:
    """One short question, with up to five candidates: "Which service? cups or docker"."""
    of_kind = _QUESTIONS.get(argument.kind, f"{argument.name.capitalize()}: {argument.purpose}?")
    if argument.kind in (Kind.WORDS, Kind.NAME):
        of_kind = _WORDS_QUESTIONS.get(tool.name, of_kind)
    question = found.question or of_kind
    names = [one.removesuffix(".service") for one in found.candidates[:5]]
    if not names:
        return question
    listed = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else f"{names[0]}"
    return f"{question} {listed}?"
