"""Serves the serial ports of this computer over TCP, raw or by RFC 2217."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eflow-serial-host")
except PackageNotFoundError:
    __version__ = "unknown"
    """The folder was copied without the metadata that an installation has."""
