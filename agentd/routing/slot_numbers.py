"""Numbers in words and digits: how many, and how loud or bright. Not for: times (slot_times.py)."""

import re

from agentd.routing.slot_text import plain

_UNDER_20 = {
    "en": "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen",
    "de": "ein zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn funfzehn sechzehn"
    " siebzehn achtzehn neunzehn",
    "fr": "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept"
    " dix-huit dix-neuf",
    "es": "uno dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciseis"
    " diecisiete dieciocho diecinueve",
    "it": "uno due tre quattro cinque sei sette otto nove dieci undici dodici tredici quattordici quindici"
    " sedici diciassette diciotto diciannove",
    "nl": "een twee drie vier vijf zes zeven acht negen tien elf twaalf dertien veertien vijftien zestien"
    " zeventien achttien negentien",
    "pt": "um dois tres quatro cinco seis sete oito nove dez onze doze treze catorze quinze dezasseis"
    " dezassete dezoito dezanove",
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "de": "zwanzig dreissig vierzig funfzig sechzig siebzig achtzig neunzig",
    "fr": "vingt trente quarante cinquante soixante soixante-dix quatre-vingt quatre-vingt-dix",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "it": "venti trenta quaranta cinquanta sessanta settanta ottanta novanta",
    "nl": "twintig dertig veertig vijftig zestig zeventig tachtig negentig",
    "pt": "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
}
# How a ten and a one are put together.
_JOINED = {
    "en": ("{ten} {one}", "{ten}-{one}", "{ten}{one}"),
    "de": ("{one}und{ten}",),
    "fr": ("{ten}-{one}", "{ten} {one}", "{ten} et {one}"),
    "es": ("{ten} y {one}",),
    "it": ("{ten}{one}",),
    "nl": ("{one}en{ten}", "{one}\N{LATIN SMALL LETTER E}en{ten}"),
    "pt": ("{ten} e {one}",),
}
# Words of other meanings too ("um" is "at" in German, "due" English); they count before a unit only.
DOUBTFUL = frozenset({"ein", "un", "uno", "um", "een", "due", "once", "sept", "one"})


def _numbers() -> dict[str, int]:
    """Every number from 1 to 99 by its words, without accents."""
    words: dict[str, int] = {}
    for language, under in _UNDER_20.items():
        ones = under.split()
        words |= {word: number for number, word in enumerate(ones, 1)}
        for count, ten in enumerate(_TENS[language].split(), 2):
            words[ten] = 10 * count
            for one, word in enumerate(ones[:9], 1):
                for joined in _JOINED[language]:
                    words[joined.format(ten=ten, one=word)] = 10 * count + one
    # Germans write it with two letters that plain() leaves alone.
    words |= {word.replace("dreissig", "dreißig"): number for word, number in words.items()}
    return words | {
        "fourty": 40,
        "veintiuno": 21,
        "veinticinco": 25,
        "hundred": 100,
        "hundert": 100,
        "cent": 100,
    }


NUMBERS = _numbers()
_NUMBER = re.compile(
    rf"(?<![\w.,:/-])(?:(?P<digits>\d{{1,9}})|"
    rf"(?P<words>{'|'.join(sorted(map(re.escape, NUMBERS), key=len, reverse=True))}))"
    r"(?![\w/]|[.,:]\d)"
)
_NOT_COUNTED = re.compile(
    r"\s*(?:%|percent|prozent|am\b|pm\b|o'clock|uhr\b|hours?|minutes?|days?|hrs?\b|mins?\b)"
)


def count(text: str) -> int | None:
    """A number of things: "top 5", "the five biggest", "ten"; not a percentage or a time."""
    low = plain(text)
    for found in _NUMBER.finditer(low):
        word = found["words"]
        if _NOT_COUNTED.match(low, found.end()) or (word in DOUBTFUL and word != low.strip()):
            continue
        number = int(found["digits"]) if found["digits"] else NUMBERS[word]
        if number > 0:
            return number
    return None


# Steps that "louder" and "a little darker" are.
_STEP, _SMALL_STEP, _LARGE_STEP = 10, 5, 25
_PERCENT = re.compile(
    r"\s*(?:%|percent|per cent|pct|prozent|pour ?cent|por ciento|por cento|per ?cento|procent)"
)
_NUMBER_ONLY = re.compile(r"\b(?:to|at|auf|a|al|à|su|op|=|vol(?:ume)?|brightness|level)\s*$")
_BY = re.compile(r"\b(?:by|um|de|di|con)\s*$")
_SETTINGS = (
    (0, r"mute|unhorbar|stumm\w*|silen\w+|sound off|quiet completely|zero|muet\w*|muto|dempen"
        r"|coupe[rz]?|(?:turn|switch|shut) (?:the )?(?:sound|audio|volume) off|ton aus"
        r"|(?:turn|switch|shut) off (?:the )?(?:sound|audio|volume)|stil(?:le)?"),
    (75, r"three[- ]quarters?|drei viertel|trois quarts"),
    (25, r"(?:a |one )?quarter|ein viertel|un quart|un cuarto"),
    (100, r"max(?:imum|imal\w*|imo|i)?|full(?:y)?|all the way up|as (?:loud|bright|high) as (?:possible"
          r"|it goes)|highest"
          r"|(?:super|very|really) (?:loud|bright)|voll|ganz (?:laut|hell)|a fond|al maximo|tope|al massimo"
          r"|crank"),
    (5, r"min(?:imum|imal\w*|imo)?|lowest|all the way down|as (?:dark|dim|quiet|low) as (?:possible|it goes)"
        r"|ganz (?:leise|dunkel)|al minimo|au minimum"),
    (50, r"half(?: ?way)?|halb|halfte|halbe\w*|(?:la )?moitie|(?:la )?mitad|meta|meta'|de helft|middle"
         r"|medium"),
)  # fmt: skip
_UP = (
    r"louder|(?<!lights )up|uup|brighter|bright(?:en)?|lighter|raise|increase|higher|more|turn it up|boost"
    r"|shin(?:y|ier)"
    r"|lauter|heller|erhohe|mehr|hoher|hoch|plus|monte[rz]?|augmente[rz]?|hausse[rz]?|sube|subir|subelo|mas"
    r"|aumenta\w*"
    r"|alza\w*|piu|harder|hoger|omhoog|cannot hear|can'?t hear|too (?:quiet|dark|dim|low)|so (?:dark|quiet"
    r"|dim)|zu (?:leise|dunkel)|trop (?:sombre|bas)|muy (?:bajo|oscuro)"
)
_DOWN = (
    r"quieter|softer|down|darker|dim(?:mer)?|lower|reduce|decrease|less|turn it down|too (?:loud|bright|high"
    r"|much)"
    r"|leiser|dunkler|weniger|runter|niedriger|senke|zu (?:laut|hell)|moins|baisse[rz]?|diminue[rz]?|reduis"
    r"|trop (?:fort|clair)"
    r"|baja\w*|bajar|menos|reduce|muy (?:alto|fuerte)|abbassa\w*|meno|riduci|diminui|zachter|donkerder|lager"
    r"|omlaag|minder|so (?:loud|bright)|hurts? my (?:eyes|ears)|deafening|blinding"
)
_SMALL = re.compile(
    r"\b(?:little|bit|slightly|touch|tad|notch|etwas|bisschen|un peu|un poco|un po'?|beetje|um pouco)\b"
)
_LARGE = re.compile(
    r"\b(?:a lot|much (?:louder|quieter|brighter|darker|softer|lower|higher)|viel|beaucoup|mucho|molto|veel"
    r"|muito)\b"
)
_SETTING = tuple((value, re.compile(rf"\b(?:{words})\b")) for value, words in _SETTINGS)
_UPWARDS, _DOWNWARDS = (re.compile(rf"\b(?:{words})\b") for words in (_UP, _DOWN))
_REFUSED = re.compile(r"\b(?:no need to|not|don'?t|kein\w*|nicht|pas)\b[^,;.]*,")


def level(text: str) -> str | None:
    """A level as Kind.LEVEL has it: "50 percent" is "50", "louder" is "+10", "mute" is "0"."""
    low = _REFUSED.sub(" ", plain(text))
    found = next(iter(_NUMBER.finditer(low)), None)
    up, down = _first(_UPWARDS, low), _first(_DOWNWARDS, low)
    sign = "+" if up is not None and (down is None or up < down) else "-" if down is not None else ""
    quarters = re.search(r"\bquarters?\b", low)
    if found and found["words"] not in DOUBTFUL and not quarters:
        number = int(found["digits"]) if found["digits"] else NUMBERS[found["words"]]
        if number > 100:
            return None
        if sign and number and _BY.search(low[: found.start()]):
            return f"{sign}{number}"
        is_level = _PERCENT.match(low, found.end()) or _NUMBER_ONLY.search(low[: found.start()])
        if is_level or found.end() == len(low.rstrip(" .!%")):
            return str(number)
    for value, words in _SETTING:
        if words.search(low):
            return str(value)
    if not sign:
        return None
    # "turn it down, it is too loud" has both ways in it; what is complained of says where to.
    step = _SMALL_STEP if _SMALL.search(low) else _LARGE_STEP if _LARGE.search(low) else _STEP
    return f"{sign}{step}"


def _first(words: re.Pattern[str], text: str) -> int | None:
    found = words.search(text)
    return found.start() if found else None
