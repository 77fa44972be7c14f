import optuna
import pytest
import yaml
from optuna.trial import TrialState, create_trial

from search.config.paths import conf_folder
from search.errors import ConfigError
from search.proposal.proposer import Proposer, uncompressed
from search.proposal.samplers import build_sampler, check_sampler
from search.recipe.parsing import parse_space
from search.recipe.rungs import Rungs
from search.utils.seeds import derived_seed

SAMPLERS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((conf_folder() / "sampler").glob("*.yaml"))
}
CHEAP = sorted(set(SAMPLERS) - {"gp"})
"""Gaussian processes take about a second for each proposal and have a short study of their own."""
SMALL = {"population_size": 4, "n_startup_trials": 4}
"""So that generations and models come into play within a few trials."""
OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}


def proposer(sampler: str = "tpe", seed: int = 0, choices: int = 50) -> Proposer:
    steps = {
        "sparsify": {
            "_target_": "compressors.weight_pruning.WeightPruning",
            "ratio": {"_suggest_": "int", "low": 0, "high": 0},
        },
        "share": {
            "_target_": "compressors.weight_sharing.WeightSharing",
            "clusters": {"_suggest_": "int", "low": 2, "high": 1 + choices},
        },
    }
    return Proposer(
        space=parse_space(steps, {}),
        objectives=OBJECTIVES,
        sampler=small(sampler),
        seed=seed,
        rungs=Rungs(count=1, factor=3),
    )


def small(sampler: str) -> dict:
    """Return a sampler of `conf/sampler` as it is, but for its numbers."""
    return {key: SMALL.get(key, value) for key, value in SAMPLERS[sampler].items()}


def conditional(sampler: str, *, low: float = 0.0) -> Proposer:
    """Return a proposer of a finite space in which one parameter in two waits for another."""
    steps = {
        "sparsify": {
            "_target_": "compressors.weight_pruning.WeightPruning",
            "ratio": {"_suggest_": "float", "low": low, "high": 0.6, "step": 0.2},
            "importance": {
                "_suggest_": "categorical",
                "choices": ["magnitude", "taylor"],
                "when": "ratio",
            },
        },
        "share": {
            "_target_": "compressors.weight_sharing.WeightSharing",
            "clusters": {"_suggest_": "int", "low": 2, "high": 4},
        },
    }
    return Proposer(
        space=parse_space(steps, {"encode": ["none", "share"]}),
        objectives=OBJECTIVES,
        sampler=small(sampler),
        seed=0,
        rungs=Rungs(count=1, factor=3),
    )


def grow(source: Proposer, trials: list, count: int) -> list:
    """Tell a study the trials that it proposes, as a study would."""
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(trials)
    for _ in range(count):
        known = study.get_trials(deepcopy=False)
        seen = {t.user_attrs["hash"] for t in known}
        found = source.propose(len(known), known, seen)
        assert found is not None
        clusters = found.params.get("share.clusters", 1) + found.params["sparsify.ratio"]
        study.add_trial(
            create_trial(
                params=dict(found.params),
                distributions=dict(found.distributions),
                system_attrs=dict(found.system_attrs),
                values=[clusters**0.5, clusters],
                user_attrs={"hash": found.recipe.hash},
            )
        )
    return study.get_trials(deepcopy=False)


@pytest.mark.parametrize("sampler", CHEAP)
def test_a_resumed_study_proposes_what_an_uninterrupted_one_would(sampler):
    whole = grow(proposer(sampler), [], 16)
    first = grow(proposer(sampler), [], 9)
    resumed = grow(proposer(sampler), first, 7)
    assert [t.params for t in resumed] == [t.params for t in whole]


@pytest.mark.parametrize("sampler", CHEAP)
def test_no_recipe_is_proposed_twice(sampler):
    trials = grow(proposer(sampler, choices=12), [], 12)
    assert len({t.user_attrs["hash"] for t in trials}) == 12


@pytest.mark.parametrize("sampler", CHEAP)
def test_an_exhausted_space_proposes_nothing(sampler):
    trials = grow(proposer(sampler, choices=3), [], 3)
    seen = {t.user_attrs["hash"] for t in trials}
    assert proposer(sampler, choices=3).propose(3, trials, seen) is None


@pytest.mark.parametrize("sampler", CHEAP)
def test_parameters_are_sampled_only_where_they_matter(sampler):
    for trial in grow(conditional(sampler), [], 20):
        expected = {"encode", "sparsify.ratio"}
        expected |= {"sparsify.importance"} if trial.params["sparsify.ratio"] else set()
        expected |= {"share.clusters"} if trial.params["encode"] == "share" else set()
        assert set(trial.params) == expected


def test_gaussian_processes_propose_the_same_again_and_only_what_matters():
    source = conditional("gp", low=0.2)
    trials = grow(source, [], 6)
    seen = {t.user_attrs["hash"] for t in trials}
    found, again = (source.propose(6, trials, seen) for _ in range(2))
    assert found == again
    assert len(seen | {found.recipe.hash}) == 7
    assert any(key.startswith("gp:") for key in found.system_attrs)
    assert ("share.clusters" in found.params) == (found.params["encode"] == "share")


SIZE = (1 + 3 * 2) * (1 + 3)
"""Recipes of the conditional space: three ratios of two importances or none, times encodings."""


def test_brute_force_tries_every_recipe_once_and_then_says_so():
    source = conditional("brute_force")
    trials = grow(source, [], SIZE)
    seen = {t.user_attrs["hash"] for t in trials}
    assert len(seen) == SIZE
    assert source.propose(SIZE, trials, seen) is None


@pytest.mark.parametrize("sampler", CHEAP)
def test_a_baseline_without_all_parameters_is_no_obstacle(sampler):
    source = conditional(sampler, low=0.2)
    params = {"encode": "none", "sparsify.ratio": 0.2, "sparsify.importance": "taylor"}
    baseline = uncompressed(source.fixed(0, [], params), {"encode": "none"})
    first = create_trial(
        params=dict(baseline.params),
        distributions=dict(baseline.distributions),
        system_attrs=dict(baseline.system_attrs),
        values=[1.0, 9.0],
        user_attrs={"hash": baseline.recipe.hash},
    )
    trials = grow(source, [first], 16)
    assert all("sparsify.ratio" in t.params for t in trials[1:])


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_parents_of_a_generation_are_kept_with_its_trials(sampler):
    trials = grow(proposer(sampler), [], 14)
    generations = {}
    for trial in trials[4:]:
        [(generation, parents)] = trial.system_attrs["study"].items()
        assert generations.setdefault(generation, parents) == parents
    assert len(generations) == 3


def test_the_last_of_very_many_generations_is_proposed():
    source = proposer("nsga2", choices=200)
    template = grow(source, [], 6)[-1]
    [(key, _)] = template.system_attrs["study"].items()
    prefix, generation = key.rpartition(":")[0], "NSGAIISampler:generation"
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trials(
        create_trial(
            params={**template.params, "share.clusters": 2 + number % 100},
            distributions=template.distributions,
            values=[number, number],
            system_attrs={generation: number // 4, "study": {f"{prefix}:{number // 4}": [0, 1]}},
        )
        for number in range(2400)
    )
    trials = study.get_trials(deepcopy=False)
    assert source.propose(len(trials), trials, set()).system_attrs[generation] == 600


def test_brute_force_of_endless_ranges_is_refused_in_one_message():
    node = {
        "_target_": "compressors.distillation.Distillation",
        "epochs": 2,
        "temperature": {"_suggest_": "float", "low": 1.0, "high": 7.0},
        "soft_weight": {"_suggest_": "float", "low": 0.0, "high": 1.0, "step": 0.25},
    }
    space = parse_space({"distil": node}, {})
    message = (
        r"no step or .*: distil.temperature; fix each \(steps.distil.temperature=4.0\) or give"
    )
    with pytest.raises(ConfigError, match=message):
        check_sampler(SAMPLERS["brute_force"], space, 2)
    for sampler in set(SAMPLERS) - {"brute_force"}:
        check_sampler(SAMPLERS[sampler], space, 2)
    check_sampler(SAMPLERS["brute_force"], conditional("brute_force").space, 2)


def test_another_seed_proposes_other_recipes():
    one, two = (grow(proposer(seed=seed), [], 5) for seed in (0, 1))
    assert [t.params for t in one] != [t.params for t in two]


def test_fixed_parameters_are_taken_as_they_are():
    found = proposer().fixed(0, [], {"share.clusters": 7, "sparsify.ratio": 0})
    assert found.params == {"share.clusters": 7, "sparsify.ratio": 0}
    assert set(found.distributions) == set(found.params)


def test_a_running_trial_is_seen_by_the_sampler_as_unfinished():
    found = proposer().fixed(0, [], {"share.clusters": 7, "sparsify.ratio": 0})
    running = create_trial(
        state=TrialState.RUNNING,
        params=dict(found.params),
        distributions=dict(found.distributions),
    )
    assert proposer().propose(1, [running], {found.recipe.hash}) is not None


def test_an_unknown_sampler_or_argument_is_refused():
    with pytest.raises(ConfigError, match=r"sampler: .*Nope"):
        build_sampler({"_target_": "optuna.samplers.Nope"}, 0)
    with pytest.raises(ConfigError, match=r"sampler: .*populaton_size"):
        build_sampler({"_target_": "optuna.samplers.NSGAIISampler", "populaton_size": 3}, 0)


def test_seeds_depend_on_study_and_number_and_are_spread():
    seeds = {derived_seed(study, number) for study in range(20) for number in range(50)}
    assert len(seeds) == 1000
    assert derived_seed(3, 4) == derived_seed(3, 4) != derived_seed(4, 3)
