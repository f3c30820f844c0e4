"""Sentences that talk about a thing instead of asking for it: questions, quotations, what somebody said.

"What does restarting nginx do?" has all the words of a request. Such a sentence never changes anything;
whether it asks to read something is the head's to say. The rules are per language and look at a sentence's
beginning. Not for: negation (negation.py).
"""

import re

_FILLERS = re.compile(
    r"^(?:(?:please|ok(?:ay)?|oh|um+|uh|so|like|well|yeah|yes|hey|hi|hello|and|but|by the way|btw"
    r"|quick question|question"
    r"|just curious|seriously|sorry|bitte|also|sag mal|mal|du|eh|alors|dis|dis-moi|bon|oye|oiga|scusa|sai"
    r"|ol[aá]|hoi"
    r"|y|e|et|und|in (?:[\w+#.-]+ ){0,2}?[\w+#.-]+,? (?=how|what|why|which))\b[\s,.:!¿¡]*|[¿¡\s]+)+",
    re.IGNORECASE,
)

_ASKING = (
    # English. "How about ...", "why don't you ..." and "what about ..." propose.
    r"(?:what(?!'?s? (?:about|say you|do you say))|why (?!do ?n'?t (?:you|we)|not\b)|how (?!about\b)|who"
    r"|whose"
    r"|which)\b",
    r"(?:what'?s|who'?s|how'?s|hwo|waht|wat|whats|hows|y) ",
    r"(?:is|are|was|were|does|did|has|had|am|isn'?t|aren'?t|doesn'?t) "
    r"(?!there (?:any|a) (?:way|chance) (?:you|to)|it possible for you)",
    r"(?:have|do) (?:i|we|they|it|you know|you think|you happen|people|servers|computers)\b",
    r"(?:would|could) (?:you|u) have\b|(?:should|shall|must|may|might|would) (?:i|one|it|there|a|an|the"
    r"|that|this|people)\b",
    r"(?:can|could) (?:one|it|that|this|people|anyone|somebody|a|an)\b(?! (?:be|get|go) )",
    r"(?:can|could|would|will) (?:you|u) (?:please )?(?:explain|tell me (?:what|how|why|if|whether|about)"
    r"|describe"
    r"|teach|help me (?:understand|translate|write)|recommend)\b",
    r"(?:explain|describe|define|compare|teach me|translate|spell|tell me (?:about|how|why|what|whether"
    r"|if|something"
    r"|a story|a joke)|i (?:was |am |'m )?wonder(?:ing)?|wondering|any idea|i'?d (?:like|love) to (?:know"
    r"|understand"
    r"|learn)|i want to (?:know|understand|learn)|curious|suppose|imagine|what if|if (?:i|you|we"
    r"|one) (?:were|would|had"
    r"|deleted|asked|could|did|turned|restarted|rebooted|stopped)\b)",
    r"show me an example\b|(?:the |a )?(?:difference|pros and cons|regex|command|syntax|recipe"
    r"|example)\b.* (?:between|for|of"
    r"|that|to)\b",
    # German, Dutch.
    r"(?:wie(?! w[aä]r)|warum|wieso|weshalb|was|welche[rsnm]?|wer|wozu|soll(?:te)? (?:ich|man)"
    r"|muss (?:ich|man)"
    r"|darf (?:ich|man)|kann man|ist|sind|war|hat|gibt es|erkl[äa]r\w*|[üu]bersetze?)\b",
    r"(?:hoe|waarom|wat(?! dacht)|welke?|wie(?! w[aä]r)|moet ik|mag ik|kan (?:men|ik)|is|zijn|heeft"
    r"|leg uit|leg me uit|vertaal)\b",
    # French, Spanish, Italian, Portuguese.
    r"(?:comment|pourquoi|qu'est[- ]ce|que (?:fait|se passe|veut)|quoi|c'est (?:quoi|grave|dangereux|normal)"
    r"|[çc]a (?:fait|veut dire|sert)|est[- ]ce (?!que tu (?:peux|pourrais))|quel(?:le)?s?|qui|faut[- ]il"
    r"|dois[- ]je"
    r"|expli(?:que|quer)|tu peux m'(?:expliquer|aider)|traduis|il se passe quoi|à quoi|y a[- ]t[- ]il)\b",
    r"(?:c[oó]mo|por qu[eé]|qué(?! tal si)|que (?:es|hace|significa|pasa)|cu[aá]l(?:es)?|qui[eé]n"
    r"|deber[ií]a|debo|es (?:seguro|malo|normal|peligroso"
    r"|posible)|expl[ií]ca\w*|para qu[eé]|traduce|hay)\b",
    r"(?:come(?! ti)|perch[eé]|cosa|che (?:cosa|cos|differenza|succede|significa)|cos'[eè]|qual[ei]?"
    r"|quanto|chi"
    r"|dovrei|devo|[eè] (?:sicuro|normale|pericoloso|vero)|spiega\w*|a cosa|traduci)\b",
    r"(?:como|por qu[eê]|porqu[eê]|o que|qual|quem|devo|deveria|[eé] (?:seguro|normal|perigoso)"
    r"|explica\w*|para que"
    r"|traduz)\b",
    # Russian, Polish, Chinese, Japanese.
    r"(?:как|почему|зачем|что|какой|какая|кто|стоит ли|нужно ли|можно ли|объясни|переведи)\b",
    r"(?:jak|dlaczego|czemu|co|kto|kt[oó]r\w+|czy(?! m[oó]g[lł]?b?)|po co|wyja[sś]nij)\b",
    r"(?:为什么|怎么|什么|如何|是不是)",
    r".*(?:とは|って何|どうやって|なぜ)",
)
_ASKS = re.compile("|".join(f"(?:{one})" for one in _ASKING), re.IGNORECASE)

_GENERAL = re.compile(
    r"what(?:'?s| is| are) an? |what do(?:es)? [\w.-]+ do\b|why would an? |(?:a )?regex |show me an example"
    r"|(?:was ist|wat is) eine?n? |(?:qu'est-ce qu'|c'est quoi )une? |¿?qu[eé] es una? |(?:cos'"
    r"|che cos')?[eè] una? "
    r"|o que [eé] uma? ",
    re.IGNORECASE,
)

_SOMEBODY = (
    r"(?:i|we|he|she|they|someone|somebody|everybody|everyone|people|(?:my|our|the|a|an|his|her"
    r"|their) (?:[\w'-]+ ){1,4}?"
    r"|mum|mom|dad|support|\w+ (?=told me))"
)
_REPORTED = re.compile(
    rf"^{_SOMEBODY}\s*(?:\w+ly |just |always |once |never |had |used to )?"
    r"(?:said|says?|told|tells|wrote|writes|shouted|reads|suggested|suggests|claim(?:s|ed)|recommend(?:s|ed)"
    r"|mentioned|insist(?:s|ed)|warned|asked me|keeps (?:saying|telling)|was (?:saying|telling|talking"
    r"|supposed))\b"
    r"|^(?:in|on|according to) (?:the|a|that|my|our) [^,]{3,60}? (?:says?|said|reads?|it said|they say"
    r"|they tell)\b"
    r"|^(?:mon|ma|mes|le|la|il|elle|on|les) (?:\w+ )?(?:dit|disent|a dit|m'a dit|raconte|recommande)\b"
    r"|^(?:mein[e]?|der|die|das|er|sie) (?:\w+ )?(?:sagt|sagte|meint|meinte|schreibt|hat gesagt|empfiehlt)\b"
    r"|^(?:mi|el|la|mio|mia|il|o|a|meu|minha|mijn|de|het) (?:\w+ )?(?:dice|dijo|dicono|ha detto|diz|disse"
    r"|zegt|zei)\b",
    re.IGNORECASE,
)
# A person tells of the past: "yesterday I rebooted", "had to restart ten boxes", "I used to set alarms".
_TOLD = re.compile(
    r"^(?:(?:yesterday|last (?:night|week|month|year|time|summer|winter)|once|back then|years ago|as a child"
    r"|in the (?:film|movie|book|song|old days|tutorial|nineties|eighties)|before i|when i was)\b"
    r"|(?:i|we|he|she|they|you|my (?:[\w']+ ){1,2}?)\s?(?:once|used to|had to|always had to|have never"
    r"|never)\b"
    r"|(?:i|we|he|she|they|my [\w']+) [^,;.!?]*\b(?:yesterday|last (?:night|week|month|year|summer"
    r"|christmas)"
    r"|(?:days?|weeks?|months?|years?) ago)[^,;.!?]*[.!]?$"
    r"|had to\b|gestern\b|früher\b|hier\b|hier soir\b|ayer\b|ieri\b|ontem\b|gisteren\b)",
    re.IGNORECASE,
)

# What shows that a later sentence or clause asks for something after all.
_REQUEST = re.compile(
    r"(?:\b(?:please|pls|plz|(?:can|could|would|will) (?:you|u)(?! (?:tell|explain|say|help))|remind me"
    r"|show me|set it|put"
    r"|i (?:want|need) (?:it|you|\w+$)|make it|get it|switch|turn it|so (?:join|connect|use"
    r"|set|turn|stop|start|restart|remove|delete|make|keep|add|note)|go on it|let'?s|bitte|kannst du"
    r"|s'il te pla[iî]t"
    r"|stp|svp|tu peux|por favor|puedes|puoi|per favore|podes|alsjeblieft)\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|\n+")
_CLAUSE = re.compile(r"(?<=[.!?…,;:])\s+|\n+|\s[-\u2013\u2014]+\s")
# Where a person goes on to explain themselves, not to ask.
_EXPLAINS = re.compile(
    r"^(?:i|it|the|my|that|this|these|those|he|she|we|they|you|because|just|only|asking|is|are|does|was"
    r"|what|which|why"
    r"|how|who|or|no|not|never|as|when|if|nothing|real|thanks?|thx)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"\"[^\"\n]+\"|“[^”\n]+”|„[^“”\n]+[“”]|«[^»\n]+»|(?<!\w)'[^'\n]+'(?!\w)|\u2018[^\u2019\n]+\u2019"
    r"|`[^`\n]+`|「[^」\n]+」"
)


def is_about(text: str) -> bool:
    """Whether a text asks about something, or tells of something, and asks for nothing besides."""
    begun = _begun(text)
    if not (_ASKS.match(begun) or _TOLD.match(begun)) or any(map(_REQUEST.search, _CLAUSE.split(begun)[1:])):
        return False
    return all(len(one.split()) < 2 or _EXPLAINS.match(one) for one in _SENTENCE.split(begun)[1:])


def is_general(text: str) -> bool:
    """Whether a text tells of the past or asks what is true everywhere, not how this machine is."""
    begun = _begun(text)
    return bool(_GENERAL.match(begun) or _TOLD.match(begun)) and is_about(text)


def is_reported(text: str) -> bool:
    """Whether a text says what somebody said, and asks for nothing besides."""
    first, *rest = _CLAUSE.split(_begun(text))
    return bool(_REPORTED.match(first)) and not any(map(_REQUEST.search, rest))


def unquoted(text: str) -> str:
    """The text with "..." in the place of what it quotes; the text itself if it quotes nothing."""
    return _QUOTED.sub('"..."', text)


def _begun(text: str) -> str:
    return _FILLERS.sub("", text.strip().replace("\u2019", "'"))
