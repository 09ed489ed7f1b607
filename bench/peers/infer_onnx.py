#!/usr/bin/env python3
"""Seconds of a forward pass in ONNX Runtime and OpenVINO, on the network of step_torch.py.

First `--export FILE`, then `FILE --runtime ..`, in processes of their own, so that PyTorch is not in
the memory that is measured. Prints one JSON object; what this machine cannot run is
`{"skipped": reason}`.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time

import numpy as np


def resident_mib(key):
    try:
        with open("/proc/self/status") as status:
            return next(int(l.split()[1]) / 1024.0 for l in status if l.startswith(key))
    except OSError:
        return None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("--export", action="store_true", help="write the file and stop")
    parser.add_argument("--model", default="unet", choices=["unet", "attention-unet", "cmu-net"])
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=[512, 512], metavar=("ROWS", "COLS"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runtime", choices=["onnxruntime", "openvino"], default="onnxruntime")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    return parser.parse_args()


def export(args):
    import torch

    from networks import build, parameters

    model = build(args.model, args.width, args.depth).eval()
    image = torch.zeros(args.batch, 3, *args.size)
    torch.onnx.export(
        model, (image,), args.file, input_names=["image"], output_names=["logits"],
        opset_version=18, dynamo=True, external_data=False, verbose=False,
    )
    return {"exported": args.file, "parameters": parameters(model)}


def onnxruntime_pass(args, image):
    import onnxruntime

    if args.precision != "fp32":
        return None, "ONNX Runtime has no bf16 convolutions on the CPU"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        args.file, options, providers=["CPUExecutionProvider"]
    )
    name = f"ONNX Runtime {onnxruntime.__version__}"
    return (name, lambda: session.run(None, {"image": image})[0]), None


def openvino_pass(args, image):
    import openvino

    hint = {"fp32": "f32", "bf16": "bf16"}[args.precision]
    core = openvino.Core()
    if args.precision == "bf16":
        can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" not in can:
            return None, f"OpenVINO finds no bf16 in this processor, only {', '.join(can)}"
    config = {
        "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": args.threads,
        "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(args.file, "CPU", config).create_infer_request()
    name = f"OpenVINO {openvino.__version__.split('-')[0]}"
    return (name, lambda: request.infer({"image": image})[0]), None


def measure(args):
    if importlib.util.find_spec(args.runtime) is None:
        return {"skipped": f"{args.runtime} is not installed"}
    before = resident_mib("VmRSS:")
    image = np.random.default_rng(0).standard_normal((args.batch, 3, *args.size), dtype=np.float32)
    prepare = {"onnxruntime": onnxruntime_pass, "openvino": openvino_pass}[args.runtime]
    prepared, reason = prepare(args, image)
    if prepared is None:
        return {"skipped": reason}
    tool, forward = prepared
    seconds = []
    for turn in range(args.warmup + args.repeats):
        start = time.perf_counter()
        logits = forward()
        if turn >= args.warmup:
            seconds.append(time.perf_counter() - start)
    if logits.shape != (args.batch, 1, *args.size) or not np.isfinite(logits).all():
        sys.exit(f"{tool}: the logits have shape {logits.shape} or are not numbers")
    return {
        "tool": tool, "what": "infer", "mode": args.precision, "size": args.size,
        "batch": args.batch, "threads": args.threads, "device": "cpu",
        "seconds": {
            "median": statistics.median(seconds), "min": min(seconds), "max": max(seconds),
            "all": seconds,
        },
        "images_per_second": args.batch / statistics.median(seconds),
        "memory_before_mib": before, "memory_peak_mib": resident_mib("VmHWM:"),
    }


def main():
    args = arguments()
    # The exporter talks on standard output.
    answer, sys.stdout = sys.stdout, sys.stderr
    record = export(args) if args.export else measure(args)
    json.dump(record, answer, indent=1)
    answer.write("\n")


if __name__ == "__main__":
    main()
