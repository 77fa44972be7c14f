"""The hand-written loops that a good engineer might have chosen between, and the best of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from benchmarks.trajectory import Trajectory, final_volume

PREFIX = "loop"
"""How the names of the family's members begin."""
EPOCHS = ("full", "2")
ROUND_TO = (8, 1)
POST_TRAINING = ("not", "first")
FEW_RECOVERY, FEW_TUNING = 2, 1
"""Epochs of a trial with `epochs` 2, or fewer if the task allows fewer."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Epochs of a trial."""

    recovery: int
    tuning: int


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What one engineer would set this way and another one that way."""

    epochs: str = EPOCHS[0]
    """`full`: as many as Paredown's trials may spend; `2`: two of recovery, one of tuning."""
    round_to: int = ROUND_TO[0]
    """Divisor of the channels that stay."""
    post_training: str = POST_TRAINING[0]
    """`first`: encodings without training are measured before anything is trained."""
    sampler: str = "tpe"

    @property
    def name(self) -> str:
        """The name among the arms."""
        first = "-first" if self.post_training == "first" else ""
        return f"{PREFIX}-{self.epochs}-{self.round_to}{first}"

    def arguments(self) -> list[str]:
        """Return the options of `benchmarks.hand_written_loop`."""
        return [
            f"--sampler={self.sampler}",
            f"--epochs={self.epochs}",
            f"--round-to={self.round_to}",
            f"--post-training={self.post_training}",
        ]

    def budget(self, node: Mapping[str, Any]) -> Budget:
        """Return the epochs of a trial on the task of a composed node."""
        recovery, tuning = int(node["recovery_epochs"]), int(node["tuning_epochs"])
        if self.epochs == "full":
            return Budget(recovery=recovery, tuning=tuning)
        return Budget(recovery=min(FEW_RECOVERY, recovery), tuning=min(FEW_TUNING, tuning))


def _family() -> dict[str, LoopSettings]:
    members = [
        LoopSettings(epochs=epochs, round_to=round_to, post_training=post_training)
        for epochs, round_to, post_training in product(EPOCHS, ROUND_TO, POST_TRAINING)
    ]
    return {member.name: member for member in members}


LOOPS = _family()


def best_loops(found: Mapping[str, Sequence[Trajectory]], plane: str) -> list[Trajectory]:
    """Return by seed the loop with the highest final hypervolume on a plane.

    The choice is made after the fact, and so in the rival's favour: nobody knows it beforehand.

    Args:
        found: Trajectories of the seeds by arm; those of loops have names with `PREFIX`.
        plane: The plane of the hypervolume.
    """
    loops = [runs for name, runs in found.items() if name.startswith(PREFIX)]
    return [
        max(of_seed, key=lambda loop: final_volume(loop, plane))
        for of_seed in zip(*loops, strict=True)
    ]
