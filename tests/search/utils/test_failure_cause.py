import pytest
import torch
from torch import nn

from search.utils.failure_cause import failure_cause


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.Linear(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def caught(run) -> BaseException:
    with pytest.raises(Exception) as found:  # noqa: PT011 - any error is described
        run()
    return found.value


def test_a_failing_layer_is_named_with_the_users_line() -> None:
    cause = failure_cause(caught(lambda: Net()(torch.zeros(3, 4))))
    assert cause.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert "in layer 'body.1' (Linear)" in cause
    assert cause.endswith(f"of {__file__}: return self.body(x)")


def test_of_a_dump_the_first_line_is_kept() -> None:
    dump = "\nno kernel for Conv\nframe #0: c10::Error\nframe #1: at::native"

    def fail() -> None:
        raise RuntimeError(dump)

    cause = failure_cause(caught(fail))
    assert cause.startswith("RuntimeError: no kernel for Conv, in line ")
    assert "frame #" not in cause
