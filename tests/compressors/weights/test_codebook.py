import pytest
import torch

from compressors.weights.codebook import codebook_for


def test_few_distinct_values_are_kept_exactly() -> None:
    weight = torch.tensor([[0.5, -1.0, 0.5], [2.0, 0.0, -1.0]])
    codebook = codebook_for(weight, 16)
    assert codebook.table().tolist() == [0.0, -1.0, 0.5, 2.0]
    assert codebook.indices(weight).tolist() == [[2, 1, 2], [3, 0, 1]]
    assert torch.equal(codebook(weight), weight)


def test_each_weight_takes_its_nearest_centroid() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    codebook = codebook_for(weight, 8)
    centroids = codebook.centroids.detach()
    nearest = centroids[(weight[..., None] - centroids).abs().argmin(-1)]
    assert torch.equal(codebook(weight), nearest)


def test_the_gradient_reaches_centroids_by_cluster_and_weights_straight_through() -> None:
    weight = torch.tensor([[1.0, 1.1, 5.0, 0.0]], requires_grad=True)
    codebook = codebook_for(weight.detach(), 2).requires_grad_(True)
    said = codebook(weight)
    assert said.tolist()[0] == pytest.approx([1.05, 1.05, 5.0, 0.0])
    (said * torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).sum().backward()
    assert codebook.centroids.grad is not None
    assert codebook.centroids.grad.tolist() == [11.0, 100.0]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1.0, 10.0, 100.0, 1000.0]]


def test_centroids_that_training_has_crossed_are_stored_ascending() -> None:
    weight = torch.tensor([[-1.0, 0.0, 2.0]])
    codebook = codebook_for(weight, 2)
    with torch.no_grad():
        codebook.centroids.copy_(torch.tensor([3.0, -2.0]))
    code = codebook.coded(weight)
    assert code.levels.tolist() == [0.0, -2.0, 3.0]
    assert torch.equal(torch.from_numpy(code.decode()), codebook(weight))
