import pytest
import torch
from torch import nn

from compressors.models.batch_norm import reestimate_batch_norm
from compressors.models.fingerprint import fingerprint
from compressors.models.small_batches import SmallBatches
from compressors.training.loop import TrainingSettings, train


def dense() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_only_one_value_per_channel_is_refused() -> None:
    assert SmallBatches(dense().train()).refused(torch.randn(1, 4))
    assert not SmallBatches(dense().train()).refused(torch.randn(2, 4))
    assert not SmallBatches(nn.Linear(4, 2).train()).refused(torch.randn(1, 4))
    assert not SmallBatches(convolutional().train()).refused(torch.randn(1, 1, 5, 5))
    assert SmallBatches(convolutional().train()).refused(torch.randn(1, 1, 3, 3))


def test_asking_changes_neither_the_model_nor_the_random_numbers() -> None:
    model = convolutional().train()
    before, state = fingerprint(model), torch.get_rng_state()
    assert not SmallBatches(model).refused(torch.ones(1, 1, 5, 5))
    assert fingerprint(model) == before
    assert torch.equal(torch.get_rng_state(), state)


def pairs(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 4, generator=generator), torch.zeros(n).long()) for n in sizes]


def test_training_leaves_out_a_last_batch_of_one() -> None:
    model = dense()
    settings = TrainingSettings(epochs=2, learning_rate=0.01)
    train(model, lambda _: pairs(8, 8, 1), nn.functional.cross_entropy, settings)
    assert model[1].num_batches_tracked == 4


def test_training_on_nothing_but_refused_batches_is_an_error() -> None:
    settings = TrainingSettings(epochs=1, learning_rate=0.01)
    with pytest.raises(ValueError, match="epoch 0 has no batch"):
        train(dense(), lambda _: pairs(1, 1), nn.functional.cross_entropy, settings)


def test_statistics_are_measured_without_a_batch_of_one() -> None:
    with_one, without = dense(), dense()
    reestimate_batch_norm(with_one, [x for x, _ in pairs(8, 8, 1)], [with_one[1]])
    reestimate_batch_norm(without, [x for x, _ in pairs(8, 8)], [without[1]])
    assert fingerprint(with_one) == fingerprint(without)
