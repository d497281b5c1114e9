"""Virtual serial ports in an IoT Edge module, relayed over TCP to the host that owns the devices."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("eflow-serial-relay")
except PackageNotFoundError:
    __version__ = "unknown"
    """The folder was copied without the metadata that an installation has."""
