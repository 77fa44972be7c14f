import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.errors import ConfigError
from search.proposal import Proposer, build_sampler
from search.seeds import derived_seed
from search.space import parse_space

TPE = {"_target_": "optuna.samplers.TPESampler", "multivariate": True, "group": True}
SAMPLERS = {
    "tpe": TPE,
    "nsga2": {"_target_": "optuna.samplers.NSGAIISampler", "population_size": 4},
    "random": {"_target_": "optuna.samplers.RandomSampler"},
}
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
        space=parse_space(steps, {}), objectives=OBJECTIVES, sampler=SAMPLERS[sampler], seed=seed
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
        clusters = found.params["share.clusters"]
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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_resumed_study_proposes_what_an_uninterrupted_one_would(sampler):
    whole = grow(proposer(sampler), [], 16)
    first = grow(proposer(sampler), [], 9)
    resumed = grow(proposer(sampler), first, 7)
    assert [t.params for t in resumed] == [t.params for t in whole]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_recipe_is_proposed_twice(sampler):
    trials = grow(proposer(sampler, choices=12), [], 12)
    assert len({t.user_attrs["hash"] for t in trials}) == 12


def test_an_exhausted_space_proposes_nothing():
    trials = grow(proposer(choices=3), [], 3)
    seen = {t.user_attrs["hash"] for t in trials}
    assert proposer(choices=3).propose(3, trials, seen) is None


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
