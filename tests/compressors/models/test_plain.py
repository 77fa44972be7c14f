import threading
import warnings

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import is_parametrized

from compressors.errors import UnfitModelError
from compressors.models.fingerprint import fingerprint
from compressors.models.plain import plain_model
from compressors.models.trainable import FROZEN, require_training_gradients
from compressors.weights.codebook import share
from compressors.weights.compressible import compressible_weights

X = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 4)
    )
    made(X)  # the statistics of batch-norm differ from those of a new layer
    return made.eval()


def hooked(wrap) -> nn.Module:
    model = net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for layer in (model[0], model[4]):
            wrap(layer)
    model(X)  # leaves tensors of autograd's graph behind
    return model


def masked(layer: nn.Module) -> None:
    prune.l1_unstructured(layer, "weight", amount=0.5)


WRAPPED = {
    "data parallel": lambda: nn.DataParallel(net()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(net()),
    "compiled": lambda: torch.compile(net(), backend="eager"),
    "a part is wrapped": lambda: nn.Sequential(nn.DataParallel(net()[:3]), *net()[3:]).eval(),
    "synchronised batch-norm": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(net()),
}
COMPUTED = {
    "weight_norm hook": lambda: hooked(nn.utils.weight_norm),
    "spectral_norm hook": lambda: hooked(nn.utils.spectral_norm).eval(),
    "pruning masks": lambda: hooked(masked),
    "weight_norm": lambda: hooked(parametrizations.weight_norm),
    "spectral_norm": lambda: hooked(parametrizations.spectral_norm),
    "orthogonal": lambda: hooked(parametrizations.orthogonal),
}
KINDS = WRAPPED | COMPUTED


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_model_computes_the_same_with_plain_layers(kind: str) -> None:
    model = KINDS[kind]()
    with torch.no_grad():
        expected = model.eval()(X)
    found = plain_model(model, X)
    torch.testing.assert_close(found.model(X), expected, rtol=1e-4, atol=1e-5)
    layers = [type(module) for module in found.model.modules() if not list(module.children())]
    assert sorted(map(str, layers)) == sorted(str(type(layer)) for layer in net())
    assert {name.split(".")[-1] for name, _ in found.model.named_parameters()} == {"weight", "bias"}
    assert not any(is_parametrized(module) for module in found.model.modules())
    assert len(found.notes) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_model_is_left_as_it_is(kind: str) -> None:
    model = KINDS[kind]().train()
    before = fingerprint(model)
    plain_model(model, X)
    assert fingerprint(model) == before
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_floats_become_float32(dtype: torch.dtype) -> None:
    model = net().to(dtype)
    model.register_buffer("offset", torch.ones(1, dtype=dtype))
    found = plain_model(model, X.to(dtype))
    tensors = [*found.model.parameters(), *found.model.buffers()]
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float32}
    assert found.model[1].num_batches_tracked.dtype == torch.int64
    assert any(str(dtype).removeprefix("torch.") in note for note in found.notes)
    assert model[0].weight.dtype == dtype


def test_a_recurrent_layer_takes_up_its_baked_weights() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cells(x)[0]

    model, x = Net(), torch.randn(2, 5, 3)
    parametrizations.weight_norm(model.cells, "weight_hh_l0")
    expected = model(x).detach()
    plain = plain_model(model, x).model
    torch.testing.assert_close(plain(x), expected)
    with torch.no_grad():
        plain.cells.weight_hh_l0.zero_()
    assert not torch.allclose(plain(x), expected)


def test_a_weight_that_another_layer_shares_is_baked_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    parametrizations.spectral_norm(model[0])
    model.eval()
    x = torch.randn(3, 4)
    expected = model(x).detach()
    torch.testing.assert_close(plain_model(model, x).model(x), expected)


def test_parametrisations_of_compressors_stay() -> None:
    model = net().requires_grad_(False)
    share(compressible_weights(model)[0], 4)
    found = plain_model(model, X)
    assert is_parametrized(found.model[0])
    assert found.notes == ()


def test_embeddings_get_dense_gradients() -> None:
    model = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten())
    found = plain_model(model, torch.arange(6).view(2, 3))
    assert not found.model[0].sparse
    assert model[0].sparse
    assert found.notes == ("1 embeddings have dense gradients instead of sparse",)


def trained_names(model: nn.Module) -> set[str]:
    require_training_gradients(model)
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_what_the_user_froze_stays_out_of_training() -> None:
    model = net()
    model[0].weight.requires_grad_(False)
    model.order = nn.Parameter(torch.arange(3), requires_grad=False)
    found = plain_model(model, X)
    everything = {"0.bias", "1.weight", "1.bias", "4.weight", "4.bias"}
    assert trained_names(found.model) == everything
    share(compressible_weights(found.model)[0], 4)
    assert trained_names(found.model) == everything  # neither the weight nor its centroids


def test_a_model_that_is_frozen_whole_is_trained_whole() -> None:
    found = plain_model(net().requires_grad_(False), X).model
    assert len(trained_names(found)) == len(list(found.parameters()))
    assert not any(hasattr(module, FROZEN) for module in found.modules())


def test_a_frozen_norm_weight_stays_frozen_when_baked() -> None:
    model = hooked(parametrizations.weight_norm)
    model[0].parametrizations.weight.requires_grad_(False)
    assert "0.weight" not in trained_names(plain_model(model, X).model)


class AlwaysDropping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(x, 0.5))


class Locked(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 3))
        self.lock = threading.Lock()


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(nn.Linear(6, 3))


class Doubling(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.double())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (AlwaysDropping(), r"differ between two calls .* in line \d+ of .*F.dropout\(x, 0.5\)"),
        (Locked(), r"cannot be copied: lock: .*; keep such objects outside"),
        (Doubling(nn.Linear(6, 3)).double(), r"fails .* in float32: .*; give a plain float32"),
        (scripted(), r"the model is a torch.jit.ScriptModule"),
        (
            nn.Sequential(scripted()),
            r"layer '0' is a torch.jit.ScriptModule, .*; give the nn.Module",
        ),
    ],
    ids=["random", "lock", "dtype", "script", "script inside"],
)
def test_an_unfit_model_is_refused_with_cause_and_remedy(model: nn.Module, message: str) -> None:
    with pytest.raises(UnfitModelError, match=message):
        plain_model(model, torch.randn(4, 6))


def test_a_copy_that_computes_something_else_is_refused() -> None:
    class Peeking(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * (2 if is_parametrized(self[0]) else 1)

    model = Peeking(parametrizations.weight_norm(nn.Linear(6, 3)))
    with pytest.raises(UnfitModelError, match=r"output 0 of the model differs by 5.0e-01"):
        plain_model(model, torch.randn(4, 6))
