"""Why there is no device, in words; apart from the devices, since the relay asks for it and needs nothing else of them."""

from __future__ import annotations

import errno

CUSE = "/dev/cuse"


class DeviceError(Exception):
    """The device could not be made; the text says why and what to do."""


class NumberTakenError(DeviceError):
    """The kernel does not make the device: something has its number or name."""


def explain(error: OSError) -> DeviceError:
    """Return why /dev/cuse cannot be used."""
    match error.errno:
        case errno.ENOENT:
            what = f"there is no {CUSE}: load the kernel module cuse (modprobe cuse), if this kernel has it"
        case errno.ENODEV | errno.ENXIO:
            what = f"the kernel has no CUSE behind {CUSE}: it was built without it, or the module cuse cannot be loaded"
        case errno.EPERM:
            what = f'{CUSE} is not allowed here: the container needs the device rule "c 10:203 rwm"'
        case errno.EACCES:
            what = f"{CUSE} belongs to somebody else: run as root, or give this user the right to open it"
        case _:
            what = f"cannot open {CUSE}: {error.strerror}"
    return DeviceError(what)
