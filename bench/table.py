"""Medians, ratios, and how they are shown: a table for a person, JSON for a program.

Not for: measuring anything.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NO_FIGURE = "-"


@dataclass(frozen=True)
class Row:
    """One quantity, measured one or more times for ours and for the baseline.

    `key` names it in JSON, `title` in the table; the samples are in `unit`. A side without samples was
    not measured, or has nothing of the kind.
    """

    key: str
    title: str
    unit: str
    ours: Sequence[float] = ()
    baseline: Sequence[float] = ()

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline's, of the medians; None where one is missing or the baseline is 0."""
        mine, other = median(self.ours), median(self.baseline)
        return mine / other if mine is not None and other else None


@dataclass(frozen=True)
class Section:
    """Rows that belong together, under a heading; `note` says how to read them."""

    title: str
    rows: Sequence[Row] = field(default_factory=tuple)
    note: str = ""


def median(samples: Sequence[float]) -> float | None:
    """The median; None of no samples."""
    return statistics.median(samples) if samples else None


def rows_of(
    quantities: Mapping[str, tuple[str, str]],
    ours: Sequence[Mapping[str, float]],
    baseline: Sequence[Mapping[str, float]],
) -> list[Row]:
    """A row for each of `quantities` (key: title and unit) that was measured in any of the runs."""
    rows = [
        Row(
            key,
            title,
            unit,
            [run[key] for run in ours if key in run],
            [run[key] for run in baseline if key in run],
        )
        for key, (title, unit) in quantities.items()
    ]
    return [row for row in rows if row.ours or row.baseline]


def figure(value: float | None) -> str:
    """A number with three significant digits and no exponent: `0.0123`, `4.85`, `98.4`, `1356`."""
    if value is None:
        return NO_FIGURE
    if value == 0:
        return "0"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def spread(samples: Sequence[float]) -> str:
    """The median, with the smallest and largest where there are several samples."""
    if len(samples) < 2:
        return figure(median(samples))
    return f"{figure(median(samples))} ({figure(min(samples))}-{figure(max(samples))})"


def text(heading: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole report for a person."""
    lines = list(heading)
    for section in sections:
        if not section.rows:
            continue
        cells = [("", "unit", "ours", "baseline", "ratio")]
        cells += [
            (row.title, row.unit, spread(row.ours), spread(row.baseline), figure(row.ratio))
            for row in section.rows
        ]
        width = [max(len(line[column]) for line in cells) for column in range(5)]
        lines += ["", section.title]
        for line in cells:
            name, unit, *numbers = line
            shown = "  ".join(number.rjust(width[2 + at]) for at, number in enumerate(numbers))
            lines.append(f"  {name.ljust(width[0])}  {unit.ljust(width[1])}  {shown}")
        if section.note:
            lines.append(f"  {section.note}")
    return "\n".join(lines) + "\n"


def as_json(facts: Mapping[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """The whole report for a program: `facts` of the host and the run, then every row with its samples."""
    return {
        **facts,
        "sections": [
            {
                "title": section.title,
                "note": section.note,
                "rows": [
                    {
                        "key": row.key,
                        "title": row.title,
                        "unit": row.unit,
                        "ours": median(row.ours),
                        "baseline": median(row.baseline),
                        "ratio": row.ratio,
                        "samples": {"ours": list(row.ours), "baseline": list(row.baseline)},
                    }
                    for row in section.rows
                ],
            }
            for section in sections
        ],
    }
