"""The first job of a study: the baseline is measured, and each step is tried on the model."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.config.existing import keep_config
from search.config.metric_names import TOKEN_METRICS
from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.executors.outcome import Outcome
from search.executors.worker import LOG
from search.proposal.costs import Costs
from search.proposal.initial_design import anchors
from search.proposal.strength.damage import Damage
from search.proposal.strength.directions import probes
from search.recipe.space import Space
from search.report.describe import by_reason, last_line
from search.study.dispatcher import Dispatcher
from search.study.journal import Journal
from search.study.progress.phase_lines import PhaseLines
from search.study.terminal import Display
from search.trial.messages import JobSetting, PrepareReply, PrepareRequest

_KEY = -1
AGAIN = "again"
"""The folder, inside the baseline's, of the job that builds the task once more."""


@dataclass(frozen=True, kw_only=True)
class PreparedStudy:
    """What the preparation found out, which all trials build on."""

    config: StudyConfig
    """The study's configuration, with the direction of the task's score."""
    space: Space
    """The configuration's space without the steps that cannot act on the task's model."""
    baseline: Mapping[str, float]
    """The metrics of the uncompressed model."""
    maximize: bool
    """True if a higher score of the task is better."""
    damage: Damage
    """How far each step alone moves the model's outputs."""
    costs: Costs | None
    """What the parts of a trial cost; None in a study that an older version began."""


def take_in_baseline(
    config: StudyConfig, journal: Journal, dispatcher: Dispatcher, setting: JobSetting
) -> PreparedStudy:
    """Have the baseline measured, which also tries out the user's task, and begin the journal.

    Args:
        config: The study's configuration.
        journal: The study's journal; of a study that has begun, the baseline is only checked.
        dispatcher: Runs the job.
        setting: What the job needs of the task.

    Raises:
        ConfigError: the configuration does not suit the task.
        StudyError: the task cannot be built or measured.
    """
    known = journal.infeasible_steps()
    request = PrepareRequest(
        setting=setting,
        anchors={} if known is not None else anchors(config.space),
        probes={} if known is not None or not config.warm_start else probes(config.space),
        begun=known is not None,
    )
    phases = PhaseLines(setting.baseline / LOG, dispatcher.display.say)
    with dispatcher.display.status("preparing the study"):
        dispatcher.restart(_KEY, request, setting.baseline)
        [(_, outcome)] = dispatcher.wait(phases.show)
    phases.show()
    reply = _reply(outcome, setting)
    if known is None:
        _check_second_build(dispatcher, setting, reply)
    config = config.directed(maximize=reply.maximize)
    check_tokens(config, reply)
    infeasible = dict(reply.infeasible) if known is None else known
    _show(dispatcher.display, reply, infeasible)
    space = config.space.without(infeasible)
    if not space.steps:
        raise ConfigError("no step of the recipe can act on this model")
    keep_config(config)
    journal.direct(config.objectives)
    journal.begin(config.identity(), infeasible, reply.damage, reply.costs)
    costs = journal.costs()
    if costs is not None and config.precision is not None:
        space = space.with_measured("precision", "float32", costs.precision)
    return PreparedStudy(
        config=config,
        space=space,
        baseline=reply.metrics,
        maximize=reply.maximize,
        damage=Damage(curves=journal.damage()),
        costs=costs,
    )


def _check_second_build(dispatcher: Dispatcher, setting: JobSetting, first: PrepareReply) -> None:
    """Have the task built once more in a process of its own, as every trial builds it.

    Raises:
        ConfigError: Its model, or the data that it is scored on, differ from those of the first.
    """
    request = PrepareRequest(setting=setting, anchors={}, probes={}, begun=True)
    with dispatcher.display.status("building the task once more"):
        dispatcher.restart(_KEY, request, setting.baseline / AGAIN)
        [(_, outcome)] = dispatcher.wait(lambda: None)
    if outcome.status == "config_error":
        raise ConfigError(
            f"the task was built twice, as every trial builds it, and is not the same: "
            f"{outcome.error}"
        )
    for note in _reply(outcome, setting).notes:
        if note not in first.notes:
            dispatcher.display.say(note)


def _reply(outcome: Outcome, setting: JobSetting) -> PrepareReply:
    if outcome.status == "config_error":
        raise ConfigError(outcome.error)
    if outcome.result is None:
        reason = outcome.cause or f"{outcome.status}: {last_line(outcome.error)}"
        raise StudyError(
            f"the task cannot be built or measured: {reason}; mend it there, then start the study "
            f"again (everything that was printed: {setting.baseline / LOG})"
        )
    return PrepareReply.from_data(outcome.result)


def _show(display: Display, reply: PrepareReply, infeasible: Mapping[str, str]) -> None:
    """Say what was changed, what the outputs are taken for, and which steps and layers are left."""
    display.say(f"outputs: {reply.outputs}")
    for note in reply.notes:
        display.say(note)
    for name, reason in infeasible.items():
        display.say(f"step '{name}' is left out: {reason}")
    for name, reason in reply.failing.items():
        display.say(f"step '{name}' fails on this model: {reason}")
    for name, layers in reply.skipped_layers.items():
        for reason, names in by_reason(layers).items():
            display.say(f"step '{name}' leaves {names}: {reason}")


def check_tokens(config: StudyConfig, reply: PrepareReply) -> None:
    """Check that the study has no objective or constraint on tokens that the task does not have.

    Raises:
        ConfigError: it has one.
    """
    places = [f"objectives.{name}" for name in config.objectives]
    places += [f"constraints.{constraint.metric}" for constraint in config.constraints]
    wrong = [place for place in places if place.partition(".")[2] in TOKEN_METRICS]
    if wrong and not reply.tokens:
        raise ConfigError(
            f"{wrong[0]}: tokens are counted where integers [B, T] give classes [B, T, V], but the "
            f"model's output is {reply.outputs}; take latency_ms instead"
        )
