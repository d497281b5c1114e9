"""A second telnet decoder, byte by byte as RFC 854 and RFC 855 read, to check the real one against."""

from __future__ import annotations

from rfc2217.telnet import Data, Item, Negotiation, Option, Subnegotiation, TelnetCode, TelnetCommand


def decode(stream: bytes, max_subnegotiation: int) -> tuple[list[Item], bool]:
    """Return the items of a stream (each data byte one item) and whether the stream broke the protocol."""
    items: list[Item] = []
    octets = iter(stream)
    try:
        while True:
            octet = next(octets)
            if octet != 255:
                items.append(Data(bytes((octet,))))
                continue
            code = TelnetCode(next(octets))
            if code is TelnetCode.IAC:
                items.append(Data(b"\xff"))
            elif code in {TelnetCode.WILL, TelnetCode.WONT, TelnetCode.DO, TelnetCode.DONT}:
                items.append(Negotiation(code, Option(next(octets))))
            elif code is not TelnetCode.SB:
                items.append(TelnetCommand(code))
            else:
                option, payload, length = Option(next(octets)), bytearray(), 0
                while True:
                    octet = next(octets)
                    if octet == 255:
                        following = next(octets)
                        if following == 240:
                            items.append(Subnegotiation(option, bytes(payload)))
                            break
                        if following != 255:
                            return items, True
                        length += 1
                    payload.append(octet)
                    length += 1
                    if length > max_subnegotiation:
                        return items, True
    except StopIteration:
        return items, False
