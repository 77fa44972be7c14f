"""What the preparation of a study costs, in training passes over the calibration data.

The calibration data are the batches of `calibration_batches`, 256 training samples; a pass runs a
model forward and backward over them once. Models are of the library transformers, with random
weights unless a folder of pretrained ones is given. Seconds are CPU seconds, torch has one thread.
The exit status is 1 if a preparation costs more than 5 passes.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.json_line import print_json_line
from compressors.base import run
from compressors.models.calibration import labelled_batches
from compressors.models.copying import copy_model
from compressors.models.trainable import require_gradients
from search.config.compose import compose_search
from search.proposal.initial_design import anchors
from search.proposal.strength.directions import probes
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.messages import JobSetting, PrepareRequest
from search.trial.preparation.prepare import prepare

BATCH = 32
TRAINED, HELD_OUT = 384, 64
"""Samples of the training data, more than are to be read, and of the validation data."""
TOKENS = 64
"""Tokens of the longest sentence."""
PASSES = 5
"""The most passes that a preparation may cost."""


def image_task(size: int) -> dict[str, Any]:
    """Return a ResNet-18 (He et al., 2016, arXiv:1512.03385) and random images `[B, 3, H, W]`."""
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], num_labels=1000
    )
    model = transformers.ResNetForImageClassification(config)

    def batches(seed: int, samples: int) -> Iterator[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(samples // BATCH):
            images = torch.randn(BATCH, 3, size, size, generator=generator)
            labels = torch.randint(1000, (BATCH,), generator=generator)
            yield {"pixel_values": images, "labels": labels}

    return _parts(model, batches)


def sentence_task(folder: str) -> dict[str, Any]:
    """Return a MiniLM of six layers and random sentences `[B, T]` of up to `TOKENS` tokens."""
    torch.manual_seed(0)
    kind = transformers.BertForSequenceClassification
    if folder:
        model = kind.from_pretrained(folder)
    else:
        config = transformers.BertConfig(
            hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
        )
        model = kind(config)
    tokens = model.config.vocab_size

    def batches(seed: int, samples: int) -> Iterator[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(samples // BATCH):
            lengths = torch.randint(4, TOKENS + 1, (BATCH,), generator=generator)
            mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
            ids = torch.randint(5, tokens, mask.shape, generator=generator) * mask
            labels = torch.randint(2, (BATCH,), generator=generator)
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return _parts(model, batches)


def _parts(model: Any, batches: Any) -> dict[str, Any]:
    return {
        "model": model.eval(),
        "train": lambda epoch: batches(epoch, TRAINED),
        "validation": list(batches(-1, HELD_OUT)),
        "test": list(batches(-2, HELD_OUT)),
        "loss": lambda outputs, targets: F.cross_entropy(outputs.logits, targets),
        "score": lambda outputs, targets: (outputs.logits.argmax(1) == targets).float(),
    }


@dataclass
class Stopwatch:
    """CPU seconds of each phase, by its name; a phase ends where the next one is reported."""

    seconds: dict[str, float] = field(default_factory=dict)
    _name: str = ""
    _began: float = 0.0

    def __call__(self, phase: str) -> None:
        """Begin a phase; the empty name ends the last one."""
        now = time.process_time()
        if self._name:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._began
            print(f"{self._name}: {self.seconds[self._name]:.1f} s", flush=True)
        self._name, self._began = phase, now


def measure(node: Mapping[str, Any]) -> dict[str, Any]:
    """Prepare a study of a task; return the seconds of the phases, of a pass, and their ratio."""
    torch.set_num_threads(1)
    config = compose_search(["tracking=none"])
    watch = Stopwatch()
    with TemporaryDirectory() as folder:
        setting = JobSetting(
            task=node, baseline=Path(folder) / "baseline", latency=config.latency, threads=1
        )
        request = PrepareRequest(
            setting=setting,
            anchors=anchors(config.space),
            probes=probes(config.space),
            begun=False,
        )
        reply = prepare(request, watch)
        watch("")
        one = pass_seconds(load_task(node, Path(folder) / "cache"))
    whole = sum(watch.seconds.values())
    return {
        "phases": {name: round(seconds, 1) for name, seconds in watch.seconds.items()},
        "seconds": round(whole, 1),
        "pass_seconds": round(one, 1),
        "passes": round(whole / one, 2),
        "failing": dict(reply.failing),
        "infeasible": dict(reply.infeasible),
    }


def pass_seconds(task: EvaluatedTask) -> float:
    """Return the seconds of a forward and a backward run over the calibration data."""
    model = require_gradients(copy_model(task.baseline))
    began = time.process_time()
    for inputs, targets in labelled_batches(task, torch.device("cpu")):
        task.loss(run(model, inputs), targets).backward()
        model.zero_grad()
    return time.process_time() - began


def as_table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table("CPU seconds", *found, title="preparation of a study", title_justify="left")
    for phase in dict.fromkeys(name for row in found.values() for name in row["phases"]):
        table.add_row(phase, *(str(row["phases"].get(phase, "")) for row in found.values()))
    for name in ("seconds", "pass_seconds", "passes"):
        table.add_row(name, *(str(row[name]) for row in found.values()))
    return table


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="images of 64 pixels, not of 224")
    parser.add_argument("--minilm", default="", help="folder of a pretrained MiniLM")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    size = 64 if options.quick else 224
    here = "benchmarks.preparation"
    found = {
        f"ResNet-18, {size} pixels": measure({"_target_": f"{here}.image_task", "size": size}),
        "MiniLM": measure({"_target_": f"{here}.sentence_task", "folder": options.minilm}),
    }
    Console(width=110).print(as_table(found))
    print_json_line({"passes_allowed": PASSES, **found}, options.out)
    return exit_status(found)


def exit_status(found: Mapping[str, Mapping[str, Any]]) -> int:
    """Return 1 and name on stderr the models whose preparation costs too much, else return 0."""
    beyond = {name: row["passes"] for name, row in found.items() if row["passes"] > PASSES}
    for name, passes in beyond.items():
        print(f"{name}: preparation costs {passes} passes, more than {PASSES}", file=sys.stderr)
    return int(bool(beyond))


if __name__ == "__main__":
    sys.exit(main())
