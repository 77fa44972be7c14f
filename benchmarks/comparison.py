"""The hypervolumes of several searches side by side: tables, and the summary of the JSON line."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.loop_family import PREFIX, best_loops
from benchmarks.trajectory import (
    CLOCKS,
    PLANES,
    Trajectory,
    final_volume,
    growth,
    time_to,
    value_at,
)

SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Moments of the tables, as shares of an arm's time."""
AHEAD_FROM = 0.25
"""Share of the time from which on Paredown is to be ahead."""

Found = Mapping[str, Sequence[Trajectory]]
"""The trajectories of the seeds by arm."""
BEST = "best loop"
"""The loop with the highest final hypervolume of a seed and plane, see `best_loops`."""


def finals(trajectories: Sequence[Trajectory], plane: str) -> list[float]:
    """Return the last hypervolume of each seed."""
    return [final_volume(found, plane) for found in trajectories]


def tenths(trajectories: Sequence[Trajectory], plane: str) -> list[float]:
    """Return the hypervolume of each seed at a tenth of its time."""
    return [value_at(growth(found, plane), found.seconds / 10) for found in trajectories]


def higher(ours: Iterable[Sequence[float]], theirs: Iterable[Sequence[float]]) -> int:
    """Return the number of seeds in which ours are higher on every plane.

    Args:
        ours: Hypervolumes by plane, then by seed.
        theirs: Hypervolumes in the same order.
    """
    planes = [
        [a > b for a, b in zip(*pair, strict=True)] for pair in zip(ours, theirs, strict=True)
    ]
    return sum(map(all, zip(*planes, strict=True)))


def comparable(found: Found) -> bool:
    """Return whether there are trajectories of Paredown and of a loop."""
    return "paredown" in found and any(name.startswith(PREFIX) for name in found)


def speed_up(found: Found, plane: str, clock: str, *, whole: bool = False) -> list[float]:
    """Return, by seed, the best loop's time over ours to reach that loop's last hypervolume.

    The ratio is 0 where Paredown never reaches it, and 1 where the loop has found nothing.

    Args:
        found: Trajectories of the arm `paredown` and of loops.
        plane: The plane of the hypervolume.
        clock: The clock that is read.
        whole: Whether the loop's time is all of its time, not that of reaching the hypervolume.
    """
    ratios = []
    for loop, ours in zip(best_loops(found, plane), found["paredown"], strict=True):
        steps = growth(loop, plane, clock)
        target = value_at(steps, math.inf)
        theirs = loop.seconds if whole else time_to(steps, target)
        reached = time_to(growth(ours, plane, clock), target)
        ratios.append(theirs / reached if target > 0 else 1.0)
    return ratios


def ahead(found: Found, plane: str) -> list[bool]:
    """Return, by seed, whether Paredown is above the best loop from `AHEAD_FROM` of the time on."""
    pairs = zip(best_loops(found, plane), found["paredown"], strict=True)
    return [_above(ours, loop, plane) for loop, ours in pairs]


def _above(ours: Trajectory, loop: Trajectory, plane: str) -> bool:
    mine, theirs = growth(ours, plane), growth(loop, plane)
    start = AHEAD_FROM * loop.seconds
    moments = [start, *(moment for moment, _ in (*mine, *theirs) if moment > start)]
    return all(value_at(mine, moment) > value_at(theirs, moment) for moment in moments)


def shown(values: Sequence[float]) -> str:
    """Return median and range."""
    return f"{statistics.median(values):.3f} {min(values):.3f}-{max(values):.3f}"


def print_growth(found: Found) -> None:
    """Print medians and ranges of the hypervolumes at `SHARES` of the time, by both clocks."""
    for clock in CLOCKS:
        for plane in PLANES:
            print_plane(found, plane, clock)


def print_plane(found: Found, plane: str, clock: str) -> None:
    """Print one table."""
    seconds = next(iter(found.values()))[0].seconds
    print(f"\nhypervolume over error and {plane}, median and range, by {clock.replace('_', ' ')}")
    heads = "".join(f"{share * seconds:>18.0f} s" for share in SHARES)
    print(f"{'':<16}{'trials':>8}{heads}")
    for name, runs in found.items():
        grown = [growth(run, plane, clock) for run in runs]
        cells = [shown([value_at(steps, share * seconds) for steps in grown]) for share in SHARES]
        trials = statistics.median(len(run.points) for run in runs)
        print(f"{name:<16}{trials:>8g}" + "".join(f"{cell:>20}" for cell in cells))


def print_comparison(found: Found) -> None:
    """Print how soon Paredown reaches what the loops, and a search without training, end with."""
    if comparable(found):
        print("\ntimes faster than the best loop to its last hypervolume, median and range")
        for plane in PLANES:
            whole = shown(speed_up(found, plane, "seconds", whole=True))
            own, cpu = (shown(speed_up(found, plane, clock)) for clock in CLOCKS)
            seeds = ahead(found, plane)
            print(f"  {plane:<9}than when the loop had it {own}, in CPU time {cpu}")
            print(f"  {'':<9}than all the time it had  {whole}")
            print(f"  {'':<9}ahead from a quarter of the time on in {sum(seeds)} of {len(seeds)}")
    if {"post-training", "paredown"} <= set(found):
        print("\nParedown at a tenth of its time beside what needs no training, at the end")
        for plane in PLANES:
            early, last = tenths(found["paredown"], plane), finals(found["post-training"], plane)
            print(f"  {plane:<9}{shown(early)} beside {shown(last)}")


def summary(found: Found) -> dict[str, Any]:
    """Return the entry of one task in the JSON line."""
    lasts = {name: [finals(runs, plane) for plane in PLANES] for name, runs in found.items()}
    entry: dict[str, Any] = {}
    if comparable(found):
        lasts[BEST] = [finals(best_loops(found, plane), plane) for plane in PLANES]
        ratios = [statistics.median(speed_up(found, plane, "seconds")) for plane in PLANES]
        entry["time_ratio"] = round(min(ratios), 2)
        entry["wins"] = higher(lasts["paredown"], lasts[BEST])
        entry["ahead_from_quarter"] = all(all(ahead(found, plane)) for plane in PLANES)
    if {"post-training", "paredown"} <= set(found):
        early = [tenths(found["paredown"], plane) for plane in PLANES]
        entry["ahead_of_post_training"] = higher(early, lasts["post-training"])
    entry["seeds"] = len(next(iter(found.values())))
    for key, place in {"hypervolume": 0, "hypervolume_latency": 1}.items():
        entry[key] = {n: round(statistics.median(last[place]), 4) for n, last in lasts.items()}
    return entry
