import torch

from search.trial.joined_outputs import JoinedOutputs


def test_each_tensor_is_joined_on_the_axis_of_its_samples() -> None:
    whole = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(0))
    parts = whole.split([5, 5, 2], dim=1)
    batches = [
        {"steps": part, "logits": part[0], "loss": part.sum(), "text": "kept"} for part in parts
    ]
    joined = JoinedOutputs(batches, [5, 5, 2])
    every = joined.all()
    assert torch.equal(every["steps"], whole)
    assert torch.equal(every["logits"], whole[0])
    assert torch.allclose(every["loss"], torch.stack([part.sum() for part in parts]).mean())
    assert every["text"] == "kept"
    chosen = torch.tensor([11, 0, 0])
    taken = joined.take(chosen)
    assert torch.equal(taken["steps"], whole[:, chosen])
    assert torch.equal(taken["logits"], whole[0, chosen])


def test_what_has_no_samples_and_no_one_shape_is_that_of_the_first_batch() -> None:
    batches = [(torch.ones(n, 2), torch.arange(n + 1)) for n in (3, 4)]
    outputs, rest = JoinedOutputs(batches, [3, 4]).all()
    assert outputs.shape == (7, 2)
    assert torch.equal(rest, torch.arange(4))
