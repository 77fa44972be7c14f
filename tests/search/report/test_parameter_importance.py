"""Parameters are named for what they decide, and for nothing else."""

import numpy as np

from search.report.parameter_importance import parameter_importances
from tests.search.report.small_study import OBJECTIVES, random_records, space


def test_the_parameter_that_decides_is_named_for_each_objective():
    records = random_records(
        200,
        score=lambda p: p.get("distil.temperature", 0.0),
        size=lambda p: -p["sparsify.ratio"],
    )
    found = parameter_importances(records, OBJECTIVES, space())
    assert next(iter(found["size_bytes"])) == "sparsify.ratio"
    assert next(iter(found["score"])) in ("distil.temperature", "distil.epochs")
    assert set(found["score"]) <= {"distil.temperature", "distil.epochs"}


def test_chance_and_few_trials_name_no_parameter():
    chance = np.random.default_rng(3)
    records = random_records(60, score=lambda p: chance.normal(), size=lambda p: chance.normal())
    assert parameter_importances(records, OBJECTIVES, space()) == {"score": {}, "size_bytes": {}}
    assert parameter_importances(records[:19], OBJECTIVES, space()) == {}
