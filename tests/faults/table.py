"""A soak's outcome as a table for people."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.soak import Outcome


def table(outcome: Outcome) -> str:
    """Lay out what the faults cost, what the programs have before and after, and what must not be."""
    return "\n".join(_lines(outcome))


def _lines(outcome: Outcome) -> Iterator[str]:
    yield f"{'fault':42}{'times':>6}{'records':>9}{'lost':>10}{'counted':>10}{'uncounted':>10}{'recovered in':>14}"
    for name, cost in sorted(outcome.costs.items()):
        yield (
            f"{name:42}{cost.times:>6}{cost.records:>9}{cost.lost:>10}{cost.counted:>10}"
            f"{cost.lost - cost.counted:>10}{cost.seconds:>12.2f} s"
        )
    lost, counted = (
        sum(getattr(cost, which) for cost in outcome.costs.values()) for which in ("lost", "counted")
    )
    yield ""
    yield (
        f"seed {outcome.seed}, {outcome.seconds:.0f} s: {outcome.faults} faults, {outcome.records} records, "
        f"{outcome.duplicates} duplicates, {outcome.reordered} reordered, {outcome.foreign} foreign bytes"
    )
    yield f"{lost} bytes lost, {counted} counted, {lost - counted} uncounted"
    yield ""
    yield f"{'longest life':14}{'faults':>8}{'peak memory (MB)':>18}{'descriptors':>14}{'threads':>12}{'idle CPU':>10}"
    for program in ("module", "host"):
        lives = [life for life in outcome.lives if life.program == program]
        for life in sorted(lives, key=lambda life: life.faults)[-1:]:
            before, after = life.before, life.after
            memory = f"{before.memory / 1e6:.1f} -> {after.memory / 1e6:.1f}"
            descriptors = f"{before.descriptors} -> {after.descriptors}"
            threads = f"{before.threads} -> {after.threads}"
            yield (
                f"{program:14}{life.faults:>8}{memory:>18}{descriptors:>14}{threads:>12}"
                f"{outcome.idle.get(program, float('nan')):>10.1%}"
            )
    yield ""
    yield f"{len(outcome.violations)} violations"
    yield from (f"  {violation}" for violation in outcome.violations)
