"""Configurations that ask for a cache are told not to; that is said where outputs change by it."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from compressors.models.decoding_cache import switch_off_cache


class Answer(nn.Module):
    """Returns values and, if it is causal and may, a cache, as the library transformers does."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.head, self.causal = nn.Linear(2, 2), causal
        self.config = SimpleNamespace(use_cache=True)

    def forward(self, x: Tensor) -> dict[str, object]:
        cache = SimpleNamespace(layers=[x]) if self.causal and self.config.use_cache else None
        return {"logits": self.head(x), "cache": cache}


@pytest.mark.parametrize("causal", [False, True])
def test_only_a_cache_among_the_outputs_is_told(causal: bool) -> None:
    model = Answer(causal=causal)
    assert switch_off_cache(model, lambda: model(torch.ones(2, 2))) is causal
    assert model.config.use_cache is False
    assert not switch_off_cache(model, lambda: pytest.fail("nothing is to be compared"))


def test_every_configuration_of_a_model_is_switched_off() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shared, other = SimpleNamespace(use_cache=True), SimpleNamespace(hidden=3)
    model.config, model[0].config, model[1].config = shared, shared, other
    switch_off_cache(model, lambda: (torch.ones(2, 2), torch.ones(2) if shared.use_cache else None))
    assert shared.use_cache is False
    assert not hasattr(other, "use_cache")
