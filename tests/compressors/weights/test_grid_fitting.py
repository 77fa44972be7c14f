import pytest
import torch

from compressors.weights.grid_fitting import IntegerGrid, fit_grid


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_grid_has_as_many_integers_as_its_bits_allow(bits: int) -> None:
    centred, shifted = (IntegerGrid(bits=bits, symmetric=symmetric) for symmetric in (True, False))
    assert (centred.low, centred.high) == (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1)
    assert (shifted.low, shifted.high) == (0, 2**bits - 1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_eight_bits_cover_the_whole_range_of_each_row(symmetric: bool) -> None:
    rows = torch.randn((5, 60), generator=torch.Generator().manual_seed(0))
    grid = IntegerGrid(bits=8, symmetric=symmetric)
    scale, zero = fit_grid(rows, grid)
    highest = (rows.abs() if symmetric else rows - rows.amin(1, keepdim=True)).amax(1)
    torch.testing.assert_close(scale, highest / grid.high)
    assert ((rows.amin(1) / scale).round() + zero >= grid.low).all()


def test_each_row_has_a_grid_of_its_own() -> None:
    rows = torch.randn((5, 60), generator=torch.Generator().manual_seed(0))
    grid = IntegerGrid(bits=3, symmetric=False)
    together = fit_grid(rows, grid)
    alone = [fit_grid(row[None], grid) for row in rows]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))
