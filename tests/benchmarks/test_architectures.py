"""Every compressor acts on foreign architectures, or says why not (2 minutes)."""

from collections.abc import Iterator

import pytest
import torch

transformers = pytest.importorskip("transformers")

from benchmarks import convolutional_families  # noqa: E402
from benchmarks.architecture_task import ArchitectureTask  # noqa: E402
from benchmarks.architectures import COMPRESSORS, outcome  # noqa: E402
from benchmarks.transformers_models import ARCHITECTURES  # noqa: E402
from compressors.base import run  # noqa: E402
from compressors.layer_removal import LayerRemoval  # noqa: E402
from compressors.layers.cache_slots import close_cache_slot  # noqa: E402
from compressors.layers.removable import removable_blocks  # noqa: E402
from compressors.models.copying import copy_model  # noqa: E402
from compressors.models.replacing import replace_module  # noqa: E402
from compressors.weights.compressible import compressible_weights  # noqa: E402
from search.artefact.artefact import write_artefact  # noqa: E402
from search.artefact.onnx_form.float_fallback import least_fidelity_db  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # those of transformers are not ours
]

ALL = ARCHITECTURES | convolutional_families.ARCHITECTURES
REFUSED = {("DenseNet", "layer removal"), ("U-Net", "layer removal")}
"""No block returns what it is given, in shape."""
STACKS = {
    "BERT": "bert.encoder.layer",
    "DistilBERT": "distilbert.transformer.layer",
    "RoBERTa": "roberta.encoder.layer",
    "GPT-2": "transformer.h",
    "Llama": "model.layers",
    "Qwen2": "model.layers",
    "ViT": "vit.layers",
    "Whisper encoder": "layers",
}
TIED = {"RoBERTa", "GPT-2", "Qwen2"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=ALL)
def named_task(request: pytest.FixtureRequest) -> tuple[str, ArchitectureTask]:
    return request.param, ALL[request.param].task()


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_compressor_acts_or_says_why_not(named_task, name: str) -> None:
    architecture, task = named_task
    found = outcome(task, COMPRESSORS[name])
    assert found.wrong is None
    assert found.acted or (architecture, name) in REFUSED, found.text
    assert found.acted or len(found.text.split()) > 8


def test_a_model_is_written_in_floats_and_in_integers(named_task, tmp_path) -> None:
    architecture, task = named_task
    ratio = 2 if architecture in ARCHITECTURES else 1  # the others are of a few kilobytes
    whole = write_artefact(task.baseline, task, tmp_path / "floats")
    assert whole.fidelity_db > 60  # channels of little variance enlarge the rounding of floats
    for name in ("8 bits", "4 bits"):
        artefact = write_artefact(COMPRESSORS[name](task.baseline, task), task, tmp_path / name)
        assert artefact.integer_operators > 0
        assert artefact.fidelity_db >= least_fidelity_db(artefact.integer_operators)
        assert artefact.size_bytes < whole.size_bytes / ratio


@pytest.mark.parametrize("name", STACKS)
def test_a_model_without_a_layer_is_the_model_of_a_shorter_list(name: str) -> None:
    task = ARCHITECTURES[name].task()
    model = copy_model(task.baseline)
    stack = model.get_submodule(STACKS[name])
    blocks = removable_blocks(model, task.example)
    assert list(blocks) == list(stack)
    shorter = copy_model(task.baseline)
    del shorter.get_submodule(STACKS[name])[1]
    for key in ("num_hidden_layers", "n_layer", "n_layers", "encoder_layers"):
        if key in vars(shorter.config):
            setattr(shorter.config, key, 2)
    replace_module(model, stack[1], blocks[stack[1]])
    with torch.no_grad():
        found, expected = run(model, task.inputs)[0], run(shorter, task.inputs)[0]
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "Qwen2"])
@pytest.mark.parametrize("position", [0, 1])
def test_a_cache_works_without_any_layer(name: str, position: int) -> None:
    task = ARCHITECTURES[name].task()
    model = copy_model(task.baseline)
    blocks = removable_blocks(model, task.example)
    gone = list(blocks)[position]
    close_cache_slot(model, gone)
    replace_module(model, gone, blocks[gone])
    tokens = task.inputs["input_ids"]
    with torch.no_grad():
        whole = model(input_ids=tokens, use_cache=False).logits
        start = model(input_ids=tokens[:, :6], use_cache=True)
        cached = start.cache if hasattr(start, "cache") else start.past_key_values
        argument = "cache" if hasattr(start, "cache") else "past_key_values"
        rest = model(input_ids=tokens[:, 6:], use_cache=True, **{argument: cached}).logits
    torch.testing.assert_close(rest, whole[:, 6:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted(TIED))
def test_tied_weights_stay_one_object(name: str) -> None:
    task = ARCHITECTURES[name].task()
    for compressor in COMPRESSORS.values():
        torch.manual_seed(0)
        model = compressor(task.baseline, task)
        assert any(len(weight.places) == 2 for weight in compressible_weights(model))


def test_a_removed_layer_leaves_the_others_as_they_are() -> None:
    task = ARCHITECTURES["BERT"].task()
    smaller = LayerRemoval(ratio=0.34)(task.baseline, task).state_dict()
    before = task.baseline.state_dict()
    assert len(smaller) < len(before)
    assert all(torch.equal(before[name], tensor) for name, tensor in smaller.items())
