"""How much worse a score is than the baseline's, as a share of it."""


def relative_drop(drop: float, baseline: float) -> float:
    """Return a drop of the score over the absolute value of the baseline's score.

    Beside a baseline that scores 0 there is no share: the drop itself is returned, so that a bound
    on `relative_drop` is then a bound on `score_drop`.
    """
    return drop / abs(baseline) if baseline else drop
