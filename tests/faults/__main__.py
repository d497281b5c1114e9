"""`python -m tests.faults`: let faults happen at random to the module and the host for some time, and judge them.

The host is on a network of its own if this is root, so that the network can be cut. The exit status is 1 if anything
was lost, repeated or changed that must not be, or if anything leaked.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.faults.soak import soak
from tests.faults.table import table


def main() -> int:
    """Run a soak."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1800, help="how long (default 1800)")
    parser.add_argument("--seed", type=int, help="repeat the faults of another soak (default: a random one)")
    arguments = parser.parse_args()
    seed = random.randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}, {arguments.seconds:g} s, from {time.strftime('%H:%M:%S')}", flush=True)
    outcome = soak(arguments.seconds, seed, lambda text: print(text, flush=True))
    print(table(outcome))
    return 1 if outcome.violations else 0


if __name__ == "__main__":
    sys.exit(main())
