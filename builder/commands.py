"""What each command of `aether` does: call the part that knows, print what it says.

Facts go to standard output, progress and errors to standard error. Each function takes the parsed
arguments and returns the exit status; the parts are imported when their command runs, so that a
command starts with what it needs alone. Not for: arguments (cli.py), or any work of its own.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.run import Options


def print_json(value: Any) -> None:
    """A value as JSON for another program."""
    print(json.dumps(value, indent=1, default=str))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns; the last column may be of any width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())


def doctor(given: argparse.Namespace) -> int:
    """Every need with its state; 1 if one is missing."""
    from builder import doctor

    needs = doctor.examine()
    missing = sum(need.state == "missing" for need in needs)
    if given.json:
        print_json({"ok": not missing, "needs": [asdict(need) for need in needs]})
        return 1 if missing else 0
    for need in needs:
        print(f"{need.state:8}  {need.name:16} {need.detail}")
        if need.hint:
            print(f"{'':8}  {'':16} hint: {need.hint}")
    degraded = sum(need.state == "degraded" for need in needs)
    if missing:
        print(f"\n{missing} missing: builds do not work here yet")
    else:
        print("\nthis host can build and run machines" + (f"; {degraded} degraded" if degraded else ""))
    return 1 if missing else 0


def detect(given: argparse.Namespace) -> int:
    """The hardware report of this machine, or of a saved one."""
    from builder import detect

    return detect.detect(given)


def list_machines(given: argparse.Namespace) -> int:
    """The machines, one a line; one whose profile cannot be used says why."""
    from builder import profile
    from builder.errors import Mistakes

    found = []
    for name, path in profile.names().items():
        entry = {"name": name, "file": str(path), "description": "", "error": ""}
        try:
            entry["description"] = profile.load(name).description
        except Mistakes as error:
            entry["error"] = error.message
        found.append(entry)
    if given.json:
        print_json(found)
    else:
        print_table([(e["name"], f"error: {e['error']}" if e["error"] else e["description"]) for e in found])
    return 0


def show(given: argparse.Namespace) -> int:
    """The whole profile, with the place where each value is written."""
    from builder import profile, profile_text

    machine = profile.load(given.machine)
    if given.json:
        print_json(machine.model_dump(mode="json"))
    else:
        print("\n".join(profile_text.lines(machine)))
    return 0


def models(given: argparse.Namespace) -> int:
    """The catalogue, or fetching from it."""
    from builder import catalogue, models
    from builder.errors import AetherError

    if given.action == "fetch":
        if not given.names:
            raise AetherError("no model to fetch is named", hint="aether models lists them")
        fetched = [models.ensure(model) for model in [catalogue.model(name) for name in given.names]]
        if given.json:
            print_json([asdict(file) for file in fetched])
        else:
            print("\n".join(str(file.path) for file in fetched))
        return 0
    if given.names:
        raise AetherError(f"'{given.names[0]}' is one word too many", hint="aether models fetch NAME")
    known = catalogue.known().values()
    if given.json:
        print_json([{**model.model_dump(mode="json"), "state": models.state(model)} for model in known])
        return 0
    rows = [("NAME", "KIND", "PARAMETERS", "SIZE", "CONTEXT", "LICENCE", "CACHE")]
    for model in known:
        size = f"{model.size // models.MB} MB" if model.size else "?"
        row = (model.name, model.kind, model.parameters, size, str(model.context), model.licence)
        rows.append((*row, models.state(model)))
    print_table(rows)
    return 0


def kernel(given: argparse.Namespace) -> int:
    """Configure, prove and judge; or explain a symbol, or compare; compile if asked."""
    from builder import kernel_command

    return kernel_command.command(given)


def build(given: argparse.Namespace) -> int:
    """Build the machine; the files it made, one a line."""
    from builder import build, formats, network
    from builder.errors import AetherError

    if given.offline:
        if given.update:
            raise AetherError("--update needs the network, --offline forbids it", hint="leave one away")
        network.forbid()
    built = build.build(given.machine, update=given.update, gate=given.gate)
    wanted = given.format or built.machine.image.formats
    made = {name: formats.export(built, name) for name in dict.fromkeys(wanted)}
    if given.json:
        print_json({"machine": built.machine.name, "key": built.key, "files": made, **built.layout})
    else:
        print("\n".join(str(path) for path in made.values()))
    return 0


def run(given: argparse.Namespace) -> int:
    """Boot the machine with the agent on this terminal."""
    from builder import run

    return run.run(given.machine, _options(given))


def ask(given: argparse.Namespace) -> int:
    """Boot the machine, ask, print the answer."""
    from builder import run
    from builder.errors import AetherError

    try:
        question = sys.stdin.read() if given.question == "-" else given.question
        question.encode()  # an argument that is not UTF-8 came as surrogates
    except UnicodeError:
        raise AetherError("the question is not UTF-8 text", hint="iconv -t utf-8 converts a text") from None
    return run.ask(given.machine, question, _options(given))


def _options(given: argparse.Namespace) -> "Options":
    from builder.run import Options

    return Options(
        direct=given.direct,
        new_disk=given.new_disk,
        memory=given.memory,
        accel=given.accel,
        network=given.network,
        extra=given.extra,
        gate=given.gate,
    )


def flash(given: argparse.Namespace) -> int:
    """Write the machine to a disk; without one, the disks there are."""
    from builder import flash, flash_disks, profile

    if given.disk is None:
        profile.load(given.machine)
        disks = flash_disks.candidates(flash_disks.read_facts())
        mistake = flash.not_named(disks, given.machine)
        print("\n".join(mistake.lines()), file=sys.stderr)
        if given.json:
            told = {"error": mistake.message, "hint": mistake.hint, "status": mistake.exit_status}
            print_json({"disks": [asdict(disk) for disk in disks], **told})
        else:
            print_table(flash.listed(disks))
        return mistake.exit_status
    done = flash.flash(given.machine, Path(given.disk), yes=given.yes, gate=given.gate)
    if given.json:
        print_json(asdict(done))
    else:
        print("\n".join(flash.report(done)))
    return 0


def report(given: argparse.Namespace) -> int:
    """The machine's figures; its picture is written beside its image."""
    from builder import build, machine_report, machine_report_picture, machine_report_text, measure_boots

    built = build.build(given.machine)
    if given.measure:
        measure_boots.measure(built, given.measure)
    found = machine_report.report(built)
    picture = machine_report_picture.write(found)
    if given.json:
        print_json(machine_report_text.as_json(found, picture))
    else:
        print("\n".join([*machine_report_text.lines(found), "", str(picture)]))
    return 0


def agentd(given: argparse.Namespace) -> int:
    """Run the machine's agent on this host."""
    from builder import models, native, profile, routing, toolchain, wheels

    machine = profile.load(given.machine)
    tools = toolchain.ensure()
    wheels.fetch()
    card, encoder = machine.chat_model, machine.embedder_model
    model = models.ensure(card).path
    embedder = models.ensure(encoder) if encoder else None
    tree = wheels.ensure(tools, machine.cpu.march, variants=machine.cpu.variants).tree
    routes = None
    if encoder and embedder:
        routes = routing.ensure(tools, tree, embedder, encoder.name)
    else:
        print(f"{machine.name} has no embedder: no sentence is taken for a tool", file=sys.stderr)
    words = ["--context", str(machine.agent.context), *given.extra]
    if card.tools and routes:
        words.append("--tool-model")
    state = given.state.absolute()
    return native.run_agentd(
        tools,
        tree,
        model,
        state,
        words,
        name=card.name,
        embedder=embedder.path if embedder else None,
        routing=routes,
    )


def completion(given: argparse.Namespace) -> int:
    """The script that the shell reads."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["aether"], shell=given.shell))
    return 0
