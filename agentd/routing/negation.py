"""What of a sentence is asked for, when it also says what is not: "don't reboot, tell me the uptime".

A negation is a clause that forbids: "don't ...", "no need to ...", "not the log". A complaint ("nginx does
not run", "I can't hear anything") is none, nor is "don't let me forget". The rules are per language and look
at the beginning of each clause, where the forbidding is in most. Not for: questions (about.py).
"""

import re
from dataclasses import dataclass

from agentd.routing.features import names_in

# What may stand before everything else, and clauses that are nothing but this.
_FILLER = (
    r"(?:please|pls|plz|ok(?:ay)?|oh|um+|uh|so|well|hey|hi|hello|no+|nope|wait|stop|sorry|and|but|yeah"
    r"|yes|now"
    r"|thanks|thank you|dear|actually|really|just|whatever you do|whatever happens|for god'?s sake|i said"
    r"|and then"
    r"|bitte|nein|nee|doch|also|halt|warte|danke|und|aber|mal"
    r"|non|s'il (?:te|vous) pla[iî]t|stp|svp|attends|alors|et|mais|merci|surtout"
    r"|por favor|espera|gracias|per favore|aspetta|grazie|n[aã]o|nee|alsjeblieft|wacht|пожалуйста|нет"
    r"|prosz[eę])"
)
_FILLERS = re.compile(rf"^(?:{_FILLER}\b[\s,.!]*)+", re.IGNORECASE)

# How a clause that forbids begins, after fillers.
_FORBIDDING = (
    # English. "don't know", "don't have": a person tells of themselves.
    r"(?:do not|don'?t|do n't|never|dun?t)\b(?! (?:you(?! dare)|know|think|see|hear|understand|remember"
    r"|recall|have|get|care"
    r"|like|want|work|feel|believe|forget|let me forget|let me miss|trust|even know)\b)",
    r"(?:please|pls|plz) (?:do not|don'?t|never) (?:remember|recall|work|have|get)\b",
    r"(?:there(?:'?s| is) |i see |really )?no need\b",
    r"(?:stop (?:worrying|asking|bothering|trying)|forget (?:it|about it)$|never ?mind|nah\b|hands off\b)",
    r"(?:you|u|nobody|no ?one) (?:really |certainly )?(?:do not|don'?t|needn'?t|need not|must ?n'?t"
    r"|must not|should ?n'?t|should not|may not|can'?t|cannot)\b(?! (?:know|remember|tell|see|hear)\b)",
    r"(?:i|we) (?:really |certainly |just |still )?(?:do not|don'?t|did not|didn'?t|never|would not"
    r"|wouldn'?t)"
    r" (?:want|need|ask|say|tell you|mean)(?:ed)?\b",
    r"(?:i|we)(?:'d| would) (?:rather|prefer) (?:you )?(?:not|did ?n'?t)\b",
    r"not (?:the|that|this|those|these|now|yet|another|my|his|her|its|by|from|in|on)\b(?!.*\b(?:working"
    r"|right)\b)",
    r"no (?:more )?(?:re-?boot|re-?start|shut ?down|delet|chang|updat|suspend|timer|reminder|log)\w*\b",
    r"(?:under no circumstances|by no means|on no account|in no case)\b",
    r"leave (?:\S+ ){1,4}(?:alone|(?:as|where|how) (?:it is|they are|it was))\b",
    # German: the word for "not" follows the verb.
    r"(?:nicht|nichts|niemals|nie|auf keinen fall|bloß nicht)\b(?! (?:genug|mehr genug|schlecht|gefunden))",
    r"kein(?:en?)? (?:neustart|reboot|herunterfahren|erinnerung|wecker|timer)\w*",
    r"(?:du|sie|ihr|man) (?:musst|brauchst|sollst|darfst|müssen|brauchen|sollen|braucht)\b.*\b(?:nicht"
    r"|nichts|kein\w*)\b",
    r"ich (?:will|möchte|brauche|wollte)\b.*\b(?:nicht|nichts|kein(?:en?)?)\b",
    r"(?:start|fahr|schalt|mach|lösch|stopp|beend|boot|änder|verbind|trenn|erinner|lass|stell|setz|reboot"
    r"|restart|tu)"
    r"[a-zäöü]*\b.*\b(?:nicht|nichts|keinesfalls|kein(?:en?)?)\b",
    # French, with "ne" and without it.
    r"(?:ne |n')(?:me |le |la |les |l'|y )?[^\W\d]+(?:[ -].*)?\b(?:pas|rien|jamais|aucun|aucune)\b",
    r"(?:re)?(?:d[eé]marre|lance|boot|[eé]teins|arr[eê]te|coupe|supprime|efface|touche|change|ferme|fais"
    r"|mets)[a-z]*"
    r" (?:surtout )?(?:pas|rien|jamais)\b",
    r"(?:pas (?:la peine|besoin)|inutile|aucun besoin)\b",
    r"pas (?:le|la|les|l'|de red|d'arr|maintenant|ça|celui|celle|encore|du)",
    r"(?:je |j')(?:ne )?(?:veux|voulais|souhaite) pas\b",
    r"tu (?:n'as|ne dois|n'es|as|dois) pas (?:besoin|obligé|à|[^\W\d]+er)\b",
    # Spanish, Italian, Portuguese: "no" before a subjunctive, "non" before an infinitive.
    r"(?:no|nunca|jam[aá]s) (?:me |lo |la |te |le )?(?:reinicies|apagues|borres|elimines|pares|detengas"
    r"|inicies"
    r"|arranques|cambies|toques|hagas|pongas|desconectes|conectes|cierres|suspendas|muevas|quites|actives"
    r"|desactives|subas|bajes|recuerdes|reiniciar|apagar|borrar|hace falta|es necesario|hay que"
    r"|hay necesidad"
    r"|quiero que|quiero|tienes que|necesitas|necesito)\b",
    r"no (?:el|la|los|las)\b(?!.*\bfunciona)",
    r"non (?:\w*(?:are|ere|ire|rre)|\w+(?:ar|er|ir)(?:lo|la|mi|li|le|e)|serve|occorre|devi|voglio"
    r"|c'[eè] bisogno"
    r"|[eè] necessario|il|la|lo)\b",
    r"n[aã]o (?:reinici\w+|deslig\w+|apag\w+|elimin\w+|par\w+|toqu\w+|mud\w+|fa[çc]a\w*|precis\w+"
    r"|[eé] preciso|quero|o|a)\b",
    # Dutch, Russian, Polish, Turkish, Chinese, Japanese.
    r"(?:niet|geen|nooit) (?!genoeg)",
    r"(?:je|u) (?:hoeft|moet|mag)\b.*\b(?:niet|niets|geen)\b",
    r"(?:her)?(?:start|zet|sluit|verwijder|stop|schakel|doe|maak|verander|herinner)\b.*\b(?:niet|niets"
    r"|geen)\b",
    r"не (?:надо|нужно|стоит|хочу|\w+(?:й|йте|ай|уй|и|ите|ть))\b",
    r"nie (?:trzeba|musisz|potrzeb\w+|chc\w+|\w+(?:aj|uj|ij|ój))\b",
    r"\w+(?:me|ma)(?:yin)?$(?<=[^\W\d]{6})",
    r"(?:请)?(?:不要|别|不用|不必|無需|无需)",
    r".*(?:しないで|しなくて)",
)
_FORBIDS = re.compile("|".join(f"(?:{one})" for one in _FORBIDDING), re.IGNORECASE)
# A negator and nothing that it forbids: the next piece belongs to it.
_BARE = re.compile(
    r"^(?:do not|don'?t|never|not|nicht|ne|pas|no|non|n[aã]o|niet|не|nie|i don'?t|you don'?t"
    r"|je ne|please)\W*$",
    re.IGNORECASE,
)

# Clauses with a negation that ask for something all the same.
_WISHES = re.compile(
    r"\b(?:any ?more|any longer|no longer|(?:at|on|during|after) (?:the )?(?:next )?(?:boot|start-?up"
    r"|login)|starting"
    r"|automatically|auto-?start\w*|by (?:it|them)sel(?:f|ves)|on (?:its|their) own|with the (?:computer"
    r"|machine|system)"
    r"|let me (?:forget|miss|oversleep)|forget to|forget that"
    r"|nicht mehr|automatisch|vergiss|vergesse\w*|beim (?:booten|hochfahren|start|systemstart)"
    r"|plus|oublie\w*|oublier|au d[eé]marrage|automatiquement"
    r"|olvides?|olvidar|al arranca\w*|al inici\w*|dimentica\w*|all'avvio|esque[çc]\w*|vergeet|niet meer"
    r"|bij het opstarten"
    r"|забудь|zapomn\w*|unutma)\b",
    re.IGNORECASE,
)

# Why something is not wanted; no wish of its own.
_REASON = re.compile(
    r"(?:(?:i'?m|i am|i was|we're|we are|it'?s|it is|that'?s) (?:(?:quite|all|still|already|just|really"
    r"|so|perfectly)"
    r" )*(?:fine|ok(?:ay)?|all ?right|right|good|busy|talking|working|joking|kidding|serious|not|enough)\b.*"
    r"|(?:repeat|eh|right|got it|understood|ever|at all|today|for now|yet|ça va|merci|va bene|vale"
    r"|alles gut)\W*)$",
    re.IGNORECASE,
)

# Where a clause ends: marks before a space, and words that begin what is wanted instead.
_BORDER = re.compile(
    r"[,;:.!?…]+(?=\s|$)|\s[-\u2013\u2014]+\s|\n+"
    r"|(?<!\bi)(?<!\bwe)(?<!'m)(?<!\bam)\s(?=(?:but|just|only|instead|rather|simply|merely|sondern|nur"
    r"|aber|lieber|stattdessen|zeig|sag"
    r"|mais|juste|seulement|plut[oô]t|dis-moi|montre|pero|sino|solo|s[oó]lo|mejor|dime|mu[eé]strame|ma"
    r"|soltanto|invece"
    r"|dimmi|mostrami|mas|apenas|s[oó]|maar|alleen|liever|но|только|просто|tylko|ale)\b)"
    r"|\s(?=(?:tell|show|give|let) me\b)"
    r"|\s(?:and|or|und|oder|et|ou|y|o|e|en|и)\s(?=(?:do not|don'?t|just|only|tell|show|give|nicht|ne |no "
    r"|non |не ))",
    re.IGNORECASE,
)
# "without restarting it", "instead of a reboot": taken out wherever it stands.
_INSTEAD = re.compile(
    r"\b(?:without|instead of|rather than|ohne|(?:an)?statt|sans|au lieu de|sin|en vez de|senza|invece di"
    r"|sem"
    r"|zonder)\b\s+(?:(?!just\b|only\b|tell\b|show\b)[^\s,;:.!?]+\s*){1,4}?(?=[,;:.!?]|$|\b(?:just|only"
    r"|tell|show)\b)",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|it's|that one|they|them|ihn|es|sie|seinen|le|la|les|son|sa|lo|su|suo|het)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: the text without its negated parts, "" if nothing is left; whether it had any."""

    text: str
    negated: bool


def wish_of(text: str) -> Wish:
    """What a text asks for. A text without negation comes back as it is, but for its apostrophes."""
    text = text.replace("\u2019", "'")
    clauses = _clauses(text)
    refused = [one for one in clauses if _forbids(one)]
    if refused:
        kept = [one for one in clauses if one not in refused and not _is_filler(one)]
        wanted = ", ".join(kept)
        # "don't restart nginx, just show its status": the thing goes over into what is wanted.
        if wanted and _PRONOUN.search(wanted) and not names_in(wanted):
            wanted = " ".join([wanted, *names_in(" ".join(refused))[:1]])
        return Wish(wanted, True)
    without = _INSTEAD.sub("", text).strip(" ,;")
    if without != text.strip(" ,;") and len(without.split()) > 1:
        return Wish(without, True)
    return Wish(text, False)


def _clauses(text: str) -> list[str]:
    """The clauses of a text; a negator alone is put before what it forbids."""
    pieces = [piece.strip() for piece in _BORDER.split(text)]
    clauses: list[str] = []
    for piece in filter(None, pieces):
        if clauses and _BARE.match(_FILLERS.sub("", clauses[-1]) or ""):
            clauses[-1] = f"{clauses[-1]} {piece}"
        else:
            clauses.append(piece)
    return clauses


def _forbids(clause: str) -> bool:
    begun = _FILLERS.sub("", clause)
    return any(
        _FORBIDS.match(one) and not _WISHES.search(one) for one in dict.fromkeys((clause, begun)) if one
    )


def _is_filler(clause: str) -> bool:
    return not _FILLERS.sub("", clause + " ").strip(" .,!?") or bool(_REASON.match(clause))
