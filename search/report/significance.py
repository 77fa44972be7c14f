"""When a comparison of trials supports a sentence: the tests and their constants, in one place."""

from collections.abc import Sequence
from math import comb, hypot, sqrt
from statistics import fmean, stdev

LEVEL = 0.01
"""Chance that a summary says anything of one kind where nothing is true. There are five kinds
(steps, parameters, ends of ranges, steps off the front, parts that fail), so that 5 % of such
studies get a sentence. It is divided by the number of comparisons of a kind (Bonferroni)."""
MIN_PAIRS = 3
"""Pairs of recipes that differ in one step alone: fewer say nothing of how effects spread."""
MIN_TRIALS = 10
"""Trials with a step, and as many without: below it one odd recipe moves a median."""
MIN_MEMBERS = 3
"""Members of the front that advice rests on."""
MIN_FAILING = 5
"""Failing trials that must lie in a part of a range that is blamed for them."""
STANDARD_ERRORS = 2.0
"""Standard errors of measurement that a mean difference of pairs must exceed as well."""


def pairs_differ(
    differences: Sequence[float], errors: Sequence[float], *, level: float = LEVEL
) -> bool:
    """Tell whether the mean difference of pairs is not 0.

    It must lie beyond its measurement error, and the interval of Student's t over the pairs must
    exclude 0.

    Args:
        differences: One for each pair; fewer than three never differ.
        errors: The standard error of measurement of each difference, 0 for what is exact.
        level: Two-sided chance of a difference where there is none.
    """
    count = len(differences)
    if count < MIN_PAIRS:
        return False
    mean = abs(fmean(differences))
    return mean > max(
        STANDARD_ERRORS * hypot(*errors) / count,
        _student(level, count - 1) * stdev(differences) / sqrt(count),
    )


def groups_differ(
    first: Sequence[float],
    second: Sequence[float],
    *,
    least: int = MIN_TRIALS,
    level: float = LEVEL,
) -> bool:
    """Tell whether the values of two groups differ, by the test of Mann and Whitney.

    Args:
        first: The values of one group.
        second: The values of the other.
        least: Size below which a group never differs.
        level: Two-sided chance of a difference where there is none.
    """
    if min(len(first), len(second)) < least:
        return False
    from scipy.stats import mannwhitneyu  # takes a second, which few summaries need

    return float(mannwhitneyu(first, second).pvalue) <= level


def chance_of_at_least(marked: int, drawn: int, *, of: int, total: int) -> float:
    """Return the chance of at least `marked` marked ones among `drawn` drawn without returning.

    It is the one-sided exact test of Fisher.

    Args:
        marked: Marked ones among those drawn.
        drawn: How many are drawn.
        of: Marked ones among all.
        total: All.
    """
    ways = sum(
        comb(of, count) * comb(total - of, drawn - count)
        for count in range(marked, min(of, drawn) + 1)
    )
    return ways / comb(total, drawn)


def _student(level: float, freedom: int) -> float:
    """Return the quantile of Student's t that a value exceeds by chance, on two sides."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - level / 2))
