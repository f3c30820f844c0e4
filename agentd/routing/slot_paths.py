"""Files and folders that a request names: paths, names with an extension, "my downloads", "the folder X".

A name is given on as it was said, or as the one file that the machine has under it. Not for: opening
anything (tools/reach.py says what is in reach).
"""

import os.path
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.routing.slot_text import LONGEST, NOTHING, WORD, Found, plain, quoted, trim

Files = Callable[[str], Sequence[str]]

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+|\bwww\.\S+|\b[\w.+-]+@[\w-]+\.[\w.]+", re.IGNORECASE)
_END = r"(?<![.,;:!?])"
_ABSOLUTE = re.compile(
    rf"(?<![\w/:.<])(?:~\w*|\.{{1,2}})?/(?:[^\s\"'“”„«»,;:!?()|<>]*{_END})?(?!\w)|(?<!\S)~(?!\S)"
)
_RELATIVE = re.compile(rf"(?<![\w/:~.])[^\W\d][\w.+-]*/[\w./+-]+{_END}")
_EXTENSIONS = (
    "txt|md|rst|pdf|odt|ods|odp|docx?|xlsx?|pptx?|csv|tsv|png|jpe?g|gif|webp|svg|mp[34]|m4[av]|mkv|mov|avi"
    "|flac|ogg|wav"
    "|zip|tar|gz|tgz|xz|zst|bz2|7z|deb|conf|cfg|ini|log|json|ya?ml|toml|py|sh|js|html?|css|xml|iso|img|bak"
    "|old|orig|sql|tex"
    "|bib|db|sqlite|kdbx|epub|so|service|php|c|h|rs|go|example|ova|qcow2|out"
)
# Capitals before it belong to the name: "Annex B.pdf".
_FILE = re.compile(
    rf"(?<![\w/~@.-])(?:(?:[A-ZÄÖÜ][\w-]* )(?=[A-Z0-9]\w{{0,2}}\.)"
    rf"|(?:[A-Z][\w-]+ )?(?=[A-Z]\.))?[*\w](?:[\w.+*-]|\(\d+\))*\.(?:{_EXTENSIONS})(?!\w|\.\w)"
    r"|(?<![\w/~@.-])\*\.\w{1,8}(?!\w)",
)
_DOTFILE = re.compile(rf"(?<![\w/~.)*])\.(?!(?:{_EXTENSIONS}|tmp|part)\b)[a-z][\w-]+(?:\.\w+)*(?![\w/])")
_CAPITALS = re.compile(
    r"(?<![\w/.-])(?:README|LICENSE|COPYING|CHANGELOG|NOTE|TODO|VERSION|Makefile|Dockerfile)(?![\w.])"
)
# Folders of xdg-user-dirs, as people call them.
_KNOWN = (
    ("Downloads", r"downloads?(?:-ordner)?|telechargements|descargas|scaricati|transferencias"),
    ("Pictures", r"pictures|photos|photo|fotos|bilder|images|imagenes|immagini|imagens"),
    ("Documents", r"documents|dokumente|documentos|documenti|documenten"),
    ("Music", r"music|musik|musique|musica|muziek"),
    ("Videos", r"videos?|movies|filme"),
    ("Desktop", r"desktop|schreibtisch|bureau|escritorio|scrivania|bureaublad"),
    ("~", r"home|home ?(?:directory|folder)|persoonlijke map|dossier personnel|carpeta personal"),
)
_FOLDER_WORD = (
    r"(?:folder|directory|dir|ordner|verzeichnis|dossier|repertoire|carpeta|directorio|cartella|pasta|map)"
)
_KNOWN_FOLDER = tuple(
    (
        name,
        re.compile(
            rf"\b(?:(?:my|the|meine?[mn]?|im|mon|mes|ma|mi|mis|i miei|le|les|la|el|os|in|dans|en|to|on|from"
            rf"|of|into|nach|auf|is) )+"
            rf"(?:{words})(?: {_FOLDER_WORD})?(?![\w./])|\b{_FOLDER_WORD} (?:{words})(?![\w./])"
            rf"|\b(?:{words}) {_FOLDER_WORD}\b"
        ),
    )
    for name, words in _KNOWN
)
_ROOT = re.compile(r"\broot (?:folder|directory)\b|\bwurzelverzeichnis\b")
_NO_NAME = (
    r"(?!(?:the|my|a|an|this|that|to|in|into|from|of|on|for|under|which|wich|each|every|per|new|what"
    r"|wrong|and|or|some|other|right|i|it)\b)"
)
_FOLDER_NAMED = (
    re.compile(
        rf"\b{_FOLDER_WORD} (?:called |named |namens |appele |de )?[\"“„«]\s*(?P<it>[^\"”“»\n]+?)\s*[\"”“»]"
    ),
    re.compile(rf"[\"“„«]\s*(?P<it>[^\"”“»\n]+?)\s*[\"”“»] {_FOLDER_WORD}\b"),
    re.compile(
        rf"\b{_FOLDER_WORD} (?:called |named |namens |appele |de )?(?P<it>(?!(?:I|The|A|It"
        rf"|This)\b)[A-Z\d][\w-]*(?: [A-Z][\w-]*)*)"
    ),
    re.compile(
        rf"(?<!\w)(?:(?:[Tt]he|[Mm]y) )?(?P<it>(?:{_NO_NAME}[\w-]+ )?{_NO_NAME}[\w-]+) (?:folder|directory"
        rf"|ordner|map)\b"
    ),
)


@dataclass(frozen=True, slots=True)
class Named:
    """A path or name in a text and where it stands; whether the text says that it is a folder."""

    name: str
    start: int
    end: int
    is_folder: bool = False


def named(text: str) -> list[Named]:
    """The paths, file names and folders of a text, in their order; no URLs."""
    clean = _URL.sub(lambda found: " " * len(found[0]), text[:LONGEST])
    found: list[Named] = []

    def add(name: str, start: int, end: int, is_folder: bool = False) -> None:
        if all(end <= one.start or start >= one.end for one in found):
            found.append(Named(name, start, end, is_folder))

    for pattern in _FOLDER_NAMED[:2]:
        for match in pattern.finditer(clean):
            add(match["it"], *match.span(), True)
    for inside in quoted(clean):
        if _is_name(inside):
            start = clean.find(inside)
            add(inside, start, start + len(inside))
    for pattern in (_ABSOLUTE, _FILE, _RELATIVE, _DOTFILE, _CAPITALS):
        for match in pattern.finditer(clean):
            add(match[0], match.start(), match.end())
    low = plain(clean)
    for name, words in _KNOWN_FOLDER:
        if there := words.search(low):
            add(name, *there.span(), True)
    if root := _ROOT.search(low):
        add("/", *root.span(), True)
    for pattern in _FOLDER_NAMED[2:]:
        for match in pattern.finditer(clean):
            add(match["it"], *match.span(), True)
    return sorted(found, key=lambda one: one.start)


def _is_name(words: str) -> bool:
    return bool(_FILE.fullmatch(words) or _ABSOLUTE.fullmatch(words) or re.search(r"\.\w{1,5}$", words))


def resolve(name: str, files: Files) -> Found:
    """A path, made plain; a bare name is the one that the machine has, or candidates, or as it was said."""
    if name.startswith(("/", "~")):
        return Found(os.path.normpath(name) if name.strip("/") else "/")
    there = files(name)
    if len(there) > 1:
        exact = [path for path in there if Path(path).name.lower() == name.lower()]
        there = exact or there
        return Found(exact[0]) if len(exact) == 1 else Found(candidates=tuple(there)[:5])
    return Found(there[0] if there else os.path.normpath(name))


def file_in(text: str) -> Named | None:
    """The file that a text names; a folder as people call it ("from Downloads") is where it is."""
    known = {name for name, _ in _KNOWN_FOLDER}
    return next((one for one in named(text) if not (one.is_folder and one.name in known)), None)


def described(words: str, files: Files) -> Found:
    """The one file that words describe ("the letter to the council"); no value if there is none."""
    telling = _telling(words)
    there = files(telling) if telling else ()
    return Found(there[0]) if len(there) == 1 else Found(candidates=tuple(there)[:5])


def _telling(words: str) -> str:
    """The words of a description that a name may have; "" of a pronoun, or of a whole sentence."""
    telling = [word[0] for word in WORD.finditer(words) if plain(word[0]) not in _EMPTY]
    return " ".join(telling) if len(telling) <= _LONGEST_DESCRIPTION else ""


_LONGEST_DESCRIPTION = 6
_EMPTY = frozenset(
    """a all an and any da das dem den der des di die dieser el els every everything file files folder for
    from il in it item la las le les lo los ma mein meine mes mi mis mon my of on one ones our les
    some sur that the them these this those thing to un una und une with y document documents datei
    fichier archivo du de del della""".split()  # noqa: SIM905
)
_VERBS = (
    r"where did i (?:put|save)|wher is|path (?:of|to)|serch for|look through \w+ for|"
    r"show(?: me)?|shwo|read|cat|open(?: up)?|display|print|view|look at|less|inspect(?: the contents of)?"
    r"|see|let me see|what(?:'s| is) in"
    r"|zeig(?: mir)?|lies|affiche|montre(?:-moi)?|lis|ouvre|muestra(?:me)?|abre|lee|mostra(?:mi)?|leggi|apri"
    r"|toon"
    r"|delete|delte|remove|throw(?: away| out)?|bin|trash|discard|put|move|mvoe|rename|reanme|get rid of"
    r"|erase|losche?|supprime|mets|jette|efface"
    r"|borra|elimina|butta|cancella|restore|restroe|get back|bring back|recover|undelete|unbin|retrieve"
    r"|fetch|give back|recupere|restaura|recupera"
    r"|ripristina|i threw away|i think i binned|i binned|you deleted|i deleted|i want|transfer|relocate"
    r"|shift|take|call|bring|verschiebe?|benenne?"
    r"|deplace|renomme|mueve|renombra|sposta|rinomina|verplaats|find|fnid|locate|search(?: for)?|look for"
    r"|where(?:'s| is| the hell is| has)?|where did i (?:put|save)"
    r"|dig out|track down|hunt for|i swear i saved|retrouve|trouve|cherche|finde?|such(?:e)?|wo ist"
    r"|donde esta|busca|encuentra|dov'e|cerca|trova|zoek|do i have(?: a copy of)?|je veux|ou est"
)
_LEAD = re.compile(
    rf"(?:^|\b(?:and|please|you|can you|could you|to|me|just|the hell|now|dear,?|goodness,?)\s+|[,:;]\s*"
    rf"|^\W*\w+\W+)(?:{_VERBS})\b\s*(?:for |me |us |back )?"
)
_TAIL = re.compile(
    r"[\s,]*(?:\b(?:please|back|gone|again|for good|away|off|so i can read it.*|to me|from (?:the "
    r"|teh )?(?:bin|trash|recycle bin|wastebasket)|by accident.*"
    r"|(?:in|into|to|out of) (?:the )?(?:bin|trash|recycle bin)(?: with it)?.*|that i deleted|i put it in.*"
    r"|on here.*|in error.*|dans la corbeille|de la corbeille"
    r"|a la corbeille|nel cestino|in den papierkorb|aus dem papierkorb|a la papelera|de la papelera"
    r"|je sais plus.*|somewhere.*|it'?s of no use.*|anywhere.*"
    r"|is just clutter.*|may now be.*|can go.*|can you fetch.*|give it back|would you)|,.*|!+.*|\?.*|svp)$"
)
_CALLED = re.compile(
    r"\b(?:called|named|titled|entitled|namens|appelee?|llamado|chiamato|(?:file|document|datei|fichier"
    r"|archivo)(?! (?:called|named|titled))|with)\s+"
    r"(?P<it>(?!is\b|that\b|in\b|on\b|with\b|from\b)[^,;?!]+?)(?=\s+(?:i think|in (?:the|its|my)|somewhere"
    r"|on this|there|lying|anywhere)\b|[,;?!.]*\s*$|[,;])"
)


def description(text: str) -> str:
    """What a sentence says of a file that it does not name: "the letter to the council"."""
    text = trim(text[:LONGEST])
    if found := _LEAD.search(plain(text)):
        text = text[found.end() :]
    for _ in range(3):
        cut = _TAIL.search(plain(text))
        if not cut or cut.start() == 0:
            break
        text = trim(text[: cut.start()])
    return trim(text)


def wanted_name(text: str) -> Found:
    """What to look for among file names: quoted, with an extension, after "called", or what is described."""
    for inside in quoted(text):
        return Found(inside)
    for one in named(text):
        if "/" not in one.name and re.search(r"[.*]", one.name):
            return Found(one.name, ((one.start, one.end),))
    if found := _CALLED.search(plain(text)):
        return Found(trim(text[slice(*found.span("it"))]))
    words = description(text)
    words = re.sub(
        r"^(?:my|the|a|an|any|all|every|mon|ma|mes|el|la|le|mi|il|das|die|den)\s+",
        "",
        words,
        flags=re.IGNORECASE,
    )
    return Found(words) if _telling(words) else NOTHING


def folder(text: str) -> Found:
    """The folder that a text names."""
    places = [one for one in named(text) if one.is_folder or ("/" in one.name or one.name == "~")]
    return (
        Found(os.path.normpath(places[0].name), ((places[0].start, places[0].end),)) if places else NOTHING
    )


_TO = re.compile(
    r"(?P<to>\s(?:in with|over to|onto|into|to|too|as|in(?:to)? the folder|instead of|in|nach|zu|dans|en"
    r"|vers|a|para|naar|at|under|2|be called|should be(?: called)?|becomes|the name|belongs in|->|=>)\s+)"
)


def pair(text: str, files: Files) -> tuple[Found, Found]:
    """The file to move and where to, or its new name."""
    names = named(text)
    low = plain(text)
    if re.match(r"call\b", low) and names:
        target = trim(re.sub(r"\binstead\b.*$", "", text[names[0].end :]))
        return resolve(names[0].name, files), Found(target) if target else NOTHING
    if len(names) >= 2:
        first, second = names[0], names[1]
        # "the wallpaper from Downloads to Pictures": the first is where it is now.
        return resolve(first.name, files), Found(os.path.normpath(second.name))
    words = description(text)
    border = _last(_TO, plain(words))
    if border:
        what, to = words[: border.start()], trim(words[border.end() :])
        named_what = named(what) or (
            names if plain(trim(what)) in ("", "it", "them", "das", "ihn", "lo", "la", "le") else []
        )
        source = resolve(named_what[0].name, files) if named_what else described(trim(what), files)
        named_to = named(to)
        target = (
            named_to[0].name
            if named_to
            else re.sub(rf"^(?:the )?{_FOLDER_WORD} |^(?:the|my|la|le|el|die|den) ", "", to)
        )
        return source, Found(os.path.normpath(target)) if target else NOTHING
    return (resolve(names[0].name, files) if names else described(words, files)), NOTHING


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):
        if found["to"].strip() not in ("in", "a", "en", "as", "at"):
            return found
    return found


_WRITE_LEAD = re.compile(
    r"^(?:(?:please|could you|can you|would you) )*(?:write(?: down)?|wirte|save|put|store|add|append|appned"
    r"|note(?: down)?|record|type|make|create|creat"
    r"|schreibe?|notiere?|ecris|enregistre|note|escribe|apunta|guarda|anota|scrivi|salva|zet|cria"
    r"|new)\b(?: (?:the following text|the following|the words?|the text"
    r"|the sentence|the line|a line|me|that|down|this))?[\s:]*"
)
_WRITE_TAIL = re.compile(
    r"[\s,]*\b(?:(?:in|into|to|on|at|as|onto|dans|en|nel|in den?|in die|a|naar|auf|under|inside"
    r"|to the end of|at the top of)"
    r"(?: (?:the|a|my|new|el|le|un|il|file|document|datei|fichier|archivo|called|named|text))*|save that"
    r"|and save(?: it)?|the following|with|that says)[\s:.]*$"
)
_FILE_FRAME = re.compile(
    r"^(?:(?:and|,|;) )?(?:put in it|write in it|that says|with(?: the text| one line)?|containing"
    r"|which says|and put(?: in it)?|mit(?: dem text)?|the following|con|com|avec|:)[\s:]*"
)


def note(text: str, files: Files) -> tuple[Found, Found]:
    """The file to write and the text for it."""
    text = text[:LONGEST]
    names = [one for one in named(text) if not (one.name in quoted(text) and not _is_name(one.name))]
    target = names[0] if names else None
    for inside in quoted(text):
        if not target or inside != target.name:
            return (resolve(target.name, files) if target else NOTHING), Found(inside)
    if not target:
        return NOTHING, NOTHING
    before, after = text[: target.start], text[target.end :]
    after = re.sub(r"^[\s,]*(?:the following\s*)?[:]?\s*", "", after)
    after = trim(re.sub(r"[.;,]?\s*(?:and )?save (?:that|it|this)\W*$", "", after))
    content = trim(after[frame.end() :]) if (frame := _FILE_FRAME.match(plain(after))) else after
    if not content:
        content = trim(before)
        for _ in range(3):
            low = plain(content)
            if lead := _WRITE_LEAD.search(low):
                content = content[lead.end() :]
            elif tail := _WRITE_TAIL.search(low):
                content = trim(content[: tail.start()])
        # A long story before it: what is asked for stands behind the last "please".
        if asked := re.search(
            r".*\b(?:please|just)\s+(?:put|write|add|save|note)\s+", content, re.IGNORECASE | re.DOTALL
        ):
            content = content[asked.end() :]
        content = trim(content)
    return resolve(target.name, files), Found(content) if content else NOTHING
