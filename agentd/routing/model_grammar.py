"""The grammar that a model's choice of a tool must fit: GBNF, made of tools' and arguments' names alone.

An invalid grammar would end the worker's process (llama.cpp gives NULL), so no grammar's text ever comes
from a caller: only names do, and each is checked here. What fits is one JSON object on one line:

    {"tool": "services.restart", "arguments": {"unit": "nginx"}}
    {"tool": "none"}

with known names, every argument at most once, in the tool's order, as a text of bounded length. Not for:
what is in the texts (model_choice.py).
"""

import re
from collections.abc import Mapping, Sequence

NONE = "none"
MOST_TOOLS = 100
MOST_ARGUMENTS = 10
# Of one argument's text. A model that goes round in circles must come to an end.
CHARACTERS = 100

_NAME = r"[a-z]{1,20}(?:_[a-z]{1,20}){0,3}"
_TOOL = re.compile(rf"{_NAME}\.{_NAME}")
_ARGUMENT = re.compile(_NAME)
# As in JSON, without \u: a model needs none to write what a person said.
_TEXT = rf"""text ::= "\"" char{{0,{CHARACTERS}}} "\""
char ::= [^"\\\x00-\x1F\x7F] | "\\" ["\\/nt]
"""


def grammar(choices: Mapping[str, Sequence[str]]) -> str:
    """The grammar for tools with their arguments' names. Raises ValueError for names that are none."""
    _check(choices)
    rules = []
    for number, (_, arguments) in enumerate(choices.items()):
        # Each rule is an argument and maybe later ones, or later ones alone.
        for at, name in reversed(list(enumerate(arguments))):
            rule, later = f"t{number}a{at}", f"t{number}a{at + 1}"
            pair = rf'"\"{name}\": " text'
            more = at + 1 < len(arguments)
            rules.append(f'{rule} ::= {pair} (", " {later})? | {later}' if more else f"{rule} ::= {pair}")
    calls = [
        rf'"{tool}\", \"arguments\": {{" ' + (f't{number}a0? "}}"' if arguments else '"}"')
        for number, (tool, arguments) in enumerate(choices.items())
    ]
    calls.append(rf'"{NONE}\""')
    root = r'root ::= "{\"tool\": \"" call "}"'
    return "\n".join([root, f"call ::= {' | '.join(calls)}", *rules, _TEXT])


def _check(choices: Mapping[str, Sequence[str]]) -> None:
    if not 1 <= len(choices) <= MOST_TOOLS:
        raise ValueError(f"there are {len(choices)} choices, not 1 to {MOST_TOOLS}")
    for tool, arguments in choices.items():
        if not isinstance(tool, str) or not _TOOL.fullmatch(tool):
            raise ValueError(f"{tool!r} is no name of a tool")
        if len(arguments) > MOST_ARGUMENTS or len(set(arguments)) != len(arguments):
            raise ValueError(f"the arguments of {tool} are too many, or one is there twice")
        for name in arguments:
            if not isinstance(name, str) or not _ARGUMENT.fullmatch(name):
                raise ValueError(f"{name!r} is no name of an argument")
