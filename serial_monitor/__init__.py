"""Watches the traffic of serial ports, in the program that relays it and in the command that shows it."""
