"""`aether kernel MACHINE --diff OTHER`: two final configurations side by side.

Not for: making them (kernel_subject.py).
"""

from dataclasses import dataclass

from builder.kernel_reasons import KCONFIG_LAYER, Decided
from builder.kernel_subject import Subject


@dataclass(frozen=True)
class Difference:
    """Two configurations: what only one of them has set, and what they have set to different values.

    `here` is who decided it in the first and `there` in the second; None where that has the symbol off and
    nobody wanted it so.
    """

    symbol: str
    here: Decided | None
    there: Decided | None

    @property
    def kind(self) -> str:
        """`only_here`, `only_there` or `different`."""
        if not is_set(self.there):
            return "only_here"
        return "different" if is_set(self.here) else "only_there"

    def as_values(self) -> dict[str, object]:
        """As JSON has it."""
        return {
            "symbol": self.symbol,
            "here": self.here and self.here.as_values(),
            "there": self.there and self.there.as_values(),
        }


def is_set(one: Decided | None) -> bool:
    """Whether a symbol is set."""
    return one is not None and one.value != "n"


def compare(here: Subject, there: Subject) -> list[Difference]:
    """Every symbol that the two do not have alike, by name."""
    found = []
    for name in sorted({*here.values, *there.values}):
        if here.values.get(name) != there.values.get(name):
            found.append(Difference(name, here.decided.get(name), there.decided.get(name)))
    return found


TITLES = {"only_here": "only in {0}", "only_there": "only in {1}", "different": "different in {0} and {1}"}


def counts(here: Subject, there: Subject, found: list[Difference]) -> dict[str, int]:
    """How many symbols are set here and there, alike, and of each kind of difference."""
    kinds = {kind: sum(one.kind == kind for one in found) for kind in TITLES}
    alike = len(here.values) - kinds["only_here"] - kinds["different"]
    return {"here": len(here.values), "there": len(there.values), "alike": alike, **kinds}


def lines(here: Subject, there: Subject, found: list[Difference]) -> list[str]:
    """The comparison for a person: first the counts."""
    number = counts(here, there, found)
    said = [
        f"symbols set: {here.name} {number['here']}, {there.name} {number['there']};"
        f" alike {number['alike']}, different {number['different']},"
        f" only in {here.name} {number['only_here']}, only in {there.name} {number['only_there']}",
    ]
    for kind, title in TITLES.items():
        members = [one for one in found if one.kind == kind]
        if members:
            said += ["", f"{title.format(here.name, there.name)}:"]
            said += [f"  {_line(one)}" for one in members]
    return said


def _line(one: Difference) -> str:
    here, there = one.here, one.there
    if here is not None and here.value != "n":
        other = f", there {there.value}" if there is not None and there.value != "n" else ""
        return f"{one.symbol}={here.value}{other}  {here.layer}: {here.reason}"
    text = f"{one.symbol}={there.value if there else ''}"
    if there is not None and there.layer not in (KCONFIG_LAYER, "debian"):
        text += f"  {there.layer}: {there.reason}"
    return text + (f"  (here off, {here.layer}: {here.reason})" if here is not None else "")


def values(here: Subject, there: Subject, found: list[Difference]) -> dict[str, object]:
    """The comparison as JSON has it."""
    return {
        "machine": here.name,
        "other": there.name,
        "counts": counts(here, there, found),
        **{kind: [one.as_values() for one in found if one.kind == kind] for kind in TITLES},
    }
