import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import Codebook, WeightSharing, cluster, encode
from compressors.weights import compressible_weights
from tests.zoo import toy_task


def inertia(values: Tensor, centroids: Tensor) -> float:
    return float((values[:, None] - centroids[None]).abs().min(1).values.double().square().sum())


@pytest.mark.parametrize("clusters", [2, 4, 16, 64])
def test_inertia_matches_k_means_of_many_starts(clusters: int) -> None:
    values = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    reference = KMeans(clusters, n_init=5, random_state=0).fit(values[:, None].numpy())
    assert inertia(values, cluster(values, clusters)) <= 1.05 * reference.inertia_


def test_histogram_of_a_large_weight_matches_k_means_on_all_its_values() -> None:
    values = torch.randn(60_000, generator=torch.Generator().manual_seed(0))
    reference = KMeans(16, n_init=3, random_state=0).fit(values[:, None].numpy())
    assert inertia(values, cluster(values, 16)) <= 1.011 * reference.inertia_


def test_few_distinct_values_are_kept_exactly() -> None:
    weight = torch.tensor([[0.5, -1.0, 0.5], [2.0, 0.0, -1.0]])
    centroids, codebook = encode(weight, 16)
    assert centroids.tolist() == [-1.0, 0.5, 2.0]
    assert codebook.indices.tolist() == [[2, 1, 2], [3, 0, 1]]
    assert torch.equal(codebook(centroids), weight)


def test_each_weight_takes_its_nearest_centroid() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
    centroids, codebook = encode(weight, 8)
    nearest = centroids[(weight[..., None] - centroids).abs().argmin(-1)]
    assert torch.equal(codebook(centroids), nearest)


def test_centroid_gradient_is_the_sum_over_its_cluster() -> None:
    weight = torch.tensor([[1.0, 1.1, 5.0, 0.0]])
    centroids, codebook = encode(weight, 2)
    centroids.requires_grad_(True)
    (codebook(centroids) * torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).sum().backward()
    assert centroids.grad is not None
    assert centroids.grad.tolist() == [11.0, 100.0]


def test_a_mask_is_taken_into_the_code() -> None:
    task = toy_task("mlp")
    masked = WeightPruning(ratio=0.7)(task.baseline, task)
    said = masked(task.inputs)
    shared = WeightSharing(clusters=256)(masked, task)
    for before, after in zip(
        compressible_weights(masked), compressible_weights(shared), strict=True
    ):
        assert [type(p) for p in after.chain()] == [Codebook]
        assert torch.equal(before.value() == 0, after.value() == 0)
    assert torch.equal(masked(task.inputs), said)


def test_only_the_centroids_are_parameters() -> None:
    task = toy_task("recurrent")
    shared = WeightSharing(clusters=4)(task.baseline, task)
    sizes = {name: p.numel() for name, p in shared.named_parameters() if "parametrizations" in name}
    assert sizes == {
        "lstm.parametrizations.weight_ih_l0.original": 4,
        "lstm.parametrizations.weight_hh_l0.original": 4,
        "head.parametrizations.weight.original": 4,
    }


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)).eval().requires_grad_(False)
    model[2].weight = model[0].weight
    task = toy_task("mlp")
    shared = WeightSharing(clusters=4)(WeightPruning(ratio=0.5)(model, task), task)
    stored = [layer.parametrizations.weight.original for layer in (shared[0], shared[2])]
    assert stored[0] is stored[1]
    assert torch.equal(shared[0].weight, shared[2].weight)
    assert model[0].weight is model[2].weight


@pytest.mark.parametrize("clusters", [1, 257, -1])
def test_clusters_out_of_range_are_refused(clusters: int) -> None:
    with pytest.raises(ValueError, match=r"clusters must be in \[2, 256\]"):
        WeightSharing(clusters=clusters)
