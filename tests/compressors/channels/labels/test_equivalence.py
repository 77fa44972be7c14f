"""Labels are united transitively, and 0 stands for nothing."""

import numpy as np

from compressors.channels.labels.equivalence import Equivalence


def test_united_labels_have_one_root() -> None:
    labels = Equivalence()
    one, other, third = labels.new(3), labels.new(3), labels.new(3)
    labels.unite(one, other)
    labels.unite(third, other[::-1].copy())
    assert labels.root(one).tolist() == labels.root(third)[::-1].tolist()
    assert len(set(labels.root(one).tolist())) == 3


def test_no_channel_is_united_with_nothing() -> None:
    labels = Equivalence()
    one = labels.new(2)
    labels.unite(np.zeros(2, dtype=np.int64), one)
    labels.unite(one, np.zeros(2, dtype=np.int64))
    assert labels.root(one).tolist() == one.tolist()
    labels.freeze(np.zeros(1, dtype=np.int64), "nothing")
    assert labels.frozen() == {}


def test_a_reason_holds_for_all_that_is_united_later() -> None:
    labels = Equivalence()
    one, other = labels.new(2), labels.new(2)
    labels.freeze(other[:1], "it must stay")
    further = labels.with_united([(one, other)])
    assert further.frozen() == {int(further.root(one)[0]): "it must stay"}
    assert labels.root(one).tolist() == one.tolist(), "a copy leaves the original as it is"
