"""The networks that are timed side by side, in PyTorch. U-Net is that of train_unet.py.

Letters: C channels, w width, d depth.
"""

import torch
import torch.nn.functional as F
from torch import nn

from train_unet import DoubleConv, UNet, UpConv, initialise


def conv_norm(inputs, outputs, kernel, dilation=1):
    """Convolution that keeps the size, batch norm."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation),
        nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1),
    )


class Gate(nn.Module):
    """Additive attention on a skip connection (Oktay et al. 2018, arXiv:1804.03999)."""

    def __init__(self, channels):
        super().__init__()
        hidden = channels // 2
        self.gating = conv_norm(channels, hidden, 1)
        self.skip = conv_norm(channels, hidden, 1)
        self.psi = conv_norm(hidden, 1, 1)

    def forward(self, below, skip):
        inside = F.relu(self.gating(below) + self.skip(skip), inplace=True)
        return skip * torch.sigmoid(self.psi(inside))


class MultiScaleGate(nn.Module):
    """MSAG of CMU-Net: three views of the skip connection vote on how much of it is doubled."""

    def __init__(self, channels):
        super().__init__()
        self.point = conv_norm(channels, channels, 1)
        self.ordinary = conv_norm(channels, channels, 3)
        self.dilated = conv_norm(channels, channels, 3, dilation=2)
        self.vote = conv_norm(3 * channels, channels, 1)

    def forward(self, below, skip):
        views = torch.cat([self.point(skip), self.ordinary(skip), self.dilated(skip)], 1)
        return skip + skip * torch.sigmoid(self.vote(F.relu(views, inplace=True)))


class MixerLayer(nn.Module):
    """y = BN(GELU(depthwise 7x7 (x))) + x, then BN(GELU(1x1 (y)))."""

    def __init__(self, channels, kernel=7):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, groups=channels, padding=kernel // 2)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.pointwise_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = self.depthwise_norm(F.gelu(self.depthwise(x))) + x
        return self.pointwise_norm(F.gelu(self.pointwise(y)))


class GatedUNet(UNet):
    """U-Net with something on every skip connection and something behind the bottleneck."""

    def __init__(self, width, depth, gate, channels=3, bottleneck=None):
        super().__init__(width, depth, channels)
        self.gates = nn.ModuleList(gate(width << i) for i in range(depth - 1, -1, -1))
        self.bottleneck = bottleneck or nn.Identity()

    def forward(self, x):  # [B, C, H, W], H and W divisible by 2^d
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        x = self.bottleneck(x)
        levels = range(self.depth - 1, -1, -1)
        for level, up, gate, stage in zip(levels, self.up, self.gates, self.decoder):
            below = up(x)
            x = stage(torch.cat([gate(below, skips[level]), below], 1))
        return self.head(x)


def build(name, width, depth, seed=0):
    """A network with initial weights as in scant.

    - `unet`, `attention-unet`: LeeJunHyun/Image_Segmentation; 34,527,041 and 34,878,573 parameters
      at width 64 and depth 4.
    - `cmu-net`: Tang et al. 2023, arXiv:2210.13012, FengheTan9/CMU-Net: seven mixer layers behind
      the bottleneck; 49,932,353 parameters at width 64 and depth 4.
    """
    if name == "unet":
        model = UNet(width, depth)
    elif name == "attention-unet":
        model = GatedUNet(width, depth, Gate)
    elif name == "cmu-net":
        mixer = nn.Sequential(*(MixerLayer(width << depth) for _ in range(7)))
        model = GatedUNet(width, depth, MultiScaleGate, bottleneck=mixer)
    else:
        raise ValueError(f"no network \"{name}\": unet, attention-unet or cmu-net")
    initialise(model, seed)
    return model


def parameters(model):
    return sum(p.numel() for p in model.parameters())
