#!/usr/bin/env python3
"""Every network of images, three epochs on a pool: does it learn, and how long does a step take?

    python train.py POOL --scant ../../target/release/scant --work /tmp/train-all > table.md

Every network has its published sizes, the same split and the same recipe but for the learning rate. Three
epochs say that gradients flow the right way, not which network is better. Networks of volumes:
`cargo test --release -p scant-nn --test learn_volumes -- --ignored --nocapture`.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

# Networks of transformers start from random values here, and those want small steps.
RATES = {"transunet": 1e-4, "swin-unet": 1e-4}

RECIPE = """
[model]
name = "{name}"
[data]
size = [{size}, {size}]
batch = {batch}
augment = ["flip", "rot90"]
[split]
seed = 1
[optim]
name = "adam"
lr = {rate}
[[phase]]
name = "three epochs"
epochs = {epochs}
loss = {{ dice = 1.0, bce = 1.0 }}
"""


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool")
    parser.add_argument("--scant", default="scant", help="the program")
    parser.add_argument("--work", type=Path, required=True, help="folder for recipes and runs")
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--size", type=int, default=128, help="side of the images")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="measured steps")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    print("| network | parameters | loss by epoch | validation Dice | s per step | GFLOP per step | memory |")
    print("|---|---|---|---|---|---|---|")
    for model in json.loads(run([args.scant, "models", "--json"])):
        name = model["name"]
        if model["dimensions"] != 2 or (args.models and name not in args.models):
            continue
        recipe, out = args.work / f"{name}.toml", args.work / name
        recipe.write_text(RECIPE.format(name=name, size=args.size, batch=args.batch, epochs=args.epochs,
                                        rate=RATES.get(name, 1e-3)))
        if not (out / "record.json").is_file():
            run([args.scant, "-q", "train", args.pool, "--recipe", recipe, "--seed", 1, "-o", out])
        record = json.loads((out / "record.json").read_text())
        epochs = [epoch for phase in record["phases"] for epoch in phase["epochs"]]
        losses = [epoch["loss"]["total"] for epoch in epochs]
        dices = [epoch.get("val_dice") for epoch in epochs]
        step = json.loads(run([args.scant, "bench", "step", "--model", name, "--size", args.size, "--batch",
                               args.batch, "--repeats", args.repeats, "--warmup", 1, "--json"]))
        fell = " > ".join(f"{loss:.3f}" for loss in losses) + ("" if losses[-1] < losses[0] else " (did not fall)")
        dice = ", ".join("-" if d is None else f"{d:.3f}" for d in dices)
        print(f"| `{name}` | {step['parameters'] / 1e6:.1f} M | {fell} | {dice} | {step['seconds']['median']:.2f} "
              f"| {step['gflop']:.0f} | {step['memory_peak_mib']:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
