#!/usr/bin/env python3
"""Mean Dice with bootstrap intervals by group, from scant records and from the PyTorch twin.

    summarise.py --method scant runs/*/record.json --method pytorch twin/*.json

Each file is one seed of a method. Intervals come from drawing whole groups (patients, slides) with
replacement: images of one patient are not independent. Overall, the Dice of a case is first averaged
over the seeds, so that seeds do not count as patients. With two or more methods the difference to
the first one is given on the cases that both have. Standard library only.
"""

import argparse
import json
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path


def cases_of(path, part):
    """((source, stem) -> Dice or None, (source, stem) -> group, failed cases) of one file."""
    record = json.loads(path.read_text())
    if "evaluations" in record:  # scant
        found = [e for e in record["evaluations"] if e["part"] == part]
        if not found:
            sys.exit(f"{path}: no evaluation of part \"{part}\"")
        dice, groups, failed = {}, {}, 0
        for case in found[-1]["cases"]:
            key = (case["id"]["source"], case["id"]["stem"])
            groups[key] = (case["id"]["source"], case["id"]["group"])
            if case.get("failure"):
                dice[key], failed = 0.0, failed + 1  # failed, never absent
                continue
            values = [c["metrics"].get("dice") for c in case["classes"]]
            values = [v for v in values if v is not None]
            dice[key] = statistics.fmean(values) if values else None
        return dice, groups, failed
    if "cases" in record and part == "test":  # the twin
        keys = [(c["source"], c["stem"]) for c in record["cases"]]
        groups = {k: (c["source"], c["group"]) for k, c in zip(keys, record["cases"])}
        return {k: c["dice"] for k, c in zip(keys, record["cases"])}, groups, 0
    sys.exit(f"{path}: neither a scant record nor a result of train_unet.py (part \"{part}\")")


def interval(values, groups, draws, seed):
    """Percentile interval (95 %) of the mean, drawing groups; None with fewer than two groups."""
    members = defaultdict(list)
    for key, value in sorted(values.items()):
        members[groups[key]].append(value)
    blocks = [(sum(v), len(v)) for _, v in sorted(members.items())]
    if len(blocks) < 2:
        return None
    rng, means = random.Random(seed), []
    for _ in range(draws):
        drawn = rng.choices(blocks, k=len(blocks))
        means.append(sum(s for s, _ in drawn) / sum(n for _, n in drawn))
    means.sort()

    def percentile(share):  # linear interpolation between order statistics
        at = share * (len(means) - 1)
        low = int(at)
        high = min(low + 1, len(means) - 1)
        return means[low] + (at - low) * (means[high] - means[low])

    return percentile(0.025), percentile(0.975)


def line(name, values, groups, args, note=""):
    defined = {k: v for k, v in values.items() if v is not None}
    if not defined:
        print(f"{name:<40} undefined: no case has a Dice{note}")
        return
    skipped = len(values) - len(defined)
    bounds = interval(defined, groups, args.draws, args.seed)
    shown = "one group: no interval" if bounds is None else f"[{bounds[0]:.4f}, {bounds[1]:.4f}]"
    count = len({groups[k] for k in defined})
    note += f", {skipped} undefined" if skipped else ""
    mean = statistics.fmean(defined.values())
    print(f"{name:<40} {mean:.4f}  {shown}  {len(defined)} cases, {count} groups{note}")


def over_seeds(runs):
    """Mean over the seeds for each case that every seed has; undefined if it is so in all."""
    keys = set.intersection(*(set(run) for run in runs))
    values = {}
    for key in sorted(keys):
        defined = [run[key] for run in runs if run[key] is not None]
        values[key] = statistics.fmean(defined) if defined else None
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--method", nargs="+", action="append", required=True,
                        metavar=("NAME", "FILE"), help="a name and the files of its seeds")
    parser.add_argument("--part", default="test")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    overall, groups = {}, {}
    for name, *files in args.method:
        if not files:
            parser.error(f"--method {name}: no files")
        runs = []
        for file in files:
            dice, of_file, failed = cases_of(Path(file), args.part)
            clash = [k for k in of_file if groups.setdefault(k, of_file[k]) != of_file[k]]
            if clash:
                sys.exit(f"{file}: {clash[0]} belongs to another group than in the files before")
            line(f"{name} {file[-30:]}", dice, of_file, args,
                 f", {failed} failed (Dice 0)" if failed else "")
            runs.append(dice)
        overall[name] = over_seeds(runs)
        left_out = len(set.union(*(set(run) for run in runs))) - len(overall[name])
        line(f"{name}: mean over {len(runs)} seed(s)", overall[name], groups, args,
             f", {left_out} not in every file left out" if left_out else "")

    (first, base), *others = overall.items()
    for name, values in others:
        shared = [k for k in base if values.get(k) is not None and base[k] is not None]
        difference = {k: values[k] - base[k] for k in shared}
        line(f"{name} - {first}, same cases", difference, groups, args)


if __name__ == "__main__":
    main()
