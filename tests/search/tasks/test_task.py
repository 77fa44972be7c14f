from pathlib import Path

import numpy as np
import torch

from tests.search.tasks.made_up import batches, make, task


def test_a_shuffling_loader_yields_the_same_order_for_the_same_epoch(tmp_path: Path) -> None:
    found = task(tmp_path)
    first = batches(found, 0)
    torch.rand(17)
    again, other = batches(found, 0), batches(found, 1)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_reading_batches_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    found = task(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    batches(found, 0)
    assert torch.equal(torch.rand(2), expected)


def test_a_measurement_is_remembered_for_its_model_and_data(tmp_path: Path) -> None:
    model = make()["model"]
    count = 0

    def measure() -> dict[str, np.ndarray]:
        nonlocal count
        count += 1
        return {"value": np.array([count])}

    def measured(key: str, **changes: object) -> int:
        return int(task(tmp_path, **{"model": model} | changes).measured(key, measure)["value"][0])

    assert measured("a") == 1
    assert measured("a") == 1
    assert measured("b") == 2
    assert measured("a", model=make()["model"]) == 3
    assert measured("a", train=[(torch.ones(8, 6), torch.zeros(8).long())]) == 4
    assert measured("a") == 1
