"""Layers behind a removed one move up in a cache."""

from torch import nn

from compressors.layers.cache_slots import close_cache_slot


def layer(number: int) -> nn.Module:
    made = nn.Sequential(nn.Linear(2, 2))
    made[0].layer_idx = number
    return made


def test_layers_behind_a_removed_one_move_up() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList(layer(number) for number in range(4))
    close_cache_slot(model, model.layers[1])
    del model.layers[1]
    assert [each[0].layer_idx for each in model.layers] == [0, 1, 2]


def test_layers_without_a_number_stay() -> None:
    model = nn.Module()
    model.layers = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), layer(5)])
    close_cache_slot(model, model.layers[0])
    assert model.layers[1][0].layer_idx == 5
