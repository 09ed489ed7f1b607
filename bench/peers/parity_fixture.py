#!/usr/bin/env python3
"""What an official implementation computes, as a fixture for `crates/scant-nn/tests/parity.rs`.

Weights and input are made from the names of the tensors and a salt, so a fixture holds no weights, and
a wrong name shows at once. README.md beside this file gives the commands and the format.

To add a network: a function that builds the official module, and a line in NETWORKS.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

MASK = (1 << 64) - 1


def unit(key, shape):
    """Values in [-1, 1) that depend on the key alone: FNV-1a, then SplitMix64 of a counter."""
    h = 0xCBF29CE484222325
    for byte in key.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    count = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)).reshape(shape)


def kind(name, shape):
    """How the tensor of a name is made of `unit`, see `value`."""
    if name.endswith("running_var"):
        return "var"
    if len(shape) > 1:
        return "weight"
    return "scale" if name.endswith("weight") else "bias"


def value(salt, name, shape):
    u = unit(salt + name, shape)
    if kind(name, shape) == "weight":
        return u * np.sqrt(np.float32(3) / np.float32(np.prod(shape[1:])))
    return {"var": 1 + 0.5 * u, "scale": 1 + 0.1 * u, "bias": 0.1 * u}[kind(name, shape)]


# -------------------------------------------------------------------------------------- networks


def nnunet(residual, axes):
    """nnU-Net with what its planner asks for. Options: those of the model in a recipe of scant."""

    def build(o, inputs, outputs):
        from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet

        stages = len(o["features"])
        shared = dict(
            input_channels=inputs,
            n_stages=stages,
            features_per_stage=o["features"],
            conv_op={2: nn.Conv2d, 3: nn.Conv3d}[axes],
            kernel_sizes=o.get("kernels", [[3] * axes] * stages),
            strides=o.get("strides", [[1] * axes] + [[2] * axes] * (stages - 1)),
            num_classes=outputs,
            n_conv_per_stage_decoder=o["decoder_blocks"],
            conv_bias=True,
            norm_op={2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[axes],
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            deep_supervision=o.get("deep_supervision", True),
        )
        if residual:
            return ResidualEncoderUNet(n_blocks_per_stage=o["encoder_blocks"], **shared)
        return PlainConvUNet(n_conv_per_stage=o["encoder_blocks"], **shared)

    return build


NNUNET = "dynamic-network-architectures"
# Name in scant: package, and a function of options, image channels and logit channels. The module returns
# logits, or a list of them, full resolution first.
NETWORKS = {
    "nnunet": (NNUNET, nnunet(False, 2)),
    "nnunet-resenc": (NNUNET, nnunet(True, 2)),
    "nnunet-3d": (NNUNET, nnunet(False, 3)),
    "nnunet-resenc-3d": (NNUNET, nnunet(True, 3)),
}


# --------------------------------------------------------------------------------------- fixture


def fixture(name, options, salt, shape, outputs):
    package, build = NETWORKS[name]
    network = build(options, shape[1], outputs).double().eval()
    # Tensors that a module registers under several names come once, under the first of them.
    parameters = dict(network.named_parameters())
    tensors = parameters | {
        n: b for n, b in network.named_buffers() if not n.endswith("num_batches_tracked")
    }
    with torch.no_grad():
        for n, t in tensors.items():
            t.copy_(torch.from_numpy(np.asarray(value(salt, n, list(t.shape)), np.float32)))
    result = network(torch.from_numpy(unit(salt + "input", shape)).double())
    logits, *deep = result if isinstance(result, (list, tuple)) else [result]
    named = {"output": logits} | {f"aux{i}": t for i, t in enumerate(reversed(deep))}
    loss = 0.0
    for n, t in named.items():
        key = salt + "cotangent" + ("" if n == "output" else f"/{n}")
        loss = loss + (t * torch.from_numpy(unit(key, list(t.shape))).double()).sum()
    loss.backward()
    gradients = {
        n: [p.grad.norm().item(), p.grad.flatten()[0].item()]
        for n, p in parameters.items()
        if p.grad is not None
    }
    head = {
        "model": name,
        "reference": f"{package} {version(package)}",
        "options": options,
        "input_shape": shape,
        "output_shape": list(logits.shape),
        "salt": salt,
        "parameters": sum(p.numel() for p in parameters.values()),
        "tensors": [
            {"name": n, "shape": list(t.shape), "kind": kind(n, list(t.shape))}
            for n, t in tensors.items()
        ],
        "gradients": gradients,
    }
    return head, {n: np.ascontiguousarray(t.detach().float().numpy()) for n, t in named.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("out", type=Path, help="path of the fixture without suffix")
    parser.add_argument("--input", type=int, nargs="+", required=True, help="shape: batch, channels, sides")
    parser.add_argument("--outputs", type=int, default=1, help="logit channels")
    parser.add_argument("--salt", default="scant/")
    parser.add_argument("--options", type=json.loads, default={}, help="sizes of the network, as JSON")
    args = parser.parse_args()
    torch.manual_seed(0)
    head, tensors = fixture(args.network, args.options, args.salt, args.input, args.outputs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(head, indent=1) + "\n")
    save_file(tensors, args.out.with_suffix(".safetensors"))
    print(f"{args.network}: {head['parameters']} parameters, {', '.join(tensors)}")


if __name__ == "__main__":
    main()
