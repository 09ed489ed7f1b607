#!/usr/bin/env python3
"""The supervised U-Net training of scant, written once more in PyTorch.

For side-by-side runs on the same pool and the same split: same network, same kind of initial
weights, same preprocessing, augmentation, loss, optimiser and choice of checkpoint; what differs is
the framework and the random numbers. README.md beside this file gives the command.

Letters: B batch, C channels, H and W pixels, w width, d depth.
"""

import argparse
import glob
import json
import math
import os
import random
import re
import resource
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


# ---------------------------------------------------------------------------------------- network


class DoubleConv(nn.Sequential):
    """(3x3 convolution with bias, batch norm, ReLU) twice."""

    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1),
            nn.ReLU(inplace=True),
        )


class UpConv(nn.Sequential):
    """Repetition x2, 3x3 convolution, batch norm, ReLU."""

    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """U-Net of the layout that is usual in PyTorch; width 64 and depth 4 have 34,527,041 parameters.

    Stage i has w * 2^i channels; stage d is the bottleneck.
    """

    def __init__(self, width, depth, channels=3):
        super().__init__()
        c = [width << i for i in range(depth + 1)]
        self.encoder = nn.ModuleList(
            DoubleConv(channels if i == 0 else c[i - 1], c[i]) for i in range(depth + 1)
        )
        levels = range(depth - 1, -1, -1)
        self.up = nn.ModuleList(UpConv(c[i + 1], c[i]) for i in levels)
        self.decoder = nn.ModuleList(DoubleConv(2 * c[i], c[i]) for i in levels)
        self.head = nn.Conv2d(c[0], 1, 1)
        self.depth = depth

    def forward(self, x):  # [B, C, H, W], H and W divisible by 2^d
        skips = []
        for i, stage in enumerate(self.encoder):
            x = stage(x if i == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for level, up, stage in zip(range(self.depth - 1, -1, -1), self.up, self.decoder):
            x = stage(torch.cat([skips[level], up(x)], 1))
        return self.head(x)  # logits [B, 1, H, W]


def initialise(model, seed):
    """Initial weights as in scant: convolution kernels normal with variance 2 / fan-in (Kaiming
    normal, fan_in, gain sqrt 2; also the last 1x1 one), biases 0, batch norm 1 and 0.

    PyTorch's own default is a uniform distribution with a third of that variance.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1.0)
                module.bias.zero_()


# ------------------------------------------------------------------------------------------- data


def image_files(base, pattern):
    """Image files of a folder or a glob."""
    path = base / pattern
    if path.is_dir():
        found = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
    else:
        found = [Path(p) for p in glob.glob(str(path), recursive=True)]
    if not found:
        sys.exit(f"{path}: no image files (a folder or a glob is understood, no list file)")
    return sorted(found)


def pairs(base, images, masks, suffix="_mask"):
    """Stem to (image, its masks): a mask has the stem of its image, perhaps with suffix and number."""
    cases = {path.stem: (path, []) for path in image_files(base, images)}
    for path in image_files(base, masks):
        owner = re.sub(f"{re.escape(suffix)}([_-]?[0-9]+)?$", "", path.stem)
        for stem in (path.stem, owner):
            if stem in cases and path != cases[stem][0]:
                cases[stem][1].append(path)
                break
    return cases


def read_pool(path):
    """Source name to (stem to image and masks, mask values that are foreground)."""
    if path.is_dir() and (path / "pool.toml").is_file():
        path = path / "pool.toml"
    if path.is_dir():
        return {path.resolve().name: (pairs(path, "images", "masks"), None)}
    pool = tomllib.loads(path.read_text())
    if len(pool["classes"]) != 2:
        sys.exit(f"{path}: this twin knows one foreground class, the pool has {pool['classes']}")
    background, sources = pool["classes"][0], {}
    for source in pool["source"]:
        if source.get("role") == "unlabelled":
            continue
        values = source.get("values", {"0": background, "1": pool["classes"][1]})
        if any(value.startswith("#") for value in values):
            sys.exit(f"{path}: this twin does not read colour masks")
        foreground = [int(value) for value, name in values.items() if name != background]
        suffix = source.get("mask_suffix", "_mask")
        cases = pairs(path.parent, source["images"], source["masks"], suffix)
        sources[source["name"]] = (cases, foreground)
    return sources


def read_split(path):
    """Part name to list of {source, group, stem}, from `[part.source]` tables of `group = [stems]`."""
    split = tomllib.loads(path.read_text())
    parts = {}
    for part in ("train", "validation", "test"):
        parts[part] = [
            {"source": source, "group": group, "stem": stem}
            for source, groups in split.get(part, {}).items()
            for group, stems in groups.items()
            for stem in stems
        ]
        if not parts[part]:
            sys.exit(f"{path}: part \"{part}\" is empty")
    return parts


def load(pool, case, size):
    """One case: image [3, h, w] (z-score), mask [1, h, w] on the grid, mask [H, W] as drawn."""
    if case["source"] not in pool:
        sys.exit(f"the split names source \"{case['source']}\", the pool has {sorted(pool)}")
    cases, foreground = pool[case["source"]]
    path, masks = cases.get(case["stem"], (None, []))
    if not masks:
        sys.exit(f"no image or no mask for {case['source']}/{case['stem']}")
    picture = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255.0
    drawn = np.zeros(picture.shape[:2], dtype=bool)
    for mask in masks:
        values = np.asarray(Image.open(mask))
        if values.shape != drawn.shape:
            sys.exit(f"{mask}: one channel of the size of its image is needed, not {values.shape}")
        drawn |= values != 0 if foreground is None else np.isin(values, foreground)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    image = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)[0]
    mean = image.mean((1, 2), keepdim=True)
    deviation = image.std((1, 2), keepdim=True, correction=0)
    image = torch.where(deviation > 1e-6, (image - mean) / deviation.clamp_min(1e-6), 0.0)
    truth = torch.from_numpy(drawn.astype(np.float32))[None, None]
    mask = F.interpolate(truth, size, mode="nearest-exact")[0]
    return image, mask, torch.from_numpy(drawn)


def augment(image, mask, rng):
    """Mirror left-right, mirror up-down (each with probability 1/2), a random quarter turn."""
    if rng.random() < 0.5:
        image, mask = image.flip(2), mask.flip(2)
    if rng.random() < 0.5:
        image, mask = image.flip(1), mask.flip(1)
    turns = rng.randrange(4)
    if image.shape[1] != image.shape[2]:
        turns = 2 * (turns // 2)  # a quarter turn would change the shape
    return torch.rot90(image, turns, (1, 2)), torch.rot90(mask, turns, (1, 2))


# ---------------------------------------------------------------------------------------- training


def segmentation_loss(logits, mask, epsilon=1e-6):
    """Dice over the whole batch plus binary cross-entropy, both with weight 1."""
    p = logits.sigmoid()
    dice = 1.0 - (2.0 * (p * mask).sum() + epsilon) / (p.sum() + mask.sum() + epsilon)
    return dice + F.binary_cross_entropy_with_logits(logits, mask)


def counts(prediction, truth):
    tp = int((prediction & truth).sum())
    fp = int((prediction & ~truth).sum())
    fn = int((~prediction & truth).sum())
    return tp, fp, fn, int(truth.numel()) - tp - fp - fn


def hard_dice(tp, fp, fn):
    """2 tp / (2 tp + fp + fn); None when truth and prediction are both empty."""
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def mean_dice(dices):
    defined = [d for d in dices if d is not None]
    return sum(defined) / len(defined) if defined else None


@torch.no_grad()
def probabilities(model, cases, batch):
    """[1, h, w] per case, in order."""
    model.eval()
    for start in range(0, len(cases), batch):
        images = torch.stack([case[0] for case in cases[start : start + batch]])
        yield from model(images).sigmoid()


def evaluate(model, ids, cases, batch):
    """One record per case, on the grid of the image file."""
    records = []
    for p, identity, (_, _, drawn) in zip(probabilities(model, cases, batch), ids, cases):
        size = tuple(drawn.shape)
        full = F.interpolate(p[None], size, mode="bilinear", antialias=True, align_corners=False)
        tp, fp, fn, tn = counts(full[0, 0] >= 0.5, drawn)
        situation = {
            (True, True): "both_present", (False, False): "both_empty",
            (False, True): "false_alarm", (True, False): "missed",
        }[(tp + fn > 0, tp + fp > 0)]
        records.append({**identity, "tp": tp, "fp": fp, "fn": fn, "tn": tn,
                        "situation": situation, "dice": hard_dice(tp, fp, fn)})
    return records


def peak_memory_mib():
    """Largest resident memory so far; kilobytes on Linux, bytes on macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pool", type=Path, help="pool.toml, or a folder with images/ and masks/")
    parser.add_argument("--split", type=Path, required=True, help="split.toml of a scant run")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--size", type=int, nargs=2, default=[256, 256], metavar=("ROWS", "COLS"))
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-augment", action="store_true")
    args = parser.parse_args()
    if any(n % (1 << args.depth) for n in args.size):
        parser.error(f"--size must be divisible by 2^depth = {1 << args.depth}")
    return args


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    pool, split, size = read_pool(args.pool), read_split(args.split), tuple(args.size)
    data = {part: [load(pool, case, size) for case in ids] for part, ids in split.items()}

    model = UNet(args.width, args.depth)
    initialise(model, args.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=args.lr)
    parameters = sum(p.numel() for p in model.parameters())

    epochs, best, best_state = [], None, None
    for epoch in range(1, args.epochs + 1):
        started, losses = time.perf_counter(), []
        model.train()
        order = rng.sample(range(len(data["train"])), len(data["train"]))
        for start in range(0, len(order), args.batch):
            chosen = [data["train"][i][:2] for i in order[start : start + args.batch]]
            if not args.no_augment:
                chosen = [augment(image, mask, rng) for image, mask in chosen]
            images, masks = (torch.stack(part) for part in zip(*chosen))
            optimiser.zero_grad(set_to_none=True)
            loss = segmentation_loss(model(images), masks)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        trained = time.perf_counter()
        judged = evaluate(model, split["validation"], data["validation"], args.batch)
        dice = mean_dice([case["dice"] for case in judged])
        validated = time.perf_counter()
        epochs.append({
            "epoch": epoch, "loss": sum(losses) / len(losses), "val_dice": dice,
            "train_secs": trained - started, "validate_secs": validated - trained,
        })
        if dice is not None and (best is None or dice > best[1]):
            best = (epoch, dice)
            best_state = {k: v.detach().clone() for k, v in model.state_dict().items()}
        shown = "undefined" if dice is None else f"{dice:.4f}"
        print(f"epoch {epoch:4d}  loss {epochs[-1]['loss']:.4f}  val Dice {shown}  "
              f"{trained - started:.1f} s + {validated - trained:.1f} s", file=sys.stderr)
    if best_state is None:
        sys.exit("validation Dice was undefined in every epoch: no case has foreground")
    model.load_state_dict(best_state)
    cases = evaluate(model, split["test"], data["test"], args.batch)

    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    record = {
        "tool": f"PyTorch {torch.__version__}", "settings": settings, "parameters": parameters,
        "best_epoch": best[0], "best_val_dice": best[1], "peak_memory_mib": peak_memory_mib(),
        "mean_test_dice": mean_dice([case["dice"] for case in cases]),
        "epochs": epochs, "cases": cases,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = args.out.with_suffix(args.out.suffix + ".part")
    temporary.write_text(json.dumps(record, indent=1))
    temporary.replace(args.out)
    json.dump({k: record[k] for k in ("best_epoch", "best_val_dice", "mean_test_dice",
                                      "peak_memory_mib")}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
