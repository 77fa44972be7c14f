"""Evidence of an exported trial, for the tests of the room."""

from typing import Any

from search.deploy.evidence import Evidence

METRICS = {
    "score": 0.91,
    "score_standard_error": 0.01,
    "size_bytes": 400.0,
    "run_bytes": 900.0,
    "latency_ratio": 0.5,
    "macs": 100.0,
    "parameters": 50.0,
    "nonzeros": 40.0,
}
TEST = {"score": 0.9, "score_standard_error": 0.02, "nll": 0.3}


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "study": "digits",
        "trial": 7,
        "select": "knee",
        "front": [3, 7],
        "front_position": 2,
        "objectives": {"score": "maximize"},
        "constraints": ["score_drop<=0.1"],
        "verdict": "size gain",
        "notes": "",
        "validation": METRICS,
        "test": TEST,
        "baseline_test": {},
        "baseline": METRICS | {"size_bytes": 800.0},
        "latency": {"batch_size": 1, "threads": 2, "rounds": 30},
        "input_shapes": {"image": [1, 3, 8], "mask": [4]},
        "built_from": {
            "task": {"_target_": "mine.task"},
            "threads": 1,
            "baseline_fingerprint": "cd",
        },
        "recipe": {"seed": 1, "steps": {"prune": {"ratio": 0.5}}},
        "sha256": {"model.onnx": "ab"},
        "code": {"version": "0.1.0"},
        "versions": {"python": "3.11"},
        "card": {"metric": "accuracy", "preprocessing": "pixels over 255", "license": "mit"},
        "outputs": "logits [B, 10], classes on axis 1",
        "maximize": True,
        "timed": {"cpu": "Some CPU", "latency_ms": 0.51, "baseline_latency_ms": 1.02},
        "changed": "",
    }
    return Evidence(**(fields | changes))
