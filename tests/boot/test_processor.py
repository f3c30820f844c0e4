"""A machine whose processor is less than the best: the model worker in its sandbox, on the real image."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builder import vmdisk
from builder.build import BuiltImage, build
from builder.qemu_command import memory_bytes
from builder.run import Options, spec_of
from builder.vm import Machine

# Of 2008: SSE4.2 and no AVX.
OLD = "Nehalem"
PROFILE = """\
name: any-cpu
extends: qemu-x86_64
cpu: {march: x86-64, variants: true}
"""


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Callable[[BuiltImage, str], Machine]]:
    """Boots an image on a processor."""
    with ExitStack() as stack:

        def boot(built: BuiltImage, cpu: str) -> Machine:
            disk = vmdisk.prepare(built.image, built.layout, tmp_path, memory_bytes("2G"))
            spec = dataclasses.replace(spec_of(built, tmp_path / "run", disk, Options()), cpu=cpu)
            machine = stack.enter_context(Machine(spec, tools=built.toolchain))
            machine.start()
            machine.wait_ready()
            return machine

        yield boot


@pytest.fixture(scope="module")
def any_cpu(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """The default machine for every processor, with the variants of llama.cpp."""
    folder = tmp_path_factory.mktemp("machines")
    (folder / "any-cpu.yaml").write_text(PROFILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AETHER_MACHINES", str(folder))
        return build("any-cpu")


def model(machine: Machine, state: str) -> dict[str, Any]:
    """What the agent says of its model, once it is in this state."""
    log = "journalctl --follow --lines all --output cat --unit agentd-model.service"
    script = f"exec grep --max-count 1 'model .*: {state}: ' < <({log})"
    machine.succeed(["timeout", "150", "bash", "-c", script], timeout=180)
    found: dict[str, Any] = json.loads(machine.succeed("agent --json status"))["model"]
    return found


def test_a_cpu_below_the_images_level_gets_one_line_and_a_working_machine(
    built: BuiltImage, boot: Callable[[BuiltImage, str], Machine]
) -> None:
    machine = boot(built, OLD)
    detail = model(machine, "unavailable")["detail"]
    assert detail.startswith("llama.cpp was built for x86-64-v3, this CPU has no abm, avx, avx2, bmi1")
    machine.succeed("agent health")
    refused = machine.fail("agent ask --max-tokens 1 hello 2>&1")
    assert detail in refused
    journal = machine.succeed("journalctl --no-pager --unit agentd-model.service --unit init.scope")
    # Once of the model, and once of the embedder, which needs llama.cpp too.
    assert journal.count(f"model smollm2-135m: unavailable: {detail}") == 1
    assert journal.count(detail) == 2
    assert "signal" not in journal
    assert machine.succeed("systemctl show --value --property NRestarts agentd-model.service").strip() == "0"


def test_the_variant_for_an_old_cpu_answers_in_the_workers_sandbox(
    any_cpu: BuiltImage, boot: Callable[[BuiltImage, str], Machine]
) -> None:
    machine = boot(any_cpu, OLD)
    assert model(machine, "ready")["built_for"] == "sse42"
    assert "llama.cpp for sse42" in machine.succeed("agent status")
    machine.succeed("agent ask --max-tokens 1 hello", timeout=300)


def test_the_variant_for_the_emulated_cpu_is_the_one_with_avx2(
    any_cpu: BuiltImage, boot: Callable[[BuiltImage, str], Machine]
) -> None:
    assert model(boot(any_cpu, "max"), "ready")["built_for"] == "haswell"
