"""The routing head on a tiny file, and files that cannot be used."""

from pathlib import Path

import pytest
import routing_fixture as tiny

from agentd.routing import head
from agentd.routing.head import Head, HeadError


@pytest.fixture
def loaded(tmp_path: Path) -> Head:
    return head.load(tiny.write(tmp_path / "routing.bin"))


def best(chances: dict[str, float]) -> str:
    return max(chances, key=lambda name: chances[name])


@pytest.mark.parametrize(("text", "label"), tiny.SPEAKS.items())
def test_words_alone_choose_when_there_is_no_encoder(loaded: Head, text: str, label: int) -> None:
    chances = loaded.probabilities(text, None)
    assert sum(chances.values()) == pytest.approx(1)
    assert best(chances) == tiny.CLASSES[label]


@pytest.mark.parametrize("label", range(3))
def test_meaning_chooses_where_words_say_nothing(loaded: Head, label: int) -> None:
    assert best(loaded.probabilities("zzz", tiny.vector(label))) == tiny.CLASSES[label]


def test_a_vector_of_another_length_is_as_good_as_none(loaded: Head) -> None:
    text = "reboot the machine"
    assert loaded.probabilities(text, [1.0] * 9) == loaded.probabilities(text, None)


def test_weights_below_zero_speak_against(tmp_path: Path) -> None:
    weights = bytearray(tiny.payload())
    weights[0] = 256 - 127  # int8: -127
    loaded = head.load(tiny.write(tmp_path / "routing.bin", weights=bytes(weights)))
    assert loaded.probabilities("zzz", tiny.vector(0))["machine.status"] < 0.1


def test_a_higher_temperature_makes_everything_less_sure(tmp_path: Path, loaded: Head) -> None:
    cool = tiny.header(alone={"bias": [0.0, 0.0, 0.5], "temperature": 4.0})
    other = head.load(tiny.write(tmp_path / "other.bin", cool))
    text = "reboot the machine"
    assert other.probabilities(text, None)["power.reboot"] < loaded.probabilities(text, None)["power.reboot"]


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    whole = tiny.write(tmp_path / "routing.bin").read_bytes()
    damaged = tmp_path / "damaged.bin"
    for at in (*range(0, whole.index(b"\n"), 7), len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(HeadError):
            head.load(damaged)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}\n", b"[1]\n", b"null", b"\x00\xff" * 500, b'{"format": 1}\n']
)
def test_a_foreign_file_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "routing.bin").write_bytes(content)
    with pytest.raises(HeadError, match=r"routing\.bin (is|has|makes)"):
        head.load(tmp_path / "routing.bin")


def test_a_shortened_file_and_one_with_more_are_damaged(tmp_path: Path) -> None:
    whole = tiny.write(tmp_path / "routing.bin").read_bytes()
    for content in (whole[:-1], whole + b"x"):
        (tmp_path / "routing.bin").write_bytes(content)
        with pytest.raises(HeadError, match="is damaged"):
            head.load(tmp_path / "routing.bin")


def test_a_missing_file_is_told_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(HeadError, match=r"cannot read .*No such file"):
        head.load(tmp_path / "routing.bin")


def test_a_file_of_a_newer_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(head, "FORMAT", head.FORMAT + 1)
        tiny.write(tmp_path / "routing.bin")
    with pytest.raises(HeadError, match=f"has the format {head.FORMAT + 1}"):
        head.load(tmp_path / "routing.bin")


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ["a", "b", "c"]},
        {"classes": ["a", "a", "talk"]},
        {"classes": ["a", "talk"]},
        {"buckets": 0},
        {"dimension": "x"},
        {"scales": {}},
        {"alone": {"bias": [0.0] * 3, "temperature": 0.0}},
        {"alone": {"bias": [float("nan")] * 3, "temperature": 1.0}},
        {"spelling": {"other": 1}},
    ],
)
def test_a_whole_file_that_makes_no_sense_is_told(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(HeadError, match="makes no sense"):
        head.load(tiny.write(tmp_path / "routing.bin", tiny.header(**changes)))
