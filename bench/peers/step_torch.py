#!/usr/bin/env python3
"""Seconds and memory of a training step or a forward pass in PyTorch: the twin of `scant bench`.

The step is forward, Dice + binary cross-entropy, backward and Adam on one generated batch. Prints one
JSON object; a mode that this machine cannot run is `{"skipped": reason}`.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
import warnings

# Compile in this process: idle compile workers would still take time from the first steps.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch

from networks import build, parameters
from train_unet import segmentation_loss

# Mode to (channels-last, bf16, compiled).
MODES = {
    "fp32": (False, False, False),
    "channels-last": (True, False, False),
    "bf16": (True, True, False),
    "compile": (False, False, True),
    "compile-channels-last": (True, False, True),
    "compile-bf16": (True, True, True),
}


class Unsupported(Exception):
    """This machine cannot run the mode."""


def resident_mib(key):
    """VmHWM (largest so far) or VmRSS (now); elsewhere than on Linux the largest for both."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(key):
                    return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)


def parse_size(text):
    sides = [int(side) for side in text.split("x")]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError("write 256 or 192x256")
    return [sides[0], sides[-1]]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["step", "infer"])
    parser.add_argument("--model", default="unet", choices=["unet", "attention-unet", "cmu-net"])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--size", type=parse_size, default=[256, 256], metavar="N|HxW")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--mode", default="fp32", choices=sorted(MODES))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    if any(n % (1 << args.depth) for n in args.size):
        parser.error(f"--size must be divisible by 2^depth = {1 << args.depth}")
    return args


def check(args, compiled):
    if args.device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("PyTorch finds no CUDA device")
    if not compiled:
        return
    if args.device == "cpu":
        from torch._inductor import cpp_builder

        try:
            cpp_builder.get_cpp_compiler()
        except Exception as error:
            raise Unsupported(f"torch.compile finds no C++ compiler: {error}") from error


def work(args, model, images, masks, bf16):
    """The function to be timed."""
    autocast = torch.autocast(args.device, dtype=torch.bfloat16, enabled=bf16)
    if args.what == "infer":
        model.eval()

        def forward():
            with torch.inference_mode(), autocast:
                return model(images)

        return forward
    model.train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step():
        optimiser.zero_grad(set_to_none=True)
        with autocast:
            logits = model(images)
        loss = segmentation_loss(logits.float(), masks)
        loss.backward()
        optimiser.step()
        return loss.item()  # scant reads the loss of every step as well

    return step


def measure(args):
    channels_last, bf16, compiled = MODES[args.mode]
    check(args, compiled)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    # The sizes never change: let cuDNN try its algorithms and keep the fastest. On a CPU this is nothing.
    torch.backends.cudnn.benchmark = True
    before = resident_mib("VmRSS:")
    device = torch.device(args.device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build(args.model, args.width, args.depth).to(device, memory_format=layout)
    count = parameters(model)
    images = torch.randn(args.batch, 3, *args.size).to(device, memory_format=layout)
    masks = torch.zeros(args.batch, 1, *args.size, device=device)
    masks[:, :, args.size[0] // 4 : args.size[0] // 2, args.size[1] // 4 : args.size[1] // 2] = 1.0
    timed = work(args, torch.compile(model) if compiled else model, images, masks, bf16)

    def run():
        start = time.perf_counter()
        timed()
        if args.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    try:
        warm = [run() for _ in range(max(args.warmup, 1))]
        # The first steps of a compiled network compile; go on until one is like the one before.
        while compiled and (len(warm) < 3 or warm[-1] < 0.7 * warm[-2]) and len(warm) < 20:
            warm.append(run())
    except Exception as error:
        if not compiled:
            raise
        raise Unsupported(f"torch.compile failed: {str(error).splitlines()[0]}") from error
    seconds = [run() for _ in range(args.repeats)]
    record = {
        "tool": f"PyTorch {torch.__version__.split('+')[0]}",
        "what": args.what,
        "model": args.model,
        "parameters": count,
        "mode": args.mode,
        "size": args.size,
        "batch": args.batch,
        "threads": args.threads,
        "device": args.device,
        "seconds": {
            "median": statistics.median(seconds), "min": min(seconds), "max": max(seconds),
            "all": seconds,
        },
        "images_per_second": args.batch / statistics.median(seconds),
        "memory_before_mib": before,
        "memory_peak_mib": resident_mib("VmHWM:"),
    }
    if args.device == "cuda":
        record["device_name"] = torch.cuda.get_device_name()
        record["device_memory_peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return record


def main():
    warnings.filterwarnings("ignore")
    try:
        record = measure(arguments())
    except Unsupported as reason:
        record = {"skipped": str(reason)}
    json.dump(record, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
