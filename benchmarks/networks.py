"""Networks of common shapes with random weights, for timing."""

from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from search.tasks.workloads.resnet20 import BasicBlock


class ResNet18(nn.Module):
    """18 layers from images `[B, 3, H, W]` to logits `[B, 1000]`; 1.8 G MACs at 224 by 224."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        pairs = pairwise(widths)
        self.blocks = nn.Sequential(*(BasicBlock(a, b, 1 + (a != b)) for a, b in pairs))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.pool(F.relu(self.bn1(self.conv1(x)))))
        logits: Tensor = self.fc(y.mean((2, 3)))
        return logits


class FeedForward(nn.Module):
    """The feed-forward half of a transformer layer, `[B, T, width]` to `[B, T, width]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.narrow(F.gelu(self.widen(self.norm(x))))
        return x + y


def resnet18() -> nn.Module:
    """Return the network in eval mode, with random batch-norm statistics."""
    torch.manual_seed(0)
    model = ResNet18()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name, tensor in module.named_buffers():
                if name == "running_mean":
                    tensor.normal_(0, 0.1)
                elif name == "running_var":
                    tensor.uniform_(0.5, 1.5)
    return model.eval().requires_grad_(False)


def feed_forward(width: int = 768, layers: int = 4) -> nn.Module:
    """Return feed-forward layers over tokens `[B, T, width]`, in eval mode."""
    torch.manual_seed(0)
    model = nn.Sequential(*(FeedForward(width) for _ in range(layers)), nn.Linear(width, 10))
    return model.eval().requires_grad_(False)
