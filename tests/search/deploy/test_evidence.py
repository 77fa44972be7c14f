"""The evidence is plain data under names that do not change."""

import json

from tests.search.deploy.evidences import evidence

KEYS = [
    "study",
    "trial",
    "select",
    "front",
    "front_position",
    "objectives",
    "constraints",
    "verdict",
    "notes",
    "validation",
    "test",
    "baseline_test",
    "baseline",
    "latency",
    "input_shapes",
    "built_from",
    "recipe",
    "sha256",
    "code",
    "versions",
    "card",
    "outputs",
    "maximize",
    "timed",
    "changed",
]


def test_the_keys_of_evidence_json_stay():
    data = evidence().to_data()
    assert list(data) == KEYS
    assert json.loads(json.dumps(data)) == data
