"""The broker and agentd's side of it: what an approval is good for, and what is said when it goes wrong."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import varlink
from agentd_process import environment, eventually
from exec_fixture import RESTART, FakeBus, World, folders, running

from agentd import approval
from agentd.acting import StepFailed
from agentd.broker import Broker
from agentd.call import calling
from agentd.exec.nonces import FILE
from agentd.exec.verbs import VERBS
from agentd.machine_key import MachineKey
from agentd.tools.tool import Step

OFF = Step("power.off", {})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as found:
        yield found


def altered(world: World, **fields: Any) -> dict[str, str]:
    """An approval with other fields, signed by the machine's own key."""
    token = {**json.loads(world.token()["token"]), **fields}
    text = json.dumps(token, sort_keys=True, separators=(",", ":"))
    return {"token": text, "signature": world.key.sign(text.encode())}


def refusal(world: World, steps: list[dict[str, Any]], token: dict[str, str]) -> tuple[str, str]:
    """The name and detail of the error to a call that agentd's own side would not send."""
    with (
        calling(world.path, "io.aetheros.Exec", 10) as broker,
        pytest.raises(varlink.VarlinkError) as caught,
    ):
        broker.Do(steps=steps, **token)
    parameters = caught.value.parameters()
    return str(caught.value.error()).rpartition(".")[2], str(parameters.get("detail", parameters))


def test_an_approved_step_is_done_and_the_journal_says_so(
    world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    token = world.token()
    world.run(token=token)
    assert world.bus.calls[-1] == ("RestartUnit", ["nginx.service", "replace"])
    said = json.loads(token["token"])
    began, done = (line for line in capfd.readouterr().err.splitlines() if said["nonce"] in line)
    assert "began" in began and "by person:owner" in began and said["action"] in began
    assert '["unit.restart", {"unit": "nginx.service"}]' in began
    assert "done" in done and "1 of 1" in done


def test_steps_are_done_in_their_order(world: World) -> None:
    world.run((Step("unit.stop", {"unit": "a.service"}), Step("unit.disable", {"unit": "a.service"})))
    wanted = ["StopUnit", "DisableUnitFiles", "Reload"]
    assert [member for member in world.bus.members() if member in wanted] == wanted


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"expires": 0.5}, "expired"),
        ({"expires": approval.now() + 86_400}, "expired"),
        ({"expires": "never"}, "expired"),
        ({"boot": "00000000-0000-0000-0000-000000000000"}, "another boot"),
        ({"steps": sha256(b"[]").hexdigest()}, "something else"),
        ({"more": 1}, "no approval"),
        ({"nonce": "x"}, "nonce"),
        ({"nonce": "a" * 32 + "\n"}, "nonce"),
        ({"nonce": None}, "nonce"),
    ],
)
def test_an_approval_that_is_not_right_is_refused(world: World, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(StepFailed, match=f"refused, and nothing was done: .*{why}"):
        world.run(token=altered(world, **fields))
    assert world.bus.calls == []


def test_an_approval_for_other_steps_is_refused(world: World) -> None:
    with pytest.raises(StepFailed, match="something else"):
        world.run((Step("unit.restart", {"unit": "sshd.service"}),), world.token())
    with pytest.raises(StepFailed, match="something else"):
        world.run((*RESTART, OFF), world.token())
    with pytest.raises(StepFailed, match="something else"):
        world.run((OFF, *RESTART), world.token((*RESTART, OFF)))
    assert world.bus.calls == []


def test_a_forged_signature_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    token = world.token()
    stranger = MachineKey(tmp_path / "other").sign(token["token"].encode())
    for signature in (stranger, "", "AAAA", "\u00fc", token["signature"][:-4], token["signature"] + "AAAA"):
        with pytest.raises(StepFailed, match="not signed by this machine"):
            world.run(token={**token, "signature": signature})
    with pytest.raises(StepFailed, match="not signed by this machine"):
        world.run(token={**token, "token": token["token"] + " "})
    assert world.bus.calls == []


def test_an_approval_is_good_once_also_after_a_restart_of_the_broker(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        token = world.token()
        world.run(token=token)
        with pytest.raises(StepFailed, match="used already"):
            world.run(token=token)
    for _ in range(2):
        with running(tmp_path) as world:
            with pytest.raises(StepFailed, match="used already"):
                world.run(token=token)
            assert world.bus.calls == []


def test_an_approval_is_used_up_on_the_disk_before_anything_is_done(world: World) -> None:
    token = world.token()
    found: list[str] = []
    world.bus.on_job = lambda: found.append((world.folder / "broker" / FILE).read_text())
    world.run(token=token)
    assert json.loads(token["token"])["nonce"] in found[0]


def test_nothing_is_done_when_the_use_cannot_be_stored(world: World) -> None:
    (world.folder / "broker" / FILE).mkdir()
    with pytest.raises(StepFailed, match=r"nothing was done: .*cannot be stored"):
        world.run()
    assert world.bus.calls == []


def test_a_piece_of_a_line_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        with (tmp_path / "broker" / FILE).open("a") as file:
            file.write(f"\n{approval.boot()} 12")  # cut off by a full disk
        token = world.token()
        world.run(token=token)
    with running(tmp_path) as world, pytest.raises(StepFailed, match="used already"):
        world.run(token=token)


def test_what_cannot_be_replayed_any_more_is_dropped(tmp_path: Path) -> None:
    folders(tmp_path)
    file, boot = tmp_path / "broker" / FILE, approval.boot()
    good = f"{boot} {int(approval.now()) + 100} {'c' * 32}"
    old = [f"{boot} 1 {'a' * 32}", f"{'0' * 36} 99999999 {'b' * 32}", "rubbish", "\u00fc"]
    file.write_text("\n".join([*old, good]))
    with running(tmp_path) as world:
        world.run()
    first, second = file.read_text().split("\n\n")
    assert first == good
    assert second.startswith(f"{boot} ") and len(second.splitlines()) == 1


def test_two_calls_with_one_approval_are_done_once(world: World) -> None:
    token, ends = world.token(), []

    def one() -> None:
        try:
            world.run(token=token)
            ends.append("done")
        except StepFailed as failed:
            ends.append(failed.detail)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert ends.count("done") == 1
    assert world.bus.members().count("RestartUnit") == 1


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (Step("unit.restart", {"unit": "agentd.service"}), "belongs to the agent"),
        (Step("unit.restart", {"unit": "nginx.service; reboot"}), "no full name"),
        (Step("unit.restart", {"unit": "nginx.service", "mode": "isolate"}), "no argument 'mode'"),
        (Step("shell.run", {"command": "id"}), "no verb 'shell.run'"),
    ],
)
def test_a_step_that_is_not_in_the_table_is_refused_whoever_approved_it(
    world: World, step: Step, why: str
) -> None:
    token = world.token((*RESTART, step))
    with pytest.raises(StepFailed, match=f"refused, and nothing was done: .*{why}"):
        world.run((*RESTART, step), token)
    assert world.bus.calls == []


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [{"verb": "power.off", "arguments": {}}] * 33,
        [{"verb": "power.off"}],
        [{"arguments": {}}],
        [{}],
        [{"verb": "power.off", "arguments": []}],
        [{"verb": "power.off", "arguments": None}],
        [{"verb": "unit.start", "arguments": {"unit": {"unit": "nginx.service"}}}],
    ],
    ids=str,
)
def test_what_is_no_list_of_steps_is_refused(world: World, steps: list[dict[str, Any]]) -> None:
    assert refusal(world, steps, world.token())[0] == "BadStep"
    assert world.bus.calls == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"steps": [{"verb": 5, "arguments": {}}]},
        {"steps": 5},
        {"steps": [5]},
        {"steps": ["power.off"]},
        {"steps": [{"verb": "power.off", "arguments": {}}]},
        {"steps": [{"verb": "power.off", "arguments": {}}], "token": 5, "signature": []},
        {"steps": [{"verb": "power.off", "arguments": {}}], "token": "", "signature": "", "uid": 0},
        {},
    ],
    ids=str,
)
def test_wrong_types_do_nothing_and_no_harm(world: World, parameters: dict[str, Any]) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(world.path)
        client.sendall(
            json.dumps({"method": "io.aetheros.Exec.Do", "parameters": parameters}).encode() + b"\0"
        )
        assert b'"done"' not in client.recv(4096)
    assert world.bus.calls == []
    world.run()


def test_a_huge_message_is_refused(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed):
        world.run((Step("unit.start", {"unit": "x" * (5 << 20)}),))
    eventually(lambda: "the message is longer than" in capfd.readouterr().err)
    assert world.bus.calls == []
    world.run()


def test_a_key_that_is_not_agentds_own_is_not_used(tmp_path: Path) -> None:
    folders(tmp_path)
    file = tmp_path / "agentd" / "identity.key"
    seed = file.read_bytes()

    def refused_because(why: str) -> None:
        with running(tmp_path) as world:
            # agentd's own side would not sign with such a key.
            token = {"token": "{}", "signature": ""}
            assert why in refusal(world, [{"verb": "power.off", "arguments": {}}], token)[1]
            assert world.bus.calls == []

    file.chmod(0o644)
    refused_because("is not agentd's alone")
    file.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").chmod(0o600)
    file.symlink_to(tmp_path / "elsewhere")
    refused_because("symbolic link")
    file.unlink()
    file.write_bytes(seed[:20])
    file.chmod(0o600)
    refused_because("is damaged")
    if os.getuid() == 0:
        file.write_bytes(seed)
        os.chown(file, 65534, -1)
        refused_because("is not agentd's alone")
    file.unlink()
    file.mkdir()
    refused_because("identity.key")
    file.rmdir()
    os.mkfifo(file, 0o600)
    refused_because("is no file")


def test_the_key_is_read_once(world: World) -> None:
    world.run()
    token = world.token()
    (world.folder / "agentd" / "identity.key").unlink()
    world.run(token=token)


def test_a_step_that_fails_ends_the_call_and_says_which_one(world: World) -> None:
    world.bus.jobs["nginx.service"] = "timeout"
    steps = (Step("unit.stop", {"unit": "a.service"}), *RESTART, OFF)
    with pytest.raises(StepFailed) as caught:
        world.run(steps)
    assert caught.value.detail == "step 2 of 3 failed: nginx.service: it took too long."
    assert "PowerOff" not in world.bus.members()
    with pytest.raises(StepFailed) as caught:
        world.run()
    assert caught.value.detail == "nginx.service: it took too long."


def test_an_error_that_nobody_expected_is_a_failed_step(world: World) -> None:
    def broken() -> None:
        raise AssertionError("unexpected")

    world.bus.on_job = broken
    with pytest.raises(StepFailed, match="AssertionError: unexpected"):
        world.run()


def test_who_left_while_another_was_served_is_not_served_any_more(world: World) -> None:
    holding, going_on = threading.Event(), threading.Event()

    def hold() -> None:
        holding.set()
        assert going_on.wait(10)

    world.bus.on_job = hold
    first = threading.Thread(target=world.run)
    first.start()
    assert holding.wait(10)
    steps = (OFF,)
    with pytest.raises(StepFailed, match="did not answer for 0 s, nobody knows"):
        Broker(world.path, 0.2, 0.0).run(steps, world.token(steps))
    going_on.set()
    first.join(10)
    world.run((Step("power.suspend", {}),))
    assert "Suspend" in world.bus.members()
    assert "PowerOff" not in world.bus.members()


def test_a_broker_that_is_killed_in_the_middle_leaves_its_beginning_in_the_journal(tmp_path: Path) -> None:
    folders(tmp_path)
    path = f"/tmp/exec-{os.getpid()}.sock"
    fixture = Path(__file__).with_name("exec_fixture.py")
    process = subprocess.Popen(
        [sys.executable, str(fixture), path, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    world = World(tmp_path, FakeBus(), path)
    token = world.token()
    try:
        eventually(lambda: Path(path).exists())

        def kill_it() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if "began" in line:
                    process.kill()

        lines: list[str] = []
        killer = threading.Thread(target=kill_it)
        killer.start()
        with pytest.raises(StepFailed) as caught:
            world.run(token=token)
        killer.join(10)
    finally:
        process.kill()
        process.communicate()
        Path(path).unlink(missing_ok=True)
    assert caught.value.detail == "the broker ended while it worked, nobody knows whether it was done."
    assert any("began" in line and json.loads(token["token"])["nonce"] in line for line in lines)
    # The approval is used up all the same.
    with running(tmp_path) as world, pytest.raises(StepFailed, match="used already"):
        world.run(token=token)


def test_a_broker_that_is_not_there_is_told(tmp_path: Path) -> None:
    folders(tmp_path)
    world = World(tmp_path, FakeBus(), str(tmp_path / "none"))
    with pytest.raises(StepFailed) as caught:
        world.run()
    assert caught.value.detail == "the broker is not there (No such file or directory)."


def test_the_verbs_are_listed_and_agentd_knows_them(world: World) -> None:
    with calling(world.path, "io.aetheros.Exec", 10) as broker:
        listed = {verb["name"]: verb for verb in broker.Verbs()["verbs"]}
    assert listed.keys() == VERBS.keys()
    assert listed["timer.set"]["optional"] == ["when", "schedule"]
    assert all(Broker().can(verb) for verb in listed)
    assert not Broker().can("file.write")
