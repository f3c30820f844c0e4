"""The report of a machine as a picture: report.svg beside the image.

Boot phases are stacked on one scale; every other quantity has its own, so that what counts is how the two
bars of a pair compare. Lengths are worked out here, machine_report.svg.j2 draws them.
Not for: the figures (machine_report.py), the table (machine_report_text.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from builder.boot_phases import PHASES, READY
from builder.cache import write_atomically
from builder.machine_report import Figure, Report, Section
from builder.machine_report_text import heading, ratio_text, unit_text, value_text

NAME = "report.svg"
TEMPLATE = Path(__file__).with_name("machine_report.svg.j2")

# In the units of the picture, which a viewer scales.
LEFT, WIDTH, LABEL, VALUE = 24, 760, 210, 96  # margin; whole; names of rows; room behind a bar
BAR, GAP = 18, 6
LONGEST_NAME = 30  # letters of a machine's name in front of its bars
LEGEND = 136  # a column of the legend
LETTER = 6.2  # of the small type, about

# What is drawn beside the boot phases: sections and their figures.
DRAWN = {
    "kernel": ("kernel", "initramfs", "modules", "symbols_y", "symbols_m", "hardening"),
    "image": ("boot", "system"),
}


@dataclass(frozen=True)
class Part:
    """A piece of a bar; `text` fits into it, or is empty."""

    x: float
    width: float
    kind: str  # its class in the template's style
    text: str
    title: str  # shown when pointed at


@dataclass(frozen=True)
class Bar:
    """One system's bar with its value behind it."""

    y: float
    label: str
    parts: Sequence[Part]
    end: float
    value: str


@dataclass(frozen=True)
class Group:
    """Bars under a heading."""

    y: float
    title: str
    bars: Sequence[Bar]


def write(found: Report) -> Path:
    """Write the picture beside the machine's image; its path."""
    path = found.machine.folder / NAME
    write_atomically(path, svg(found))
    return path


def svg(found: Report) -> str:
    """The picture as the text of an SVG file."""
    y = 30.0 + 18 * len(heading(found))
    names = [found.machine.machine, *([found.generic.machine] if found.generic else [])]
    boot, y = boot_group(found, names, y)
    groups: list[Group] = []
    for key, keys in DRAWN.items():
        more, y = groups_of(found.section(key), keys, names, y)
        groups += more
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=True, trim_blocks=True)
    return environment.from_string(TEMPLATE.read_text()).render(
        width=WIDTH,
        height=round(y + 10),
        left=LEFT,
        label=LEFT + LABEL - 10,
        bar=BAR,
        lines=heading(found),
        boot=boot,
        note=found.section("boot").note,
        legend=[
            (LEFT + LEGEND * at, name, title.partition(",")[0])
            for at, (name, title) in enumerate(PHASES.items())
        ],
        groups=groups,
    )


def boot_group(found: Report, names: Sequence[str], y: float) -> tuple[Group, float]:
    """The stacked phases, one scale for all; and where what follows begins."""
    section = found.section("boot")
    values = [
        {figure.key: value for figure in section.figures if (value := _side(figure, side)) is not None}
        for side in range(len(names))
    ]
    longest = max((one.get(READY, 0.0) for one in values), default=0.0)
    group_y, y = y, y + 62  # heading and legend
    bars = []
    for name, phases in zip(names, values, strict=True):
        parts: list[Part] = []
        x = float(LEFT + LABEL)
        for phase, title in PHASES.items():
            width = _length(phases.get(phase, 0.0), longest)
            if width > 0:
                said = value_text(phases[phase], "s")
                fits = len(said) * LETTER + 6 < width
                parts.append(Part(x, width, phase, said if fits else "", f"{title}: {said} s"))
            x += width
        total = phases.get(READY)
        bars.append(
            Bar(y, _short(name), parts, x + 6, "not measured" if total is None else f"{total:.2f} s")
        )
        y += BAR + GAP
    return Group(group_y, "Power-on to agent-ready, seconds", bars), y + 44


def groups_of(
    section: Section, keys: Sequence[str], names: Sequence[str], y: float
) -> tuple[list[Group], float]:
    """A pair of bars for each figure that is known, each pair on its own scale."""
    groups = []
    for figure in section.figures:
        if figure.key not in keys:
            continue
        values = [_side(figure, side) for side in range(len(names))]
        longest = max((value for value in values if value is not None), default=0.0)
        ratio = f" (ratio {ratio_text(figure.ratio)})" if figure.ratio else ""
        start, y = y, y + 10
        bars = []
        for at, (name, value) in enumerate(zip(names, values, strict=True)):
            width = _length(value or 0.0, longest)
            said = f"{value_text(value, figure.unit)} {unit_text(figure.unit)}".rstrip()
            kind = "machine" if at == 0 else "generic"
            parts = [Part(LEFT + LABEL, width, kind, "", f"{name}: {said}")] if width > 0 else []
            shown = said if value is not None else "none"
            bars.append(Bar(y, _short(name), parts, LEFT + LABEL + width + 6, shown))
            y += BAR + GAP
        groups.append(Group(start, f"{figure.title}{ratio}", bars))
        y += 22
    return groups, y


def _side(figure: Figure, side: int) -> float | None:
    return figure.generic if side else figure.machine


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _length(value: float, longest: float) -> float:
    room = WIDTH - LEFT - LABEL - VALUE
    return round(room * value / longest, 1) if longest else 0.0
