"""The `aether` command: arguments, which function answers them, and how a failure is told.

Exit status: 0 done, 1 a step failed or a need is missing, 2 a mistake of the person, 70 a fault of this
program, 130 Ctrl-C, 141 the reader of the output is gone, 143 terminated. Not for: what a command does
and prints (commands.py).
"""

import argparse
import errno
import json
import os
import re
import shutil
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from builder import __version__, commands
from builder.cache import cache_dir
from builder.errors import AetherError, Mistakes
from builder.vmdisk import state_dir

FAILED, MISTAKE, FAULT, INTERRUPTED, NO_READER, TERMINATED = 1, 2, 70, 130, 141, 143

_EPILOG = """\
The first build takes about 25 minutes on two processors and 8 GB of disk; later ones take from the
cache what has not changed. Environment: AETHER_CACHE names the cache (~/.cache/aetheros), AETHER_MACHINES
a folder of machine profiles of your own, AETHER_STATE where the machines' disks lie
(~/.local/state/aetheros). AETHER_DEBUG=1 shows where a fault of this program comes from.
Exit status: 0 done, 1 a step failed, 2 wrong use, 70 a fault of this program, 130 Ctrl-C."""


class _Parser(argparse.ArgumentParser):
    """Mistakes end in the project's two lines, with the word that was probably meant."""

    def error(self, message: str) -> NoReturn:
        hint = f"{self.prog} --help"
        if found := re.search(r"invalid choice: '?([^']*?)'? \(choose from (.*)\)", message):
            word, choices = found[1], re.findall(r"[\w.-]+", found[2])
            what = "command" if set(choices) == set(COMMANDS) else message.partition(":")[0]
            # Here and not above: reading profiles needs what a wrong command line does not.
            from builder.yamlfile import nearest

            raise AetherError(
                f"unknown {what.removeprefix('argument ')} '{word}'", hint=nearest(word, choices)
            )
        raise AetherError(message, hint=hint)


def _machines(**_: Any) -> list[str]:
    """The names that the shell completes."""
    from builder import profile

    return list(profile.names())


def _models(**_: Any) -> list[str]:
    from builder import catalogue

    return list(catalogue.known())


def _symbols(prefix: str, **_: Any) -> list[str]:
    from builder import kernel_command

    return kernel_command.symbol_names(prefix)


def _others(**_: Any) -> list[str]:
    return ["debian", *_machines()]


def _machine(parser: argparse.ArgumentParser) -> None:
    action = parser.add_argument(
        "machine", metavar="MACHINE", help="a machine's name, or the path of its .yaml file"
    )
    action.completer = _machines  # type: ignore[attr-defined]


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON")


def _gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-hardening-gate",
        dest="gate",
        action="store_false",
        help="compile a kernel whose hardening was not checked; its image says so",
    )


def _doctor(parser: argparse.ArgumentParser) -> None:
    _json(parser)


def _detect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", help="write the report there, as JSON")
    parser.add_argument("--report", metavar="FILE", help="read a saved report; - is standard input")
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="write a profile of the machine: its drivers, proven against the kernel",
    )
    _json(parser)


def _list(parser: argparse.ArgumentParser) -> None:
    _json(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    _json(parser)


def _models_command(parser: argparse.ArgumentParser) -> None:
    _json(parser)
    parser.add_argument("action", nargs="?", choices=("list", "fetch"), default="list", help="default: list")
    names = parser.add_argument("names", metavar="NAME", nargs="*", help="models to fetch")
    names.completer = _models  # type: ignore[attr-defined]


def _kernel(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--build", action="store_true", help="compile it too")
    parser.add_argument(
        "--hardening", action="store_true", help="the hardening checks that fail, and why that is accepted"
    )
    symbol = one.add_argument(
        "--explain", metavar="SYMBOL", help="why a symbol is as it is, and what would make it otherwise"
    )
    symbol.completer = _symbols  # type: ignore[attr-defined]
    other = one.add_argument(
        "--diff", metavar="OTHER", help="compare with another machine's kernel, or with `debian`'s own"
    )
    other.completer = _others  # type: ignore[attr-defined]
    _gate(parser)
    _json(parser)


def _build(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument(
        "--format",
        choices=("raw", "qcow2", "uki"),
        action="append",
        help="instead of the profile's image.formats (repeatable)",
    )
    parser.add_argument("--offline", action="store_true", help="use what the cache holds, fetch nothing")
    parser.add_argument("--update", action="store_true", help="take the newest kernel source and packages")
    _gate(parser)
    _json(parser)


def _run(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    _virtual_machine(parser)


def _virtual_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--direct", action="store_true", help="let QEMU load the kernel: no firmware, faster"
    )
    parser.add_argument(
        "--new-disk", action="store_true", help="begin with an empty memory; the old disk is kept"
    )
    parser.add_argument("--memory", metavar="SIZE", default="", help="such as 4G; default: the profile's")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto", help="default: auto")
    parser.add_argument("--network", action="store_true", help="give it this host's network, by NAT")
    _gate(parser)


def _ask(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("question", metavar="QUESTION", help="what to ask; - reads standard input")
    _virtual_machine(parser)


def _disks(prefix: str, **_: Any) -> list[str]:
    """Disks and, where the person began to write one, files."""
    from argcomplete.completers import FilesCompleter

    names = (path.name for path in Path("/sys/block").glob("*"))
    disks = [f"/dev/{name}" for name in names if re.match(r"sd|nvme|mmcblk|vd|xvd", name)]
    return [*disks, *(FilesCompleter()(prefix) if prefix and not prefix.startswith("/dev") else ())]


def _flash(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    target = parser.add_argument(
        "disk",
        metavar="DISK",
        nargs="?",
        help="such as /dev/sdX, or a plain file; without it: the disks here",
    )
    target.completer = _disks  # type: ignore[attr-defined]
    parser.add_argument("--yes", action="store_true", help="do not ask: everything on the disk is lost")
    _gate(parser)
    _json(parser)


def _count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of boots; MACHINE comes first")
    return int(text)


def _report(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument(
        "--measure",
        metavar="N",
        nargs="?",
        type=_count,
        const=3,
        help="first boot it and generic-x86_64 N times each, in turns (default: 3)",
    )
    _json(parser)


def _agentd(parser: argparse.ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--state", metavar="DIR", type=Path, required=True, help="folder of its memory")


def _completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))


# Name, what fills its parser, what does it, one line of help, and more of it.
COMMANDS = {
    "doctor": (_doctor, commands.doctor, "what this host can and cannot do, and what to do about it", ""),
    "detect": (
        _detect,
        commands.detect,
        "what a machine is: this one, or the one of a saved report",
        "Needs no root. The report holds no serial number, MAC address, UUID, host or user name.\n"
        "A saved report is one of these: JSON of this command or of `agent hardware --json`, a facter.json\n"
        "of NixOS Facter, the text of hwinfo --all.\n"
        "--profile NAME writes machines/NAME.yaml (in AETHER_MACHINES if that is set): every device with\n"
        "the driver it got, or why it got none.",
    ),
    "list": (_list, commands.list_machines, "the machines there are", ""),
    "show": (_show, commands.show, "a machine's profile, all its layers put together", ""),
    "models": (
        _models_command,
        commands.models,
        "the model catalogue; fetch models ahead of a build",
        "aether models               what there is, and what the cache holds\n"
        "aether models fetch NAME    fetch it now, or go on fetching it",
    ),
    "kernel": (
        _kernel,
        commands.kernel,
        "configure a machine's kernel and prove its configuration",
        "Every symbol that the profile's fragments and kernel.config want is checked in the final .config;\n"
        "each one that was lost is listed with the reason that Kconfig has. Nothing is compiled.\n"
        "Where layers want different values of a symbol the later one wins, and both reasons are shown.\n"
        "--json lists every symbol with its value, the layer that decided it, and why. See docs/kernel.md.",
    ),
    "build": (_build, commands.build, "build a machine's image", "Prints the path of each file it made."),
    "run": (
        _run,
        commands.run,
        "boot a machine in QEMU here, the agent on this terminal",
        "Builds the machine first if need be. Without a terminal it asks one question and powers off.\n"
        "aether run MACHINE -- WORDS gives QEMU more words.",
    ),
    "ask": (
        _ask,
        commands.ask,
        "boot a machine headless, ask once, print the answer, power off",
        "Only the answer goes to standard output; the exit status tells whether there was one.",
    ),
    "flash": (
        _flash,
        commands.flash,
        "write a machine's image to a disk, and read it back",
        "Builds the machine first if need be. Without DISK it lists the disks and says which may be\n"
        "written. Everything on the disk is lost: its model has to be typed, or --yes given. A disk that\n"
        "is in use, or that this host runs from, is refused. Interrupted, it leaves a disk without a\n"
        "partition table, never half a system that looks whole.",
    ),
    "report": (
        _report,
        commands.report,
        "a machine in figures beside generic-x86_64: kernel, hardening, sizes, boot phases",
        "generic-x86_64 starts Debian's own stock kernel. Every `aether run` and `aether ask` keeps how\n"
        "long its boot took; the last ones of the present image count. --measure boots both in the same\n"
        "QEMU on disks that are thrown away, and builds them first if need be. A picture is written\n"
        "beside the image.",
    ),
    "agentd": (
        _agentd,
        commands.agentd,
        "run a machine's agent on this host, without an image",
        "aether agentd MACHINE --state DIR -- WORDS gives agentd more words.",
    ),
    "completion": (
        _completion,
        commands.completion,
        "the shell's completion of this command",
        'bash: eval "$(aether completion bash)"\nfish: aether completion fish | source',
    ),
}


def create_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `handler` of the result does the command."""
    parser = _Parser(
        prog="aether",
        description="Build AetherOS for one machine, boot it and talk to it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aether {__version__}")
    found = parser.add_subparsers(metavar="COMMAND", dest="command")
    for name, (fill, handler, line, more) in COMMANDS.items():
        one = found.add_parser(
            name,
            help=line,
            description=f"{line[0].upper()}{line[1:]}." + (f"\n\n{more}" if more else ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        fill(one)
        one.set_defaults(handler=handler)
    return parser


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The arguments; `extra` holds the words after `--`, which are for the program that is run."""
    extra: list[str] = []
    # argparse would take some of them for its own.
    if arguments[:1] in (["run"], ["agentd"]) and "--" in arguments:
        split = arguments.index("--")
        arguments, extra = arguments[:split], arguments[split + 1 :]
    given = parser.parse_args(arguments)
    given.extra = extra
    return given


def main(arguments: list[str] | None = None) -> int:
    """The command `aether`; its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, _terminate)
    try:
        parser = create_parser()
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(parser)
        given = parse(parser, arguments)
        if given.command is None:
            parser.print_help(sys.stderr)
            return MISTAKE
        status: int = given.handler(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain about the same once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except AetherError as error:
        return _told(error, "--json" in arguments)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _told(_disk_full(error.filename), "--json" in arguments)
        if isinstance(error, OSError) and (unusable := _unusable(error)):
            return _told(unusable, "--json" in arguments)
        return _fault(arguments)
    return status


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # An exception, so that what was started is ended and what was begun is cleaned up.
    raise SystemExit(TERMINATED)


def _told(error: AetherError, as_json: bool) -> int:
    print("\n".join(error.lines()), file=sys.stderr)
    if "No space left on device" in error.message:
        print("\n".join(_disk_full().lines()), file=sys.stderr)
    if as_json:
        mistakes = error.mistakes if isinstance(error, Mistakes) else ()
        told = {
            "error": error.message,
            "hint": error.hint,
            "mistakes": [
                {"file": str(m.path), "line": m.line, "message": m.message, "hint": m.hint} for m in mistakes
            ],
            "status": error.exit_status,
        }
        print(json.dumps(told, indent=1))
    return error.exit_status


def _disk_full(file: str | bytes | None = None) -> AetherError:
    place = Path(os.fsdecode(file)).parent if file else cache_dir()
    place = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(place).free
    error = AetherError(
        f"disk full: {place} has {free // 1_000_000} MB free; the previous image is untouched",
        hint="make room, or name a cache on another disk with AETHER_CACHE, and run the same command again",
    )
    error.exit_status = FAILED
    return error


def _unusable(error: OSError) -> AetherError | None:
    """What is wrong with the cache or the state folder that the person named, if that is what failed."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR) or not error.filename:
        return None
    place = Path(os.fsdecode(error.filename))
    for name, folder in (("AETHER_CACHE", cache_dir()), ("AETHER_STATE", state_dir(""))):
        if place.is_relative_to(folder) or folder.is_relative_to(place):
            return AetherError(
                f"{place} cannot be used: {error.strerror}", hint=f"name another folder with {name}"
            )
    return None


def _fault(arguments: list[str]) -> int:
    """A fault of this program: one line for the person, the rest in a log file."""
    text = f"aether {__version__}\n{arguments}\nPython {sys.version}\n\n{traceback.format_exc()}"
    if os.environ.get("AETHER_DEBUG"):
        print(text, file=sys.stderr)
    log = cache_dir() / "logs/aether-fault.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
        where = f"; report it with the log {log}"
    except OSError:
        where = "; AETHER_DEBUG=1 shows where it comes from"
    kind = sys.exc_info()[0]
    print(f"error: internal error ({kind.__name__ if kind else '?'}){where}", file=sys.stderr)
    return FAULT


if __name__ == "__main__":
    sys.exit(main())
