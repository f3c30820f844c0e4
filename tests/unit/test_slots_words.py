"""The words of a request are taken out of its frame, the times of it cut out."""

import pytest

from agentd.routing import wishes
from agentd.routing.slots import fill
from bench.slot_world import TOOLS, WORLD


def _words(tool: str, text: str) -> str | None:
    filled = fill(TOOLS[tool], text, WORLD)
    return next(
        (
            filled.arguments.get(name)
            for name in ("text", "query", "words", "which")
            if name in filled.arguments
        ),
        None,
    )


@pytest.mark.parametrize(
    ("tool", "text", "expected"),
    [
        ("memory.remember", "Remember that my sister is called Yasmin.", "my sister is called Yasmin"),
        ("memory.remember", "my dentist is Dr. Lee, remember that", "my dentist is Dr. Lee"),
        ("memory.remember", "remmeber my loker code is 2290", "my loker code is 2290"),
        ("memory.remember", "Take note: the printer needs A4 only.", "the printer needs A4 only"),
        ("memory.remember", "Merk dir, dass mein Arzt Dr. Vogel heißt", "mein Arzt Dr. Vogel heißt"),
        ("memory.remember", "Retiens que ma fille s'appelle Zoé", "ma fille s'appelle Zoé"),
        ("memory.remember", "recuerda que mi jefa se llama Pilar", "mi jefa se llama Pilar"),
        ("memory.remember", "remember that the vet is Dr. Cho and remind me at two", "the vet is Dr. Cho"),
        ("memory.remember", "remember this", None),
        ("memory.recall", "What do you know about my dentist?", "my dentist"),
        ("memory.recall", "waht do you remember abt the cabin", "the cabin"),
        ("memory.recall", "¿qué recuerdas de mi coche?", "mi coche"),
        ("memory.recall", "wat weet je nog van mijn fiets", "mijn fiets"),
        ("memory.forget", "Remove the insurance number from your memory.", "the insurance number"),
        ("memory.forget", "Forget what I told you about my sister.", "my sister"),
        ("memory.forget", "forget it all", None),
        ("time.remind", "remind me to call the dentist at 5", "call the dentist"),
        ("time.remind", "remind me tomorow at 9 to pay teh rent", "pay teh rent"),
        ("time.remind", "At ten, remind me that the washing is done.", "the washing is done"),
        ("time.remind", "friday noon: send flowers. reminder", "send flowers"),
        ("time.remind", "meds at 8pm", "meds"),
        ("time.remind", "remind me at 6 to pick up Tim and then set a ten minute timer", "pick up Tim"),
        ("time.remind", "Erinner mich um 17 Uhr an den Zahnarzt", "den Zahnarzt"),
        ("time.remind", "erinnere mich morgen früh daran, die Blumen zu gießen", "die Blumen zu gießen"),
        ("time.remind", "rappelle-moi demain à 8h de rendre les livres", "rendre les livres"),
        ("time.remind", "recuérdame mañana a las 10 llamar a mi madre", "llamar a mi madre"),
        ("time.repeat", "every day at 8: pills", "pills"),
        ("time.repeat", "On the first of each month, remind me to pay the rent", "pay the rent"),
        ("time.repeat", "tous les lundis rappelle-moi le séminaire de philo", "le séminaire de philo"),
        ("time.cancel", "cancel the nap timer and put the machine to sleep", "the nap timer"),
        ("time.cancel", "not the daily one, cancel the weekly reminder", "the weekly reminder"),
        ("time.cancel", "annule le rappel de la BU", "le rappel de la BU"),
        ("logs.search", "grep the journal for oom-killer", "oom-killer"),
        ("logs.search", 'journal "usb reset" today', "usb reset"),
        ("logs.search", "lignes avec eth0 dans le log", "eth0"),
        ("logs.search", "Find all log lines with the word timeout.", "timeout"),
        ("logs.explain", "ça veut dire quoi « segfault at 0 » dans les logs ?", "segfault at 0"),
        ("logs.explain", "meaning of EADDRINUSE", "EADDRINUSE"),
    ],
)  # fmt: skip
def test_the_frame_is_taken_off(tool: str, text: str, expected: str | None) -> None:
    assert _words(tool, text) == expected


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("restart nginx and show me its log", "restart nginx"),
        ("rename draft.txt to final.txt and then read it to me", "rename draft.txt to final.txt"),
        ("rename the machine to hydra and reboot", "rename the machine to hydra"),
        ("remind me to buy milk and bread", "remind me to buy milk and bread"),
        ("stop and start nginx", "stop and start nginx"),
    ],
)
def test_the_first_of_two_wishes_is_kept(text: str, first: str) -> None:
    assert wishes.first(text) == first
