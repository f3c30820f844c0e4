"""Numbers, levels, links, networks, hosts, zones, languages, keyboards and files in requests."""

from dataclasses import replace

import pytest

from agentd.routing import slot_names, slot_numbers, slot_paths, slot_places
from agentd.routing.slots import fill
from bench.slot_world import TOOLS, WORLD


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("top 5", 5),
        ("the top five things using memory", 5),
        ("die zehn größten", 10),
        ("les trois premiers", 3),
        ("what uses 100% cpu", None),
        ("since 3 hours", None),
        ("biggest", None),
    ],
)
def test_a_count_is_a_number_of_things(text: str, number: int | None) -> None:
    assert slot_numbers.count(text) == number


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("brightness 50%", "50"),
        ("screen brightness thirty percent", "30"),
        ("vol 15", "15"),
        ("Helligkeit auf 30 Prozent", "30"),
        ("louder", "+10"),
        ("a bit quieter", "-5"),
        ("Lower the brightness by ten percent.", "-10"),
        ("It is too bright, make the screen a little darker", "-5"),
        ("the screen is so dark make it more shiny", "+10"),
        ("mute the sound and dim the screen", "0"),
        ("max volume", "100"),
        ("no need to mute it completely, half is fine", "50"),
        ("raise the volume to three quarters", "75"),
        ("Mach lauter", "+10"),
        ("Baisse le son", "-10"),
        ("sube el volumen", "+10"),
        ("abbassa il volume", "-10"),
        ("set it to 300", None),
        ("the speakers", None),
    ],
)
def test_a_level_is_percent_or_steps(text: str, level: str | None) -> None:
    assert slot_numbers.level(text) == level


LINKS = ("lo", "enp4s0", "wlan0")


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("turn off the wifi", "wlan0"),
        ("coupe le wifi", "wlan0"),
        ("schalte das WLAN aus", "wlan0"),
        ("tunr off wlna0", "wlan0"),
        ("ethernet off", "enp4s0"),
        ("the cable socket on the back", "enp4s0"),
        ("enp4s0 up", "enp4s0"),
        ("enp3s0 up", None),
        ("drop the Wi-Fi, I'm on the cable", None),
        ("wlan0; reboot", "wlan0"),
        ("go offline", None),
    ],
)
def test_a_link_is_one_of_the_machine(text: str, link: str | None) -> None:
    assert slot_names.link(text, LINKS).value == link


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("connect to coffee corner guest the wifi", "coffee corner guest"),
        ('Join "Vodafone-3F2A" please', "Vodafone-3F2A"),
        ("connecte-toi à eduroam", "eduroam"),
        ("conect to wifi FRITZBox 7590", "FRITZBox 7590"),
        ("My grandson says the internet is called Rosebud, please go on it", "Rosebud"),
        ("wifi Zuhause-5G", "Zuhause-5G"),
        ("Verbinde dich mit dem WLAN „Gartenhaus“", "Gartenhaus"),
        ("conéctate a la wifi MOVISTAR_4F2A", "MOVISTAR_4F2A"),
        ("join " + "x" * 40, "x" * 40),
    ],
)
def test_a_network_is_the_name_after_the_verb(text: str, network: str) -> None:
    assert slot_names.network(text).value == network


def test_a_network_in_reach_is_taken_by_a_part_of_its_name_and_a_long_name_is_none() -> None:
    assert slot_names.network("join the guest network", ("Office", "Corp-Guest")).value == "Corp-Guest"
    assert slot_names.network("join the guest network", ("A-Guest", "B-Guest")).candidates == (
        "A-Guest",
        "B-Guest",
    )
    assert fill(TOOLS["network.wifi_join"], "join " + "x" * 40, WORLD).question == "Which Wi-Fi network?"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rename this computer to kitchen", "kitchen"),
        ("hostname := atlas", "atlas"),
        ('be called "otter" from now on', "otter"),
        ("This machine shall henceforth bear the name chambers-2.", "chambers-2"),
        ("Nenn den Rechner um in Adler", "adler"),
        ("Renomme la machine en Neptune", "neptune"),
        ("rename pc", None),
        ("change computer name", None),
        ("rename it to a;reboot", None),
        ("rename it to ../x", None),
    ],
)
def test_a_host_name_is_a_label(text: str, name: str | None) -> None:
    assert slot_names.host_name(text).value == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("does git.intern.lan resolve", "git.intern.lan"),
        ("is 8.8.8.8 up", "8.8.8.8"),
        ("dns ok?", None),
        ("resolv.conf", None),
    ],
)
def test_a_domain_has_a_dot_and_is_no_file(text: str, name: str | None) -> None:
    assert slot_names.domain(text).value == name


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("change the time zone to new york please", "America/New_York"),
        ("mets le fuseau horaire sur Montréal", "America/Toronto"),
        ("tz Europe/Lisbon", "Europe/Lisbon"),
        ("set timezon to berlin", "Europe/Berlin"),
        ("time zone madird", "Europe/Madrid"),
        ("I've moved from Leeds to Athens for half a year", "Europe/Athens"),
        ("clock onto Japanese time please", "Asia/Tokyo"),
        ("Uhr auf Wiener Zeit umstellen", "Europe/Vienna"),
        ("use UTC", "Etc/UTC"),
        ("Could you set the time zone to Istanbul", "Europe/Istanbul"),
        ("change the time zone", None),
        ("../../etc/passwd", None),
    ],
)
def test_a_zone_is_one_of_the_machine(text: str, zone: str | None) -> None:
    assert slot_places.zone(text, WORLD.zones()).value == zone


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("set the system language to German", "de_DE.UTF-8"),
        ("Deutsch bitte", "de_DE.UTF-8"),
        ("passe le système en français", "fr_FR.UTF-8"),
        ("locale en_GB.UTF-8", "en_GB.UTF-8"),
        ("Change the locale to en_US.", "en_US.UTF-8"),
        ("switch from English to Finnish", "fi_FI.UTF-8"),
        ("Dates should follow British conventions", "en_GB.UTF-8"),
        ("set langauge to spansh", "es_ES.UTF-8"),
        ("change it", None),
    ],
)
def test_a_locale_is_of_the_language_that_is_wanted(text: str, locale: str | None) -> None:
    assert slot_places.locale(text).value == locale


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("keyboard de", "de"),
        ("deutsch", "de"),
        ("english us", "us"),
        ("not qwerty, qwertz please", "de"),
        ("change the keyboard to dvorak", "us-dvorak"),
        ("keymap us-intl", "us-intl"),
        ("I'd like a UK layout", "gb"),
        ("repasse le clavier en azerty", "fr"),
        ("The new keyboard is American but the system thinks it's French", "us"),
        ("the keys are wrong", None),
    ],
)
def test_a_layout_is_of_the_keyboard_that_is_wanted(text: str, layout: str | None) -> None:
    assert slot_places.layout(text).value == layout


@pytest.mark.parametrize(
    ("tool", "text", "expected"),
    [
        ("files.read", "shwo me /etc/fstab", {"path": "/etc/fstab"}),
        ("files.read", "show ~/todo.md", {"path": "~/todo.md"}),
        ("files.read", "read notes.txt to me", {"path": "/home/tom/notes.txt"}),
        (
            "files.read",
            "show me the letter to the council",
            {"path": "/home/tom/Documents/letter-council.odt"},
        ),
        ("files.read", "open https://example.org/notes.txt", {}),
        ("files.read", "show me that", {}),
        ("files.delete", "remove the zip from my downloads", {}),
        ("files.delete", "delte old_notes.txt", {"path": "old_notes.txt"}),
        ("files.delete", "lösch bitte die Datei alt.txt", {"path": "alt.txt"}),
        ("files.restore", "get back Annex B.pdf from the bin", {"path": "Annex B.pdf"}),
        ("files.find", "find *.kdbx", {"name": "*.kdbx"}),
        ("files.find", 'search ~/Documents for "lease"', {"name": "lease", "folder": "~/Documents"}),
        ("files.find", "dónde está el contrato de alquiler", {"name": "contrato de alquiler"}),
        ("files.space", "what takes up my home folder", {"folder": "~"}),
        ("files.space", "how big is the downloads folder", {"folder": "Downloads"}),
        ("files.space", "wie groß ist der Ordner Musik", {"folder": "Music"}),
        ("files.move", "rename a.txt to b.txt", {"path": "a.txt", "to": "b.txt"}),
        ("files.move", "déplace td3.pdf dans Cours/Maths", {"path": "td3.pdf", "to": "Cours/Maths"}),
        (
            "files.move",
            "move notes.txt into the taxes folder",
            {"path": "/home/tom/notes.txt", "to": "taxes"},
        ),
        (
            "files.write",
            'write "milk, eggs" to shopping.txt',
            {"path": "shopping.txt", "text": "milk, eggs"},
        ),
        ("files.write", "note in todo.txt: renew domain", {"path": "todo.txt", "text": "renew domain"}),
        ("files.write", "apunta en compra.txt: leche y pan", {"path": "compra.txt", "text": "leche y pan"}),
    ],
)
def test_files_are_found_by_name_path_or_description(tool: str, text: str, expected: dict[str, str]) -> None:
    assert fill(TOOLS[tool], text, WORLD).arguments == expected


def test_of_several_files_one_question_names_them() -> None:
    world = replace(WORLD, files=lambda words: ("/home/tom/a/cv.odt", "/home/tom/b/cv.odt"))
    filled = fill(TOOLS["files.read"], "open my cv", world)
    assert filled.question == "Which file? /home/tom/a/cv.odt or /home/tom/b/cv.odt?"
    assert slot_paths.resolve("cv.odt", world.files).value is None
