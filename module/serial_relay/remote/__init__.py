"""Connections to the serial server: TCP, and what RFC 2217 adds to it."""
