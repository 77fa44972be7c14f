"""One finished trial of a study, and the compressed model that it measured."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import nn

from paredown.kept_module import kept_module
from paredown.torch_state import as_in_a_trial
from search.artefact.model_files import MODULE_FORM
from search.config.study_config import StudyConfig
from search.deploy.selected_trial import check_study
from search.errors import ConfigError, StudyError
from search.recipe.recipe import Recipe, recipe_from_data
from search.report.describe import describe
from search.tasks.loading import load_task
from search.trial.baseline import check_baseline
from search.trial.compress import compress
from search.trial.prefix_cache import open_prefix_cache
from search.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True, repr=False)
class Trial:
    """A finished trial."""

    record: TrialRecord
    """All that the study keeps of it."""
    config: StudyConfig
    """The study's configuration."""

    def __repr__(self) -> str:
        recipe = describe(self.record)
        return f"<Trial {self.number} of '{self.config.study}', {self.status}: {recipe}>"

    @property
    def number(self) -> int:
        """Its number in the study, from 0, which is the baseline's."""
        return self.record.number

    @property
    def status(self) -> str:
        """How it ended: `ok` if it was measured."""
        return self.record.status

    @property
    def recipe(self) -> Recipe:
        """The recipe that was measured."""
        return recipe_from_data(self.record.recipe)

    @property
    def metrics(self) -> Mapping[str, float]:
        """What was measured on its artefact; empty unless the status is `ok`."""
        return self.record.metrics

    @property
    def verdict(self) -> str:
        """What was gained: size gain, speed gain, both, or simulated only."""
        return self.record.verdict

    @property
    def notes(self) -> str:
        """Where the artefact could not follow the recipe; empty where it could."""
        return self.record.notes

    @property
    def feasible(self) -> bool:
        """Whether it was measured and every constraint holds."""
        return self.record.feasible

    @property
    def error(self) -> str:
        """The reason or the traceback if it was not measured; empty otherwise."""
        return self.record.error

    def load(self, trust: Collection[str] = ()) -> nn.Module:
        """Return the compressed model that the trial measured.

        The study keeps the weights of the trials on its front: the task is built for the code of
        its modules alone, which may have other weights by now, nothing is trained, and the outputs
        are compared with those of the trial's ONNX file. The model of another trial is made again
        by its recipe: the steps run in this process, with the study's number of threads; what the
        study kept of the steps is reused.

        Args:
            trust: Packages whose code may run because a study from elsewhere names it.

        Returns:
            The model, in eval mode and frozen: masks, codebooks and quantisers lie on the weights
            as parametrisations, which hold in training too. `requires_grad_()` makes it trainable.

        Raises:
            ConfigError: the task cannot be built, or the study names code that is not trusted.
            StudyError: the trial measured no model, or the task is not the one that was searched,
                in its modules if the trial is on the front, else in its weights or data.
        """
        if self.status != "ok":
            raise StudyError(
                f"trial {self.number} measured no model, its status is '{self.status}'; choose one "
                "with status 'ok'"
            )
        folder = self.config.folder
        check_study(self.config, self.record, trust)
        with as_in_a_trial(self.config.threads):
            task = load_task(self.config.task)
            kept = self.config.trial_folder(self.number)
            if (kept / MODULE_FORM).exists():
                return kept_module(kept, task, self.record.recipe, self.metrics["fidelity_db"])
            try:
                check_baseline(task, folder / "baseline")
            except ConfigError as error:
                raise StudyError(f"trial {self.number} cannot be made again: {error}") from error
            states = folder / "prefixes" if self.config.cache_prefixes else None
            prefixes = open_prefix_cache(states, task, self.recipe.seed)
            return compress(self.recipe, task, prefixes)[0]
