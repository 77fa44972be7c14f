from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from compressors.channels.cutting import cut_channels
from compressors.channels.discovery import find_channel_groups
from compressors.channels.layer_axes import GATES
from compressors.channels.recurrent import recurrent_units

HIDDEN = 6


class Net(nn.Module):
    """A recurrent layer and one way to read it."""

    def __init__(self, kind: type[nn.RNNBase], read: str, **options: object) -> None:
        super().__init__()
        self.rnn = kind(5, HIDDEN, batch_first=True, **options)
        self.read = read
        directions = 1 + self.rnn.bidirectional
        width = {
            "last": HIDDEN * directions * self.rnn.num_layers,
            "flat": HIDDEN * directions * 7,
        }.get(read, HIDDEN * directions)
        self.norm = nn.BatchNorm1d(HIDDEN * directions)
        self.conv = nn.Conv1d(HIDDEN * directions, 4, 3)
        self.score = nn.Linear(HIDDEN * directions, 1)
        self.head = nn.Linear(4 if read == "convolved" else width, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.read == "packed":
            x = pack_padded_sequence(x, torch.tensor([7, 6, 4, 2]), batch_first=True)
        states, last = self.rnn(x)
        if self.read == "packed":
            states = pad_packed_sequence(states, batch_first=True)[0].mean(1)
        elif self.read == "last":
            last = last[0] if isinstance(last, tuple) else last
            states = last.transpose(0, 1).flatten(1)
        elif self.read == "flat":
            states = states.flatten(1)
        elif self.read == "pooled":
            states = self.norm(states.max(1).values)
        elif self.read == "attended":
            states = (self.score(states).softmax(1) * states).sum(1)
        elif self.read == "convolved":
            states = self.conv(states.transpose(1, 2)).relu().mean(2)
        else:
            states = states[:, -1]
        return self.head(states)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    "read", ["final", "last", "flat", "pooled", "attended", "convolved", "packed"]
)
def test_units_nobody_reads_can_be_cut(
    kind: type[nn.RNNBase], layers: int, bidirectional: bool, read: str
) -> None:
    torch.manual_seed(0)
    model = Net(kind, read, num_layers=layers, bidirectional=bidirectional)
    model.eval().requires_grad_(False)
    x = torch.randn(4, 7, 5)
    group = recurrent_units(model, x, "rnn")
    parts = layers * (1 + bidirectional)
    assert (group.size, group.parts) == (HIDDEN, parts)
    chosen = torch.stack([torch.randperm(HIDDEN)[:2] for _ in range(parts)])
    dead = (torch.arange(parts)[:, None] * HIDDEN + chosen).flatten()
    for part in group.slices:  # only what reads a unit, not the unit's own rows
        if part.axis == 1:
            weight = model.get_parameter(part.tensor)
            weight[:, part.indices[torch.isin(part.channels, dead)]] = 0
    if read == "pooled":
        model.head.weight[:, dead[-2 * (1 + bidirectional) :] % model.head.in_features] = 0
        last = dead.view(parts, 2)[-(1 + bidirectional) :] - (parts - 1 - bidirectional) * HIDDEN
        model.head.weight[:, last.flatten()] = 0
    expected = model(x)
    smaller = deepcopy(model)
    cut_channels(smaller, [(group, chosen)])
    assert smaller.rnn.hidden_size == HIDDEN - 2
    assert smaller.rnn.weight_hh_l0.shape == (GATES[model.rnn.mode] * (HIDDEN - 2), HIDDEN - 2)
    torch.testing.assert_close(smaller(x), expected)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (lambda: Exposed(), "reach the model's outputs"),
        (lambda: Residual(), "written into the model's code"),
        (lambda: Cell(), "step by step"),
    ],
)
def test_states_that_cannot_be_cut_are_reported(net, reason: str) -> None:
    torch.manual_seed(0)
    model = net()
    found = find_channel_groups(model.eval().requires_grad_(False), torch.randn(4, 7, 5))
    assert reason in found.skipped_layers["rnn"]
    assert "rnn" not in [group.name for group in found.groups]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_projected_states_are_reported() -> None:
    model = nn.Sequential(nn.Linear(5, 5), Projected()).eval().requires_grad_(False)
    found = find_channel_groups(model, torch.randn(4, 7, 5))
    assert "proj_size" in found.skipped_layers["1.rnn"]
    assert [group.name for group in found.groups] == ["0"]


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, HIDDEN, proj_size=3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Exposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(5, HIDDEN, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0][:, -1]


class Residual(nn.Module):
    """The states are added to a tensor of a width of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, HIDDEN)
        self.rnn = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head((x + self.rnn(x)[0]).mean(1))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRUCell(5, HIDDEN)
        self.head = nn.Linear(HIDDEN, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), HIDDEN)
        for step in x.unbind(1):
            state = self.rnn(step, state)
        return self.head(state)
