"""The members of the front whose score is no worse than the best one's beyond its noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search.config.study_config import StudyConfig
from search.report.formatting import format_score
from search.trial_record import TrialRecord

STANDARD_ERRORS = 2.0
"""Standard errors of the difference within which two scores are equal."""


@dataclass(frozen=True, kw_only=True)
class EqualScores:
    """The member of a front with the best score, and those that are equal to it."""

    best: TrialRecord
    others: tuple[TrialRecord, ...]
    """Members that are not worse beyond two standard errors of the difference."""
    split: str
    """The data of the scores, `test` or `validation`."""
    paired: bool
    """Whether all members were compared sample by sample."""

    @property
    def numbers(self) -> frozenset[int]:
        """Numbers of all trials that share the best score; empty if one is alone."""
        alone = not self.others
        return frozenset() if alone else frozenset(r.number for r in (self.best, *self.others))

    @property
    def line(self) -> str:
        """What the table's marks mean, in one line; empty if one member is best alone."""
        if not self.others:
            return ""
        scores = [
            f"{record.number} ({format_score(_score(record, self.split))})"
            for record in self.others
        ]
        difference = "the paired difference" if self.paired else "the difference"
        best = f"{self.best.number} ({format_score(_score(self.best, self.split))})"
        return (
            f"= equal in {self.split} score to the best, trial {best}, within 2 standard errors of "
            f"{difference}: {', '.join(scores)}"
        )


def equal_scores(config: StudyConfig, front: Sequence[TrialRecord]) -> EqualScores | None:
    """Compare the members of a front with the one whose score is best.

    Scores on the test set count where all members have them, since the front was chosen by those
    on validation data. Samples are compared one by one where the task scores each and the scores
    were kept; otherwise the errors of both scores add up in squares, which takes more for equal.

    Args:
        config: The study's configuration.
        front: The members.

    Returns:
        None if the score is no objective, the front is empty, or a standard error is missing.
    """
    split = "test" if all("test_score" in record.metrics for record in front) else "validation"
    measured = all(f"{_name(split)}_standard_error" in record.metrics for record in front)
    if "score" not in config.objectives or not front or not measured:
        return None
    sign = 1.0 if config.objectives["score"] == "maximize" else -1.0
    best = max(front, key=lambda record: sign * _score(record, split))
    found = [
        (record, score_difference((config, best), (config, record), split))
        for record in front
        if record is not best
    ]
    return EqualScores(
        best=best,
        others=tuple(
            record
            for record, lost in found
            if sign * lost.value <= STANDARD_ERRORS * lost.standard_error
        ),
        split=split,
        paired=all(lost.paired for _, lost in found),
    )


@dataclass(frozen=True, kw_only=True)
class ScoreDifference:
    """How much one trial scores above another."""

    value: float
    standard_error: float
    paired: bool
    """Whether the trials were compared sample by sample."""

    @property
    def exceeds_noise(self) -> bool:
        """Whether the difference lies beyond two standard errors."""
        return abs(self.value) > STANDARD_ERRORS * self.standard_error


def score_difference(
    first: tuple[StudyConfig, TrialRecord], second: tuple[StudyConfig, TrialRecord], split: str
) -> ScoreDifference:
    """Return how much the first trial scores above the second.

    Args:
        first: A trial that has the score and its standard error, and the study that it is from.
        second: The same of the other, maybe of another study.
        split: The data of the scores, `test` or `validation`.
    """
    samples = []
    if split == "test" and first[0].task == second[0].task:
        samples = [_samples(config, record.number) for config, record in (first, second)]
    ours, theirs = samples or (None, None)
    if ours is not None and theirs is not None and ours.shape == theirs.shape:
        gains = ours - theirs
        error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
        return ScoreDifference(value=float(gains.mean()), standard_error=error, paired=True)
    name = f"{_name(split)}_standard_error"
    return ScoreDifference(
        value=_score(first[1], split) - _score(second[1], split),
        standard_error=math.hypot(*(record.metrics[name] for _, record in (first, second))),
        paired=False,
    )


def _samples(config: StudyConfig, number: int) -> NDArray[np.float64] | None:
    """Return the test scores `[N]` that were kept of a trial; None if there are none."""
    path = sample_scores(config, number)
    return np.load(path) if path.is_file() else None


def sample_scores(config: StudyConfig, number: int) -> Path:
    """Return the file that keeps a trial's score for each test sample, `[N]`."""
    return config.trial_folder(number) / "test" / "scores.npy"


def _score(record: TrialRecord, split: str) -> float:
    return record.metrics[_name(split)]


def _name(split: str) -> str:
    return "test_score" if split == "test" else "score"
