"""The writer, which knows a matrix of signs, and the reader, which finds it, think alike."""

import numpy as np
import pytest

from search.artefact.packed_form.diagonals import BAND
from search.artefact.packed_form.sign_decisions import sign_decisions
from search.artefact.packed_form.unpack import ONE, SignMap


class Replay:
    """A coder that gives known bits and keeps the probabilities that it is given."""

    def __init__(self, bits):
        self.left = bits
        self.given = []

    def bits(self, probability):
        self.given.append(probability)
        found, self.left = np.split(self.left, [len(probability)])
        return found.copy()


def signs(shape, share, *, signed):
    rng = np.random.default_rng(0)
    kept = rng.random(shape) < share * rng.random(shape[1]) * 2
    return np.where(kept, rng.choice([-1, 1], shape) if signed else 1, 0).astype(np.int8)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        ((1, 1), 1),
        ((5, 1), 1),
        ((1, 7), 2),
        ((30, 40), 3),
        ((30, 40), 40),
        ((64, 2), 2),
        ((2, 64), 60),
        ((150, 200), 7),
    ],
)
def test_the_reader_gives_the_probabilities_that_the_writer_expects(shape, stride, signed):
    given = signs(shape, 0.3, signed=signed)
    bits, probability = sign_decisions(given, stride, signed=signed)
    replay = Replay(bits)
    found = SignMap(*shape, stride, signed=signed).read(replay)
    assert np.array_equal(found, given)
    assert np.array_equal(np.concatenate(replay.given), probability)
    assert not len(replay.left)


def taken(bits, probability):
    return -np.log2(np.where(bits, probability, ONE - probability) / ONE).sum()


def test_learning_takes_fewer_bits_and_its_estimate_is_near():
    given = signs((150, 200), 0.2, signed=True)
    assert given.size > BAND
    exact = taken(*sign_decisions(given, 7, signed=True))
    estimate = taken(*sign_decisions(given, 7, signed=True, learning=False))
    assert exact < estimate < 1.05 * exact
