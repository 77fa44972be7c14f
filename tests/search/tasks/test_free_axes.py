"""Free axes are found by comparing batches, or declared."""

import pytest
import torch

from search.errors import ConfigError
from search.tasks.free_axes import (
    checked_axes,
    cut,
    free_axes,
    named_tensors,
    observed_shapes,
    sizes_of,
)
from tests.search.tasks import made_up


def text(samples, length, depth=4):
    tokens = torch.zeros(samples, length, dtype=torch.long)
    return {"tokens": tokens, "extra": torch.zeros(samples, depth, length)}


def test_only_the_first_axis_is_free_where_batches_are_alike():
    shapes = observed_shapes([torch.zeros(4, 3, 8), torch.zeros(2, 3, 8)])
    assert free_axes(shapes, {}) == {"input": {0: "batch"}}


def test_axes_that_always_agree_share_a_symbol():
    shapes = observed_shapes([text(4, 9), text(4, 7), text(2, 9)])
    assert free_axes(shapes, {}) == {
        "tokens": {0: "batch", 1: "length"},
        "extra": {0: "batch", 2: "length"},
    }


def test_axes_that_disagree_once_have_symbols_of_their_own():
    shapes = observed_shapes([(torch.zeros(2, 5), torch.zeros(2, n)) for n in (5, 6)])
    assert free_axes(shapes, {}) == {"input_0": {0: "batch"}, "input_1": {0: "batch", 1: "length"}}
    shapes = observed_shapes([(torch.zeros(2, a), torch.zeros(2, b)) for a, b in ((5, 5), (6, 7))])
    assert [axes[1] for axes in free_axes(shapes, {}).values()] == ["length_0", "length_1"]


def test_a_declared_axis_is_free_without_being_seen_to_vary():
    declared = checked_axes({"tokens": [1]}, text(4, 9))
    assert free_axes(observed_shapes([text(4, 9)]), declared)["tokens"] == {0: "batch", 1: "length"}


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"words": [1]}, "some of the inputs tokens, extra"),
        ([1], "some of the inputs"),
        ({"tokens": [2]}, r"free_axes of tokens must be in \[1, 1\], .* got 2"),
        ({"tokens": [0]}, "beside axis 0, which is free"),
    ],
)
def test_a_declaration_that_fits_no_input_is_refused(declared, message):
    with pytest.raises(ConfigError, match=message):
        checked_axes(declared, text(4, 9))


def test_batches_of_other_inputs_or_ranks_are_refused():
    with pytest.raises(ConfigError, match="must have the inputs input with"):
        observed_shapes([torch.zeros(4, 3), torch.zeros(4, 3, 1)])
    with pytest.raises(ConfigError, match="must have the inputs extra, tokens with"):
        observed_shapes([text(4, 3), {"tokens": torch.zeros(4, 3)}])


def test_a_batch_is_cut_along_its_free_axes_only():
    axes = free_axes(observed_shapes([text(4, 9), text(4, 7)]), {})
    shorter = cut(text(4, 9), axes, {"length": 5})
    assert sizes_of(shorter, axes) == {"batch": 4, "length": 5}
    assert named_tensors(shorter)["extra"].shape == (4, 4, 5)


def test_a_task_compares_validation_with_training_batches(tmp_path):
    longer = [(torch.zeros(4, 12), torch.zeros(4))]
    assert made_up.task(tmp_path).free_axes == {"input": {0: "batch"}}
    task = made_up.task(tmp_path, validation=longer)
    assert task.free_axes == {"input": {0: "batch", 1: "length"}}


def test_other_validation_data_beside_the_same_training_data_are_compared_anew(tmp_path):
    same = torch.zeros(4, 6), torch.zeros(4)
    alike = made_up.task(tmp_path, validation=[same] * 5)
    assert alike.free_axes == {"input": {0: "batch"}}
    longer = made_up.task(tmp_path, validation=[*[same] * 4, (torch.zeros(4, 12), torch.zeros(4))])
    assert longer.free_axes == {"input": {0: "batch", 1: "length"}}


def test_a_task_may_declare_free_axes(tmp_path):
    task = made_up.task(tmp_path, free_axes={"input": [1]})
    assert task.free_axes == {"input": {0: "batch", 1: "length"}}
