"""An export compared with its evidence on the machine that it is on now."""

import json
import platform
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from search.artefact.model_files import MODULE_FORM, RUN_FORM, SHIP_FORM
from search.artefact.module_form.loading import load_module
from search.artefact.onnx_form.export import Feeds, feeds
from search.artefact.onnx_form.runtime import RUN_ERRORS, failed_part
from search.artefact.packed_form.unpack import CorruptFileError
from search.deploy.described_file import restores_described
from search.deploy.standalone.check import differences
from search.deploy.verification import differs, measured_again
from search.errors import ArtefactError, ConfigError
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.latency import measure_alone
from search.utils.cpu import cpu_model
from search.utils.files import write_atomically
from search.utils.trust import check_targets, signed_targets, targets_of

FOLDER = "machines"
"""The folder inside an export with a file for each machine that it was verified on."""
OTHER_MACHINE = 0.5
"""Standard errors by which the score may differ on another CPU, whose kernels round otherwise."""


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was found of an export on this machine."""

    path: Path
    """The file that keeps it, beside those of other machines."""
    differences: list[str]
    """What is not as the evidence says, a clause each."""
    score: float | None
    """The score on validation data, measured again; None without the task."""
    unscored: str
    """Why there is no score; empty if there is one."""
    latency_ms: float | None
    """CPU time of a call on this machine; None if the file does not run."""
    cpu: str

    def lines(self) -> Iterator[str]:
        """Yield what to show beside the differences."""
        if self.score is None:
            yield f"score not measured again: {self.unscored}"
        else:
            yield f"score {self.score:.6f} on validation"
        if self.latency_ms is not None:
            yield f"latency {self.latency_ms:.3g} ms on {self.cpu}"


def verify_export(folder: Path, rounds: int = 30, trusted: Collection[str] = ()) -> Verified:
    """Compare hashes, forms, score and latency of an export with its evidence, on this machine.

    The score is measured if the task can be built here. What is found is written to a file of this
    machine in the folder `machines` of the export; those of other machines stay.

    Args:
        folder: An export.
        rounds: Readings of the latency.
        trusted: Packages whose code may run because an export from elsewhere names it.

    Raises:
        ConfigError: The folder is no export, or its task names code that is not trusted.
    """
    evidence = _evidence(folder)
    built = evidence["built_from"]
    known = (*signed_targets(folder), *trusted)
    check_targets(str(folder), {"task": built["task"]}, known)
    check_targets(str(folder), evidence["recipe"], known)
    torch.set_num_threads(built["threads"])
    found = differences(folder)
    task, unscored = _task(built["task"])
    cpu = cpu_model()
    score = latency = None
    try:
        found += _forms(folder, evidence, task)
        latency = _latency(folder / RUN_FORM, evidence, task, rounds)
        if task is not None:
            measured = measured_again(folder / RUN_FORM, task)
            score = measured["score"]
            found += _scores(measured, evidence, same=evidence["timed"].get("cpu") == cpu)
    except (*RUN_ERRORS, OSError) as error:
        found.append(f"{RUN_FORM} does not run: {failed_part(error)}")
    done = Verified(
        path=folder / FOLDER / f"{_machine(cpu)}.json",
        differences=found,
        score=score,
        unscored=unscored,
        latency_ms=latency,
        cpu=cpu,
    )
    _write(done, evidence, rounds)
    return done


def _evidence(folder: Path) -> Mapping[str, Any]:
    path = folder / "evidence.json"
    try:
        kept = json.loads(path.read_bytes())
        known = {name: kept[name] for name in ("built_from", "recipe", "validation", "latency")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{folder} is no folder of an export: {path} cannot be read") from error
    return {"timed": {}, "sha256": {}, **kept, **known}


def _task(node: Mapping[str, Any]) -> tuple[EvaluatedTask | None, str]:
    """Return the task, or why it cannot be built here."""
    try:
        return load_task(node), ""
    except ConfigError as error:
        return None, str(error)


def _forms(folder: Path, evidence: Mapping[str, Any], task: EvaluatedTask | None) -> Iterator[str]:
    """Yield where a form of the model is not that of the ONNX file."""
    if (folder / SHIP_FORM).exists():
        try:
            if not restores_described(folder):
                yield f"{SHIP_FORM} is of another model than {RUN_FORM}"
        except (CorruptFileError, onnx.checker.ValidationError, ValueError) as error:
            yield f"{SHIP_FORM} does not restore {RUN_FORM}: {error}"
    if (folder / MODULE_FORM).exists() and task is not None:
        packages = {name.partition(".")[0] for name in targets_of(evidence["recipe"])}
        try:
            load_module(folder, task, evidence["validation"]["fidelity_db"], packages)
        except ArtefactError as error:
            yield str(error)


def _latency(
    path: Path, evidence: Mapping[str, Any], task: EvaluatedTask | None, rounds: int
) -> float:
    inputs = _zeros(path, evidence) if task is None else feeds(task.example)
    settings = {name: evidence["latency"][name] for name in ("batch_size", "threads")}
    return measure_alone(path, inputs, rounds=rounds, **settings)


def _zeros(path: Path, evidence: Mapping[str, Any]) -> Feeds:
    """Return zeros of a sample's shape for every input."""
    graph = onnx.load(path, load_external_data=False).graph
    kinds = {
        e.name: onnx.helper.tensor_dtype_to_np_dtype(e.type.tensor_type.elem_type)
        for e in graph.input
    }
    return {name: np.zeros(evidence["input_shapes"][name], kind) for name, kind in kinds.items()}


def _scores(
    measured: Mapping[str, float], evidence: Mapping[str, Any], *, same: bool
) -> Iterator[str]:
    """Yield where what is measured again is not what the evidence says."""
    kept = evidence["validation"]
    allowed = 0.0 if same else OTHER_MACHINE * kept["score_standard_error"]
    value = measured["score"]
    if differs(value, kept["score"]) and not abs(value - kept["score"]) <= allowed:
        yield f"score is {value:.6f} here, {kept['score']:.6f} in the evidence"


def _machine(cpu: str) -> str:
    """Return a name for this machine's file: its CPU, and a digest by which equal ones differ."""
    words = "-".join("".join(c if c.isalnum() else " " for c in cpu.lower()).split())
    return f"{words[:40]}-{sha256(platform.node().encode()).hexdigest()[:6]}"


def _write(done: Verified, evidence: Mapping[str, Any], rounds: int) -> None:
    kept = evidence["validation"]
    content = {
        "differences": done.differences,
        "score": {"here": done.score, "evidence": kept["score"], "not_measured": done.unscored},
        "latency": {"here_ms": done.latency_ms, "evidence": evidence["timed"], "rounds": rounds},
        "cpu": done.cpu,
        "model": evidence["sha256"].get(RUN_FORM),
        "system": platform.platform(),
        "versions": {n: version(n) for n in ("onnxruntime", "numpy", "torch", "paredown")},
    }
    with write_atomically(done.path) as file:
        file.write(json.dumps(content, indent=2).encode())
