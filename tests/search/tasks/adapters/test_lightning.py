"""A LightningModule is a task as its own Trainer sees it."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from search.errors import ConfigError
from search.tasks.loading import load_task
from search.tasks.tensors import correct

CALLED: list[str] = []


def loader(rows: int = 8) -> DataLoader:
    torch.manual_seed(rows)
    return DataLoader(TensorDataset(torch.randn(rows, 6), torch.arange(rows) % 3), batch_size=4)


class Data(pl.LightningDataModule):
    def prepare_data(self) -> None:
        CALLED.append("prepare_data")

    def setup(self, stage: str) -> None:
        CALLED.append(f"setup {stage}")

    def train_dataloader(self) -> DataLoader:
        return loader()

    def val_dataloader(self) -> DataLoader:
        return loader(12)

    def test_dataloader(self) -> DataLoader:
        return loader(16)


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        loss = 2 * functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        self.log_dict({"twice": loss})
        return {"loss": loss}


class ByHand(Module):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class WithItsData(Module):
    train_dataloader = Data.train_dataloader
    val_dataloader = Data.val_dataloader
    test_dataloader = Data.test_dataloader


class TwoValidations(Data):
    def val_dataloader(self) -> list[DataLoader]:
        return [loader(), loader(12)]


def parts(model: type = Module, data: type | None = Data, **given: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    own = {} if data is None else {"data": data()}
    return {
        "model": model(),
        **own,
        "loss": functional.cross_entropy,
        "score": correct,
        **given,
    }


def alone() -> nn.Module:
    return WithItsData()


def built(**arguments: Any) -> Any:
    return load_task({"_target_": f"{__name__}.parts", **arguments})


def test_the_hooks_give_the_data_in_the_order_of_a_trainer() -> None:
    CALLED.clear()
    task = built()
    assert CALLED == ["prepare_data", "setup fit", "setup test"]
    assert len(list(task.validation)) == 3
    assert len(list(task.test)) == 4


def test_a_module_may_have_the_hooks_itself() -> None:
    assert len(list(built(model=WithItsData, data=None).test)) == 4


def test_a_module_alone_lacks_loss_and_score() -> None:
    with pytest.raises(ConfigError, match=r"alone gives no loss, score;"):
        load_task({"_target_": f"{__name__}.alone"})


def test_a_module_without_hooks_of_its_own_has_no_data() -> None:
    with pytest.raises(ConfigError, match=r"gives no train, validation, test;"):
        built(data=None)


def test_parts_that_are_given_count() -> None:
    assert len(list(built(validation=[next(iter(loader(2)))]).validation)) == 1


def test_its_training_step_is_the_loss_of_a_recovery() -> None:
    task = built()
    module = Module()
    batch = next(iter(loader()))
    assert task.train_step is not None
    expected = 2 * functional.cross_entropy(task.baseline(batch[0]), batch[1])
    module.load_state_dict(task.baseline.state_dict())
    module.log = module.log_dict = lambda *_: None
    assert torch.allclose(task.train_step(module, batch), expected)


def test_what_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"automatic_optimization=False.*give the task a train_"):
        built(model=ByHand)
    with pytest.raises(ConfigError, match=r"val_dataloader returns 2 loaders"):
        built(data=TwoValidations)
