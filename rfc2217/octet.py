"""Code tables of one octet, in which a number that the standard does not define is kept as it is."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class Octet(IntEnum):
    """The base of the code tables. A number from 0 to 255 without a name becomes the member `UNNAMED_<number>`."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value <= 255:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNNAMED_{value}"
        member._value_ = value
        return member
