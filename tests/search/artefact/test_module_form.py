"""A module that was written is built again, from the task's model with any weights, to the bit."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from compressors.base import output_tensors, run
from compressors.errors import InfeasibleError
from compressors.models.calibration import few
from compressors.models.fingerprint import structure_digest
from compressors.models.trainable import require_training_gradients
from search.artefact.module_form.file import read_module, write_module
from search.errors import ArtefactError
from search.tasks.loading import training_task
from search.tasks.task import EvaluatedTask
from tests.acting import NAMES, acting
from tests.zoo import ARCHITECTURES, toy_task

CHANGES = {
    "distillation": {"epochs": 0.1},
    "weight_pruning": {"schedule": "cubic", "allocation": "global"},
}


def other_weights(net: str) -> nn.Module:
    """Return a network with weights that are not those of its task."""
    model = toy_task(net).baseline
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return model


def descended(model: nn.Module, inputs: object) -> list[Tensor]:
    """Return the outputs `[B, ...]` of a model after a step of gradient descent, in place."""
    require_training_gradients(model)
    torch.stack([o.square().mean() for o in output_tensors(run(model, inputs))]).sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
        return output_tensors(run(model, inputs))


@pytest.mark.parametrize("net", ARCHITECTURES)
@pytest.mark.parametrize("name", NAMES)
def test_what_a_compressor_makes_is_built_again_and_trained_on(
    name: str, net: str, tmp_path: Path
) -> None:
    task, path = toy_task(net), tmp_path / "model.safetensors"
    torch.manual_seed(0)
    try:
        model = acting(name, **CHANGES.get(name, {}))(task.baseline, task)
    except InfeasibleError:
        return  # as the laws of compressors say of this network
    write_module(model, task.baseline, path)
    built = read_module(path, other_weights(net))
    inputs = few(task.example)
    assert structure_digest(built) == structure_digest(model)
    assert not built.training
    for found, wanted in zip(
        *(output_tensors(run(m, inputs)) for m in (built, model)), strict=True
    ):
        assert torch.equal(found, wanted)
    before = output_tensors(run(model, inputs))
    pairs = zip(descended(built, inputs), descended(model, inputs), before, strict=True)
    for found, wanted, then in pairs:
        torch.testing.assert_close(found, wanted)
        assert not torch.equal(found, then)


class Special(nn.Module):
    """Ties, tensors that are no buffers, functions, and a size that its own code follows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.register_buffer("hidden", torch.ones(16), persistent=False)
        self.offset = torch.full((16,), 0.5)
        self.activations = {
            "a": torch.tanh,
            "b": partial(nn.functional.leaky_relu, negative_slope=2),
        }
        self.nothing = self.register_parameter("none", None)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activations["a"](self.first(x) * self.hidden + self.offset)
        return self.activations["b"](self.second(x))


def test_ties_plain_tensors_and_functions_of_the_task_are_kept(tmp_path: Path) -> None:
    path, baseline = tmp_path / "m", Special().eval().requires_grad_(False)
    model = acting("quantization")(baseline, toy_task("mlp"))
    model.offset = model.offset * 3
    write_module(model, baseline, path)
    built = read_module(path, Special())
    assert structure_digest(built) == structure_digest(model)
    x = torch.randn(4, 16)
    assert torch.equal(built(x), model(x))
    chains = [layer.parametrizations.weight for layer in (built.first, built.second)]
    assert chains[0].original is chains[1].original
    assert chains[0][0] is chains[1][0]


def test_a_module_that_no_import_reaches_is_not_kept(tmp_path: Path) -> None:
    class Local(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    baseline = toy_task("mlp").baseline
    with pytest.raises(ArtefactError, match="Local cannot be imported"):
        write_module(nn.Sequential(baseline, Local()), baseline, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def _stored(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("os:system", "names os:system, of none of the packages"),
        ("torch.nn.modules.linear:torch.hub.load", "is no class of its own"),
        ("torch.hub:load", "is no class of its own"),
        ("torch.storage:UntypedStorage", "is no class of modules"),
        ("torch.nn.modules.linear:Gone", "there is no"),
        ("torch.utils.bottleneck.__main__:Module", "there is no"),  # an import would run it
    ],
)
def test_a_file_names_no_code_but_classes_of_modules(
    path: str, reason: str, tmp_path: Path
) -> None:
    task, file = toy_task("mlp"), tmp_path / "m"
    write_module(acting("low_rank")(task.baseline, task), task.baseline, file)
    header, tensors = _stored(file)
    entries = json.loads(header["modules"])
    made = next(entry for entry in entries if "class" in entry)
    made["class"] = path
    save_file(tensors, file, metadata={**header, "modules": json.dumps(entries)})
    with pytest.raises(ArtefactError, match=reason):
        read_module(file, task.baseline)


def test_any_other_value_shape_or_name_is_refused(tmp_path: Path) -> None:
    task, file = toy_task("mlp"), tmp_path / "m"
    write_module(acting("weight_sharing")(task.baseline, task), task.baseline, file)
    header, tensors = _stored(file)
    name = "0.parametrizations.weight.original"
    for changed in (
        {**tensors, name: tensors[name] + 1},
        {**tensors, name: tensors[name][:1]},
        {**tensors, name: tensors[name].view(16, 24)},
        {n: t for n, t in tensors.items() if n != name},
    ):
        save_file({n: t.clone() for n, t in changed.items()}, file, metadata=header)
        with pytest.raises(ArtefactError, match=r"have changed since|cannot be read"):
            read_module(file, task.baseline)
    file.write_bytes(b"no safetensors")
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_module(file, task.baseline)


def test_another_model_of_the_task_is_refused(tmp_path: Path) -> None:
    task, file = toy_task("mlp"), tmp_path / "m"
    write_module(acting("weight_pruning")(task.baseline, task), task.baseline, file)
    with pytest.raises(ArtefactError, match=r"have changed since|has no module"):
        read_module(file, toy_task("residual").baseline)


@pytest.mark.slow  # importing and compressing three models of transformers takes ten seconds
@pytest.mark.parametrize("kind", ["Bert", "GPT2", "Llama"])
def test_a_model_of_a_library_is_built_again(kind: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="for tests alone")
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{kind}Config")(**sizes, **special)
    made = "LlamaForCausalLM" if kind == "Llama" else f"{kind}ForSequenceClassification"
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 50, (32, 8), generator=generator)
    batches = [
        ({"input_ids": tokens[i : i + 8]}, tokens[i : i + 8, 0] % 2) for i in range(0, 32, 8)
    ]

    def loss(outputs: object, targets: Tensor) -> Tensor:
        logits = outputs.logits  # type: ignore[attr-defined]
        return nn.functional.cross_entropy(logits[:, -1] if logits.dim() == 3 else logits, targets)

    def task(seed: int) -> EvaluatedTask:
        torch.manual_seed(seed)
        model = getattr(transformers, made)(config)
        return training_task({"train": batches, "loss": loss}, model, tmp_path)

    first, path = task(0), tmp_path / "m"
    model = first.baseline
    for name in ("layer_removal", "channel_pruning", "low_rank", "weight_pruning", "quantization"):
        model = acting(name)(model, first)
    write_module(model, first.baseline, path)
    built = read_module(path, task(1).baseline)
    for found, wanted in zip(
        *(output_tensors(run(m, first.example)) for m in (built, model)), strict=True
    ):
        assert torch.equal(found, wanted)
