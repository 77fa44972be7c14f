import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from compressors.weights.k_means import cluster


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
