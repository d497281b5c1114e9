"""Several ways measured in turns, and the comparison of two of them (pure but for the loads it commands)."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Mapping, Sequence

from tests.benchmarks.contenders import Load

Rounds = Sequence["array[int]"]
"""Nanoseconds of each single measurement, one array a round."""


def in_turns(loads: Mapping[str, Load], rounds: int, command: str, *numbers: int) -> Mapping[str, Rounds]:
    """Run the command with every load once in each round; each round begins with another load."""
    names = list(loads)
    results: dict[str, list[array[int]]] = {name: [] for name in names}
    for index in range(rounds):
        first = index % len(names)
        for name in names[first:] + names[:first]:
            results[name].append(loads[name].command(command, *numbers))
    return results


def p50(times: Sequence[int]) -> float:
    """Median in microseconds."""
    return statistics.median(times) / 1e3


def p99(times: Sequence[int]) -> float:
    """99th percentile in microseconds."""
    return sorted(times)[int(len(times) * 0.99)] / 1e3


def pooled(rounds: Rounds) -> list[int]:
    return [time for times in rounds for time in times]


def median_ratio(ours: Rounds, theirs: Rounds, percentile: Callable[[Sequence[int]], float]) -> float:
    """The median over the rounds of our percentile to theirs in the same round.

    What disturbs the machine for longer than a round disturbs both and cancels out.
    """
    return statistics.median(_ratios(ours, theirs, percentile))


def spread(ours: Rounds, theirs: Rounds, percentile: Callable[[Sequence[int]], float]) -> tuple[float, float]:
    """The lower and the upper quartile of those ratios: half of the rounds lie between them."""
    ratios = _ratios(ours, theirs, percentile)
    if len(ratios) == 1:
        return ratios[0], ratios[0]
    lower, _, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return lower, upper


def _ratios(ours: Rounds, theirs: Rounds, percentile: Callable[[Sequence[int]], float]) -> list[float]:
    return [percentile(a) / percentile(b) for a, b in zip(ours, theirs, strict=True)]


def megabytes_per_second(rounds: Rounds, count: int) -> float:
    """Median throughput of `count` bytes in each round."""
    return statistics.median(count / times[0] * 1e3 for times in rounds)
