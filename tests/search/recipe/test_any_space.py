"""Whatever a space is, its recipes are valid; whatever a recipe is, its file keeps it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from search.recipe.parsing import parse_space
from search.recipe.recipe import Recipe, Step, read_recipe, recipe_from_data
from search.recipe.validation import check_order, check_space
from search.utils.yaml_text import yaml_text
from tests.strategies import recipes, spaces

FRACTIONS = st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1)


class Drawn:
    """A source of values that Hypothesis draws, as Optuna would: on the steps of a range."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        if step is None:
            return self.draw(st.floats(low, high))
        return low + step * self.draw(st.integers(0, round((high - low) / step)))

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        assert (high - low) % step == 0
        return low + step * self.draw(st.integers(0, (high - low) // step))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        return self.draw(st.sampled_from(choices))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes") / "recipe.yaml"


@given(recipe=recipes())
def test_a_recipe_survives_its_file_and_keeps_its_hash(recipe: Recipe, path: Path) -> None:
    for text in (recipe.to_yaml(), yaml_text(recipe.to_data())):
        path.write_text(text)
        again = read_recipe(path, trusted=["my_package"])
        assert again == recipe
        assert again.hash == recipe.hash


@given(recipe=recipes(), data=st.data())
def test_the_hash_depends_on_the_steps_alone(recipe: Recipe, data: st.DataObject) -> None:
    reordered = [
        replace(step, values=dict(data.draw(st.permutations(list(step.values.items())))))
        for step in recipe.steps
    ]
    seed = data.draw(st.integers(0, 99))
    assert replace(recipe, steps=tuple(reordered), seed=seed).hash == recipe.hash
    for place, step in enumerate(recipe.steps):
        changed = (*recipe.steps[:place], replace(step, name=f"{step.name}x"))
        assert replace(recipe, steps=(*changed, *recipe.steps[place + 1 :])).hash != recipe.hash
    if len(recipe.steps) > 1:
        assert replace(recipe, steps=recipe.steps[::-1]).hash != recipe.hash


def test_a_hash_of_an_earlier_version_is_kept() -> None:
    values = {"ratio": 0.5, "layers": {"fc*": 0.25}, "schedule": "cubic"}
    step = Step(name="sparsify", target="compressors.weight_pruning.WeightPruning", values=values)
    assert Recipe(steps=(step,), seed=3).hash == "7915573defe4dffb"


@given(nodes=spaces(), data=st.data())
def test_every_recipe_of_a_space_can_be_built_from_values_in_its_ranges(
    nodes: tuple[dict[str, Any], dict[str, Any]], data: st.DataObject
) -> None:
    space = parse_space(*nodes)
    check_space(space)
    params = space.sample(Drawn(data.draw))
    assert set(params) <= set(space.names)
    spans = {span.name: span for step in space.steps.values() for span in step.ranges.values()}
    assert all(value in spans[name] for name, value in params.items() if name in spans)
    recipe = space.recipe(params, seed=1)
    built = {step.name: step.compressor() for step in recipe.steps}
    check_order(built)
    assert all(compressor.active for compressor in built.values())
    assert recipe_from_data(yaml.safe_load(recipe.to_yaml())) == recipe
    assert len({"share", "quantize"} & set(built)) <= 1


@given(nodes=spaces())
def test_a_space_is_parsed_alike_from_its_yaml_and_gives_the_same_hash(
    nodes: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    again = parse_space(*yaml.safe_load(yaml.safe_dump(list(nodes), sort_keys=False)))
    assert again == parse_space(*nodes)
    assert again.hash == parse_space(*nodes).hash


@given(nodes=spaces(), share=FRACTIONS)
def test_values_of_a_range_lie_in_it_and_are_found_again_by_their_share(
    nodes: tuple[dict[str, Any], dict[str, Any]], share: float
) -> None:
    for step in parse_space(*nodes).steps.values():
        for span in step.ranges.values():
            assert span.default() in span
            assert span.nearest(span.default()) == span.default()
            if span.kind != "categorical":
                value = span.interpolate(share)
                assert value in span
                again = span.interpolate(min(max(span.fraction_of(value), 0), 1))
                assert again == pytest.approx(value, rel=1e-6, abs=1e-9)
