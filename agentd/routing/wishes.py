"""The first of two wishes: "restart nginx and show me its log" is "restart nginx" as far as arguments go.

Cut is only before words that ask for another thing; "buy milk and bread" stays. Not for: which tool the
second wish means, or refusals (negation.py).
"""

import re

from agentd.routing.slot_text import plain

_ANOTHER = re.compile(
    r"[,;.]?\s+(?:and|und|et|y|e|en|then|dann|puis)\s+(?:then |also |after that |please |dann |puis "
    r"|luego )?(?="
    r"(?:show|tell|read|give|remind|list|ask|bring|wake|let) (?:me|us|it|what|which|all|the|them|my)\b"
    r"|(?:set|start|create|make|put|run|cancel|delete|remove|stop) (?:on )?(?:a|an|one|the|my"
    r"|all) (?:\S+ ){0,4}?(?:timer|alarm|reminder|file|copy|note|service|machine|computer)s?\b"
    r"|(?:re-?start|re-?boot|shut ?down|suspend|dim|mute|remember|cancel) (?:\S+)|forget (?:\S+)|(?:re-?boot"
    r"|suspend|mute)\b"
    r"|(?:make sure|check|see|verify|say|lock|open|send|mail|print|move it|put (?:it|the machine)|throw)\b"
    r"|(?:zeig|sag|erinner|starte?|stell|fahr)\w* (?:mir|mich|den|die|das|einen|alle)\b"
    r"|(?:montre|dis|rappelle|redemarre|mets)(?:-moi)? |(?:muestra|dime|reinicia|pon|muestrame)\b"
    r"|(?:the|its) (?:keyboard|load|log|logs|status) (?:too|as well|also)\b)"
    r"|[,;]\s+(?:and )?then\s|\s+(?:and|und) (?:the )?(?:keyboard|language|load) (?:as well|too)\b"
)


def first(text: str) -> str:
    """The text up to a second wish; all of it if there is none."""
    found = _ANOTHER.search(plain(text))
    # What comes before has to be a wish: two words at least.
    return text[: found.start()] if found and len(text[: found.start()].split()) > 1 else text
