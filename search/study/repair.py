"""Rescue of a damaged study: a new journal from what is whole, and from the trials' own files."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution

from search.config.study_config import MAX_TRIALS, StudyConfig
from search.errors import ConfigError, StudyError
from search.executors.outcome import Outcome, left_outcome
from search.proposal.costs import Costs
from search.proposal.strength.damage import DamageCurve
from search.recipe.recipe import read_recipe, recipe_from_data
from search.study.journal import Journal
from search.study.journal_check import Operation, journal_lines
from search.study.journal_file import JOURNAL, open_journal
from search.study.plan import TrialPlan
from search.study.trial_requests import record_of
from search.trial_record import TrialRecord

LOST = "what the journal had of it was lost"
DAMAGED = "journal-damaged-{}.log"


@dataclass(kw_only=True)
class Rescued:
    """What is whole of a study."""

    plans: dict[int, TrialPlan] = field(default_factory=dict)
    drawn: dict[int, tuple[dict[str, BaseDistribution], dict[str, Any]]] = field(
        default_factory=dict
    )
    """By trial, the ranges of its parameters, and what the sampler notes of it."""
    records: dict[int, TrialRecord] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    """Of the study."""
    damaged_lines: int = 0


def repair(config: StudyConfig) -> dict[str, int]:
    """Write the journal of a study anew; the damaged one stays beside it under another name.

    A trial is rescued from its lines in the journal, or else from its own `recipe.yaml` and
    `outcome.json`, if the outcome is that of the recipe. A trial of which nothing is left keeps
    its number and counts as crashed.

    Returns:
        How many lines were damaged, and how many trials there are, were rescued from their own
        files, and are lost.

    Raises:
        StudyError: Another process runs the study, or of trial 0 nothing is left.
    """
    journal = config.folder / JOURNAL
    rescued = _from_journal(journal) if journal.exists() else Rescued()
    in_journal = set(rescued.records)
    _from_folders(rescued, config)
    if 0 not in rescued.records:
        raise StudyError(
            f"{config.folder}: of trial 0, the uncompressed model, nothing is left, and no trial "
            "can be compared without it: delete the folder and search again"
        )
    kept = _set_aside(journal)
    try:
        lost = _write(rescued, config)
    except BaseException:
        journal.unlink(missing_ok=True)
        if kept is not None:
            kept.rename(journal)
        raise
    return {
        "damaged lines": rescued.damaged_lines,
        "trials": len(rescued.plans),
        "from their own files": len(set(rescued.records) - in_journal),
        "lost": lost,
    }


def _from_journal(path: Path) -> Rescued:
    """Return what the whole lines of a journal say; plans and records carry their numbers."""
    rescued = Rescued()
    for line in journal_lines(path):
        try:
            _take(line, rescued)
        except (KeyError, TypeError, ValueError, AttributeError):
            rescued.damaged_lines += 1
    return rescued


def _take(line: Mapping[str, Any] | None, rescued: Rescued) -> None:
    if line is None:
        raise ValueError("no operation")
    operation = line["op_code"]
    if operation == Operation.SET_STUDY_USER_ATTR:
        rescued.attributes |= line["user_attr"]
    elif operation == Operation.CREATE_TRIAL:
        plan = TrialPlan.from_data(line["user_attrs"]["plan"])
        ranges = {name: json_to_distribution(r) for name, r in line["distributions"].items()}
        rescued.drawn[plan.number] = (ranges, dict(line["system_attrs"]))
        if not _is_sound(plan):
            raise ValueError("a plan with values of other types")
        rescued.plans[plan.number] = plan
    elif operation == Operation.SET_TRIAL_USER_ATTR and "record" in line["user_attr"]:
        record = TrialRecord.from_data(line["user_attr"]["record"])
        if record.number != line["trial_id"] or not _is_sound(record) or not _is_measured(record):
            raise ValueError("a record with values of other types")
        rescued.records[record.number] = record


def _is_sound(found: TrialPlan | TrialRecord) -> bool:
    """Return whether the fields that plans and records have in common are of their types."""
    return (
        type(found.number) is int
        and 0 <= found.number < MAX_TRIALS
        and all(isinstance(text, str) for text in (found.origin, found.recipe_hash))
        and type(found.seed) is int
        and isinstance(found.params, dict)
        and bool(recipe_from_data(found.recipe).hash)  # it can be read
    )


def _is_measured(record: TrialRecord) -> bool:
    """Return whether a record's other fields are of their types."""
    numbers = [record.started, record.finished, *record.metrics.values()]
    texts = [record.status, record.verdict, record.notes, record.training, record.digest]
    return (
        all(type(number) in (int, float) for number in (*numbers, *record.violations.values()))
        and all(isinstance(text, str) for text in (*texts, record.error))
        and (record.status != "ok" or {"score", "size_bytes"} <= set(record.metrics))
    )


def _from_folders(rescued: Rescued, config: StudyConfig) -> None:
    """Add the trials that left their recipe and their outcome in their folders."""
    for folder in sorted((config.folder / "trials").glob("[0-9]*")):
        if not folder.name.isdigit() or int(folder.name) in rescued.records:
            continue
        number = int(folder.name)
        plan = rescued.plans.get(number) or _plan_of(number, folder)
        outcome = left_outcome(folder)
        if plan is not None and outcome is not None and _belongs(outcome, plan):
            rescued.plans[number] = plan
            rescued.records[number] = record_of(plan, outcome, config)
    for number, record in rescued.records.items():
        rescued.plans.setdefault(number, _plan_of_record(record))


def _belongs(outcome: Outcome, plan: TrialPlan) -> bool:
    return outcome.status == "ok" and outcome.subject == plan.recipe_hash


def _plan_of(number: int, folder: Path) -> TrialPlan | None:
    """Return the plan of a trial as far as its recipe says it; None if there is none."""
    try:
        recipe = read_recipe(folder / "recipe.yaml")
        found = recipe.hash
    except (ConfigError, OSError, ValueError, TypeError):
        return None
    return TrialPlan(
        number=number,
        origin="baseline" if number == 0 else "rescued",
        seed=recipe.seed,
        params={},
        recipe=recipe.to_data(),
        recipe_hash=found,
    )


def _plan_of_record(record: TrialRecord) -> TrialPlan:
    return TrialPlan(
        number=record.number,
        origin=record.origin,
        seed=record.seed,
        params=record.params,
        recipe=record.recipe,
        recipe_hash=record.recipe_hash,
    )


def _set_aside(journal: Path) -> Path | None:
    """Rename the journal, if there is one, to a name that is not taken."""
    if not journal.exists():
        return None
    taken = len(list(journal.parent.glob(DAMAGED.format("*"))))
    return journal.rename(journal.with_name(DAMAGED.format(taken + 1)))


def _write(rescued: Rescued, config: StudyConfig) -> int:
    """Write a journal with what was rescued; return how many trials are lost."""
    attributes = rescued.attributes
    identity = attributes.get("identity") or config.identity()
    with open_journal(
        config.folder, objectives=config.objectives, identity=identity, anew=True
    ) as journal:
        if "identity" in attributes:
            curves, costs = attributes.get("damage") or {}, attributes.get("costs")
            journal.begin(
                identity,
                attributes.get("infeasible_steps") or attributes.get("left_out") or {},
                {name: DamageCurve.from_data(curve) for name, curve in curves.items()},
                Costs.from_data(costs) if costs else None,
            )
        lost = 0
        for number in range(max(rescued.plans) + 1):
            lost += _write_trial(number, rescued, journal)
        for number, record in sorted(rescued.records.items()):
            metrics = attributes.get(f"test:{number}")
            if metrics and record.status == "ok":
                journal.keep_test(number, metrics)
    return lost


def _write_trial(number: int, rescued: Rescued, journal: Journal) -> bool:
    """Write a trial; return whether nothing was left of it."""
    plan = rescued.plans.get(number)
    record = rescued.records.get(number)
    lost = plan is None
    if plan is None:
        empty = {"seed": 0, "steps": {}}
        plan = TrialPlan(
            number=number, origin="rescued", seed=0, params={}, recipe=empty, recipe_hash=""
        )
        record = TrialRecord(
            number=number,
            status="crashed",
            origin=plan.origin,
            seed=0,
            params={},
            recipe=empty,
            recipe_hash="",
            error=LOST,
            started=0.0,
            finished=0.0,
        )
    ranges, noted = rescued.drawn.get(number, ({}, {}))
    params = {name: value for name, value in plan.params.items() if name in ranges}
    journal.add(replace(plan, params=params), {name: ranges[name] for name in params}, noted)
    if record is not None:
        journal.tell(record)
    return lost
