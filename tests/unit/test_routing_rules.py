"""What is forbidden and what is only talked about, in several languages."""

import pytest

from agentd.routing.about import is_about, is_general, is_reported, unquoted
from agentd.routing.negation import Wish, wish_of


@pytest.mark.parametrize(
    "text",
    [
        "don't reboot",
        "Don\u2019t reboot!",
        "dont reboot plz",
        "please do not shut down the computer",
        "no, don't delete anything",
        "never restart this without asking",
        "no need to restart nginx",
        "there's no need to remind me, thanks",
        "you needn't stop the service, I'm fine",
        "you don't have to undo it",
        "I don't want you to reboot",
        "leave nginx alone",
        "leave the volume as it is",
        "no reboot please",
        "never mind",
        "please don't remember that",
        "don't you dare reboot",
        "starte bitte nicht neu",
        "nicht neu starten!",
        "kein Neustart",
        "du brauchst nichts neu zu starten",
        "lösch das nicht",
        "ne redémarre rien",
        "n'éteins pas l'ordinateur",
        "éteins rien",
        "pas besoin de redémarrer",
        "je ne veux pas que tu redémarres",
        "no reinicies",
        "no apagues nada, por favor",
        "no hace falta reiniciar",
        "non spegnere",
        "non serve riavviare",
        "não desligues nada",
        "niet herstarten alsjeblieft",
        "je hoeft niets te herstarten",
        "не перезагружай",
        "не надо ничего удалять",
        "nie wyłączaj komputera",
        "不要重启",
        "再起動しないで",
    ],
)
def test_what_is_only_forbidden_leaves_no_wish(text: str) -> None:
    assert wish_of(text) == Wish("", True)


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("don't reboot, just tell me how long it's been up", "tell me how long it's been up"),
        ("don't reboot just tell me the uptime", "tell me the uptime"),
        ("not the log, the status", "the status"),
        ("the status, not the log", "the status"),
        ("I don't want it off, I want it restarted", "I want it restarted"),
        ("no need to restart nginx, show me its log", "show me its log nginx"),
        ("don't change a.txt, just show it", "just show it a.txt"),
        ("restart nginx, but don't touch apache", "restart nginx"),
        ("tell me the uptime without rebooting", "tell me the uptime"),
        ("instead of rebooting, restart nginx", "restart nginx"),
        ("no, restart it", "no, restart it"),
        ("nicht neu starten, nur den Status zeigen", "nur den Status zeigen"),
        ("ne redémarre pas, dis-moi juste l'heure", "dis-moi, juste l'heure"),
        ("no reinicies, dime la hora", "dime la hora"),
    ],
)
def test_what_is_wanted_instead_is_what_is_asked_for(text: str, wish: str) -> None:
    assert wish_of(text).text == wish


@pytest.mark.parametrize(
    "text",
    [
        "restart nginx",
        "nginx does not run",
        "why doesn't the wifi work",
        "I can't hear anything",
        "my disk isn't full, is it",
        "not enough space on the disk?",
        "no sound",
        "no internet",
        "don't let me forget the dentist tomorrow",
        "don't forget that my wife is called Ines",
        "nginx should not start at boot any more",
        "don't start bluetooth automatically",
        "vergiss nicht, mich um acht zu wecken",
        "nginx startet nicht",
        "das WLAN geht nicht",
        "n'oublie pas de me rappeler le rendez-vous",
        "le wifi ne marche pas",
        "no funciona el wifi",
        "no olvides que mi perro se llama Luna",
        "non dimenticare la mia allergia",
        "wifi не работает",
        "не забудь купить хлеб",
        "what notes do I have",
    ],
)
def test_a_complaint_or_a_wish_with_a_not_in_it_is_no_negation(text: str) -> None:
    assert wish_of(text) == Wish(text, False)


@pytest.mark.parametrize(
    "text",
    [
        "what does restarting nginx do?",
        "what happens if I reboot during an update? I'm just asking",
        "how do I reboot a Mac?",
        "so how would one stop a service",
        "hey, is it safe to delete /tmp?",
        "should I restart it",
        "why would one disable bluetooth",
        "can you explain what suspending does",
        "does restarting lose my data",
        "in bash, how do I remove a file",
        "suppose I asked you to shut down",
        "I used to set a timer for everything",
        "yesterday I rebooted the server",
        "we changed our wifi password last year",
        "would you have shut down if I'd asked you to",
        "was passiert, wenn ich neu starte?",
        "soll ich den Rechner neu starten?",
        "wie startet man einen Dienst neu",
        "comment on éteint un iPhone ?",
        "c'est quoi la différence entre redémarrer et éteindre ?",
        "faut-il redémarrer ?",
        "¿cómo se reinicia un móvil?",
        "come si riavvia un telefono?",
        "como se reinicia um telemóvel?",
        "hoe start ik een dienst opnieuw?",
        "как перезагрузить телефон?",
        "jak zrestartować telefon?",
    ],
)
def test_a_question_about_a_thing_is_known(text: str) -> None:
    assert is_about(text)


@pytest.mark.parametrize(
    ("text", "general"),
    [
        ("what is a gateway?", True),
        ("what does journald do that syslog didn't", True),
        ("regex for an ipv4 address", True),
        ("show me an example of a timer", True),
        ("before I bought this I used to have a 40 MB disk", True),
        ("c'est quoi un pare-feu ?", True),
        ("¿qué es una dirección IP?", True),
        ("what is my address", False),
        ("what is the load", False),
        ("why is this so slow", False),
        ("is nginx up", False),
        ("c'est quoi mon adresse ip", False),
    ],
)
def test_what_is_asked_of_the_world_is_told_from_what_is_asked_of_this_machine(
    text: str, general: bool
) -> None:
    assert is_general(text) is general


@pytest.mark.parametrize(
    "text",
    [
        "restart nginx",
        "can you restart nginx?",
        "would you mind rebooting",
        "could you set a timer",
        "can the computer be called dino now",
        "how about a timer for five minutes",
        "why don't you reboot",
        "What is this noise? Turn it down, please",
        "who put this on qwertz, I want qwerty",
        "is the screen too bright? can you dim it",
        "starte nginx neu",
        "tu peux redémarrer nginx ?",
        "wie wär's mit einem Neustart",
        "remind me to ask why nginx failed",
        "I deleted a file last week, bring it back",
        "undo what I did yesterday",
    ],
)
def test_a_request_is_not_taken_for_a_question_about_it(text: str) -> None:
    assert not is_about(text)


@pytest.mark.parametrize(
    "text",
    [
        "my boss said to reboot the server",
        "she told me to delete everything",
        "the manual says to set the time zone first",
        "yeah i told him he should set a timer",
        "in the tutorial they say systemctl stop nginx",
        "mon prof dit de redémarrer",
        "mein Chef sagt, ich soll neu starten",
        "mi jefe dice que reinicie",
    ],
)
def test_what_somebody_said_is_known(text: str) -> None:
    assert is_reported(text)


@pytest.mark.parametrize(
    "text",
    [
        "remember that my doctor said I need iron",
        "the doctor said eight hours, remind me at ten to sleep",
        "my grandson says it is called Rosebud, please go on it",
        "write what she said to notes.txt",
    ],
)
def test_a_request_with_somebodys_words_in_it_stays_one(text: str) -> None:
    assert not is_reported(text)


def test_quotations_are_taken_out_and_apostrophes_are_none() -> None:
    assert unquoted('translate "shut down" and «éteins» and \u2018off\u2019') == (
        'translate "..." and "..." and "..."'
    )
    assert unquoted("it's the dogs' bowl, isn't it") == "it's the dogs' bowl, isn't it"


def test_rules_take_any_text_and_little_time() -> None:
    for text in ("", " ", "don't", "not", "?", "\ud800", "don't " * 200, "a, " * 300, "no" * 500, '"' * 400):
        wish_of(text)
        is_about(text)
        is_reported(text)
        unquoted(text)
