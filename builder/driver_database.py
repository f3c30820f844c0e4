"""The drivers of a kernel version: modalias -> module -> CONFIG symbols, and what /sys calls each driver.

Made once for each kernel version from Debian's stock kernel package of the same source (its modules know
their aliases and firmware) and from the Makefiles and C files of the source tree (symbols, drivers' names),
then kept in the cache as JSON. The package is unpacked, never installed.
Not for: which driver a device gets (driver_choice.py), what else it needs (drivers.py).
"""


