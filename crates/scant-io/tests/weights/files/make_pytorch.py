"""Writes the PyTorch and safetensors files of this folder, and pytorch.json with what is in them.

    python make_pytorch.py          # PyTorch 2.x, NumPy, safetensors

Values are eighths between -2 and 2, exact in every float type. In the JSON each file has the list of
[name, shape, values] of its state dict, in its order, as PyTorch itself loads it.
"""

import argparse
import collections
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import safetensors.torch
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
expected = {}
counter = 0


def filled(tensor):
    """Different values for each tensor, all of them multiples of 1/8."""
    global counter
    counter += 1
    n = tensor.numel()
    values = (torch.arange(n) * 7 + counter * 13) % 31 - 15
    if tensor.dtype.is_floating_point:
        values = values / 8
    return values.reshape(tensor.shape).to(tensor.dtype)


def network():
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ConvTranspose2d(3, 2, 2, bias=False),
        nn.Linear(2, 4),
    )
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.copy_(filled(tensor))
    return net


def note(file, state_dict):
    expected[file] = [
        [name, list(t.shape), t.detach().double().reshape(-1).tolist()]
        for name, t in state_dict.items()
        if isinstance(t, torch.Tensor) and not t.is_complex()
    ]


def save(file, content, state_dict, **options):
    torch.save(content, HERE / file, **options)
    note(file, state_dict)


def trained(net):
    """An optimiser with a state."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    sum(p.square().sum() for p in net.parameters()).backward()
    weights = {name: t.clone() for name, t in net.state_dict().items()}
    optimiser.step()
    net.load_state_dict(weights)
    return optimiser


class Config:
    """A class that exists only where the file was written."""

    def __init__(self):
        self.depth, self.names = 4, ["a", "b"]


class Evil:
    """Unpickled by Python, it runs a command."""

    def __reduce__(self):
        return os.system, ("touch scant-was-here",)


class EvilBuild:
    """Calls an opaque object with state, items and keyword arguments."""

    def __reduce__(self):
        return eval, ("__import__('os').system('touch scant-was-here')",), {"a": 1}, iter([1]), iter([("b", 2)])


net = network()
weights = net.state_dict()
save("zip.pth", weights, weights)
save("legacy.pth", weights, weights, _use_new_zipfile_serialization=False)
save("protocol4.pth", {"model": weights}, weights, pickle_protocol=4)
save("parallel.pth", nn.DataParallel(net).state_dict(), {f"module.{k}": v for k, v in weights.items()})

parameters = dict(net.named_parameters())
save("parameters.pth", parameters, parameters)

# The keys of nnU-Net 2.5: nnunetv2/training/nnUNetTrainer/nnUNetTrainer.py, save_checkpoint.
optimiser = trained(net)
nnunet = {
    "network_weights": weights,
    "optimizer_state": optimiser.state_dict(),
    "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 3},
    "logging": {"train_losses": [-0.5, float("nan")], "ema_fg_dice": [np.float32(0.5)]},
    "_best_ema": np.float64(0.75),
    "current_epoch": 1000,
    "init_args": {
        "plans": {"plans_name": "nnUNetPlans", "configurations": {"2d": {"patch_size": [64, 64]}}},
        "configuration": "2d",
        "fold": 0,
        "device": torch.device("cuda"),
    },
    "trainer_name": "nnUNetTrainer",
    "inference_allowed_mirroring_axes": (0, 1),
}
save("nnunet.pth", nnunet, weights)

training = {
    "epoch": 12,
    "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/data"), tags={"a", "b"}),
    "config": Config(),
    "counts": collections.Counter("aab"),
    "table": collections.defaultdict(list, {"x": [1, 2]}),
    "best": np.float64(0.5),
    "array": np.arange(3.0),
    "big": 1 << 80,
    "device": torch.device("cpu"),
    "dtype": torch.float16,
    "size": torch.Size([1, 2]),
    "bytes": b"\x00\x01",
    "generator": torch.get_rng_state()[:4].clone(),
    "state_dict": weights,
    "optimizer": optimiser.state_dict(),
}
save("training.pth", training, weights)
save("training_legacy.pth", training, weights, _use_new_zipfile_serialization=False)

base = filled(torch.empty(4, 6))
views = collections.OrderedDict(
    whole=base,
    tied=base,
    transposed=base.t(),
    row=base[2],
    column=base[:, 3],
    block=base[1:3, 2:5],
    every_other=base[::2, 1::2],
    expanded=base[0, :1].expand(3, 2),
    permuted=filled(torch.empty(2, 3, 4)).permute(2, 0, 1),
    channels_last=filled(torch.empty(1, 3, 2, 2)).to(memory_format=torch.channels_last),
    scalar=base[3, 5],
    empty=base[:0],
    nothing=torch.empty(0),
)
save("views.pth", views, views)
save("views_legacy.pth", views, views, _use_new_zipfile_serialization=False)

floats = {str(t): filled(torch.empty(2, 3, dtype=t)) for t in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}
integers = {str(t): filled(torch.empty(5, dtype=t)) for t in (torch.int64, torch.int32, torch.int16, torch.int8)}
unsigned = {str(t): torch.tensor([0, 1, 100], dtype=t) for t in (torch.uint8, torch.uint16, torch.uint32, torch.uint64)}
types = {**floats, **integers, **unsigned, "bool": torch.tensor([True, False]), "complex": torch.ones(2, dtype=torch.complex64), "fp8": torch.ones(2).to(torch.float8_e4m3fn)}
known = {name: tensor for name, tensor in types.items() if name != "fp8"}
save("types.pth", types, known)

torch.save({"student": weights, "teacher": weights | {"0.bias": filled(torch.empty(3))}}, HERE / "two.pth")
torch.save(net, HERE / "module.pth")
torch.save({"epoch": 1, "model": net}, HERE / "module_inside.pth")
torch.save({"epoch": 1, "loss": 0.5}, HERE / "no_tensors.pth")
torch.jit.save(torch.jit.script(nn.Linear(1, 1)), HERE / "scripted.pt")
with zipfile.ZipFile(HERE / "scripted.pt") as archive:
    entries = [(info, archive.read(info)) for info in archive.infolist()]
with zipfile.ZipFile(HERE / "scripted.pt", "w") as archive:
    for info, content in entries:
        # Where the sources were on the machine that wrote it.
        if not info.filename.endswith(".debug_pkl"):
            archive.writestr(info, content)

with open(HERE / "plain.pkl", "wb") as file:
    pickle.dump({"state_dict": {k: weights[k] for k in ("0.weight", "0.bias")}}, file, protocol=2)
note("plain.pkl", {k: weights[k] for k in ("0.weight", "0.bias")})

for file, zipped in (("evil.pth", True), ("evil_legacy.pth", False)):
    content = {"first": Evil(), "second": EvilBuild(), "state_dict": {"w": base, "x": Evil()}}
    save(file, content, {"w": base}, _use_new_zipfile_serialization=zipped)

safe = {k.replace("torch.", ""): v for k, v in (floats | integers).items()} | {
    "uint8": unsigned["torch.uint8"],
    "bool": types["bool"],
    "scalar": torch.tensor(1.5),
}
safetensors.torch.save_file(safe | {"fp8": types["fp8"]}, HERE / "types.safetensors", {"format": "pt", "epoch": "3"})
expected["types.safetensors"] = sorted(
    [name, list(t.shape), t.double().reshape(-1).tolist()] for name, t in safe.items()
)

(HERE / "pytorch.json").write_text(json.dumps(expected, separators=(",", ":")).replace("]],", "]],\n") + "\n")
