"""Recurrent nets: layers, cells in a loop, states that are given, and tied heads."""

import torch
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.sequences.attention import next_token_loss, next_token_right, texts


class LastStates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LSTM(6, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, (hidden, _) = self.layers(x)
        return self.head(torch.cat((hidden[-2], hidden[-1]), 1))


def both_ways_through_an_lstm() -> Parts:
    """Two layers of LSTM in both directions, of which the last states are read."""
    return parts.task(LastStates(), parts.near_centres(8, 6))


class GivenState(nn.Module):
    """Maps become a sequence by a fixed reshape; a GRU is given zeros as its state."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d((2, 1)))
        self.layer, self.head = nn.GRU(24, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maps(x).permute(3, 0, 1, 2).reshape(8, x.shape[0], 24)
        state = torch.zeros(1, x.shape[1], 12, device=x.device)
        return self.head(self.layer(x, state)[0][-1])


def maps_into_a_gru() -> Parts:
    """Convolutions whose columns are steps of a GRU, as text recognisers have."""
    return parts.task(GivenState(), parts.near_centres(1, 8, 8))


class TiedRecurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(24, 16), nn.GRU(16, 24, batch_first=True)
        self.back, self.head = nn.Linear(24, 16), nn.Linear(16, 24, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.back(self.layer(self.table(tokens))[0]))


def recurrent_language_model() -> Parts:
    """A GRU between a table of embeddings and a head that is the same table."""
    return parts.task(TiedRecurrent(), texts(), loss=next_token_loss, score=next_token_right)


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 12)
        self.head = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 12)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


def cell_in_a_loop() -> Parts:
    """A recurrent cell that the model's own code calls step by step, always as often."""
    return parts.task(Cells(), parts.near_centres(6, 6))


CASES = (
    Case(task=both_ways_through_an_lstm),
    Case(task=maps_into_a_gru, channels_stay="its width is written into the model's code"),
    Case(task=recurrent_language_model),
    Case(task=cell_in_a_loop),
)
