"""Faults of all kinds at random on several lines, for as long as one likes, and a table of what they cost.

Everything that is at random follows the seed. What the machine adds (which byte was where when a process died) does not.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.judge import Cost, Judge
from tests.faults.kinds import KINDS, Kind
from tests.faults.stage import Footprint, Stage

LINES = 6
"""Three of each protocol."""

MORE_MEMORY = 32_000_000
"""Bytes that the most that a process ever had may have grown by."""

MORE_DESCRIPTORS = 4
"""That a process may have gained at the end, as a connection may just be between two states."""

MORE_THREADS = 16
"""That a process may have gained at the end: pools keep their threads."""

IDLE_SHARE = 0.3
"""Of one processor, that a process may use once nothing happens any more. A loop that spins takes all of it."""


@dataclass(slots=True)
class Life:
    """What one process had when it was first looked at, and last."""

    program: str
    before: Footprint
    after: Footprint
    faults: int = 0
    """That it lived through."""


@dataclass(slots=True)
class Outcome:
    """Of a whole soak."""

    seed: int
    seconds: float = 0.0
    costs: dict[str, Cost] = field(default_factory=dict)
    """By the name of the kind."""
    records: int = 0
    duplicates: int = 0
    reordered: int = 0
    foreign: int = 0
    lives: list[Life] = field(default_factory=list)
    idle: dict[str, float] = field(default_factory=dict)
    """The share of a processor that each program used when nothing happened any more."""
    violations: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How many faults there were."""
        return sum(cost.times for cost in self.costs.values())


def soak(seconds: float, seed: int, say: Callable[[str], None]) -> Outcome:
    """Let faults happen for this time. What goes wrong is a violation; a line that stays silent ends the soak."""
    random = Random(seed)
    outcome = Outcome(seed)
    began = time.monotonic()
    with Stage(LINES) as stage:
        kinds = [kind for kind in KINDS if stage.network is not None or not kind.needs_network]
        turns = _turns(kinds, random)
        judge = Judge(stage)
        look_at_the_programs(stage, outcome)
        try:
            while time.monotonic() - began < seconds:
                _one_fault(next(turns), random, stage, judge, outcome, say)
            look_at_the_end(stage, outcome)
        except (AssertionError, OSError) as error:
            outcome.violations.append(f"the soak ended early: {str(error).splitlines()[0]}")
        outcome.violations += _tracebacks(stage.logs)
        for end in (end for line in stage.lines for end in line.ends):
            arrived = end.receiver.arrived
            outcome.records += arrived.records
            outcome.duplicates += arrived.duplicates
            outcome.reordered += arrived.reordered
            outcome.foreign += arrived.foreign
        if outcome.violations:
            logs = Path(tempfile.gettempdir()) / f"faults-{seed}.log"
            logs.write_text(stage.logs, encoding="utf-8")
            say(f"the logs of both programs: {logs}")
    outcome.seconds = time.monotonic() - began
    outcome.violations += (what for life in outcome.lives for what in leaks(life))
    return outcome


def _turns(kinds: list[Kind], random: Random) -> Iterator[Kind]:
    """Return all kinds in a random order, each as often as it weighs, and again."""
    while True:
        order = [kind for kind in kinds for _ in range(kind.weight)]
        random.shuffle(order)
        yield from order


def _one_fault(
    kind: Kind, random: Random, stage: Stage, judge: Judge, outcome: Outcome, say: Callable[[str], None]
) -> None:
    victim = random.choice(stage.lines)
    stage.traffic.flow()
    time.sleep(random.uniform(0, 0.3))
    failed: list[str] = []
    try:
        kind.happen(stage, victim, random)
    except AssertionError as error:
        failed.append(f"{kind.name}: {victim.name}: {error}")
    ended = time.monotonic()
    accounts = stage.settle()
    cost = judge.cost(kind, victim, time.monotonic() - ended, accounts)
    cost.violations += failed
    outcome.costs.setdefault(kind.name, Cost()).add(cost)
    outcome.violations += cost.violations
    for violation in cost.violations:
        say(f"fault {outcome.faults}: {violation}")
    look_at_the_programs(stage, outcome)


def look_at_the_programs(stage: Stage, outcome: Outcome) -> None:
    """Note what the programs have now."""
    for name, footprint in stage.footprints().items():
        lives = [life for life in outcome.lives if life.program == name]
        if lives and lives[-1].before.pid == footprint.pid:
            lives[-1].after = footprint
            lives[-1].faults += 1
        else:
            outcome.lives.append(Life(name, footprint, footprint))


def look_at_the_end(stage: Stage, outcome: Outcome) -> None:
    """Note what the programs have and do when nothing happens any more."""
    time.sleep(2)  # what a fault left to be ended has its time
    look_at_the_programs(stage, outcome)
    before = {name: footprint.processor_seconds for name, footprint in stage.footprints().items()}
    time.sleep(3)
    for name, footprint in stage.footprints().items():
        outcome.idle[name] = (footprint.processor_seconds - before[name]) / 3
        if outcome.idle[name] > IDLE_SHARE:
            outcome.violations.append(f"the {name} uses {outcome.idle[name]:.0%} of a processor when idle")


def _tracebacks(logs: str) -> list[str]:
    lines = logs.splitlines()
    return [
        f"a traceback in a log, after: {lines[number - 1]}"
        for number, line in enumerate(lines)
        if line.startswith("Traceback")
    ]


def leaks(life: Life) -> Iterator[str]:
    """Say of what a process has too much more than before."""
    for what, before, after, more in (
        ("bytes of memory", life.before.memory, life.after.memory, MORE_MEMORY),
        ("descriptors", life.before.descriptors, life.after.descriptors, MORE_DESCRIPTORS),
        ("threads", life.before.threads, life.after.threads, MORE_THREADS),
    ):
        if after - before > more:
            yield f"the {life.program} has {after} {what} after {life.faults} faults, {before} before"
