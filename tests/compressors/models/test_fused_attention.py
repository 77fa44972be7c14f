import pytest
import torch
from torch import nn

from compressors.models.fused_attention import plain_attention, run_unfused
from compressors.models.hooks import forward_hooks


def test_every_module_of_an_encoder_is_called_without_gradients() -> None:
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval().requires_grad_(False)
    called: list[nn.Module] = []
    with forward_hooks(encoder.modules(), lambda module, *_: called.append(module)):
        outputs = run_unfused(encoder, torch.randn(2, 3, 8))
    assert {encoder.self_attn, encoder.linear1, encoder.linear2} <= set(called)
    assert not outputs.requires_grad


def test_fused_kernels_are_back_after_an_error() -> None:
    before = torch.backends.mha.get_fastpath_enabled()

    def fail_with_fused_kernels_off() -> None:
        with plain_attention():
            assert not torch.backends.mha.get_fastpath_enabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_with_fused_kernels_off()
    assert torch.backends.mha.get_fastpath_enabled() is before
