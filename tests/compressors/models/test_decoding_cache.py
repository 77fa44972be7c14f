"""Configurations that ask for a cache are told not to."""

from types import SimpleNamespace

from torch import nn

from compressors.models.decoding_cache import switch_off_cache


def test_every_configuration_of_a_model_is_switched_off_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    shared, other = SimpleNamespace(use_cache=True), SimpleNamespace(hidden=3)
    model.config, model[0].config, model[1].config = shared, shared, other
    assert switch_off_cache(model)
    assert shared.use_cache is False
    assert not hasattr(other, "use_cache")
    assert not switch_off_cache(model)
