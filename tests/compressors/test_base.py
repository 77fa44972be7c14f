import torch

from compressors.base import output_tensors


def test_output_tensors_are_those_of_any_nesting_in_order() -> None:
    one, two, three = (torch.full((2, 3), float(value)) for value in range(3))
    assert output_tensors(one) == [one]
    nested = output_tensors({"b": one, "a": [two, (three, None)], "n": 3})
    assert [tensor is other for tensor, other in zip(nested, (one, two, three), strict=True)] == [
        True
    ] * 3
    assert output_tensors(None) == []
