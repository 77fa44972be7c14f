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
    others = [record for record in front if record is not best]
    samples = {r.number: _samples(config, r.number) for r in front} if split == "test" else {}
    found = [_Pair(best=best, other=record, split=split, samples=samples) for record in others]
    return EqualScores(
        best=best,
        others=tuple(pair.other for pair in found if pair.equal(sign)),
        split=split,
        paired=all(pair.differences is not None for pair in found),
    )


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """The best member and another one."""

    best: TrialRecord
    other: TrialRecord
    split: str
    samples: dict[int, NDArray[np.float64] | None]

    @property
    def differences(self) -> NDArray[np.float64] | None:
        """How much the best one scores above the other for each sample `[N]`, None if unknown."""
        ours, theirs = (self.samples.get(r.number) for r in (self.best, self.other))
        if ours is None or theirs is None or ours.shape != theirs.shape:
            return None
        return ours - theirs

    def equal(self, sign: float) -> bool:
        """Whether the other is not worse beyond the noise; `sign` is -1 where less is better."""
        differences = self.differences
        if differences is not None:
            error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
            return sign * float(differences.mean()) <= STANDARD_ERRORS * error
        name = f"{_name(self.split)}_standard_error"
        error = math.hypot(self.best.metrics[name], self.other.metrics[name])
        lost = sign * (_score(self.best, self.split) - _score(self.other, self.split))
        return lost <= STANDARD_ERRORS * error


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
