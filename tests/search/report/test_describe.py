"""Trials and errors in a few words."""

from search.report.describe import describe, last_line
from tests.search.report.records import RECORDS, trial


def test_description_names_the_active_steps_with_their_telling_value():
    assert describe(RECORDS[2]) == "prune .40 · share 16"
    assert describe(RECORDS[0]) == "baseline"
    assert describe(trial(5)) == "unchanged"
    steps = {
        "prune": {"_target_": "x", "ratio": 0.0},
        "sparsify": {"_target_": "x", "importance": "magnitude", "ratio": 0.9},
        "quantize": {"_target_": "x", "bits": 8, "symmetric": True},
        "distil": {"_target_": "x", "epochs": 3, "temperature": 4.0},
        "share": {"_target_": "x", "clusters": None},
        "own": {"_target_": "x", "strength": 2.5},
        "plain": {"_target_": "x"},
    }
    described = describe(trial(1, steps=steps))
    assert described == "sparsify .90 · quantize 8 · distil 3 · own 2.5 · plain"


def test_last_line_of_nothing_is_nothing():
    assert last_line("") == last_line("\n \n") == ""
