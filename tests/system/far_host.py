"""A host in a network of its own, which can be cut off without a word (needs root).

It lives in a network namespace behind a pair of virtual Ethernet interfaces; the cut is an nftables rule there that
drops every packet both ways, as a crashed machine or a pulled cable would.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess

CUT = (
    "table inet cut {"
    " chain input { type filter hook input priority 0; policy drop; };"
    " chain output { type filter hook output priority 0; policy drop; }; }"
)


class FarHost:
    """A network of two machines: this one and another that can be cut off."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        number = f"{os.getpid()}{next(self._numbers)}"  # an interface can outlive its namespace for a moment
        network = f"10.{random.randrange(200, 250)}.{random.randrange(256)}"
        near, far = f"n{number}", f"f{number}"
        self.name = f"far{number}"
        self.address = f"{network}.2"
        self.others_address = f"{network}.3"
        """Another address of this machine, in the same network."""
        self._run(f"ip netns add {self.name}")
        try:
            self._run(f"ip link add {near} type veth peer name {far} netns {self.name}")
            self._run(f"ip addr add {network}.1/29 dev {near}")
            self._run(f"ip addr add {self.others_address}/29 dev {near}")
            self._run(f"ip link set {near} up")
            self._run(f"{self.inside} ip addr add {self.address}/29 dev {far}")
            self._run(f"{self.inside} ip link set {far} up")
        except BaseException:
            self.remove()
            raise

    @property
    def inside(self) -> str:
        """What runs a command on the far machine."""
        return f"ip netns exec {self.name}"

    def cut(self) -> None:
        self._run(f"{self.inside} nft -f -", CUT)

    def mend(self) -> None:
        self._run(f"{self.inside} nft delete table inet cut")

    def remove(self) -> None:
        self._run(f"ip netns del {self.name}")

    def _run(self, command: str, text: str = "") -> None:
        subprocess.run(command.split(), input=text, text=True, check=True, capture_output=True)
