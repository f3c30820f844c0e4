"""Looking at the machine that this runs on: the report of it, within two seconds and without root.

Reads /sys and /proc, starts no program and changes nothing. What could not be read stands in the report's
`unread`. Not for: reports in files (report_json.py, builder/report_file.py).
"""

import os
import re
from pathlib import Path

from hardware import names, probe_classes, probe_devices, probe_machine
from hardware.report import Report
from hardware.sysfs import Tree

# Account names that say nothing of a person.
COMMON = {"root", "user", "admin", "debian", "nobody", "guest", "test", "localhost"}


def probe(root: Path = Path("/")) -> Report:
    """The report of the machine whose /sys and /proc are below `root`."""
    tree = Tree(root)
    private = private_words(tree)
    cpu = probe_machine.cpu(tree)
    board = probe_machine.board(tree)
    hypervisor = probe_machine.virtualisation(tree, cpu, board)
    devices = names.with_names(probe_devices.devices(tree))
    return Report(
        source="probe",
        name=probe_machine.machine_name(board),
        architecture=tree.text("proc/sys/kernel/arch") or os.uname().machine,
        kind=probe_machine.kind(tree, hypervisor),
        virtualisation=hypervisor,
        kernel=tree.text("proc/sys/kernel/osrelease"),
        board=board,
        firmware=probe_machine.firmware(tree),
        cpu=cpu,
        memory_bytes=probe_machine.memory_bytes(tree),
        devices=devices,
        blocks=probe_classes.blocks(tree, private),
        networks=probe_classes.networks(tree),
        graphics=probe_classes.graphics(devices),
        inputs=probe_classes.inputs(tree, private),
        consoles=probe_classes.consoles(tree),
        serial_ports=probe_classes.serial_ports(tree),
        file_systems=probe_classes.file_systems(tree),
        unread=tree.unread,
    )


def private_words(tree: Tree) -> tuple[str, ...]:
    """The host's name and its people's account and real names, so that no device's name repeats them."""
    host = tree.text("proc/sys/kernel/hostname")
    words = {host, host.partition(".")[0]}
    for line in tree.text("etc/passwd").splitlines():
        account, _, number, _, comment, *_ = [*line.split(":"), "", "", "", ""]
        if number.isdecimal() and 1000 <= int(number) < 60000:
            words |= {account, *re.split(r"[\s,]+", comment)}
    # Longer ones first: a full name is left out whole.
    found = {word for word in words if len(word) >= 3 and word.lower() not in COMMON}
    return tuple(sorted(found, key=lambda word: (-len(word), word)))
