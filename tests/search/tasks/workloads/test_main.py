import pytest
import torch
from torch import nn

from search.errors import ConfigError
from search.tasks.workloads import keywords
from search.tasks.workloads.__main__ import main


def made_up(batch_size: int, seed: int = 0) -> dict[str, object]:
    batches = [(torch.eye(4), torch.arange(4))] * batch_size
    return {
        "model": nn.Linear(4, 4),
        **dict.fromkeys(("train", "validation", "test"), batches),
        "loss": nn.functional.cross_entropy,
        "score": lambda outputs, targets: torch.tensor([0.25, 0.75, 0.5, 0.5]),
    }


def test_a_task_is_built_with_the_values_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keywords, "keywords", made_up)
    main(["keywords", "batch_size=2"])
    assert "keywords: ready after" in (said := capsys.readouterr().out)
    assert said.endswith("validation score 0.5000\n")


@pytest.mark.parametrize("arguments", [[], ["digits"], ["../mnist"], ["a.b"]])
def test_an_unknown_task_is_named(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="name a task of conf/task/"):
        main(arguments)
