from torch import nn

from compressors.models.replacing import places_of, replace_module


def test_a_module_is_replaced_in_every_place_that_holds_it() -> None:
    old, new = nn.Linear(2, 2), nn.Identity()
    model = nn.ModuleDict({"first": old, "inner": nn.Sequential(nn.ReLU(), old)})
    assert places_of(model, old) == [(model, "first"), (model["inner"], "1")]
    replace_module(model, old, new)
    assert model["first"] is model["inner"][1] is new
    assert places_of(model, old) == []
