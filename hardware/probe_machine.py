"""The CPU, the memory, the board and the firmware of a running machine.

Of SMBIOS the names of makers and models are read; serial numbers, asset tags and the UUID are not.
Not for: devices (probe_devices.py, probe_classes.py).
"""

from hardware import clean
from hardware.cpu_level import flags_in, level_of
from hardware.report import Board, Cpu, Firmware
from hardware.sysfs import Tree

DMI = "sys/class/dmi/id"
EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"  # the vendor GUID of UEFI's own variables
# struct boot_params (Documentation/arch/x86/zero-page.rst): efi_info's signature and the Secure Boot byte.
EFI_SIGNATURE, SECURE_BOOT = 0x1C0, 0x1EC

# SMBIOS 3.7, table 17: what kind of box it is.
LAPTOPS = {8, 9, 10, 11, 14, 30, 31, 32}
DESKTOPS = {3, 4, 5, 6, 7, 13, 15, 16, 24, 34, 35, 36}
SERVERS = {17, 23, 25, 28, 29}

# Words of SMBIOS (maker and product, in lower case) that a hypervisor writes there, in systemd's words.
HYPERVISORS = {
    "kubevirt": "kvm",
    "openstack": "kvm",
    "rhev": "kvm",
    "red hat kvm": "kvm",
    "amazon ec2": "amazon",
    "google compute engine": "google",
    "digitalocean": "kvm",
    "hetzner vserver": "kvm",
    "vmware": "vmware",
    "virtualbox": "oracle",
    "innotek": "oracle",
    "parallels": "parallels",
    "bhyve": "bhyve",
    "apple virtualization": "apple",
    "microsoft corporation virtual machine": "microsoft",
    "xen": "xen",
    "qemu": "qemu",
}
CLOCKS = {"kvm-clock": "kvm", "hyperv_clocksource_tsc_page": "microsoft", "xen": "xen"}


def cpu(tree: Tree) -> Cpu:
    """The processors, out of /proc/cpuinfo."""
    text = tree.text("proc/cpuinfo", "CPU")
    entries = [_fields(block) for block in text.split("\n\n") if "processor" in block]
    if not entries:
        return Cpu()
    first = entries[0]
    flags = tuple(clean.name(flag) for flag in flags_in(text))
    cores = {
        (entry.get("physical id", "0"), entry.get("core id", str(n))) for n, entry in enumerate(entries)
    }
    return Cpu(
        vendor=clean.name(first.get("vendor_id", "")),
        family=_number(first.get("cpu family", "")),
        model=_number(first.get("model", "")),
        stepping=_number(first.get("stepping", "")),
        model_name=clean.name(first.get("model name", "")),
        flags=flags,
        level=level_of(flags),
        cores=len(cores),
        threads=len(entries),
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def memory_bytes(tree: Tree) -> int | None:
    """The memory that the kernel manages: what is built in, less what firmware and kernel keep."""
    for line in tree.text("proc/meminfo", "memory").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def board(tree: Tree) -> Board:
    """Maker, model and firmware of the machine, "" where the maker left the form empty."""
    if not tree.has(DMI):
        tree.note("board (SMBIOS)", "the kernel shows no SMBIOS table")
        return Board()
    fields = {
        "vendor": "sys_vendor",
        "product": "product_name",
        "version": "product_version",
        "board_vendor": "board_vendor",
        "board_name": "board_name",
        "bios_vendor": "bios_vendor",
        "bios_version": "bios_version",
        "bios_date": "bios_date",
    }
    return Board(**{name: clean.filled_in(tree.text(f"{DMI}/{file}")) for name, file in fields.items()})


def machine_name(found: Board) -> str:
    """What people call the machine: maker and model, "" where the board tells neither."""
    vendor, product = found.vendor, found.product
    if not product:
        vendor, product = found.board_vendor or vendor, found.board_name
    # Lenovo's product is an order number; the name that people know is the version.
    if vendor.upper() == "LENOVO" and " " in found.version:
        product = found.version
    known = product.lower().startswith(vendor.lower())
    return product if known else f"{vendor} {product}".strip()


def virtualisation(tree: Tree, processors: Cpu, found: Board) -> str:
    """The hypervisor below, in systemd-detect-virt's words; `none` on bare metal."""
    words = f"{found.vendor} {found.product} {found.bios_vendor}".lower()
    named = next((name for word, name in HYPERVISORS.items() if word in words), "")
    if "hypervisor" not in processors.flags and not named:
        return "none" if processors.flags else "unknown"
    clocks = tree.text("sys/devices/system/clocksource/clocksource0/available_clocksource").split()
    clock = next((CLOCKS[clock] for clock in clocks if clock in CLOCKS), "")
    # KVM's clock tells it from QEMU's emulation; other names say more than the clock.
    return clock if clock and named in ("", "qemu") else named or "unknown"


def kind(tree: Tree, hypervisor: str) -> str:
    """laptop, desktop, server or vm; `unknown` where the machine does not tell."""
    if hypervisor not in ("none", "unknown"):
        return "vm"
    chassis = tree.number(f"{DMI}/chassis_type")
    for numbers, name in ((LAPTOPS, "laptop"), (DESKTOPS, "desktop"), (SERVERS, "server")):
        if chassis in numbers:
            return name
    batteries = [name for name in tree.names("sys/class/power_supply") if name.startswith("BAT")]
    return "laptop" if batteries else "unknown"


def firmware(tree: Tree) -> Firmware:
    """Firmware, Secure Boot and TPM."""
    parameters = tree.bytes("sys/kernel/boot_params/data") or b""
    signature = parameters[EFI_SIGNATURE : EFI_SIGNATURE + 4]
    if tree.has("sys/firmware/efi"):
        # 64 where the kernel does not say: the file exists since Linux 4.0.
        bits = tree.number("sys/firmware/efi/fw_platform_size")
        return Firmware("uefi", bits, _secure_boot(tree, parameters), tpm(tree))
    if signature in (b"EL64", b"EL32"):
        # Booted by UEFI, run by a kernel that was built without it.
        return Firmware("uefi", int(signature[2:]), _secure_boot(tree, parameters), tpm(tree))
    return Firmware(
        "bios" if parameters else "unknown", None, "none" if parameters else "unknown", tpm(tree)
    )


def _secure_boot(tree: Tree, parameters: bytes) -> str:
    variables = "sys/firmware/efi/efivars"
    if value := tree.bytes(f"{variables}/SecureBoot-{EFI_GLOBAL}"):
        setup = tree.bytes(f"{variables}/SetupMode-{EFI_GLOBAL}") or b"\0"
        # Four bytes of attributes, then the value (UEFI 2.10, section 3.3).
        return "on" if value[-1] == 1 else "setup" if setup[-1] == 1 else "off"
    if tree.names(variables):
        return "none"
    known = {2: "off", 3: "on"}.get(parameters[SECURE_BOOT] if len(parameters) > SECURE_BOOT else 0)
    if known is None:
        tree.note("Secure Boot", "the UEFI variables are not mounted (/sys/firmware/efi/efivars)")
    return known or "unknown"


def tpm(tree: Tree) -> str:
    """The version of the TPM, `none` where firmware tells of none."""
    for name in tree.names("sys/class/tpm"):
        major = tree.number(f"sys/class/tpm/{name}/tpm_version_major")
        return {2: "2.0", 1: "1.2"}.get(major or 0, "present")
    devices = tree.names("sys/bus/acpi/devices")
    tables = tree.names("sys/firmware/acpi/tables")
    if "TPM2" in tables or any(name.startswith(("MSFT0101", "INTC6000")) for name in devices):
        return "2.0"
    if "TCPA" in tables or any(name.startswith(("PNP0C31", "ATM1200", "IFX0102")) for name in devices):
        return "1.2"
    return "none" if tables else "unknown"
