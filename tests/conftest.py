import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# Test processes run side by side, so that each computes with one thread; torch reads this once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# The key that signs studies is not the user's own.
os.environ["PAREDOWN_CONFIG"] = tempfile.mkdtemp(prefix="paredown-config-")
atexit.register(shutil.rmtree, os.environ["PAREDOWN_CONFIG"], ignore_errors=True)

# The same examples each time; PAREDOWN_MUTATIONS=2000 draws as many new ones.
examples = os.environ.get("PAREDOWN_MUTATIONS")
settings.register_profile(
    "paredown",
    max_examples=int(examples or 20),
    derandomize=examples is None,
    database=None,
    deadline=None,
)
settings.load_profile("paredown")

USER_MODEL = '''
import torch
from torch import nn


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 12, generator=generator)
    return inputs, (inputs[:, :3].sum(1) > 0).long()


class Task:
    """A plain class with the parts of a task; nothing of Paredown is imported."""

    def __init__(self, hidden=24):
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Linear(12, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 2),
        )
        inputs, targets = data(512, 1)
        optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            self.loss(self.model(inputs), targets).backward()
            optimizer.step()
        rows = torch.utils.data.TensorDataset(inputs, targets)
        self.train = torch.utils.data.DataLoader(rows, batch_size=64, shuffle=True)
        self.validation = [data(200, 2)]
        self.test = [data(200, 3)]

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)

    def score(self, outputs, targets):
        return (outputs.argmax(1) == targets).float()
'''

USER_YAML = """\
_target_: user_model.Task
hidden: 24
recovery_epochs: 1
"""


@pytest.fixture(autouse=True)
def one_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep trained baselines of the whole test run in one folder, away from the user's own."""
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own folder, outside the repository, with a model and its one YAML."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "user_model.py").write_text(USER_MODEL)
    (folder / "my_conf" / "task").mkdir(parents=True)
    (folder / "my_conf" / "task" / "mine.yaml").write_text(USER_YAML)
    return folder
