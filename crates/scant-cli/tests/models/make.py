#!/usr/bin/env python3
"""Writes the checkpoints of this folder: `python make.py` with torch and numpy.

`unet.pth` is what a training script leaves behind: a U-Net of width 2 and depth 1 for grey images and two softmax
channels, wrapped in DataParallel, beside an optimiser state and the arguments. `encoder.npz` is no network of ours.
"""

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent


def conv(name, inputs, outputs, size):
    yield f"{name}.weight", torch.randn(outputs, inputs, size, size)
    yield f"{name}.bias", torch.randn(outputs)


def norm(name, channels):
    yield f"{name}.weight", 1 + 0.1 * torch.randn(channels)
    yield f"{name}.bias", 0.1 * torch.randn(channels)
    yield f"{name}.running_mean", 0.1 * torch.randn(channels)
    yield f"{name}.running_var", 1 + torch.rand(channels)
    yield f"{name}.num_batches_tracked", torch.tensor(17)


def block(name, inputs, outputs):
    yield from conv(f"{name}.conv.0", inputs, outputs, 3)
    yield from norm(f"{name}.conv.1", outputs)
    yield from conv(f"{name}.conv.3", outputs, outputs, 3)
    yield from norm(f"{name}.conv.4", outputs)


def unet():
    yield from block("Conv1", 1, 2)
    yield from block("Conv2", 2, 4)
    yield from conv("Up2.up.1", 4, 2, 3)
    yield from norm("Up2.up.2", 2)
    yield from block("Up_conv2", 4, 2)
    yield from conv("Conv_1x1", 2, 2, 1)


torch.manual_seed(5)
state = {f"module.{name}": tensor for name, tensor in unet()}
torch.save({"epoch": 3, "state_dict": state, "args": Namespace(lr=0.1), "optimizer": {"state": {}}}, HERE / "unet.pth")
np.savez(HERE / "encoder.npz", **{"embedding/kernel": np.zeros((2, 2, 1, 3), np.float32)})
