"""docs/tools.md says what the declarations say, and they say what the plans do."""

from pathlib import Path

import pytest
from file_tools import Folders
from recorded_bus import RUNNING, RecordedBus
from reminders_fixture import World

from agentd.tools import places, reference, service_changes
from agentd.tools.tool import Context, Level, Tool

PAGE = Path(__file__).parents[2] / "docs/tools.md"


def test_the_page_is_that_of_the_declarations() -> None:
    assert PAGE.read_text() == reference.page(), "run: python -m agentd.tools.reference > docs/tools.md"


def test_the_page_has_every_tool_with_its_arguments_and_three_requests() -> None:
    rows = {row.split("`")[1]: row for row in PAGE.read_text().splitlines() if row.startswith("| `")}
    assert set(rows) == set(reference.declared())
    for name, tool in reference.declared().items():
        assert tool.purpose in rows[name] and f"| {tool.level.value} |" in rows[name]
        assert all(one.purpose in rows[name] for one in tool.arguments)
        examples = rows[name].split(" | ")[-1].rstrip(" |").split("<br>")
        assert len(set(examples)) == reference.SHOWN and all(examples), name


def test_the_head_of_the_page_is_short() -> None:
    assert reference.HEAD.count("\n") <= 25


def test_what_is_read_needs_no_way_back_and_what_is_danger_has_none() -> None:
    levels = {tool.level for tool in reference.declared().values() if tool.reversible}
    assert levels == {Level.CHANGE}


@pytest.mark.parametrize("tool", service_changes.TOOLS, ids=lambda tool: tool.name)
def test_a_change_of_a_service_has_a_way_back_if_it_says_so(tool: Tool) -> None:
    is_wanted_up = tool.name in ("services.start", "services.enable")
    found = {} if is_wanted_up else {**RUNNING, "UnitFileState": "enabled"}
    assert tool.plan is not None
    plan = tool.plan(Context(RecordedBus(units={"a.service": found}), "owner"), {"unit": "a.service"})
    assert bool(plan.undo) == tool.reversible


def test_a_change_of_a_file_has_a_way_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_places", None)
    folders = Folders(tmp_path)
    for name, given in (
        ("write", {"path": "a", "text": "x"}),
        ("move", {"path": "a", "to": "b"}),
        ("delete", {"path": "b"}),
        ("restore", {"path": "b"}),
    ):
        assert folders.do(name, **given).undo
        assert reference.declared()[f"files.{name}"].reversible


def test_a_reminder_has_a_way_back(tmp_path: Path) -> None:
    world = World(tmp_path, "2026-11-25T09:00:00")
    for name, given in (
        ("remind", {"text": "the soup", "when": "2026-11-25T18:00:00+00:00"}),
        ("timer", {"duration": 60}),
        ("repeat", {"text": "tablets", "schedule": "*-*-* 08:00:00"}),
        ("cancel", {"which": "the soup"}),
    ):
        assert "To take it back" in world.do(f"time.{name}", **given), name
        assert reference.declared()[f"time.{name}"].reversible
