"""A text model whose batches differ in length, from the command line to a file that runs alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import paredown
from compressors.base import run

pytest.importorskip("transformers")

# Slow: a sweep of its own, over a model of the library transformers.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LENGTHS = (2, 3, 17, 40)
"""Lengths of which no batch of the task is."""
MODEL = """
import torch
from transformers import BertConfig, BertForSequenceClassification


def batches(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    for length in lengths:
        tokens = torch.randint(3, 50, (16, length), generator=generator)
        known = torch.randint(2, length + 1, (16, 1), generator=generator)
        mask = (torch.arange(length) < known).long()
        yield {"input_ids": tokens * mask, "attention_mask": mask, "labels": tokens[:, 0] % 3}


def task():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=64, num_labels=3,
    )
    model = BertForSequenceClassification(config)
    train = list(batches((9, 6, 12, 7, 9, 11), seed=0))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        for batch in train:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
    return {
        "model": model.eval(),
        "train": train,
        "validation": list(batches((8, 11, 6, 10), seed=1)),
        "test": list(batches((5, 10), seed=2)),
        "loss": lambda outputs, targets: torch.nn.functional.cross_entropy(outputs.logits, targets),
        "score": lambda outputs, targets: (outputs.logits.argmax(1) == targets).float(),
        "target_key": "labels",
    }
"""
RUN_ALONE = """
import sys

import numpy
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
given = numpy.load(sys.argv[2])
names = [each.name for each in session.get_inputs()]
lengths = {key.rpartition(" ")[2] for key in given}
found = {n: session.run(None, {i: given[f"{i} {n}"] for i in names})[0] for n in lengths}
numpy.savez(sys.argv[3], **found)
print({"torch", "search", "compressors", "paredown"} & set(sys.modules))
"""
STEPS = ("prune.ratio=0.5", "factorise.lost_energy=0", "sparsify.ratio=0", "remove.ratio=0")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder after a sweep of four trials: baseline, 8 bits, 4 bits, pruned."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "my_text.py").write_text(MODEL)
    (folder / "run_alone.py").write_text(RUN_ALONE)
    (folder / "my_conf" / "task").mkdir(parents=True)
    yaml = "_target_: my_text.task\nrecovery_epochs: 1\ntuning_epochs: 1\n"
    (folder / "my_conf" / "task" / "mine.yaml").write_text(yaml)
    steps = [f"steps.{step}" for step in STEPS]
    options = ["trials=4", "tracking=none", "latency.rounds=4", "~constraints.relative_drop"]
    said = call("search", "--config-dir", "my_conf", "task=mine", *options, *steps, folder=folder)
    assert "4 trials" in said
    return folder


def call(*arguments: str, folder: Path) -> str:
    """Run `paredown` in a user's folder and return what it prints; nothing goes to stderr."""
    return python("-m", "search.cli", *arguments, folder=folder)


def python(*arguments: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def unseen(length: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    tokens = torch.randint(3, 50, (5, length), generator=generator)
    mask = (torch.arange(length) < torch.randint(1, length + 1, (5, 1), generator=generator)).long()
    return {"input_ids": tokens * mask, "attention_mask": mask}


@pytest.mark.parametrize(
    ("selected", "least_db"),
    [
        ("0", 100),
        ("max score where integer_operators>=1", 25),
        ("min size_bytes where integer_operators>=1", 25),
    ],
)
def test_an_exported_file_runs_alone_at_lengths_that_it_never_saw(
    swept: Path, selected: str, least_db: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(swept)
    call("export", "--config-dir", "my_conf", "study=mine", f"select={selected}", folder=swept)
    trial = paredown.load_study("mine", runs_dir=swept / "runs").select(selected)
    given = {f"{name} {n}": t.numpy() for n in LENGTHS for name, t in unseen(n).items()}
    np.savez(swept / "given.npz", **given)
    file = swept / "runs" / "mine" / "export" / f"trial-{trial.number:04}" / "model.onnx"
    assert python("run_alone.py", str(file), "given.npz", "found.npz", folder=swept) == "set()\n"
    found, model = np.load(swept / "found.npz"), trial.load()
    for length in LENGTHS:
        wanted = run(model, unseen(length)).logits.detach().numpy()
        noise = np.square(wanted - found[str(length)]).sum() / np.square(wanted).sum()
        assert -10 * np.log10(noise) >= least_db
