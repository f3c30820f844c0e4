"""Times in several languages as one: "morgen um halb neun", "demain à 8h" in a small English.

A text becomes a line of canonical words ("tomorrow at 8h"), whose places lead back into the text: one
grammar (slot_times.py, slot_schedules.py) does for all languages. Words without a translation stay. Not
for: what the line means.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from agentd.routing.slot_numbers import DOUBTFUL, NUMBERS
from agentd.routing.slot_text import LONGEST, is_near, plain

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

# Of one language after the other, in the order of DAYS and MONTHS; plurals are made below.
_DAY_WORDS = (
    "montag dienstag mittwoch donnerstag freitag samstag sonntag",
    "lundi mardi mercredi jeudi vendredi samedi dimanche",
    "lunes martes miercoles jueves viernes sabado domingo",
    "lunedi martedi mercoledi giovedi venerdi sabato domenica",
    "segunda-feira terca-feira quarta-feira quinta-feira sexta-feira sabado domingo",
    "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
)
_MONTH_WORDS = (
    "jan feb mar apr - jun jul aug sep oct nov dec",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
)
_UNITS = {
    "second": "sec secs sekunde sekunden sek seconde secondes segundo segundos secondo secondi seconden",
    "minute": "min mins minuten minuto minutos minuti minuut minuutje",
    "hour": "hr hrs stunde stunden std heure heures hora horas ora ore",
    "day": "tag tage tagen jour jours dia dias giorno giorni dag dagen",
    "week": "wk wks woche wochen semaine semaines semana semanas settimana settimane weken",
    "month": "monat monate monaten monats mois mes meses mese mesi maand maanden",
    "year": "jahr jahre jahren annee annees ano anos anno anni jaar",
}
_ARTICLES = "a an one ein eine einer einem einen une un una uno uma een un'"
# "canonical words: phrase | phrase ..."; the longest phrase at a place wins.
_PHRASES = """
tomorrow: tmrw | tmr | tomoz | 2morrow | morgen | demain | manana | domani | amanha
tonight: tonite | this night | vanavond | heute nacht | cette nuit | esta noche | stasera | esta noite |
    stanotte
noon: midday | mittag | mittags | midi | mediodia | mezzogiorno | meio-dia | twaalf uur
midnight: mitternacht | minuit | medianoche | mezzanotte | meia-noite | middernacht
every: each | jeden | jede | jedes | jedem | chaque | cada | ogni | elke | iedere | tous les |
    toutes les | todos los | todas las | todos os | todas as | tutti i | a cada | evry | every single
daily: dayly | taglich | quotidiennement | diariamente | a diario | quotidianamente | dagelijks |
    day in, day out
every night: nightly | nights
every morning: mornings
every evening: evenings
every week: week after week | once per week
weekly: wochentlich | wekelijks
monthly: monatlich | maandelijks
yearly: jahrlich | annually | jaarlijks
hourly: stundlich
every weekday: werktags | jeden werktag | an werktagen | jours ouvrables | workdays | every workday |
    each workday | en semaine | every week day | entre semana | doordeweeks | working days | weekdays
every weekend: weekends | every weekends
2: couple of | a couple of
2 weeks: fortnight | a fortnight
30 minutes: half an hour | half hour | half a hour | an half hour | a half hour | halbe stunde |
    halben stunde | eine halbe stunde | einer halben stunde | demi-heure | une demi-heure | media hora |
    una media hora | mezz'ora | mezzora | meia hora | half uur | halfuur | een half uur
30 seconds: half a minute | half minute | halbe minute
15 minutes: quarter of an hour | a quarter of an hour | quarter hour | viertelstunde |
    einer viertelstunde | eine viertelstunde | quart d'heure | un quart d'heure | cuarto de hora |
    un cuarto de hora | quarto d'ora | un quarto d'ora | quarto de hora | kwartier | een kwartier
45 minutes: three quarters of an hour | three-quarter-hour | three quarter hour | dreiviertelstunde |
    trois quarts d'heure | tres cuartos de hora
90 minutes: hour and a half | an hour and a half | one and a half hours | heure et demie |
    une heure et demie | hora y media | una hora y media | un'ora e mezza | anderthalb stunden |
    eineinhalb stunden | anderhalf uur
75 minutes: hour and a quarter | an hour and a quarter
150 minutes: zweieinhalb stunden
1 hour: an hour's | un'ora
half past: half past
halfto: halb
quarter past: quarter past | viertel nach | kwart over
quarter to: viertel vor | kwart voor
halfafter: et demie | y media | e mezza | e meia
quarterafter: et quart | y cuarto | e un quarto
o'clock: uhr | oclock
today: heute | aujourd'hui | hoy | oggi | hoje | vandaag | today's
this morning: heute morgen | heute fruh | ce matin | esta manana | stamattina | esta manha |
    vanochtend | vanmorgen
today noon: heute mittag
this afternoon: heute nachmittag | cet apres-midi | esta tarde | oggi pomeriggio | vanmiddag
this evening: heute abend | ce soir
aftertomorrow: ubermorgen | apres-demain | apres demain | pasado manana | dopodomani |
    depois de amanha | overmorgen | day after tomorrow | the day after tomorrow
beforeyesterday: day before yesterday | the day before yesterday | vorgestern | avant-hier | anteayer |
    l'altro ieri | anteontem | eergisteren
tomorrow morning: morgen fruh | demain matin | manana por la manana | domani mattina | amanha de manha |
    morgenochtend
tomorrow noon: morgen mittag | demain midi
tomorrow afternoon: morgen nachmittag | demain apres-midi | manana por la tarde | domani pomeriggio
tomorrow evening: morgen abend | demain soir | manana por la noche | domani sera | morgenavond
yesterday: gestern | hier | ayer | ieri | ontem | gisteren | yesterday's
yesterday evening: gestern abend | hier soir | gisteravond | yesterday night
last night: anoche | ieri sera | letzte nacht | la nuit derniere | la notte scorsa | afgelopen nacht |
    overnight
in the morning: morgens | vormittags | du matin | de la manana | por la manana | di mattina | da manha |
    de manha | 's ochtends
in the afternoon: nachmittags | de l'apres-midi | de la tarde | por la tarde | del pomeriggio | da tarde
in the evening: abends | du soir | de la noche | por la noche | di sera | da noite
every morning: jeden morgen | chaque matin | tous les matins | todas las mananas | cada manana |
    ogni mattina | todas as manhas | elke ochtend
every evening: jeden abend | chaque soir | tous les soirs | todas las noches | cada noche | ogni sera |
    todas as noites | elke avond
night: nite | nacht | nuit | notte
morning: vormittag | mattina
afternoon: nachmittag | apres-midi | pomeriggio
evening: abend | soir
lunch: lunch | lunchtime | lunch time | dem mittagessen
weekend: wochenende | week-end | fin de semana | fine settimana | fim de semana
next: nachste | nachsten | nachster | nachstes | kommende | kommenden | kommender | prochain |
    prochaine | proximo | proxima | prossimo | prossima | que viene | que vem | volgende
last: letzte | letzten | letzter | vergangene | vergangenen | derniere | dernieres | dernier |
    derniers | ultima | ultimas | ultimo | ultimos | ultime | ultimi | nell'ultima | scorso | scorsa |
    passado | passada | pasado | pasada | afgelopen | past | previous
since: seit | depuis | desde | sinds | sinc | sincd
since yesterday: da ieri | dall'altro ieri
since today: da oggi
since this morning: da stamattina
in: dans | daqui a | dentro de | fra | d'ici
back: il y a | hace | vor
ago: fa | geleden
at: um | a las | a eso de las | pelas | om | alle ore
at 1: a la una
boot: start | boot | reboot | restart | start-up | startup | booten | hochfahren | systemstart |
    neustart | demarrage | arranque | inicio | avvio | opstarten | power on
1st: premier | 1er | primero | primo | ersten | first | eerste
"""

# Words that people mistype; their typos become these.
_MISTYPED = tuple(
    """yesterday today tonight tomorrow morning afternoon evening midnight weekday weekdays weekend weekly
    monthly daily minute minutes hour hours seconds months every since hourly twenty thirty fifteen
    o'clock monday tuesday wednesday thursday friday saturday sunday""".split()  # noqa: SIM905 - words to read
)
_NO_TYPOS = frozenset("ever mouth mouths dally moths toddy mints house horse your yours our four".split())  # noqa: SIM905
_TOKEN = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*'?|[^\w\s]|_")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text's canonical `line`; `places` are (start in the line, its end, start in the text, its end)."""

    line: str
    places: tuple[tuple[int, int, int, int], ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text a part of the line comes from."""
        inside = [place for place in self.places if place[1] > start and place[0] < end]
        return (inside[0][2], inside[-1][3]) if inside else (0, 0)


@lru_cache(maxsize=64)
def spoken(text: str) -> Spoken:
    """The canonical line of the first LONGEST characters of a text."""
    low = plain(text[:LONGEST])
    tokens = list(_TOKEN.finditer(low))
    words = [token[0] for token in tokens]
    pieces: list[str] = []
    places: list[tuple[int, int, int, int]] = []
    at = length = 0
    while at < len(tokens):
        size, canonical = _longest(words, at)
        first, last = tokens[at], tokens[at + size - 1]
        if places and first.start() > places[-1][3]:
            pieces.append(" ")
            length += 1
        pieces.append(canonical)
        places.append((length, length + len(canonical), first.start(), last.end()))
        length += len(canonical)
        at += size
    return Spoken("".join(pieces), tuple(places))


def _longest(words: list[str], at: int) -> tuple[int, str]:
    """How many words the longest phrase at a place has, and what it is in the line."""
    by_size = _table().get(words[at])
    if by_size:
        for size, rest, canonical in by_size:
            if tuple(words[at + 1 : at + size]) == rest:
                return size, canonical
    word = words[at]
    return 1, word if len(word) < 4 or word in _NO_TYPOS else _corrected(word)


@lru_cache(maxsize=4096)
def _corrected(word: str) -> str:
    return next((right for right in _MISTYPED if is_near(word, right)), word)


@lru_cache(maxsize=1)
def _table() -> dict[str, list[tuple[int, tuple[str, ...], str]]]:
    """By the first word: (words in all, the other words, canonical), the longest first."""
    phrases: dict[str, str] = {}
    for unit, words in _UNITS.items():
        names = [unit, f"{unit}s", *words.split()]
        for name in names:
            phrases[name] = name if name in (unit, f"{unit}s") else f"{unit}s"
            phrases |= {f"{article} {name}": f"1 {unit}" for article in _ARTICLES.split()}
            phrases |= {f"{word} {name}": f"{NUMBERS[word]} {unit}s" for word in DOUBTFUL}
    phrases |= {
        word: str(number) for word, number in NUMBERS.items() if word not in DOUBTFUL or word == "one"
    }
    for listed, canonicals, plural in ((_DAY_WORDS, DAYS, True), (_MONTH_WORDS, MONTHS, False)):
        for line in listed:
            for word, canonical in zip(line.split(), canonicals, strict=True):
                phrases[word] = canonical
                if plural:
                    # "montags", "on mondays": every Monday; as "lunes" it is its own plural.
                    phrases.setdefault(f"{word}s", f"{canonical}s")
    phrases |= {f"{day}s": f"{day}s" for day in DAYS} | {day: day for day in DAYS}
    phrases |= {abbreviated: day for day in DAYS for abbreviated in (day[:3], f"{day[:3]}.")}
    phrases |= {"tues": "tuesday", "thurs": "thursday", "thur": "thursday"}
    # "sun" and "sat" are words, "wed" and "mon" (French "my") nearly.
    phrases = {key: value for key, value in phrases.items() if key not in ("sun", "sat", "mon", "wed", "-")}
    for line in _PHRASES.replace("|\n", "|").strip().splitlines():
        canonical, _, keys = line.partition(":")
        phrases |= dict.fromkeys((key.strip() for key in keys.split("|")), canonical)
    table: dict[str, list[tuple[int, tuple[str, ...], str]]] = {}
    for phrase, canonical in phrases.items():
        first, *rest = _TOKEN.findall(phrase)
        table.setdefault(first, []).append((1 + len(rest), tuple(rest), canonical))
    for entries in table.values():
        entries.sort(key=lambda entry: -entry[0])
    return table
