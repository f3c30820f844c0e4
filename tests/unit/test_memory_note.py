"""Notes: what a person writes is understood, what agentd writes reads back the same, the rest stays."""

import dataclasses
import time
from string import ascii_letters

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentd.memory import note
from agentd.memory.memory import KINDS, TRUST, Memory
from agentd.memory.note import NoteError
from agentd.memory.note_text import MAX_BLOCKS, PASSAGE_CHARACTERS

ID = "m01jdh3k2c9x4q"
OTHER = "m01jdh3k2c9x4r"
DENTIST = Memory(ID, "My dentist is Dr. Lee.", created="2026-11-25T04:00:00Z", source="turn:12")
KEYS = "kind=fact created=2026-11-25T04:00:00Z source=turn:12 trust=owner"
LINE = f"- My dentist is Dr. Lee. <!-- {ID} {KEYS} -->\n"

# Every letter that means something in a note is frequent; the rest of Unicode is there as well.
PIECES = st.sampled_from(
    [
        *"-*+#>`~.)1\\ \t\n\r\0\x0b\x0c\x1c\x85\u00a0\u2028\ufeff\U0001f600a",
        *(
            "- ",
            "1. ",
            "\\- ",
            "<!--",
            "-->",
            "\\<!--",
            "```",
            "~~~",
            "---",
            "\r\n",
            "\n  ",
            "\n\n",
            "# ",
            "[[",
        ),
        *(f"<!-- {ID} -->", f"<!-- {OTHER} -->", f"\n- x <!-- {OTHER} kind=fact -->\n"),
        *("\n---\n", "---\na: 1\n---\n"),
    ]
)
ODD_TEXT = st.one_of(st.lists(PIECES, max_size=25).map("".join), st.text(max_size=60))
TIMES = st.sampled_from(["", "2026-11-25", "2026-11-25T04:00:00Z", "1970-01-01T00:00:00Z"])
MEMORIES = st.builds(
    Memory,
    id=st.just(ID),
    text=ODD_TEXT,
    kind=st.sampled_from(KINDS),
    created=TIMES,
    seen=TIMES,
    source=ODD_TEXT,
    trust=st.sampled_from(TRUST),
    shared=st.booleans(),
    expires=TIMES,
    slot=ODD_TEXT,
    supersedes=st.sampled_from(["", OTHER]),
    superseded_by=st.sampled_from(["", OTHER]),
    reason=ODD_TEXT,
).filter(lambda memory: note.normal(memory).text != "")
READABLE = ODD_TEXT.filter(lambda text: _parses(text) and ID not in text)


def _parses(text: str) -> bool:
    try:
        note.parse(text, path="a.md")
    except NoteError:
        return False
    return True


def parse(text: str) -> note.ParsedNote:
    return note.parse(text, path="notes/a.md")


def texts(text: str) -> list[str]:
    return [passage.text for passage in parse(text).passages]


@settings(max_examples=400, deadline=None)
@given(READABLE, MEMORIES)
def test_any_memory_reads_back_the_same_and_all_else_in_the_note_stays(text: str, memory: Memory) -> None:
    before, after = parse(text), parse(note.add(text, memory))
    assert after.memories == (*before.memories, note.normal(memory))
    assert after.passages == before.passages
    assert after.front == before.front


@settings(max_examples=400, deadline=None)
@given(READABLE, MEMORIES)
def test_removing_what_was_added_gives_the_very_same_text(text: str, memory: Memory) -> None:
    assert note.remove(note.add(text, memory), ID) == text


@settings(max_examples=300, deadline=None)
@given(READABLE, MEMORIES, MEMORIES, READABLE)
def test_a_memory_is_replaced_where_it_is(head: str, old: Memory, new: Memory, tail: str) -> None:
    # The heading keeps the tail from being part of the item.
    text = note.add(head + "\n", old) + "# Tail\n" + tail
    assume(_parses(text) and ID in [memory.id for memory in parse(text).memories])
    changed = note.replace(text, new)
    assert changed.startswith(head) and changed.endswith("# Tail\n" + tail)
    expected = [note.normal(new) if memory.id == ID else memory for memory in parse(text).memories]
    assert list(parse(changed).memories) == expected
    assert texts(changed) == texts(text)


@settings(max_examples=300, deadline=None)
@given(ODD_TEXT)
def test_whatever_a_file_holds_it_is_read_or_refused_with_one_line(text: str) -> None:
    try:
        parse(text)
    except NoteError as error:
        assert error.message and "\n" not in error.message


def test_a_memory_is_one_line_that_a_person_can_read() -> None:
    assert note.add("", DENTIST) == LINE
    assert note.add("# Memory", DENTIST) == "# Memory\n" + LINE.removesuffix("\n")
    assert parse(LINE).memories == (note.normal(DENTIST),)


def test_what_a_person_leaves_out_of_a_comment_has_its_usual_value() -> None:
    (memory,) = parse(f"- milk <!-- {ID} -->").memories
    assert memory == Memory(ID, "milk")


def test_the_lines_of_a_memory_are_indented_and_its_markers_escaped() -> None:
    memory = Memory(ID, "Shopping:\n- milk\n\n1. <!-- eggs\n")
    text = note.add("", memory)
    assert text.startswith("- Shopping:\n  \\- milk\n\n  1\\. \\<!-- eggs <!-- m")
    assert parse(text).memories == (note.normal(memory),)


def test_values_in_a_comment_cannot_end_it() -> None:
    memory = dataclasses.replace(DENTIST, reason="he --> retired\n100%", slot="the dentist")
    text = note.add("", memory)
    assert text.count("\n") == 1 and text.count("--") == 2
    assert parse(text).memories == (note.normal(memory),)


@pytest.mark.parametrize(
    "text",
    [
        f"* milk <!-- {ID} -->",
        f"+   milk <!--{ID}-->",
        f"12. milk <!-- {ID} kind=fact -->  ",
        f"- Shop\n\t- milk <!-- {ID} -->\n",
        f"> quoted\n- milk <!-- {ID} -->\r\n",
        f"-\n  milk <!-- {ID} -->\n",
        f"\ufeff- milk <!-- {ID} -->\n",
    ],
)
def test_a_list_item_may_look_as_people_and_editors_write_it(text: str) -> None:
    (memory,) = parse(text).memories
    assert memory.text == "milk"
    changed = note.replace(text, dataclasses.replace(memory, text="oat\nmilk"))
    assert parse(changed).memories[0].text == "oat\nmilk"
    assert parse(note.remove(text, ID)).memories == ()


def test_an_item_that_was_wrapped_or_went_on_below_its_id_is_one_memory() -> None:
    text = f"- a long\nline <!-- {ID} -->\n  and more\n\n  of it\nA paragraph\n- b <!-- {OTHER} -->\n"
    assert [memory.text for memory in parse(text).memories] == ["a long\nline\nand more\n\nof it", "b"]
    assert texts(text) == ["A paragraph"]
    assert note.remove(text, ID) == f"A paragraph\n- b <!-- {OTHER} -->\n"


def test_words_in_a_comment_that_we_do_not_know_are_kept() -> None:
    text = f"- milk <!-- {ID} checked colour=blue kind=fact -->\n"
    changed = note.replace(text, Memory(ID, "oat milk"))
    assert changed == f"- oat milk <!-- {ID} kind=fact source=person trust=owner checked colour=blue -->\n"


def test_windows_line_ends_stay() -> None:
    text = "# Memory\r\n\r\nHello\r\n"
    changed = note.add(text, Memory(ID, "one\ntwo"))
    assert changed.startswith(text) and changed.count("\n") == changed.count("\r\n") == 5
    assert parse(changed).memories[0].text == "one\ntwo"
    assert note.remove(changed, ID) == text
    assert note.remove("a\r\n- b <!-- " + ID + " -->", ID) == "a"


def test_a_comment_in_a_code_block_is_an_example_not_a_memory() -> None:
    text = f"```\n- milk <!-- {ID} -->\n# no heading #notag [[nolink]]\n```\n"
    parsed = parse(text)
    assert parsed.memories == () and parsed.title == "a" and parsed.tags == () and parsed.links == ()
    assert len(parsed.passages) == 1


def test_a_stray_fence_does_not_hide_the_memories_below_it() -> None:
    text = note.add("Say ``` or\n```python\nhello\n", DENTIST)
    assert parse(text).memories == (note.normal(DENTIST),)


def test_an_item_without_its_text_is_forgotten_but_can_still_be_removed() -> None:
    text = f"a\n- <!-- {ID} -->\n"
    assert parse(text).memories == ()
    assert note.remove(text, ID) == "a\n"


@pytest.mark.parametrize(
    "text",
    [
        f"- milk <!-- {ID} --> and eggs",
        f"- milk <!-- {ID} --> -->",
        f"- milk \\<!-- {ID} -->",
        f"- milk <!-- {ID[:-1]} -->",
        f"- milk <!-- see {ID} -->",
        f"Milk <!-- {ID} -->",
        f"    # <!-- {ID} -->",
    ],
)
def test_what_only_looks_like_a_memory_is_a_passage(text: str) -> None:
    assert parse(text).memories == ()
    assert len(parse(text).passages) == 1


def test_what_utf_8_or_a_text_file_cannot_hold_is_replaced() -> None:
    memory = Memory(ID, "a\0b\ud800c", reason="\udfff")
    assert note.add("", memory).encode().count("\ufffd".encode()) == 3
    assert note.normal(memory).text == "a\ufffdb\ufffdc" and note.normal(memory).reason == "\ufffd"


def test_whose_a_memory_is_follows_from_the_path() -> None:
    assert note.parse(LINE, path="people/ada/MEMORY.md").memories[0].person == "ada"
    assert note.parse(LINE, path="people/MEMORY.md").memories[0].person == "owner"
    assert note.parse(LINE, path="notes/people/ada.md").memories[0].person == "owner"


def test_title_tags_links_and_front_matter_are_found() -> None:
    text = (
        "---\ntags: [garden, '#home']\nname: no\nborn: 1970-01-01\nsize: 007\n---\n"
        "# The garden #\nSee [[Tomatoes|those]], [[Soil#Clay]] and ![[plan.png]].\n"
        "#spring/2026 not#a #12 [[Soil]]\n"
    )
    parsed = parse(text)
    assert parsed.title == "The garden"
    assert parsed.tags == ("garden", "home", "spring/2026")
    assert parsed.links == ("Tomatoes", "Soil", "plan.png")
    assert parsed.front == {"tags": ["garden", "#home"], "name": "no", "born": "1970-01-01", "size": "007"}
    assert parse("---\ntitle: Plants\n---\n# Other\n").title == "Plants"
    assert parse("Nothing").title == "a"


def test_plain_notes_become_passages_with_their_heading_and_line() -> None:
    parsed = parse("Intro\n\n# Food\n- bread\n- cheese\n\nMore.\n## Wine #\n***\nRed\n")
    assert [(passage.text, passage.heading, passage.line) for passage in parsed.passages] == [
        ("Intro", "", 1),
        ("- bread\n- cheese\n\nMore.", "Food", 4),
        ("***\nRed", "Wine", 9),
    ]


def test_long_text_is_cut_into_passages_that_hold_every_word() -> None:
    words = [f"word{number}" for number in range(4000)]
    for separator in (" ", "\n", "\n\n", "\r\n- "):
        found = texts(separator.join(words))
        assert max(map(len, found)) <= PASSAGE_CHARACTERS
        assert " ".join(found).replace("- ", "").split() == words
    found = texts("x" * 5000)
    assert "".join(found) == "x" * 5000 and max(map(len, found)) <= PASSAGE_CHARACTERS


def test_paragraphs_that_do_not_fit_together_stay_whole() -> None:
    paragraphs = [f"{'a' * 300}\n{letter * 700}" for letter in "xyz"]
    assert texts("\n\n".join(paragraphs)) == paragraphs


def test_the_lines_of_a_long_texts_passages_are_right() -> None:
    text = "".join(f"line {number}\n" + "\n" * (number % 3) for number in range(1, 1000))
    lines = text.split("\n")
    for passage in parse(text).passages:
        assert lines[passage.line - 1] == passage.text.split("\n")[0]


def test_equal_passages_have_different_ids() -> None:
    parsed = parse("# A\ncall\n# B\ncall\n")
    assert len({passage.id for passage in parsed.passages}) == 2


def test_a_passage_can_be_removed() -> None:
    text = f"# A\none\n\ntwo\n# B\r\n{LINE}three"
    first, second = parse(text).passages
    assert note.remove(text, first.id, path="notes/a.md") == f"# A\n# B\r\n{LINE}three"
    assert note.remove(text, second.id, path="notes/a.md") == text.removesuffix("\nthree")
    long = "word " * 1000
    for passage in parse(long).passages:
        left = note.remove(long, passage.id, path="notes/a.md")
        assert len(left.split()) == 1000 - len(passage.text.split())


BOMB = "---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, "line 2: the front matter has an alias or anchor"),
        ("---\na: 1\n", "line 1: the front matter has no closing line ---"),
        ("---\na: 1\nb: [\n---\n", "line 4: the front matter is no YAML"),
        ("---\na: \x07\n---\n", "line 1: the front matter is no YAML: unacceptable character"),
        ("---\n- a\n---\n", "line 2: the front matter is no list of `key: value`"),
        ("---\n" + "[" * 60000 + "\n---\n", "line 2: the front matter is nested more than 20 deep"),
        ("---\na: " + "x" * 70000 + "\n---\n", "line 1: the front matter is larger than 64 KiB"),
        ("---\n? [a]\n: b\n---\n", "line 2: the front matter is no YAML: found unhashable key"),
        ('---\na: "\\UFFFFFFFF"\n---\n', "line 1: the front matter names a character that there is not"),
        ('---\na: "\\U00110000"\n---\n', "line 1: the front matter names a character that there is not"),
        (LINE + "\n" + LINE, f"line 3: the id {ID} is on line 1 already"),
        (f"- a <!-- {ID} -->\n  b <!-- {OTHER} -->", "line 2: a list item has two ids"),
        (f"a\n\n- a <!-- {ID} kind=joke -->", "line 3: kind=joke is none of fact, preference"),
        (f"- a <!-- {ID} trust=full -->", "line 1: trust=full is none of owner"),
        (f"- a <!-- {ID} shared=perhaps -->", "line 1: shared=perhaps is neither yes nor no"),
        (f"- a <!-- {ID} expires=tomorrow -->", "line 1: expires=tomorrow is not a time"),
        (f"- a <!-- {ID} created=2026-02-30 -->", "line 1: created=2026-02-30 is not a time"),
    ],
)
def test_a_note_that_is_wrong_is_refused_with_the_line_to_look_at(text: str, why: str) -> None:
    with pytest.raises(NoteError) as caught:
        parse(text)
    assert caught.value.message.startswith(why)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", [BOMB, "---\na: 1\n", LINE + LINE])
def test_a_note_that_is_wrong_is_never_changed(text: str) -> None:
    for change in (note.add, note.replace):
        with pytest.raises(NoteError):
            change(text, DENTIST)
    with pytest.raises(NoteError):
        note.remove(text, ID)


def test_a_change_that_makes_no_sense_is_refused() -> None:
    for text, memory in (
        (LINE, DENTIST),
        ("", Memory(ID, " \n")),
        ("", Memory("x", "a")),
        ("", Memory(ID, "a", "b")),
    ):
        with pytest.raises(NoteError):
            note.add(text, memory)
    with pytest.raises(NoteError):
        note.replace("", DENTIST)
    with pytest.raises(NoteError):
        note.remove(LINE, OTHER)
    with pytest.raises(NoteError):
        note.remove(LINE, "p0123456789ab", path="notes/a.md")


def _five_megabytes(piece: str) -> str:
    return piece * (5_000_000 // len(piece))


@pytest.mark.parametrize(
    "text",
    [
        _five_megabytes("The quick brown fox jumps over the lazy dog near the river bank.\n\n"),
        _five_megabytes("- The quick brown fox jumps over the lazy dog near the river bank.\n"),
        _five_megabytes("word "),
        _five_megabytes("[["),
        _five_megabytes("#a "),
        "- " + _five_megabytes("\\"),
        "- " + _five_megabytes("<!-- "),
        " " * 5_000_000 + ".",
        "".join("`" * length + "x\n" for length in range(3000, 2, -1)),
    ],
    ids=["paragraphs", "items", "one line", "links", "tags", "backslashes", "comments", "blanks", "fences"],
)
def test_five_megabytes_are_read_in_two_seconds(text: str) -> None:
    started = time.process_time()
    parse(text)
    assert time.process_time() - started < 2


def test_a_note_of_millions_of_pieces_is_refused() -> None:
    with pytest.raises(NoteError, match="more than"):
        parse("- a\n" * (MAX_BLOCKS + 1))


def test_letters_alone_need_no_escape() -> None:
    assert note.add("", Memory(ID, ascii_letters)).startswith(f"- {ascii_letters} <!-- ")
