"""Tiny random models of unchanged classes of the library transformers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks.architecture_task import Architecture

TOKENS = 50
CLASSES = 4
SAMPLES = 8
TEXT = {"vocab_size": TOKENS, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
ENCODER = TEXT | {"intermediate_size": 48, "max_position_embeddings": 40, "num_labels": CLASSES}
IMAGE = {"image_size": 32, "num_channels": 3, "num_labels": CLASSES}
LLAMA = TEXT | {"intermediate_size": 48, "num_key_value_heads": 2, "use_cache": False}


def _tokens() -> dict[str, Tensor]:
    mask = torch.ones(SAMPLES, 9, dtype=torch.long)
    mask[::2, 7:] = 0
    return {"input_ids": torch.randint(3, TOKENS, (SAMPLES, 9)), "attention_mask": mask}


def _images() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(SAMPLES, 3, 32, 32)}


def _sound() -> dict[str, Tensor]:
    return {"input_values": torch.randn(SAMPLES, 400)}


def _spectrogram() -> dict[str, Tensor]:
    return {"input_features": torch.randn(SAMPLES, 16, 40)}


def _detr() -> nn.Module:
    backbone = transformers.ResNetConfig(**RESNET, out_features=["stage2"])
    config = transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=5,
        num_labels=CLASSES,
    )
    return transformers.DetrForObjectDetection(config)


def _of(model: str, config: str, **values: Any) -> Callable[[], nn.Module]:
    """Return what makes a model of a class of the library."""

    def build() -> nn.Module:
        made: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**values))
        return made

    return build


RESNET: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [2, 3],
    "layer_type": "basic",
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "BERT": Architecture(_of("BertForSequenceClassification", "BertConfig", **ENCODER), _tokens),
    "DistilBERT": Architecture(
        _of(
            "DistilBertForSequenceClassification",
            "DistilBertConfig",
            vocab_size=TOKENS,
            dim=24,
            hidden_dim=48,
            n_layers=3,
            n_heads=4,
            max_position_embeddings=40,
            num_labels=CLASSES,
        ),
        _tokens,
    ),
    "RoBERTa": Architecture(_of("RobertaForMaskedLM", "RobertaConfig", **ENCODER), _tokens),
    "GPT-2": Architecture(
        _of(
            "GPT2LMHeadModel",
            "GPT2Config",
            vocab_size=TOKENS,
            n_embd=24,
            n_layer=3,
            n_head=4,
            n_positions=40,
            bos_token_id=1,
            eos_token_id=2,
            use_cache=False,
        ),
        _tokens,
    ),
    "Llama": Architecture(_of("LlamaForCausalLM", "LlamaConfig", **LLAMA), _tokens),
    "Qwen2": Architecture(
        _of("Qwen2ForCausalLM", "Qwen2Config", **LLAMA, tie_word_embeddings=True), _tokens
    ),
    "T5 encoder": Architecture(
        _of(
            "T5EncoderModel",
            "T5Config",
            vocab_size=TOKENS,
            d_model=24,
            d_kv=6,
            d_ff=48,
            num_layers=3,
            num_heads=4,
        ),
        _tokens,
    ),
    "ViT": Architecture(
        _of(
            "ViTForImageClassification",
            "ViTConfig",
            **IMAGE,
            patch_size=8,
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
        ),
        _images,
    ),
    "Swin": Architecture(
        _of(
            "SwinForImageClassification",
            "SwinConfig",
            **IMAGE,
            patch_size=4,
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        ),
        _images,
    ),
    "ConvNeXt": Architecture(
        _of(
            "ConvNextForImageClassification",
            "ConvNextConfig",
            **IMAGE,
            patch_size=4,
            hidden_sizes=[8, 16],
            depths=[2, 2],
            num_stages=2,
            layer_scale_init_value=0.5,
        ),
        _images,
    ),
    "MobileNetV2": Architecture(
        _of(
            "MobileNetV2ForImageClassification",
            "MobileNetV2Config",
            **IMAGE,
            depth_multiplier=0.25,
            depth_divisible_by=4,
            min_depth=4,
        ),
        _images,
    ),
    "ResNet": Architecture(
        _of("ResNetForImageClassification", "ResNetConfig", **RESNET, num_labels=CLASSES), _images
    ),
    "Wav2Vec2": Architecture(
        _of(
            "Wav2Vec2ForSequenceClassification",
            "Wav2Vec2Config",
            hidden_size=24,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=48,
            conv_dim=(8, 8),
            conv_kernel=(10, 3),
            conv_stride=(5, 2),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            classifier_proj_size=12,
            num_labels=CLASSES,
        ),
        _sound,
    ),
    "Whisper encoder": Architecture(
        lambda: WhisperEncoder(
            transformers.WhisperConfig(
                d_model=24,
                encoder_layers=3,
                encoder_attention_heads=4,
                encoder_ffn_dim=48,
                num_mel_bins=16,
                max_source_positions=20,
            )
        ),
        _spectrogram,
    ),
    "DETR": Architecture(_detr, _images),
}
"""The models by name."""
