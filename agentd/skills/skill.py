"""A skill: instructions for the model, in the Agent Skills format (https://agentskills.io/specification).

It is the file SKILL.md in a folder of the skill's name. What else is in the folder (scripts, references) is
for other agents: nothing of it is read or run here.
"""

from dataclasses import dataclass

from agentd.skills.head import ALLOWED, LONGEST_DESCRIPTION, NAME_RULE, Head, is_name

LONGEST_COMPATIBILITY = 500


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill that can be used. `allowed_tools` is None where its file has no such list."""

    name: str
    description: str
    body: str
    path: str
    allowed_tools: tuple[str, ...] | None = None


def parse(path: str, text: str) -> Skill:
    """The skill at `path` in the vault, ".../NAME/SKILL.md". Raises BadFile with all mistakes."""
    head = Head(path, text)
    folder = path.split("/")[-2]
    name = head.text("name", required=True)
    if name and not is_name(name):
        head.mistake(f"the name {name!r} is not {NAME_RULE}", head.line_of("name"))
    elif name and name != folder:
        head.mistake(f"the name '{name}' is not that of the folder, '{folder}'", head.line_of("name"))
    description = head.text("description", LONGEST_DESCRIPTION, required=True)
    head.text("license")
    head.text("compatibility", LONGEST_COMPATIBILITY)
    head.mapping("metadata")
    allowed = head.names(ALLOWED)
    head.check()
    return Skill(name, " ".join(description.split()), head.body, path, allowed)
