"""Serves the serial ports of this computer over TCP, raw or by RFC 2217."""

__version__ = "1.0.0"
