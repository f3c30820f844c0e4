"""The routing head trained from example requests: run by the image's builder in the tools tree.

    python3 -m agentd.routing.train --examples DIR --encoder FILE.gguf --name NAME --out routing.bin

--examples has YAML files, each a mapping from a tool's name (or "talk") to a list of requests. Equal input
gives equal bytes on the same host. Not for a running machine: there head.py reads the file.
"""

import argparse
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from agentd import log
from agentd.model.encoder import Encoder
from agentd.routing.features import SERVICES, features
from agentd.routing.head import BLOCKS, TALK, packed
from agentd.routing.negation import wish_of
from agentd.routing.regression import Array, Sparse, Weights, fit, loss
from agentd.routing.spelling import Spelling, learnt

BUCKETS = 1 << 14
# Chosen on tests/data/routing/dev.jsonl.
MEANING_SCALE = 0.7
DECAY = 5e-6
STEPS = 60
FOLDS = 3
COPIES = 2
# What copies of examples name: a tool is chosen by the rest of the sentence.
OTHER_SERVICES = (
    "avahi bind9 bluetooth caddy chronyd cron cups dnsmasq docker dovecot exim4 fail2ban gitea"
    " grafana haproxy influxdb jellyfin memcached minidlna mosquitto mpd mysql nextcloud nginx pihole"
    " postfix postgresql prometheus rabbitmq redis samba squid sshd tailscale tor traefik unbound"
    " vsftpd wireguard zabbix"
)
OTHER_FILES = (
    "budget2024 contract diary draft essay homework invoice letter manual minutes old_notes photo plan poem"
    " recipes report song summary thesis"
)
_SERVICE = re.compile(rf"\b(?:{SERVICES})\b", re.IGNORECASE)
_FILE = re.compile(r"\b[\w-]+(?=\.(?:txt|md|pdf|odt|docx?|xlsx?|csv|png|jpe?g|conf|log)\b)", re.IGNORECASE)
# A temperature is looked for between these, on a scale of logarithms.
TEMPERATURES = np.geomspace(0.2, 5.0, 161)


@dataclass(frozen=True)
class Example:
    """A request and the class it belongs to, by its number; copies of one have the same `origin`."""

    text: str
    label: int
    origin: int


def read(folder: Path) -> dict[str, list[str]]:
    """The examples of each class, classes and examples in a fixed order. Raises ValueError for none."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        for name, texts in (yaml.safe_load(path.read_text()) or {}).items():
            found.setdefault(name, []).extend(str(text) for text in texts)
    if TALK not in found or len(found) < 2:
        raise ValueError(f"{folder} needs examples of tools and of {TALK}")
    return {name: list(dict.fromkeys(found[name])) for name in sorted(found)}


def prepared(found: Mapping[str, Sequence[str]], spelling: Spelling) -> list[Example]:
    """The examples as the router asks the head about them; what is nothing but a negation it never asks.

    Those that name a service or a file come with copies that name others.
    """
    examples: list[Example] = []
    for label, texts in enumerate(found.values()):
        wanted = (wish_of(spelling.corrected(text)).text for text in texts)
        for origin, text in enumerate(filter(None, dict.fromkeys(wanted)), len(examples)):
            copies = (renamed(text, random.Random(f"{number} {text}")) for number in range(COPIES))
            examples += [Example(one, label, origin) for one in dict.fromkeys((text, *copies))]
    return examples


def renamed(text: str, chance: random.Random) -> str:
    """The text with other services and files in the place of those that it names."""
    text = _SERVICE.sub(lambda _: chance.choice(OTHER_SERVICES.split()), text)
    return _FILE.sub(lambda _: chance.choice(OTHER_FILES.split()), text)


def trained(examples: Sequence[Example], dense: Array, rows: Sequence[Any], classes: int) -> Weights:
    """The weights of a head over these rows; `dense` has no columns for n-grams alone."""
    labels = np.array([one.label for one in examples])
    return fit(dense, Sparse(rows, BUCKETS), labels, classes=classes, decay=DECAY, steps=STEPS)


def temperature(examples: Sequence[Example], dense: Array, rows: Sequence[Any], classes: int) -> float:
    """By what scores are divided so that probabilities are true, by cross-validation."""
    scores, labels = [], []
    for fold in range(FOLDS):
        known, asked = (
            [at for at, one in enumerate(examples) if (one.origin % FOLDS == fold) is wanted]
            for wanted in (False, True)
        )
        weights = trained([examples[at] for at in known], dense[known], [rows[at] for at in known], classes)
        scores.append(weights.scores(dense[asked], Sparse([rows[at] for at in asked], BUCKETS)))
        labels += [examples[at].label for at in asked]
    told, right = np.concatenate(scores), np.array(labels)
    log.info(f"{100 * (told.argmax(axis=1) == right).mean():.1f} % right in cross-validation")
    return float(min(TEMPERATURES, key=lambda one: loss(told / one, right)))


def quantised(weights: Array) -> tuple[Array, list[float]]:
    """Weights of (n, classes) as int8, and what a step is for each class."""
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-9) / 127
    return np.rint(weights / scales).astype(np.int8), [float(one) for one in scales]


def file_of(
    names: Sequence[str], encoder: str, spelling: Spelling, examples: Sequence[Example], vectors: Array
) -> bytes:
    """Train both heads; the whole file. `vectors` are the encoder's of the examples: (n, dimension)."""
    rows = [features(one.text, BUCKETS) for one in examples]
    header: dict[str, Any] = {
        "classes": list(names),
        "encoder": encoder,
        "dimension": vectors.shape[1],
        "buckets": BUCKETS,
        "spelling": spelling.words,
        "scales": {},
    }
    blocks: dict[str, Array] = {}
    for head, dense in (("with_meaning", MEANING_SCALE * vectors), ("alone", vectors[:, :0])):
        weights = trained(examples, dense, rows, len(names))
        header[head] = {
            "bias": [float(one) for one in weights.bias],
            "temperature": temperature(examples, dense, rows, len(names)),
        }
        if dense.shape[1]:
            blocks["meaning"], header["scales"]["meaning"] = quantised(MEANING_SCALE * weights.dense)
        name = "grams" if dense.shape[1] else "grams_alone"
        blocks[name], header["scales"][name] = quantised(weights.sparse)
    blocks["meaning"] = blocks["meaning"].T  # a class's weights of the vector lie together
    return packed(header, b"".join(np.ascontiguousarray(blocks[name]).tobytes() for name in BLOCKS))


def vocabulary(encoder: Encoder) -> list[str]:
    """The whole words that the encoder knows, common ones first, in lower case."""
    return [word for word in encoder.vocabulary() if word.isalpha() and word.islower()]


def main(argv: Sequence[str] | None = None) -> int:
    """Train and write the file; the exit status."""
    parser = argparse.ArgumentParser(prog="agentd.routing.train", description=__doc__)
    parser.add_argument("--examples", type=Path, required=True, help="the folder with example requests")
    parser.add_argument("--encoder", type=Path, required=True, help="the sentence encoder's GGUF file")
    parser.add_argument("--name", required=True, help="what the encoder is called on the machine")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    given = parser.parse_args(argv)
    found = read(given.examples)
    encoder = Encoder(given.encoder)
    spelling = learnt((text for texts in found.values() for text in texts), vocabulary(encoder))
    examples = prepared(found, spelling)
    vectors = np.array([encoder.encode(one.text) for one in examples], np.float32)
    log.info(f"{len(examples)} examples of {len(found)} classes")
    given.out.write_bytes(file_of(list(found), given.name, spelling, examples, vectors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
