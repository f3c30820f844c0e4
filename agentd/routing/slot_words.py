"""The part of a sentence that is what to remember, to look for, to be reminded of; its frame taken off.

Each frame is how such a request leads to its words, in English and the simplest of some languages. A text
that no frame fits is taken whole. Not for: files (slot_paths.py), or the times in it, cut out before.
"""

import re

from agentd.routing.slot_text import LONGEST, plain, quoted, trim

_THAT = (
    r"(?:[\s,:]*\b(?:that|this|dass|que|che|dat|daran|the fact|for me|for us|for yourself|please|bitte"
    r"|fur mich)\b(?!-))*[\s,:]*"
)

# How the words are led to; what follows the first of them is meant, and what precedes it if nothing follows.
_REMEMBER = (
    r"(?:(?:please|i want you|i'd like you|you should|could you|can you|would you|from now on|never forget"
    r"|you ought) )*"
    r"(?:(?:to )?(?:keep|bear|hold|have)(?: (?:it|that|this))? in (?:mind|mnd|memory|your (?:mind|memory"
    r"|head))|r[em]{2,6}b?e?r(?:ed)?(?!\w)"
    r"|memori[sz]e|commit(?: this| it)? to memory|take (?:a )?note(?: of)?|make (?:a )?note(?: of| for)?"
    r"|note(?: down)?(?: for (?:later|future reference"
    r"|the future|the record))?|(?:never|don'?t|do not) forget|for the record|keep for (?:the )?next time"
    r"|keep for (?:later|me)"
    r"|hold on to(?: it| this| that)?|save (?:in|to|into) (?:your|ur|the) memory|store (?:in|to) (?:your"
    r"|ur) memory|(?:should |ought to |already |now )?know (?:for the future )?(?=that\b)"
    r"|you should know for the future"
    r"|to your memory|in your memory|for your (?:long-term )?memory|let me tell you something to keep"
    r"|this is worth keeping|add to what you know(?: about me)?"
    r"|merk(?:e)? dir|behalte? (?:dir )?im kopf|behalte|notiere?(?: dir)?|denk dran|vergiss nicht"
    r"|retiens|retenir|note|souviens-toi|rappelle-toi|garde en (?:memoire|tete)|n'oublie pas"
    r"|recuerda|guarda en (?:tu|la) memoria|apunta|anota|ten en cuenta|acuerdate(?: de)?|memoriza|no olvides"
    r"|ricorda(?:ti)?|tieni a mente|segnati|non dimenticare|lembra-te(?: de)?|lembra|nao te esquecas"
    r"|guarda na memoria"
    r"|onthoud|vergeet niet)\b" + _THAT,
    r"(?:save|keep)\b" + _THAT,
)
_ABOUT = (
    r"(?:about|abuot|abt|of|on|for|concerning|regarding|uber|zu(?:m thema)?|sur|de|del|de la|di|sobre"
    r"|do|da|van|over|mention)"
)
_RECALL = (
    r"(?:what|waht|wat|which|whatever|everything|all|anything|something)\b[^.?!,;]*?\b(?:know|known|remember"
    r"|rember|recall|told|tell|tel|said|say"
    r"|stored|saved?|kept|learned|memori[sz]ed|noted|in memory|mind|gave|(?:have|got)(?= (?:noted|stored"
    r"|saved|in|on|about|of)\b))\b(?: (?:you|to you|me|in memory|in your memory"
    r"|noted|stored|saved|know|once|to keep|in mind))*(?: " + _ABOUT + r")?\b",
    r"(?:see whether|do|can|might|would) (?:you|u) (?:still )?(?:remember|rember|recall|know"
    r"|have)(?: (?:anything|something|what i (?:told you|said)))?(?: " + _ABOUT + r")?\b",
    r"(?:known|recall?|remember|rember|memor(?:y|ies))\b(?: (?:what i (?:told|said|tell)(?: you)?|for|entry"
    r"|that))*(?: " + _ABOUT + r")?\b",
    r"i told you (?:once|something|before|already)?(?: (?:once|about))?",
    r"was (?:weisst|weißt) du(?: noch)? uber|was hast du dir (?:zum thema|uber|zu)|erinnerst du dich an",
    r"(?:qu'est-ce que tu (?:sais|as retenu)|que sais-tu|tu te souviens)(?: (?:sur|de))?",
    r"que (?:recuerdas|sabes|te dije)(?: (?:de|sobre))?|o que (?:te lembras|sabes)(?: (?:do|da|de|sobre))?",
    r"cosa (?:ricordi|sai)(?: (?:di|su))?|wat weet je(?: nog)?(?: (?:van|over))?",
)
_FORGET = (
    r"(?:(?:i want you to|i'd like you to|you can|could you|can u|please|pls) )*(?:forget|foregt|forgt"
    r"|unremember|erase|purge|wipe|delete|delte|remove"
    r"|drop|discard|expunge|strike|empty|clear|burn|no longer knew|had never told you|let go of|get)\b"
    r"(?: (?:forever|for good|permanently|completely))?"
    r"(?: (?:(?:out of|from|in|of|the) )*(?:(?:your|ur|the) )?(?:memory|memories|brain|mind)(?: (?:entry"
    r"|all))?)?"
    r"(?: (?:all|everything|evrything|anything|information|what|whatever))*(?: (?:you|u) (?:have )?(?:stored"
    r"|know|remember|learned|learnt)|'ve (?:stored|learned))?"
    r"(?: (?:about|on|of|concerning|regarding|that mention))?(?:\s*:)?",
    r"(?:what |that )?i (?:once )?(?:told you|said)(?: (?:about|abt|on))?\b",
    r"vergiss|losch(?:e)?(?: alles)?(?: uber)?|oublie|efface|supprime|olvida|borra(?: de tu memoria)?"
    r"|esquece|vergeet|dimentica",
)
_REMEMBER_TAILS = (
    r"\b(?:please|for good|so (?:keep|hold on to|remember) (?:it|that)|you'll need that later|keep that"
    r"|would you"
    r"|hold that for me(?: till.*)?)$",
)
_MEMORY_TAILS = (
    r"\b(?:altogether|for good|forever|please|again|(?:from|in|out of) (?:your|ur|the) (?:memory|brain|mind)"
    r"|de ta memoire"
    r"|from memory|aus deinem gedachtnis|de tu memoria|and now i need it|please wipe that.*|bitte vergessen"
    r"|gemerkt"
    r"|would you|what was it|bring it up)$",
)
_REMIND = (
    r"(?:(?:please|pls|plz|could you|can you|can u|would you|will you|i want you to|i'd like you to|and"
    r"|so) )*"
    r"(?:(?:(?:be )?remind(?:ed)?(?: (?:me|us)| of)?|(?:re?mind|rmind|remnid|rember|nudge|ping|bug|nag|tell"
    r"|shout at|poke|alert|wake|warn|ask|let) (?:me|us)(?: know)?)(?: (?:then|each time|every time|again))?"
    r"|draw my attention|don'?t let me (?:forget|miss)|(?:i need |set (?:up )?|create |add |make |put "
    r"|schedule )?(?:an? |one |the )?(?:weekly |daily "
    r"|monthly |recurring |repeating )?remi?n?i?d(?:er|ner)s?|say|i keep forgetting|i (?:must|mustn't"
    r"|must not|may not|should) (?:not )?(?:forget|miss)"
    r"|i'?m bound to forget|i always forget|i have to|i've got to|i must|i need to|i want to hear"
    r"|erinnere? mich(?: bitte)?|rappelle[ -]moi|recuerdame|avisame|lembra-me|herinner me(?: eraan)?"
    r"|ricordami)\b"
    r"(?:[\s,:]*\b(?:to|that|of|about|for|with|saying|it|an|daran|de|d'|que|di|a|aan|dat|um|dass"
    r"|the fact)\b(?!-))?[\s,:]*",
)
_REMIND_TAILS = (
    r"[\s,;.:-]*\b(?:reminder|tell me then|tell me each time|each time|please tell me|please remind me"
    r"|remind me(?: (?:then|of it|please))?"
    r"|(?:bitte )?erinnern|so nudge me|nudge me|shout at me|it ought to be|tell me when it'?s due"
    r"|i need to hear of it.*|i mustn't sleep through it|that would be great|day in|day out|and|so"
    r"|i'll surely forget it|sharp)$",
)
_CANCEL = (
    r"(?:(?:please|pls|could you|would you|can you|you can|i'd like you to|kindly) )*(?:canc?e?le?|cancle"
    r"|cancel|delete?|remove|stop|drop|end|quit|call off|get rid of"
    r"|turn off|turn of|switch off|switch|take|shut|kill|rm|undo|forget(?: about)?|cross|strike(?: out)?"
    r"|needn't|no more|abort|clear|dismiss"
    r"|losche?|beende|streiche?|stoppe?|annule|arrete|supprime|cancela|quita|para|elimina|annulla|ferma|zet"
    r"|verwijder|stop)\b(?: (?:about|with|up|off))?",
)
_CANCEL_TAILS = (
    r"[\s,]*\b(?:off|out|up|for good|any ?more|any longer|please|abbrechen|bitte streichen|streichen|loschen"
    r"|uit|is pointless.*|can go|can be dropped"
    r"|is to be cancelled|i already called|she has .*|(?:the|he|we|i) \w+ (?:is|are|was) (?:off|over|done"
    r"|ready).*|is no longer needed|never mind.*"
    r"|no reminder needed.*|so .*)$",
)
_SEARCH = (
    r"(?:for )?(?:the )?(?:words?|string|text|phrase|term|pattern|mot|wort|palabra)\b",
    r"\b(?:grep|mention(?:s|ed|ing)?|contain(?:s|ed|ing)?|say(?:s|ing)?|said|search (?:\S+ ){0,5}?for"
    r"|serch (?:\S+ ){0,4}?for|look(?:ing)? (?:\S+ ){0,5}?for"
    r"|find (?:every|all|any|the) (?:\S+ ){0,6}?(?:about|with|on|of)|(?:lines?|entries|messages?|anything"
    r"|anythign|something|logged|lineas|lignes|zeilen)"
    r" (?:\S+ ){0,3}?(?:about|abt|with|wiht|on|to|that say|that says|saying|mit|zu|avec|con|sobre)"
    r"|talk about|the word"
    r"|go through (?:\S+ ){0,4}?for|filter (?:\S+ ){0,4}?(?:for|by)|such(?:e)?(?: im log)?(?: nach)?|finde"
    r"|cherche|busca|procura|zoek (?:\S+ ){0,4}?naar|cerca|find)\b"
    r"(?: (?:the )?(?:journal|log|logs|jurnal|system log))?(?: (?:for|nach))?",
)
_SEARCH_TAILS = (
    r"[\s,;.]*\b(?:(?:in|im|from|of|dans|en|nel|nos|nei) (?:the |my |today's |this |les |los |el "
    r"|le )?(?:system )?(?:log|logs|lgos|journal|jurnal|registros?|registos|journaux)"
    r"|i'm so done.*|in (?:it|them)|again|in its name)$",
)
_EXPLAIN = (
    r"what does it mean when (?:it|the (?:log|machine|kernel|computer)|systemd) (?:says|writes|prints)",
    r"(?:what|wat|waht) (?:does|do|is) (?:the )?(?:log )?(?:entry|message|error|line|this"
    r"|it)?(?: mean)?\b\s*:?",
    r"(?:please |could you |can you )?(?:explain|tell me what|translate|erklare?(?: mir)?|explique(?:-moi)?"
    r"|explica(?:me)?|spiega(?:mi)?)\b"
    r"(?: to me| me)?(?: (?:the|this|that|die|diese|das|le|la|l'|el|los) (?:log )?(?:entry|message"
    r"|error message|error|line|meldung|fehlermeldung|zeile|erreur|mensaje))?\s*:?",
    r"(?:the )?(?:meaning|sense|cause) of|what is (?:behind|meant by)|why does (?:\S+ ){1,3}say"
    r"|what should i make of|the log says"
    r"|was (?:bedeutet|heisst|heißt)|que signifie|que significa|che significa|ca veut dire quoi"
    r"|cosa significa",
)
_EXPLAIN_TAILS = (
    r"[\s,;.\-]*\b(?:means?|meaning|what (?:is|does|are|do) (?:this|that|it)\b.*|is (?:that|this|it) (?:bad"
    r"|dangerous|serious).*|that doesn't sound.*"
    r"|in (?:the|my) logs?|dans les logs|im log|bedeutet|bedeuten|what is (?:that|this).*)$",
)
_FRAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "memory.remember": (_REMEMBER, _REMEMBER_TAILS),
    "memory.recall": (_RECALL, _MEMORY_TAILS),
    "memory.forget": (_FORGET, _MEMORY_TAILS),
    "time.remind": (_REMIND, _REMIND_TAILS),
    "time.repeat": (_REMIND, _REMIND_TAILS),
    "time.cancel": (_CANCEL, _CANCEL_TAILS),
    "logs.search": (_SEARCH, _SEARCH_TAILS),
    "logs.explain": (_EXPLAIN, _EXPLAIN_TAILS),
}
_COMPILED = {
    tool: (
        tuple(re.compile(rf"(?<![\w-]){lead}" if lead[0] != "\\" else lead) for lead in leads),
        tuple(re.compile(tail) for tail in tails),
    )
    for tool, (leads, tails) in _FRAMES.items()
}
_TWICE = frozenset({"time.remind", "time.repeat", "logs.search", "memory.forget"})
_QUOTED_ALONE = frozenset({"logs.search", "logs.explain"})
# Left at the beginning when the time stood there: "at 5 to feed the cat".
_DANGLING = re.compile(
    r"^(?:(?:to|that|of|about|for|it|daran|an|an die|de|d'|que|di|so|an|dass|and|every)\b[\s,:]*)(?=\w)",
    re.IGNORECASE,
)
# What points at something said before is no words of its own.
_POINTING = frozenset(
    {"it", "this", "that", "them", "these", "those", "it all", "what", "das", "es", "ca", "eso", "lo"}
)
# What is a thing to cancel even where the sentence says more: "the nap timer", "reminder flowers".
_THING = re.compile(
    r"\b(?:(?:the|my|that|this|le|la|el|il|de|die|das|den|der|all|all my)\s+)(?:(?!is\b"
    r"|the\b)[\w'-]+\s+){0,3}?"
    r"(?:timers?|reminders?|remidner|tmier|alarms?|erinnerung|wecker|rappel|minuteur|alarma|recordatorio"
    r"|promemoria|one)\b(?:\s+(?:for|about|concerning|at|of|on|fur|de|del|della|du)(?:\s+(?!is\b|can\b"
    r"|was\b)[\w':]+){1,4}?(?=\s+(?:is|can|was|has|please)\b|[,.;]|$))?"
)


def words(tool: str, text: str) -> str:
    """What in a request to a tool are its words; "" if there are none."""
    text = text[:LONGEST]
    if tool in _QUOTED_ALONE and (inside := quoted(text)):
        return inside[0]
    if tool == "time.cancel" and (thing := _THING.search(plain(text))):
        return trim(text[slice(*thing.span())])
    leads, tails = _COMPILED.get(tool, ((), ()))
    text = _between(trim(text), leads, tails)
    if tool in _TWICE:
        text = _between(text, leads, tails)  # "set a reminder: tell me to ..."
    if tool in ("time.remind", "time.repeat"):
        text = _DANGLING.sub("", text)
    return trim(text)


def _between(text: str, leads: tuple[re.Pattern[str], ...], tails: tuple[re.Pattern[str], ...]) -> str:
    """What follows the first lead, or precedes it if nothing does; without its tails."""
    text = _cut(text, tails)
    low = plain(text)
    for lead in leads:
        if found := lead.search(low):
            return _cut(text[found.end() :], tails) or _cut(text[: found.start()], tails)
    return text


def _cut(text: str, tails: tuple[re.Pattern[str], ...]) -> str:
    text = trim(text)
    for tail in tails:
        if (found := tail.search(plain(text))) and found.start() > 0:
            text = trim(text[: found.start()])
    return "" if plain(text) in _POINTING or not re.search(r"\w", text) else text
