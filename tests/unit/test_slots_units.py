"""Words for a service become a unit that exists on the machine, or a question; never anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.routing.slot_units import unit
from agentd.routing.slots import fill
from bench.slot_world import TOOLS, UNITS, WORLD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("restart nginx", "nginx"),
        ("restart nginx.service", "nginx.service"),
        ("NGINX neu starten", "nginx"),
        ("restart the web server", "nginx"),
        ("bounce the webserver", "nginx"),
        ("resart teh web sevrer", "nginx"),
        ("Starte den Webserver neu", "nginx"),
        ("reinicia el servidor web por favor", "nginx"),
        ("relance le serveur web", "nginx"),
        ("restrat ngnix pls", "nginx"),
        ("the printer thing", "cups"),
        ("der Drucker klemmt", "cups"),
        ("l'imprimante est bloquée", "cups"),
        ("restart sshd", "ssh"),
        ("démarre le serveur ssh", "ssh"),
        ("is redsi runing", "redis-server"),
        ("stop samba", "smbd"),
        ("what did corn do", "cron"),
        ("network manager", "NetworkManager"),
        ("resolved", "systemd-resolved"),
        ("avahi should not start by itself", "avahi-daemon"),
        ("grafana", "grafana-server"),
        ("the backup service ended with exit code 1", "borgmatic"),
        ("the game server", "minecraft"),
        ("the music server: please make it go", "mpd"),
        ("Docker's log", "docker"),
        ("restart foo.service", "foo.service"),
        ("disable apt-daily.timer", "apt-daily.timer"),
    ],
)
def test_a_service_is_found_by_name_function_or_description(text: str, expected: str) -> None:
    assert unit(text, UNITS).value == (expected if "." in expected else f"{expected}.service")


@pytest.mark.parametrize(
    "text",
    [
        "restart it",
        "restart frobnicate",
        "the wiki is down",
        "restart apache, the configuration changed",  # known, not here: no other is taken for it
        "nginx;reboot",
        "$(nginx)",
        "`nginx`",
        "nginx|sh",
        "../../etc/nginx",
        "/etc/nginx/nginx.conf",
        "--now",
        "-nginx",
        "nginx&&reboot",
        "x/../nginx.service",
        "",
    ],
)
def test_what_names_no_unit_of_the_machine_is_asked_for(text: str) -> None:
    filled = fill(TOOLS["services.restart"], text, WORLD)
    assert "unit" not in filled.arguments
    assert filled.missing is not None
    assert filled.question


def test_of_several_that_fit_one_question_names_them() -> None:
    filled = fill(TOOLS["services.restart"], "restart cups and docker", WORLD)
    assert filled.question == "Which service? cups or docker?"
    filled = fill(TOOLS["services.start"], "start the database", WORLD)
    assert filled.question == "Which service? postgresql or redis-server?"


def test_a_known_service_that_is_not_here_is_told() -> None:
    filled = fill(TOOLS["services.status"], "is apache up?", WORLD)
    assert filled.question == "There is no apache here. Which service?"


@pytest.mark.parametrize("text", ["reboot it", "start rescue", "suspend", "restart getty", "halt"])
def test_no_unit_that_ends_everything_and_no_template_is_named_by_a_word(text: str) -> None:
    names = ("systemd-reboot", "rescue", "systemd-suspend", "getty@", "systemd-halt", "nginx")
    assert unit(text, {f"{name}.service": "" for name in names}).value is None


def test_a_function_that_nothing_here_has_is_looked_for_by_its_own_words() -> None:
    names = {"x.service": "a daemon to report status", "y.service": "Some Mail Agent"}
    assert unit("which errors did the mail server report", names).value == "y.service"
    assert unit("which errors did the web server report", names).value is None


def test_a_number_in_a_name_is_no_typo() -> None:
    assert unit("stop web1", {"web2.service": "", "nginx.service": ""}).value is None


@pytest.mark.parametrize("evil", ["; reboot", " --now", "\nreboot", " $(reboot)", " `id`", " ../../x", "\0"])
def test_what_is_injected_beside_a_unit_is_not_passed_on(evil: str) -> None:
    value = unit(f"restart nginx{evil}", UNITS).value
    assert value in (None, "nginx.service")


@given(st.text(max_size=80))
def test_only_units_that_exist_or_are_written_out_are_found(text: str) -> None:
    value = unit(text, UNITS).value
    assert value is None or value in UNITS or value in text
