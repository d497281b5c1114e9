"""One client of a COM port, raw or by RFC 2217."""
