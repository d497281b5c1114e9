"""Virtual serial ports in an IoT Edge module, relayed over TCP to the host that owns the devices."""

__version__ = "1.0.0"
