"""The drivers of a kernel version: modalias -> module -> CONFIG symbols, and what /sys calls each driver.

Made once for each kernel version from Debian's stock kernel package of the same source (its modules know
their aliases and firmware) and from the Makefiles and C files of the source tree (symbols, drivers' names),
then kept in the cache as JSON. The package is unpacked, never installed.
Not for: which driver a device gets (driver_choice.py), what else it needs (drivers.py).
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from builder import apt, kbuild_symbols, modalias
from builder.cache import cache_dir, digest, product, write_atomically
from builder.errors import AetherError
from builder.kernel_source import Source
from builder.modalias import AliasIndex, module_names_match
from builder.progress import step
from builder.toolchain import Toolchain
