"""Writing one trial for deployment: model, recipe, evidence and model card, verified by reload."""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import yaml

from compressors.models.calibration import few
from search.artefact.model_files import MODEL_FILES, MODULE_FORM, RUN_FORM, SHIP_FORM
from search.artefact.module_form.loading import load_module
from search.artefact.onnx_form.quantization import integer_operators
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form import unpack
from search.artefact.program_form import write_program
from search.deploy.described_file import describe_file, file_shapes
from search.deploy.evidence import HASHED_FILES, Evidence, collect_evidence
from search.deploy.formats import (
    DEFAULT,
    PROGRAM,
    check_formats,
    remove_others,
    write_openvino,
)
from search.deploy.model_card import model_card, summary
from search.deploy.selected_trial import (
    SelectedTrial,
    check_study,
    metrics_on_test,
    select_trial,
)
from search.deploy.standalone.check import SUMS
from search.deploy.task_now import TaskNow, task_now
from search.deploy.verification import verify
from search.errors import ArtefactError, ConfigError, StudyError
from search.recipe.recipe import recipe_from_data
from search.tasks.free_axes import shapes_of_one
from search.trial.baseline import Baseline, kept_baseline, read_baseline
from search.trial.evaluate import Evaluator
from search.trial.scoring import evaluate
from search.trial_record import TrialRecord
from search.utils.files import file_sha256
from search.utils.trust import SIGNATURE, sign_folder, targets_of

STANDALONE = Path(__file__).parent / "standalone"
SCRIPTS = ("infer.py", "check.py")

UNPACK = "unpack.py"
"""The first file of an export, by which its folder is known."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A trial that was written for deployment."""

    folder: Path
    record: TrialRecord
    test: Mapping[str, float]
    """score, score_standard_error and nll on the test set; empty if it has changed since and the
    study did not measure them."""
    changed: str = ""
    """What has changed in the task since the trial was measured; empty if nothing has."""


def export_trial(
    folder: Path,
    expression: str | int,
    output: Path | None = None,
    trusted: Collection[str] = (),
    formats: Collection[str] = DEFAULT,
) -> Export:
    """Write the trial of a study that an expression selects into a folder of its own.

    The artefact is the trial's own file where the study kept it, and is otherwise made again from
    the recipe. In both cases it is reloaded and measured, and rejected if the metrics differ. What
    the study kept is exported even if the task has changed since, or cannot be built any more: it
    is checked by itself then, and the result says what has changed.

    Args:
        folder: the study's folder.
        expression: a trial's number, or an expression as of `search.pareto.selection`.
        output: where to write; None: `export/trial-NNNN` in the study's folder.
        trusted: packages whose code may run because the study names it, if it is from elsewhere.
        formats: some of onnx, packed, safetensors, pt2 and openvino; onnx is always one of them.

    Raises:
        ConfigError: the study names code that is not trusted, a format is unknown, or files of
            something else are where to write.
        SelectionError: the expression selects no trial.
        StudyError: the exported file does not give the trial's metrics, the task has changed and
            nothing of the trial was kept, or the model has no form of a format.
    """
    wanted = check_formats(formats)
    selected = select_trial(folder, expression)
    own = check_study(selected.config, selected.record, trusted)
    config, record = selected.config, selected.record
    target = output or folder / "export" / f"trial-{record.number:04d}"
    _prepare(target)
    now = task_now(config.task, config.threads, folder / "baseline")
    _place_artefact(selected, now, target)
    verify(target, record, now)
    test = _test_metrics(record, now, target)
    baseline = _baseline(now, folder / "baseline")
    _write_formats(target, record, now, baseline, wanted)
    for name in SCRIPTS:
        shutil.copyfile(STANDALONE / name, target / name)
    (target / "recipe.yaml").write_text(yaml.safe_dump(dict(record.recipe), sort_keys=False))
    shapes = file_shapes(target / RUN_FORM)
    if now.task is not None:
        shapes |= shapes_of_one(now.task.example)
    remove_others(target, wanted)
    evidence = collect_evidence(selected, baseline, test, target, input_shapes=shapes, now=now)
    facts = {
        "study": config.study,
        "trial": str(record.number),
        "recipe": json.dumps(evidence.recipe),
    }
    facts |= {"outputs": evidence.outputs, **evidence.card}
    describe_file(target / RUN_FORM, {n: v for n, v in facts.items() if v}, summary(evidence))
    evidence = evidence.with_hashes(target)
    _write_documents(evidence, target)
    if own:
        sign_folder(target, own)
    _write_sums(target)
    return Export(folder=target, record=record, test=test, changed=now.changed)


def _prepare(target: Path) -> None:
    """Make the folder of an export, or take that of an earlier one, whole or not."""
    if target.exists() and any(target.iterdir()) and not (target / UNPACK).exists():
        raise ConfigError(
            f"{target} has files, and they are of no earlier export: give an empty folder or one "
            "that does not exist (output=...)"
        )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(unpack.__file__, target / UNPACK)


def _place_artefact(selected: SelectedTrial, now: TaskNow, target: Path) -> None:
    """Put the files of the model into the target folder, in place of those of an earlier export."""
    kept = selected.config.trial_folder(selected.record.number)
    if not all((kept / name).exists() for name in (RUN_FORM, SHIP_FORM)):
        if now.task is None or now.changed:
            raise StudyError(
                f"the files of trial {selected.record.number} were not kept, since it is not "
                f"on the front, and cannot be made again: {now.changed}"
            )
        baseline = read_baseline(now.task, selected.config.folder / "baseline")
        evaluator = Evaluator(task=now.task, baseline=baseline, latency=selected.config.latency)
        evaluator(recipe_from_data(selected.record.recipe), target)
        return
    for name in MODEL_FILES:
        (target / name).unlink(missing_ok=True)
        if (kept / name).exists():
            shutil.copyfile(kept / name, target / name)


def _baseline(now: TaskNow, folder: Path) -> Baseline:
    """Return the study's baseline, whatever the task is now."""
    if now.task is None or now.changed:
        return kept_baseline(folder)
    return read_baseline(now.task, folder)


def _test_metrics(record: TrialRecord, now: TaskNow, target: Path) -> dict[str, float]:
    """Return the study's metrics on the test set, which members of its front have, or new ones."""
    known = metrics_on_test(record)
    if known or now.task is None or now.changed:
        return known
    predict = predictor(target / RUN_FORM, now.task.outputs_like)
    return evaluate(predict, now.task.test, now.task).metrics()


def _write_formats(
    target: Path, record: TrialRecord, now: TaskNow, baseline: Baseline, formats: Collection[str]
) -> None:
    """Write the formats that the study does not keep.

    Raises:
        StudyError: There is no such form of the model, or no task to make it with.
    """
    missing = [name for name in ("pt2", "openvino") if name in formats]
    if "pt2" in formats and not (target / MODULE_FORM).exists():
        reason = record.notes or "the study is older than that file"
        raise StudyError(
            f"pt2 is made of {MODULE_FORM}, which trial {record.number} lacks: {reason}"
        )
    if not missing:
        return
    if now.task is None:
        raise StudyError(f"the format {missing[0]} needs an example: {now.changed}")
    try:
        if "pt2" in formats:
            packages = {name.partition(".")[0] for name in targets_of(record.recipe)}
            fidelity = record.metrics["fidelity_db"]
            model = load_module(target, now.task, fidelity, packages)
            axes = baseline.free_axes or now.task.free_axes
            write_program(model, now.task, target / PROGRAM, axes)
        if "openvino" in formats:
            graph = onnx.load(target / RUN_FORM, load_external_data=False)
            integers = integer_operators(graph) > 0
            write_openvino(target, few(now.task.example), integers=integers)
    except ArtefactError as error:
        raise StudyError(f"{error}; leave {missing[0]} out of formats") from error


def _write_documents(evidence: Evidence, target: Path) -> None:
    """Write evidence.json and the model card."""
    (target / "evidence.json").write_text(json.dumps(evidence.to_data(), indent=2))
    (target / "README.md").write_text(model_card(evidence, target / RUN_FORM))


def _write_sums(target: Path) -> None:
    """Write the digest of every file of the export, in the form that `sha256sum -c` reads."""
    names = [*HASHED_FILES, "evidence.json", "README.md", *SCRIPTS, SIGNATURE]
    lines = [f"{file_sha256(target / n)}  {n}" for n in names if (target / n).exists()]
    (target / SUMS).write_text("".join(f"{line}\n" for line in lines))
