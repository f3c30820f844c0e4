"""Places, languages and keyboards: "Montréal" is America/Toronto, "deutsch" is de_DE.UTF-8 or de.

The tables are of what people say; what this machine has is the caller's to give. Not for: times.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from agentd.routing.slot_text import LONGEST, NOTHING, WORD, Found, is_near, plain

# "zone: cities, countries and names of time | ..." that are no zone's own name.
_ZONES = """
Europe/Berlin: germany | german | munich | munchen | hamburg | frankfurt | cologne | koln |
    deutschland | alemania | allemagne | berliner
Europe/London: edinburgh | leeds | manchester | england | british | uk | britain | glasgow | cardiff |
    londres | londra | londen
Europe/Paris: france | french | lyon | marseille | nice | toulouse | parigi | frankreich
Europe/Madrid: spain | spanish | barcelona | seville | valencia | espana | spanien
Europe/Rome: italy | italian | milan | milano | naples | roma | rom | florence | italia | italien
Europe/Vienna: austria | wien | wiener | graz | osterreich | vienne
Europe/Zurich: switzerland | swiss | bern | geneva | basel | geneve | genf | schweiz | suisse | zuricher
Europe/Lisbon: portugal | porto | lisboa | lissabon | lisbonne | portuguese
Europe/Brussels: belgium | antwerp | ghent | bruxelles | brussel | belgien
Europe/Amsterdam: netherlands | dutch | rotterdam | holland | the hague | utrecht
Europe/Athens: greece | greek | athen | athenes | atenas | griechenland
Europe/Warsaw: poland | polish | krakow | cracow | warschau | varsovie | warszawa
Europe/Prague: czech | prag | praha | brno
Europe/Moscow: russia | moskau | moscou | saint petersburg
Europe/Kyiv: ukraine | kiev | kiew
Europe/Stockholm: sweden | swedish | gothenburg | malmo
Europe/Oslo: norway | bergen | norwegian
Europe/Copenhagen: denmark | danish | kopenhagen | copenhague
Europe/Helsinki: finland | finnish
Europe/Dublin: ireland | irish | cork
Europe/Istanbul: turkey | turkish | ankara
America/New_York: nyc | eastern | eastern time | est | edt | boston | washington | miami |
    philadelphia | atlanta | nueva york
America/Chicago: central time | cst | cdt | texas | houston | dallas | austin | minneapolis
America/Denver: mountain time | mst | mdt | colorado | salt lake city
America/Phoenix: arizona
America/Los_Angeles: pacific | pacific time | pst | pdt | california | san francisco | seattle |
    oregon | portland | la | san diego
America/Toronto: montreal | ottawa | quebec
America/Vancouver: british columbia
America/Sao_Paulo: brazil | brazilian | rio de janeiro | rio | brasilia
America/Argentina/Buenos_Aires: argentina | buenos aires
America/Mexico_City: mexico
America/Bogota: colombia
America/Santiago: chile
America/Lima: peru
Asia/Tokyo: japan | japanese | osaka | kyoto | jst | tokio
Asia/Kolkata: india | indian | mumbai | delhi | new delhi | bangalore | calcutta | ist | chennai |
    indian standard time
Asia/Shanghai: china | chinese | beijing | peking | shenzhen
Asia/Seoul: korea | korean | south korea
Asia/Singapore: singapur | singapour
Asia/Dubai: emirates | abu dhabi
Asia/Jakarta: indonesia
Asia/Makassar: bali
Asia/Manila: philippines
Asia/Jerusalem: israel | tel aviv
Australia/Sydney: australia | canberra
Pacific/Auckland: new zealand | wellington
Pacific/Honolulu: hawaii
Africa/Johannesburg: south africa | cape town | pretoria
Africa/Cairo: egypt | kairo
Africa/Nairobi: kenya
Africa/Lagos: nigeria
Etc/UTC: utc | gmt | zulu | universal time | greenwich
Europe/Belgrade: serbia | belgrad
Europe/Budapest: hungary
Europe/Bucharest: romania
Atlantic/Reykjavik: iceland
Asia/Ho_Chi_Minh: vietnam | hanoi | saigon
Asia/Bangkok: thailand
"""
_CET = {"cet": "Europe/Berlin", "cest": "Europe/Berlin", "mez": "Europe/Berlin"}
_LITERAL_ZONE = re.compile(r"(?<![\w/.~-])[A-Za-z]+/[A-Za-z_+-]+[A-Za-z0-9](?:/[A-Za-z_]+)?(?![\w/.])")
# "moved from Leeds to Athens", "back from Tokyo": not where one is now.
_NOT_HERE = re.compile(
    r"\b(?:from|instead of|not|no longer|thinks? (?:it's|it is|we(?:'re| are| live)?) in|still (?:on|in"
    r"|shows|thinks)|left|believes (?:it's|we're) in|on|of) (?:the )?$"
)
_LIVING = re.compile(
    r"\b(?:(?:live|i'm|i am|we're|we are|home|now|again|arrived|work(?:ing)?) in|moved (?:\S+ \S+ )?to"
    r"|flown to) $"
)
_THERE = re.compile(r"\b(?:to|in|for|from|on|auf|nach|sur|a|at|into|set|want|para|op|zu) (?:the )?$")


def zone(text: str, zones: Sequence[str]) -> Found:
    """The time zone of the place that a text names, of `zones` (Area/City)."""
    text = text[:LONGEST]
    by_name = _zone_names(tuple(zones))
    if found := _LITERAL_ZONE.search(text):
        name = by_name.get(plain(found[0]))
        near = difflib.get_close_matches(found[0], zones, 3, 0.75)
        if name or near:
            return Found(name, (found.span(),)) if name else Found(candidates=tuple(near))
    low = plain(text)
    words = list(WORD.finditer(low))
    hits: list[tuple[int, int, str]] = []
    at = 0
    while at < len(words):
        for size in (3, 2, 1):
            part = words[at : at + size]
            said = " ".join(word[0].replace("-", " ") for word in part).removesuffix("'s")
            if len(part) == size and said in by_name and said not in ("la", "nice", "cork", "est", "rom"):
                hits.append((part[0].start(), part[-1].end(), by_name[said]))
                at += size - 1
                break
        at += 1
    for special in ("la", "est", "rom", "nice"):
        if not hits and low.strip() == special:
            return Found(by_name[special])
    if not hits:
        return _mistyped(low, by_name)
    here = [hit for hit in hits if not _NOT_HERE.search(low[: hit[0]])] or hits
    start, end, name = next(
        (hit for pattern in (_LIVING, _THERE) for hit in here if pattern.search(low[: hit[0]])), here[-1]
    )
    return Found(name, ((start, end),))


@lru_cache(maxsize=4)
def _zone_names(zones: tuple[str, ...]) -> dict[str, str]:
    known = set(zones)
    names: dict[str, str] = {}
    # Of a city's several names the one of the table: Europe/Istanbul before Asia/Istanbul.
    for name in (*(name for name, _ in _rows(_ZONES) if name in known), *zones):
        area, _, city = name.rpartition("/")
        if area:
            names.setdefault(plain(name), name)
        if area and area not in ("Etc", "posix", "right"):
            names.setdefault(plain(city).replace("_", " "), name)
    for name, listed in _rows(_ZONES):
        there = name if name in known else "UTC" if name == "Etc/UTC" and "UTC" in known else ""
        if there:
            names |= dict.fromkeys(listed.split("|"), there)
    return names | {short: name for short, name in _CET.items() if name in known}


# "locale layout: how people say it | ..."; Irish English, say, has both, ISO dates are no keyboard's.
_LANGUAGES = """
en_GB gb: british | uk | british english | united kingdom | english uk | england | britisch | en gb |
    britannique | gb
en_US us: us english | american | american english | english us | english | usa | us | englisch |
    anglais | ingles | inglese | qwerty | engels | en us | united states | amerikanisch
en_IE ie: irish english | irish
en_CA ca: canadian english | canadian
en_AU us: australian
de_DE de: german | deutsch | deutsche | deutschen | allemand | aleman | tedesco | qwertz | germany |
    duits | alemao
de_AT at: austrian | austrian german | osterreichisch
de_CH ch: swiss | swiss german | schweizerdeutsch | schweizer | schweizerisch
fr_FR fr: french | francais | franzosisch | azerty | frances | francese | frans | france
fr_CH ch-fr: swiss french | suisse romand | suisse
fr_CA ca: canada, french | canadian french | quebec french
fr_BE be: belgian | belge | belgisch
nl_BE be: flemish
es_ES es: spanish | espanol | spanisch | espagnol | spagnolo | castellano | castilian | spain | spaans
es_MX latam: mexican | latin american
es_AR latam: argentina | argentinian
it_IT it: italian | italiano | italiana | italienisch | italien | italy | italiaans
pt_BR br: brazilian | brazilian portuguese | abnt2 | brasileiro
pt_PT pt: portuguese | portugues | portugiesisch | portugais | portugal
nl_NL nl: dutch | nederlands | niederlandisch | neerlandais | holandes | netherlands
pl_PL pl: polish | polnisch | polski | polonais | polish programmers
cs_CZ cz: czech | tschechisch | cesky | tcheque
sk_SK sk: slovak
hu_HU hu: hungarian | ungarisch
ro_RO ro: romanian
bg_BG bg: bulgarian
hr_HR hr: croatian
sr_RS rs: serbian
sl_SI si: slovenian
da_DK dk: danish | danisch | dansk | danois
sv_SE se: swedish | schwedisch | svenska | suedois | sweden | sueco
nb_NO no: norwegian | norwegisch | norsk | nordic
fi_FI fi: finnish | finnisch | suomi | finnois
is_IS is: icelandic
el_GR gr: greek | griechisch | grec
tr_TR tr: turkish | turkisch | turkish q | turc
ru_RU ru: russian | russisch | russe | ruso | cyrillic
uk_UA ua: ukrainian | ukrainisch
he_IL il: hebrew
ar_EG ara: arabic | arabisch | arabe
ja_JP jp: japanese | japanisch | japonais
ko_KR kr: korean
zh_CN cn: chinese | chinesisch | chinois | mandarin
ca_ES es-cat: catalan | catala
gl_ES es: galician
eu_ES es: basque
cy_GB gb: welsh
en_DK: iso dates
"""


def _rows(table: str) -> Iterator[tuple[str, str]]:
    """The head of each line and its words, with "|" between them."""
    for line in table.replace("|\n", "|").strip().splitlines():
        head, _, words = line.partition(":")
        yield head, "|".join(word.strip() for word in words.split("|"))


_LOCALES = tuple((f"{head.split()[0]}.UTF-8", words) for head, words in _rows(_LANGUAGES))
_COUNTRIES = tuple((head.split()[1], words) for head, words in _rows(_LANGUAGES) if " " in head)
# Layouts that are no country's; a name of the machine's may have it as a variant (us-dvorak).
_VARIANTS = (
    ("us-dvorak", "dvorak|dvorka"), ("us-colemak", "colemak"), ("us-intl", "us international|us intl|us-intl"
                                                                           "|international"),
    ("de-neo", "neo|neo2"), ("fr-bepo", "bepo"), ("us-workman", "workman"),
)  # fmt: skip
_LITERAL_LOCALE = re.compile(
    r"(?<![\w.])([a-z]{2,3})[_-]([A-Za-z]{2})(?:\.(utf-?8))?(@[a-z]{2,10})?(?!\w|[.-]\w)", re.IGNORECASE
)
_C_LOCALE = re.compile(r"\bC(?:\.UTF-8)\b|\bC locale\b", re.IGNORECASE)
_LITERAL_LAYOUT = re.compile(
    r"\b(?:keyboard|layout|keymap|loadkeys|set-keymap|set-x11-keymap|clavier|tastatur\w*|teclado|tastiera|to"
    r"|auf|zu|en)[\s:=]+"
    r"(?P<it>[a-z]{2}(?:(?:-[a-z0-9]{2,12}){1,3}(?!\w)|(?=[\s,]*(?:please|pls|bitte)?[\s.!?]*$)))"
)


def locale(text: str) -> Found:
    """The locale of the language or country that a text names, in UTF-8."""
    text = text[:LONGEST]
    if found := _LITERAL_LOCALE.search(text):
        language, country = found[1].lower(), found[2].upper()
        if "_" in found[0] or any(name == f"{language}_{country}.UTF-8" for name, _ in _LOCALES):
            return Found(f"{language}_{country}.UTF-8{(found[4] or '').lower()}", (found.span(),))
    if found := _C_LOCALE.search(text):
        return Found("C.UTF-8", (found.span(),))
    said = _said(text, _LOCALES)
    if said.value or len(text.strip()) != 2:
        return said
    return next((Found(name) for name, _ in _LOCALES if name[:2] == text.strip().lower()), NOTHING)


def layout(text: str, layouts: Sequence[str] = ()) -> Found:
    """The keyboard layout that a text names: one of `layouts` by name, or one of the tables here."""
    text = text[:LONGEST]
    low = plain(text)
    known = set(layouts) or {code for code, _ in _COUNTRIES} | {name for name, _ in _VARIANTS}
    alone = low.strip(" .!?")
    if found := _LITERAL_LAYOUT.search(low) or re.fullmatch(
        r"(?P<it>[a-z]{2,6}(?:-[a-z0-9]{2,12}){0,3})", alone
    ):
        name = {"uk": "gb"}.get(found["it"], found["it"])
        if name in known or name.partition("-")[0] in known:
            return Found(name)
    variants = _said(text, _VARIANTS)
    if variants.value:
        return variants
    return _said(text, _COUNTRIES)


@lru_cache(maxsize=4)
def _phrases(table: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    phrases: dict[str, str] = {}
    for value, words in table:
        for word in words.split("|"):
            phrases.setdefault(word, value)
    longest_first = "|".join(map(re.escape, sorted(phrases, key=len, reverse=True)))
    return re.compile(rf"(?<![\w-])(?:{longest_first})(?![\w-])"), phrases


_LEFT = re.compile(
    r"\b(?:from|instead of|not|is in|are (?:all )?in|'s in|don't speak|thinks it's|than|replace"
    r"|left it on) (?:all |a |the )?$"
)
_WANTED = re.compile(
    r"\b(?:to|want|need|auf|en|in|into|speak|a|op|para|be|should be|it's an?|set|an?) (?:the |a )?$"
)


def _said(text: str, table: tuple[tuple[str, str], ...]) -> Found:
    """The value of the phrase that a text has; of several the one that is wanted, not left."""
    pattern, phrases = _phrases(table)
    low = plain(text)
    # "us" is a word of English too; as a layout it stands at the end or is written large.
    hits = [
        found
        for found in pattern.finditer(low)
        if found[0] != "us"
        or text[slice(*found.span())] == "US"
        or re.search(r"\b(?:layout|keymap|keyboard|locale|to)[\s:=]+$", low[: found.start()])
        or low.strip() == "us"
    ]
    if not hits:
        return _mistyped(low, phrases)
    kept = [hit for hit in hits if not _LEFT.search(low[: hit.start()])] or hits
    chosen = next((hit for hit in kept if _WANTED.search(low[: hit.start()])), kept[-1])
    return Found(phrases[chosen[0]], (chosen.span(),))


def _mistyped(low: str, names: Mapping[str, str]) -> Found:
    """The value of a name that a word is one typo away from; short words are too often other words."""
    for word in dict.fromkeys(word[0] for word in WORD.finditer(low) if len(word[0]) > 4):
        for name, value in names.items():
            if len(name) > 4 and name[0] in word[:2] and is_near(word, name):
                return Found(value)
    return NOTHING
