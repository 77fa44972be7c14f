import torch

from search.tasks.tensors import TensorBatches


def test_batches_called_with_an_epoch_are_a_permutation_of_the_data() -> None:
    data = TensorBatches(inputs=torch.arange(10.0), targets=torch.arange(10), batch_size=4)
    drawn = torch.cat([targets for _, targets in data(3)])
    assert not torch.equal(drawn, torch.arange(10))
    assert torch.equal(drawn.sort().values, torch.arange(10))
    assert torch.equal(torch.cat([targets for _, targets in data]), torch.arange(10))


def test_bytes_are_served_as_floats_from_0_to_1() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    data = TensorBatches(inputs=levels, targets=torch.arange(256), batch_size=100)
    assert torch.equal(torch.cat([inputs for inputs, _ in data]), levels.float() / 255)
