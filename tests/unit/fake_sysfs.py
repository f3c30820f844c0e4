"""A machine's /sys and /proc laid out below a folder, from the description in tests/data/sysfs."""

import re
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
SECRET = re.compile(r"<<(.*?)>>")


def lay(description: Path, root: Path) -> set[str]:
    """Lay the files and links of a description below `root`; the secrets that stand in them."""
    secrets: set[str] = set()
    for raw in description.read_text().splitlines():
        secrets |= set(SECRET.findall(raw))
        line = SECRET.sub(r"\1", raw)
        if found := re.fullmatch(r"([a-z]\S*(?: \S+)*?) (=|->|#|/)(?: (.*))?", line):
            path, kind, value = root / found[1], found[2], found[3] or ""
            path.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "=":
                    path.write_text(value.replace("\\n", "\n").replace("\\t", "\t"))
                case "->":
                    path.symlink_to(value)
                case "#":
                    path.write_bytes(bytes.fromhex(value))
                case "/":
                    path.mkdir()
    return secrets


def laptop(root: Path) -> set[str]:
    """The laptop of tests/data/sysfs, with every kind of secret that a machine has."""
    return lay(DATA / "sysfs/laptop.txt", root)
